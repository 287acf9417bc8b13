"""What tests of the running product share: big files, and waiting for rows."""

import os
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from daemon import PrivateDaemon
from stack import wait_for

from storagemgr.jobs.models import Job
from volumes.models import Volume

MIB = 1024**2


def write_real_data(path: Path, mebibytes: int) -> None:
    """A file without holes whose every MiB differs from the others."""
    block = os.urandom(MIB)
    with path.open("wb") as file:
        for number in range(mebibytes):
            file.write(number.to_bytes(8, "big") + block[8:])
        os.fsync(file.fileno())


def same_bytes(one: Path, other: Path) -> bool:
    return subprocess.run(["cmp", "--silent", one, other]).returncode == 0


def volume_row(name: str) -> Volume:
    return wait_for(Volume.objects.select_related("pool__host").filter(name=name).first, 20, name)


def in_state(job: Job, *states: str) -> Callable[[], Any]:
    return Job.objects.filter(pk=job.pk, state__in=states).first


def half_way(job: Job, percent: int = 15) -> Callable[[], Any]:
    def look() -> Any:
        now = Job.objects.get(pk=job.pk)
        assert now.state in ("queued", "running"), (now.state, now.error_code, now.error_text)
        return now.percent is not None and now.percent >= percent

    return look


@contextmanager
def slow_disk(daemon: PrivateDaemon) -> Iterator[None]:
    """The daemon gets a sixth of the time, so that a copy lasts long enough to be watched on any machine."""
    ended = threading.Event()

    def hold() -> None:
        while not ended.wait(0.1):
            daemon.freeze()
            ended.wait(0.5)
            daemon.thaw()

    holder = threading.Thread(target=hold)
    holder.start()
    try:
        yield
    finally:
        ended.set()
        holder.join()
