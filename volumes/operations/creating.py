"""Making an empty volume, which can be built on another one."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

from pools.models import Pool
from pools.operations import find as find_pool
from pools.operations import once_it_answers
from storagemgr.access.objects import may
from storagemgr.jobs.models import Job, JobLock
from storagemgr.jobs.operations import Operation, OperationFailed, Run, Step, register
from storagemgr.virt import volumes as virt_volumes
from storagemgr.virt.partitions import without_leftover
from storagemgr.virt.volume_formats import PLAIN
from storagemgr.virt.volume_xml import NewVolume, volume_xml
from volumes import backing, chain, room, sync
from volumes.models import Volume
from volumes.operations.base import (
    Events,
    Params,
    check_new,
    lock,
    locks_of_new,
    made,
    read_made,
    settle_new,
    telling_of_space,
    virsh,
    volume_secret,
    why_off_in,
)
from volumes.operations.create_form import CreateForm
from volumes.partitions import why_no_partition

# What vol-create-as of virsh has no option for.
_IN_XML = ("cluster_size", "compat", "lazy_refcounts", "nocow", "luks", "mode", "owner", "group")


def _why_no_create(pool: Pool) -> str:
    reason = why_off_in(pool, "volume.create")
    return reason or (why_no_partition(pool) if pool.type == "disk" else "")


def parent_of(pool: Pool, params: Params) -> Volume | None:
    """What it will be built on."""
    rows = Volume.objects.select_related("pool__host").filter(pool__host_id=pool.host_id)
    return rows.filter(pool__uuid=params.get("backing_pool"), name=params.get("backing_volume", "")).first()


def new_volume(pool: Pool, params: Params, secret_uuid: str = "") -> NewVolume:
    space, parent = params.get("space", ""), parent_of(pool, params)
    capacity, allocation = _sizes(pool, params, is_snapshot=parent is not None)
    return NewVolume(
        name=params.get("name") or "NAME",
        format=params.get("format", ""),
        capacity=capacity,
        allocation=allocation,
        preallocation="off" if space == "sparse" else space or "off",
        backing_path=parent.path if parent else "",
        backing_format=backing.format_of(parent) if parent and pool.type != "logical" else "",
        compat=params.get("compat", ""),
        cluster_size=params.get("cluster_size"),
        lazy_refcounts=bool(params.get("lazy_refcounts")),
        nocow=bool(params.get("nocow")),
        mode=_mode(params.get("mode", "")),
        owner=params.get("owner"),
        group=params.get("group"),
        secret_uuid=secret_uuid,
    )


def _sizes(pool: Pool, params: Params, *, is_snapshot: bool) -> tuple[int, int | None]:
    capacity, allocation = params.get("capacity") or 0, params.get("allocation")
    if pool.type == "logical" and is_snapshot:
        # lvcreate takes no size of a snapshot but that of its own space, and libvirt calls it the capacity.
        return allocation or capacity, None
    if pool.type == "zfs" and params.get("space") == "sparse":
        return capacity, 0
    return capacity, allocation


def _mode(text: str) -> str:
    return text and f"0{text.removeprefix('0'):0>3}"


def _check(run: Run) -> None:
    check_new(run, run.target)
    if "backing_volume" not in run.job.params:
        return
    parent, requester = parent_of(run.target, run.job.params), run.job.requested_by
    if parent is not None:
        parent = sync.read_one(run.open(), parent.pool, parent.name)
    if parent is None:
        raise OperationFailed("changed_since", f"{run.job.params['backing_volume']} is not there any more.")
    if requester and not may(requester, "pool.view", parent.pool.host_id, parent.pool.uuid):
        raise OperationFailed("not_permitted_any_more")
    if reason := backing.why_unfit(parent):
        raise OperationFailed("changed_since", reason)
    chain.check(run.open(), parent, requester)


def _create(run: Run) -> Events:
    pool, params, connection = run.target, run.job.params, run.open()
    name, uuid = params["name"], str(pool.uuid)
    if params.get("luks") and not run.secrets.get("passphrase"):
        raise OperationFailed("secrets_lost")
    yield Step(f"Create {name}")
    with ExitStack() as around:
        around.enter_context(telling_of_space(connection, pool, _needed(params)))
        secret = around.enter_context(
            volume_secret(connection, pool, name, run.secrets.get("passphrase", ""))
        )
        if pool.type == "disk":
            around.enter_context(without_leftover(connection, uuid, name, params["capacity"]))
        virt_volumes.create(connection, uuid, new_volume(pool, params, secret))
    yield Step("Read the new volume")
    read_made(connection, pool, name)


def _needed(params: Params) -> int:
    takes_all = params.get("space") not in ("sparse", "metadata")
    return int(params.get("allocation") or (params.get("capacity", 0) if takes_all else 0))


@room.promising("volume.create")
def _promised(job: Job) -> tuple[Pool | None, int]:
    pool = find_pool(job)
    return pool, _taken_now(pool, job.params) if pool else 0


def _taken_now(pool: Pool, params: Params) -> int:
    takes_all = params.get("space") in ("falloc", "full") or pool.type == "disk"
    return int(params.get("capacity" if takes_all else "allocation") or 0)


def _why_no_room(pool: Pool, params: Params) -> str:
    return "" if "backing_volume" in params else room.why_none(pool, _taken_now(pool, params))


def _effects(pool: Pool) -> list[str]:
    if pool.type == "disk":
        return [
            f"Writes a new entry into the partition table of {pool.source}. "
            "What was in that part of the disk before shows in the new partition until it is overwritten."
        ]
    return []


def _locks(pool: Pool, params: Params) -> list[JobLock]:
    locks = locks_of_new(pool, params["name"])
    if parent := parent_of(pool, params):
        locks.append(lock(parent.pool, parent.name, is_write=False))
    return locks


def _virsh(pool: Pool, params: Params) -> str:
    if any(params.get(name) for name in _IN_XML):
        return _virsh_xml(pool, params)
    new = new_volume(pool, params)
    words: list[Any] = ["vol-create-as", pool.name, new.name, _size_word(pool, params)]
    words += ["--format", new.format] if new.format else []
    words += list(_allocation_words(pool, params, new))
    if new.backing_path:
        words += ["--backing-vol", new.backing_path]
        words += ["--backing-vol-format", new.backing_format] if new.backing_format else []
    line = virsh(pool, *words)
    if new.preallocation == "full":
        line += " && " + virsh(pool, "vol-wipe", "--pool", pool.name, new.name)
    return line


def _size_word(pool: Pool, params: Params) -> int | str:
    if params.get("format") == "dir":
        return 0
    parent = parent_of(pool, params)
    size = new_volume(pool, params).capacity
    return size or (parent.capacity if parent else "SIZE")


def _allocation_words(pool: Pool, params: Params, new: NewVolume) -> Iterator[Any]:
    if new.format in ("", "dir"):
        if new.allocation is not None:
            yield from ("--allocation", new.allocation)
    elif new.format == "qcow2":
        if new.preallocation != "off":
            yield from ("--allocation", new.capacity if new.preallocation == "falloc" else 0)
            yield "--prealloc-metadata"
        else:
            yield from ("--allocation", 0)
    elif new.format not in PLAIN or new.preallocation == "off":
        yield from ("--allocation", 0)


def _virsh_xml(pool: Pool, params: Params) -> str:
    """What only the XML can say, from the standard input."""
    new = new_volume(pool, params, "UUID-OF-ITS-SECRET" if params.get("luks") else "")
    flag = ["--prealloc-metadata"] if new.format == "qcow2" and new.preallocation != "off" else []
    return f"{virsh(pool, 'vol-create', pool.name, '/dev/stdin', *flag)} <<< '{volume_xml(new)}'"


CREATE = register(
    Operation(
        name="volume.create",
        title="New volume",
        sentence="Makes an empty disk in this pool.",
        icon="plus-lg",
        right="volume.create",
        target=Pool,
        find=find_pool,
        check=_check,
        form=CreateForm,
        template="volumes/create.html",
        run=_create,
        settle=once_it_answers(settle_new),
        result=made,
        is_quick=True,
        why_off=_why_no_create,
        why_no_room=_why_no_room,
        effects=_effects,
        locks=_locks,
        volume_of=lambda pool, params: params["name"],
        virsh=_virsh,
        label=lambda pool, params: f"Create {params['name']}",
    )
)
