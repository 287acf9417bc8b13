"""Deleting a volume."""

from pools.operations import find as find_pool
from pools.operations import once_it_answers
from storagemgr.jobs.models import Job
from storagemgr.jobs.operations import Danger, Finding, Operation, Run, Step, register
from storagemgr.virt import volumes as virt_volumes
from storagemgr.virt.errors import VirtError
from volumes import safety
from volumes.models import Volume
from volumes.operations.base import Events, find, read_new, virsh, why_off_in


def _why_no_delete(volume: Volume) -> str:
    if reason := why_off_in(volume.pool, "volume.delete"):
        return reason
    if volume.pool.type == "disk" and volume.pool.source.startswith("/dev/disk/"):
        return "libvirt deletes a partition only where the pool names its disk as the kernel does: /dev/sdb."
    return safety.why_not(volume, "delete")


def _delete(run: Run) -> Events:
    volume, connection = run.target, run.open()
    yield Step(f"Delete {volume.name}")
    virt_volumes.delete(connection, str(volume.pool.uuid), volume.name)
    yield Step("Read the pool")
    read_new(connection, volume.pool, volume.name)


def _settle_delete(run: Run) -> Finding:
    pool = find_pool(run.job)
    try:
        is_gone = pool is None or read_new(run.open(), pool, run.job.volume_name) is None
    except VirtError as error:
        if error.code != "pool_inactive":
            raise
        return Finding(Job.State.FAILED, "The pool is stopped; start it to see what is there.", "end_unknown")
    if is_gone:
        return Finding(Job.State.SUCCEEDED, "The volume is deleted.")
    return Finding(Job.State.FAILED, "The volume is still there; nothing was deleted.", "nothing_done")


DELETE = register(
    Operation(
        name="volume.delete",
        title="Delete",
        sentence="Destroys the volume and its data.",
        icon="trash3",
        right="volume.delete",
        target=Volume,
        find=find,
        check=safety.read_again,
        danger=Danger.DESTROYS,
        is_quick=True,
        run=_delete,
        settle=once_it_answers(_settle_delete),
        why_off=_why_no_delete,
        effects=lambda volume: [f"The data of {volume.name} is gone; libvirt has no trash."],
        checks=lambda volume, user: safety.checks(volume, "delete", user),
        locks=lambda volume, params: safety.locks_of(volume),
        volume_of=lambda volume, params: volume.name,
        virsh=lambda volume, params: virsh(
            volume.pool, "vol-delete", "--pool", volume.pool.name, volume.name
        ),
        label=lambda volume, params: f"Delete {volume.name}",
    )
)
