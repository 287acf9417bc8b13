"""What stands in the way of destroying the bytes of a volume, by whatever pool and host they are reached.

Asked three times: for the page, when the form comes, and when the job starts, then of the host itself.
"""

from collections.abc import Iterator

from django.utils import timezone

from storagemgr.hosts import calls
from storagemgr.hosts.models import Host
from storagemgr.hosts.reaching import in_time, open_in_time
from storagemgr.jobs.models import Job, JobLock
from storagemgr.jobs.operations import OperationFailed, Run
from storagemgr.virt import domains
from storagemgr.virt.errors import VirtError
from volumes import files, sync
from volumes.dependents import DESTROYS, IN_PLACE, Action, Look, lock_on, look_of
from volumes.identity import hosts_beside, twins_of
from volumes.models import Volume
from volumes.operations import base
from volumes.panel import checks as checks
from volumes.panel import children_words, protected_words, unsound_words, used_words

READ_S = 10.0


def why_not(volume: Volume, action: Action) -> str:
    """The first thing that stands in its way, in words that name nothing hidden; "" for nothing.

    Jobs are not among them: a job that has the volume holds its lock, and asking is refused with its name.
    """
    return next(_reasons(look_of(volume), action), "")


def _reasons(look: Look, action: Action) -> Iterator[str]:
    if action in IN_PLACE:
        yield from unsound_words(look)
    if action not in DESTROYS:
        if running := look.uses_that_block(action):
            yield f"{used_words(look, running)} Shut the VM down first."
        return
    if look.protections:
        yield protected_words(look, look.protections[0])
    if look.uses:
        yield f"{used_words(look, look.uses)} Detach it there first."
    if children := children_words(look):
        yield f"Other volumes are built on it: {children}. They would be lost with it."
    if never := [host for host in look.silent if host.uses_read_at is None]:
        yield f"{_hosts(len(never))} shares this storage, and what its VMs use was never read."


def _hosts(number: int) -> str:
    return "Another host" if number == 1 else f"Each of {number} other hosts"


def locks_of(volume: Volume, *, is_write: bool = True) -> list[JobLock]:
    """On the volume and on all that are the same bytes: what an operation on it has to hold."""
    return [lock_on(twin, is_write=is_write, is_twin=twin.pk != volume.pk) for twin in twins_of(volume)]


def read_again(run: Run) -> None:
    """Before bytes are destroyed: what this host and those beside it say now, and links to the same file.

    Also that no job has the bytes by another pool that was not known when this one was asked for.
    """
    base.check(run)
    volume: Volume | None = base.find(run.job)
    if volume is None:
        return
    for host in hosts_beside(volume):
        if host.answers:
            _read_uses(run, host)
    if name := files.needed_by(volume):
        raise OperationFailed("changed_since", f"{name} needs it, by another path to the same file.")
    for lock in Look(volume).locks:
        if lock.job_id != run.job.pk and _is_before(lock.job, run.job):
            raise OperationFailed("changed_since", "Another job has the same data, through another pool.")


def _is_before(other: Job, job: Job) -> bool:
    """One that waits behind this one has not begun."""
    return other.pk < job.pk or other.state in (Job.State.RUNNING, Job.State.TRANSFERRING)


def _read_uses(run: Run, host: Host) -> None:
    """Of a host that shares the storage. When it does not answer, what is known of it stays in force."""
    key = ("uses", host.pk)
    if calls.overdue_since(key):
        return
    started = timezone.now()
    try:
        with open_in_time(host) as connection:
            uses = in_time(host, "uses", READ_S, lambda: domains.list_disk_uses(connection))
    except VirtError as error:
        run.log(f"{host} shares the storage and could not be asked about its VMs: {error.code}")
        return
    sync.write_uses(host, uses, started)
