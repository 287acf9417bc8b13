"""What the operations of volumes share."""

import shlex
from collections.abc import Iterator
from typing import Any

from django.utils import timezone

from pools import sync as pool_sync
from pools.models import Pool
from pools.operations import find as find_pool
from pools.operations import unreachable
from storagemgr.jobs.models import Job, JobLock
from storagemgr.jobs.operations import Finding, OperationFailed, Progress, Run, Step
from storagemgr.virt import volumes as virt_volumes
from storagemgr.virt.errors import VirtError
from volumes import sync
from volumes.models import Volume

Events = Iterator[Step | Progress]
Params = dict[str, Any]


def find(job: Job) -> Volume | None:
    """The volume that a job is about: the source of a clone, else the one it is named after."""
    rows = Volume.objects.select_related("pool__host").filter(
        pool__host_id=job.host_id, pool__uuid=job.pool_uuid
    )
    return rows.filter(name=job.params.get("source", job.volume_name)).first()


def made(job: Job) -> Volume | None:
    rows = Volume.objects.filter(pool__host_id=job.host_id, pool__uuid=job.pool_uuid)
    return rows.filter(name=job.params["name"]).first()


def check(run: Run) -> None:
    """Read the pool, the volume and the VMs' disks again, so that the refusals see the host as it is now."""
    connection, volume = run.open(), run.target
    try:
        pool_sync.read_one(connection, volume.pool)
    except VirtError as error:
        if error.code == "no_pool":
            raise OperationFailed("target_gone") from error
        raise
    sync.read_one(connection, volume.pool, volume.name)
    sync.read_uses(connection, volume.pool.host)


def lock(pool: Pool, name: str, *, is_write: bool) -> JobLock:
    return JobLock(host_id=pool.host_id, pool_uuid=pool.uuid, volume_name=name, is_write=is_write)


def why_off_in(pool: Pool, operation: str) -> str:
    if reason := unreachable(pool) or pool.kind.why_not(operation):
        return reason
    return "" if pool.is_active else f"{pool} is stopped; start it first."


def some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (" and others" if len(names) > 3 else "")


def read_new(connection: Any, pool: Pool, name: str) -> Volume | None:
    pool_sync.read_one(connection, pool)
    return sync.read_one(connection, pool, name)


def settle_new(run: Run) -> Finding:
    """How making a volume ended: is the name there, is libvirt still writing it, is it the same daemon as then?"""
    job, connection = run.job, run.open()
    pool, name = find_pool(job), job.params["name"]
    is_same_daemon = job.daemon != "unknown" and connection.daemon_id() == job.daemon
    if pool is None:
        return Finding(Job.State.FAILED, "The pool is gone, and with it what was made.", "target_gone")
    try:
        if virt_volumes.is_building(connection, str(pool.uuid), name):
            return Finding(None, "libvirt goes on with it; this job ends when libvirt has.")
    except VirtError as error:
        if error.code == "no_volume":
            return Finding(
                Job.State.FAILED, f"{name} is not there; nothing was left behind.", "copy_vanished"
            )
        if error.code == "pool_inactive":
            return _settle_new_in_stopped(job, pool, is_same_daemon)
        raise
    volume = read_new(connection, pool, name)
    if is_same_daemon:
        return Finding(Job.State.SUCCEEDED, "libvirt finished it although the worker did not see the end.")
    Volume.objects.filter(pk=volume.pk if volume else None).update(unverified_since=timezone.now())
    text = (
        f"libvirt was restarted while it made {name}. It looks whole and may not be; accept it or delete it."
    )
    return Finding(Job.State.FAILED, text, "unverified")


def _settle_new_in_stopped(job: Job, pool: Pool, is_same_daemon: bool) -> Finding:
    """Nothing can be looked up before the pool is started, and while the job waited nobody could start it."""
    name, now = job.params["name"], timezone.now()
    if is_same_daemon:
        # It refuses to stop a pool in which it makes a volume.
        text = f"libvirt was done with it before the pool was stopped; once it is started, {name} is there or not."
        return Finding(Job.State.FAILED, text, "end_unknown")
    # The reading of the started pool fills the row in or takes it away.
    blank = {"path": f"{pool.target_path}/{name}", "type": "file", "capacity": 0, "allocation": 0}
    Volume.objects.get_or_create(pool=pool, name=name, defaults=blank | {"seen_at": now})
    Volume.objects.filter(pool=pool, name=name).update(unverified_since=now)
    text = f"libvirt was restarted while it made {name}; if that is in the stopped pool, it may not be whole."
    return Finding(Job.State.FAILED, text, "unverified")


def virsh(pool: Pool, *words: object) -> str:
    return shlex.join(["virsh", "-c", pool.host.uri, *map(str, words)])
