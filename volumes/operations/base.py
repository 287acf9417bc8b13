"""What the operations of volumes share."""

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.utils import timezone

from pools import sync as pool_sync
from pools.models import Pool
from pools.operations import unreachable
from pools.same_place import pools_of_place
from storagemgr.jobs.models import Job, JobLock
from storagemgr.jobs.operations import Finding, OperationFailed, Progress, Run, Step
from storagemgr.templatetags.storage import size
from storagemgr.virt import pools as virt_pools
from storagemgr.virt import volumes as virt_volumes
from storagemgr.virt.errors import VirtError
from storagemgr.virt.secrets import forget_volume_secret, put_volume_secret
from volumes import sync
from volumes.forms import why_name_is_kept
from volumes.identity import forget_notes
from volumes.models import Volume

Events = Iterator[Step | Progress]
Params = dict[str, Any]


def find(job: Job) -> Volume | None:
    """The volume that a job is about: the source of a clone, else the one it is named after."""
    rows = Volume.objects.select_related("pool__host").filter(
        pool__host_id=job.host_id, pool__uuid=job.pool_uuid
    )
    return rows.filter(name=job.params.get("source", job.volume_name)).first()


def pool_of_new(job: Job) -> Pool | None:
    """Where the job makes a volume: in its own pool, or in the one of the same host that it copies into."""
    rows = Pool.objects.select_related("host").filter(host_id=job.host_id)
    return rows.filter(uuid=job.params.get("into") or job.pool_uuid).first()


def made(job: Job) -> Volume | None:
    return Volume.objects.filter(pool=pool_of_new(job), name=job.params["name"]).first()


def path_of_new(pool: Pool, name: str) -> str:
    return f"{pool.target_path.rstrip('/')}/{name}"


def check_new(run: Run, pool: Pool) -> None:
    """Read the pool again, and refuse a name that is kept for a protected volume."""
    try:
        pool_sync.read_one(run.connections[-1] if run.connections else run.open(), pool)
    except VirtError as error:
        if error.code == "no_pool":
            raise OperationFailed("target_gone") from error
        raise
    if reason := why_name_is_kept(pool, run.job.params["name"]):
        raise OperationFailed("changed_since", reason)


def read_made(connection: Any, pool: Pool, name: str) -> Volume | None:
    """The new row. Notes on an earlier volume of this name go."""
    forget_notes(pool, name)
    return read_new(connection, pool, name)


@contextmanager
def volume_secret(connection: Any, pool: Pool, name: str, passphrase: str) -> Iterator[str]:
    """The UUID of a secret for a volume that is made inside, "" without passphrase; it goes again if that fails."""
    if not passphrase:
        yield ""
        return
    path = path_of_new(pool, name)
    uuid = put_volume_secret(connection, path, passphrase)
    try:
        yield uuid
    except VirtError as error:
        if error.code != "connection_lost":
            forget_volume_secret(connection, path)
        raise


@contextmanager
def telling_of_space(connection: Any, pool: Pool, needed: int) -> Iterator[None]:
    """A full pool is told with how much was needed and how much is free. libvirt took away what it had begun."""
    try:
        yield
    except VirtError as error:
        if error.code != "no_space":
            raise
        free = _free(connection, pool)
        raise OperationFailed(
            "no_space", f"{size(needed)} needed, {size(free)} free in {pool}.\n{error.detail}"
        ) from error


def _free(connection: Any, pool: Pool) -> int:
    """After a refresh: libvirt counts only then."""
    try:
        virt_pools.refresh(connection, str(pool.uuid))
    except VirtError as error:
        if error.code == "connection_lost":
            raise
    pool_sync.read_one(connection, pool)
    pool.refresh_from_db()
    return pool.available


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


def locks_of_new(pool: Pool, name: str) -> list[JobLock]:
    """On a name in the pool, and in all pools that list the same place."""
    places = pools_of_place(pool).order_by().values_list("pk", "host_id", "uuid")
    return [
        JobLock(host_id=host, pool_uuid=uuid, volume_name=name, is_write=True, is_twin=pk != pool.pk)
        for pk, host, uuid in places
    ]


def why_off_in(pool: Pool, operation: str) -> str:
    if reason := unreachable(pool) or pool.kind.why_not(operation, pool.host.libvirt_version):
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
    pool, name = pool_of_new(job), job.params["name"]
    is_same_daemon = job.daemon != "unknown" and connection.daemon_id() == job.daemon
    if pool is None:
        return Finding(Job.State.FAILED, "The pool is gone, and with it what was made.", "target_gone")
    try:
        if virt_volumes.is_building(connection, str(pool.uuid), name):
            return Finding(None, "libvirt goes on with it; this job ends when libvirt has.")
    except VirtError as error:
        if error.code == "no_volume":
            left = (
                "the secret with its passphrase may be left" if job.params.get("luks") else "nothing was left"
            )
            return Finding(Job.State.FAILED, f"{name} is not there; {left} behind.", "copy_vanished")
        if error.code == "pool_inactive":
            return _settle_new_in_stopped(job, pool, is_same_daemon)
        raise
    volume = read_made(connection, pool, name)
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
