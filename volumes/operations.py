"""What can be done with a volume, each declared once."""

import shlex
from collections.abc import Iterator
from typing import Any

from django.utils import timezone

from pools import sync as pool_sync
from pools.models import Pool
from pools.operations import check as check_pool
from pools.operations import find as find_pool
from pools.operations import once_it_answers, unreachable
from storagemgr.jobs.models import Job, JobLock
from storagemgr.jobs.operations import (
    Danger,
    Finding,
    Operation,
    OperationFailed,
    Progress,
    Run,
    Step,
    register,
)
from storagemgr.virt import volumes as virt_volumes
from storagemgr.virt.errors import VirtError
from volumes import chain, files, sync
from volumes.forms import CloneForm, CreateForm
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


def _check_clone(run: Run) -> None:
    check(run)
    chain.check(run.open(), run.target, run.job.requested_by)


def _check_delete(run: Run) -> None:
    check(run)
    if name := files.needed_by(run.target):
        raise OperationFailed("changed_since", f"{name} needs it, by another path to the same file.")


def lock(pool: Pool, name: str, *, is_write: bool) -> JobLock:
    return JobLock(host_id=pool.host_id, pool_uuid=pool.uuid, volume_name=name, is_write=is_write)


def _why_off_in(pool: Pool, operation: str) -> str:
    if reason := unreachable(pool) or pool.kind.why_not(operation):
        return reason
    return "" if pool.is_active else f"{pool} is stopped; start it first."


def _why_no_create(pool: Pool) -> str:
    if pool.type == "disk":
        return "The kernel names partitions by their number; make this one with virsh vol-create-as, then refresh."
    return _why_off_in(pool, "volume.create")


def _why_no_clone(volume: Volume) -> str:
    if reason := _why_off_in(volume.pool, "volume.clone"):
        return reason
    if volume.pool.type == "disk":
        return "The kernel names partitions by their number, so libvirt cannot name the copy."
    if volume.type == "dir":
        return "It is a directory, not a disk."
    if volume.unverified_since:
        return "It is an unverified copy: accept or delete it first."
    return chain.why_no_copy(volume)


def _why_no_delete(volume: Volume) -> str:
    if reason := _why_off_in(volume.pool, "volume.delete"):
        return reason
    if volume.pool.type == "disk" and volume.pool.source.startswith("/dev/disk/"):
        return "libvirt deletes a partition only where the pool names its disk as the kernel does: /dev/sdb."
    if vms := users_of(volume):
        return f"Used by {_some(vms)}. Detach it there first."
    if children := _overlays(volume):
        return f"Other volumes are built on it: {children}. They would be lost with it."
    return ""


def _overlays(volume: Volume) -> str:
    """Who may see this pool may not see the others, so only their number is told."""
    children = children_of(volume)
    here = [child.name for child in children.filter(pool=volume.pool)[:4]]
    elsewhere = children.exclude(pool=volume.pool).count()
    parts = [_some(here)] if here else []
    parts += [f"{elsewhere} in other pools"] if elsewhere else []
    return " and ".join(parts)


def users_of(volume: Volume) -> list[str]:
    """The names of the VMs that refer to the volume, running or not."""
    return sorted(set(volume.uses.values_list("domain_name", flat=True)))


def children_of(volume: Volume) -> Any:
    """The volumes of the same host whose backing store this is."""
    return Volume.objects.filter(pool__host_id=volume.pool.host_id, backing_path=volume.path).exclude(
        pk=volume.pk
    )


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (" and others" if len(names) > 3 else "")


def _read_new(connection: Any, pool: Pool, name: str) -> Volume | None:
    pool_sync.read_one(connection, pool)
    return sync.read_one(connection, pool, name)


def _create(run: Run) -> Events:
    pool, params, connection = run.target, run.job.params, run.open()
    yield Step(f"Create {params['name']}")
    virt_volumes.create(
        connection,
        str(pool.uuid),
        name=params["name"],
        format=params.get("format", ""),
        capacity=params["capacity"],
        preallocate=params["space"] == "full",
    )
    yield Step("Read the new volume")
    _read_new(connection, pool, params["name"])


def _clone(run: Run) -> Events:
    volume, name = run.target, run.job.params["name"]
    # Progress is asked for over a second connection: calls on the first one may wait until the copy ends.
    connection, watch = run.open(), run.open()
    yield Step(f"Copy {volume.name} to {name}", total=volume.allocation or None)
    for done in virt_volumes.clone(connection, watch, str(volume.pool.uuid), volume.name, name):
        yield Progress(done)
    yield Step("Read the new volume")
    _read_new(connection, volume.pool, name)


def _delete(run: Run) -> Events:
    volume, connection = run.target, run.open()
    yield Step(f"Delete {volume.name}")
    virt_volumes.delete(connection, str(volume.pool.uuid), volume.name)
    yield Step("Read the pool")
    _read_new(connection, volume.pool, volume.name)


def _accept(run: Run) -> Events:
    yield Step("Take the copy as it is")
    Volume.objects.filter(pk=run.target.pk).update(unverified_since=None)


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
    volume = _read_new(connection, pool, name)
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


def _settle_delete(run: Run) -> Finding:
    pool = find_pool(run.job)
    try:
        is_gone = pool is None or _read_new(run.open(), pool, run.job.volume_name) is None
    except VirtError as error:
        if error.code != "pool_inactive":
            raise
        return Finding(Job.State.FAILED, "The pool is stopped; start it to see what is there.", "end_unknown")
    if is_gone:
        return Finding(Job.State.SUCCEEDED, "The volume is deleted.")
    return Finding(Job.State.FAILED, "The volume is still there; nothing was deleted.", "nothing_done")


def _settle_accept(run: Run) -> Finding:
    if run.target is not None and run.target.unverified_since is None:
        return Finding(Job.State.SUCCEEDED, "The copy was accepted.")
    return Finding(Job.State.FAILED, "It was not accepted; it can be asked for again.", "nothing_done")


def _virsh(pool: Pool, *words: object) -> str:
    return shlex.join(["virsh", "-c", pool.host.uri, *map(str, words)])


def _virsh_create(pool: Pool, params: Params) -> str:
    words: list[object] = [
        "vol-create-as",
        pool.name,
        params.get("name", "NAME"),
        params.get("capacity", "SIZE"),
    ]
    if params.get("format"):
        words += ["--format", params["format"]]
    if params.get("space") != "full":
        words += ["--allocation", 0]
    elif params.get("format") == "qcow2":
        words += ["--allocation", params.get("capacity", "SIZE"), "--prealloc-metadata"]
    return _virsh(pool, *words)


def _clone_effects(volume: Volume) -> list[str]:
    effects = [
        f"Copies the data inside {volume.pool}; the source cannot be changed or deleted until it ends."
    ]
    if volume.backing_path:
        effects.append("The copy is whole: it no longer needs the volume that this one is built on.")
    if running := sorted(set(volume.uses.filter(running=True).values_list("domain_name", flat=True))):
        effects.append(
            f"{_some(running)} runs from it: the copy will be as after a power cut, or QEMU's lock refuses it."
        )
    effects.append("libvirt cannot stop a copy once it runs.")
    return effects


CREATE = register(
    Operation(
        name="volume.create",
        title="New volume",
        sentence="Makes an empty disk in this pool.",
        icon="plus-lg",
        right="volume.create",
        target=Pool,
        find=find_pool,
        check=check_pool,
        form=CreateForm,
        run=_create,
        settle=once_it_answers(settle_new),
        result=made,
        is_quick=True,
        why_off=_why_no_create,
        locks=lambda pool, params: [lock(pool, params["name"], is_write=True)],
        volume_of=lambda pool, params: params["name"],
        virsh=_virsh_create,
        label=lambda pool, params: f"Create {params['name']}",
    )
)

CLONE = register(
    Operation(
        name="volume.clone",
        title="Clone",
        sentence="Makes a whole copy in the same pool.",
        icon="copy",
        right="volume.create",
        target=Volume,
        find=find,
        check=_check_clone,
        form=CloneForm,
        run=_clone,
        settle=once_it_answers(settle_new),
        result=made,
        why_off=_why_no_clone,
        effects=_clone_effects,
        locks=lambda volume, params: [
            lock(volume.pool, volume.name, is_write=False),
            lock(volume.pool, params["name"], is_write=True),
        ],
        volume_of=lambda volume, params: params["name"],
        virsh=lambda volume, params: _virsh(
            volume.pool, "vol-clone", "--pool", volume.pool.name, volume.name, params.get("name", "NAME")
        ),
        label=lambda volume, params: f"Clone {volume.name} to {params['name']}",
    )
)

ACCEPT = register(
    Operation(
        name="volume.accept",
        title="Accept the copy",
        button="Accept",
        sentence="You have checked it: it may be used from now on.",
        icon="shield-check",
        right="volume.create",
        target=Volume,
        find=find,
        danger=Danger.ASKS,
        is_quick=True,
        applies=lambda volume: volume.unverified_since is not None,
        run=_accept,
        settle=_settle_accept,
        effects=lambda volume: [
            "libvirt was restarted while this was made, so bytes at its end may be missing.",
            "Nothing is checked or changed on the host; the mark is taken away.",
        ],
        locks=lambda volume, params: [lock(volume.pool, volume.name, is_write=True)],
        volume_of=lambda volume, params: volume.name,
        virsh=lambda volume, params: _virsh(volume.pool, "vol-info", "--pool", volume.pool.name, volume.name),
        label=lambda volume, params: f"Accept {volume.name}",
    )
)

DELETE = register(
    Operation(
        name="volume.delete",
        title="Delete",
        sentence="Destroys the volume and its data.",
        icon="trash3",
        right="volume.delete",
        target=Volume,
        find=find,
        check=_check_delete,
        danger=Danger.DESTROYS,
        is_quick=True,
        run=_delete,
        settle=once_it_answers(_settle_delete),
        why_off=_why_no_delete,
        effects=lambda volume: [f"The data of {volume.name} is gone; libvirt has no trash."],
        locks=lambda volume, params: [lock(volume.pool, volume.name, is_write=True)],
        volume_of=lambda volume, params: volume.name,
        virsh=lambda volume, params: _virsh(
            volume.pool, "vol-delete", "--pool", volume.pool.name, volume.name
        ),
        label=lambda volume, params: f"Delete {volume.name}",
    )
)
