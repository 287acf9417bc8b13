"""Calls of libvirt for a pool that is not there yet: its storage may be a server that never answers."""

from collections.abc import Callable
from typing import TypeVar

from storagemgr.hosts import calls
from storagemgr.jobs.operations import OperationFailed, Run
from storagemgr.virt.connection import Connection

T = TypeVar("T")


def limited(run: Run, seconds: float, function: Callable[[Connection], T]) -> T:
    """What `function` returns, if that takes no longer; else OperationFailed too_slow, and the call goes on alone.

    With a connection of its own, which is closed when the call returns. `function` touches no database.
    """
    connection, is_left_alone = run.connect(), False
    try:
        return calls.within(
            seconds, ("job", run.job.pk), lambda: function(connection), lambda late: connection.close()
        )
    except calls.Overdue as error:
        is_left_alone = True
        raise OperationFailed("too_slow", f"libvirt did not answer within {seconds:.0f} seconds.") from error
    finally:
        if not is_left_alone:
            connection.close()
