"""Copying a volume inside its host, and accepting a copy of which nobody saw the end."""

from contextlib import ExitStack
from dataclasses import replace

from pools.models import Pool
from pools.operations import once_it_answers
from storagemgr.access.objects import may
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
from storagemgr.virt.errors import VirtError
from storagemgr.virt.partitions import without_leftover
from storagemgr.virt.volume_copies import copy
from storagemgr.virt.volume_formats import IN_FILES
from storagemgr.virt.volume_xml import NewVolume, volume_xml
from volumes import chain, room
from volumes.identity import uses_of
from volumes.models import Volume
from volumes.operations.base import (
    Events,
    Params,
    check,
    check_new,
    find,
    lock,
    locks_of_new,
    made,
    pool_of_new,
    read_made,
    settle_new,
    some,
    telling_of_space,
    virsh,
    volume_secret,
    why_off_in,
)
from volumes.operations.clone_form import READ_ONLY, CloneForm, can_receive, needed_in, why_no_room


def _check_clone(run: Run) -> None:
    check(run)
    volume, job = find(run.job), run.job
    pool = pool_of_new(job)
    if volume is None or pool is None:
        raise OperationFailed("target_gone")
    requester = job.requested_by
    if requester and not may(requester, "volume.create", pool.host_id, pool.uuid):
        raise OperationFailed("not_permitted_any_more")
    check_new(run, pool)
    pool.refresh_from_db()
    if not can_receive(pool, volume):
        raise OperationFailed("changed_since", f"{pool} cannot take the copy now.")
    chain.check(run.open(), volume, requester)


def _why_no_clone(volume: Volume) -> str:
    if volume.pool.type in READ_ONLY:
        if reason := why_off_in(volume.pool, "volume.download"):
            return reason
    elif reason := why_off_in(volume.pool, "volume.clone"):
        return reason
    if volume.type == "dir":
        return "It is a directory, not a disk."
    if volume.unverified_since:
        return "It is an unverified copy: accept or delete it first."
    return chain.why_no_copy(volume)


def new_copy(params: Params, secret_uuid: str = "") -> NewVolume:
    is_full = params.get("space") == "full"
    return NewVolume(
        name=params["name"],
        format=params.get("format", ""),
        preallocation="falloc" if is_full else "off",
        secret_uuid=secret_uuid,
    )


def _clone(run: Run) -> Events:
    volume, params, pool = run.target, run.job.params, pool_of_new(run.job)
    # Progress is asked for over a second connection: calls on the first one may wait until the copy ends.
    connection, watch = run.open(), run.open()
    if params.get("luks") and not run.secrets.get("passphrase"):
        raise OperationFailed("secrets_lost")
    name, needed = params["name"], needed_in(pool, volume, params)
    # A device has its whole size from the start.
    is_watched = pool.type in IN_FILES and params.get("space") != "full"
    yield Step(
        f"Copy {volume.name} to {_place(volume, pool, name)}", total=needed or None if is_watched else None
    )
    with ExitStack() as around:
        around.enter_context(telling_of_space(connection, pool, needed))
        secret = around.enter_context(
            volume_secret(connection, pool, name, run.secrets.get("passphrase", ""))
        )
        if pool.type == "disk":
            around.enter_context(without_leftover(connection, str(pool.uuid), name, volume.capacity))
        new, reflink = new_copy(params, secret), bool(params.get("reflink"))
        places = (str(volume.pool.uuid), volume.name, str(pool.uuid))
        try:
            for done in copy(connection, watch, *places, new, reflink=reflink):
                yield Progress(done)
        except VirtError as error:
            if reflink and error.code == "no_support":
                raise OperationFailed("no_reflink", error.detail) from error
            raise
    yield Step("Read the new volume")
    read_made(connection, pool, name)


def _place(volume: Volume, pool: Pool, name: str) -> str:
    # By no name: who sees the source's jobs may not see the other pool.
    return name if pool.pk == volume.pool_id else f"{name} in another pool"


def _clone_effects(volume: Volume) -> list[str]:
    effects = ["Copies the data on the host; the source cannot be changed or deleted until it ends."]
    if parents := chain.chain_of(volume)[1:]:
        # Who sees this pool may not see the others.
        named = [parent.name if parent.pool_id == volume.pool_id else "" for parent in parents]
        below = some(named) if all(named) else "the volumes below it"
        effects.append(
            f"Flattens it: what is in {below} is copied into the one new volume, "
            "which needs none of them and takes more space than this one."
        )
    if volume.pool.type == "rbd":
        effects.append(
            f"Ceph clones from a protected snapshot, which stays on {volume.name}: libvirt cannot delete that one "
            "afterwards, before rbd snap unprotect and rbd snap purge."
        )
    running = sorted(set(uses_of(volume).filter(running=True).values_list("domain_name", flat=True)))
    if running:
        effects.append(
            f"{some(running)} runs from it: the copy will be as after a power cut, or QEMU's lock refuses it."
        )
    effects.append("libvirt cannot stop a copy once it runs.")
    return effects


def _target(volume: Volume, params: Params) -> Pool:
    into = params.get("into")
    pool = Pool.objects.filter(host_id=volume.pool.host_id, uuid=into).first() if into else None
    return pool or volume.pool


@room.promising("volume.clone")
def _promised(job: Job) -> tuple[Pool | None, int]:
    volume, pool = find(job), pool_of_new(job)
    if volume is None or pool is None or job.params.get("reflink"):
        return pool, 0
    return pool, room.left_of(job, needed_in(pool, volume, job.params))


def _clone_locks(volume: Volume, params: Params) -> list[JobLock]:
    parents = {(part.pool_id, part.name): part for part in chain.chain_of(volume)}
    return [
        *[lock(part.pool, part.name, is_write=False) for part in parents.values()],
        *locks_of_new(_target(volume, params), params["name"]),
    ]


def _clone_virsh(volume: Volume, params: Params) -> str:
    pool, name = _target(volume, params), params.get("name") or "NAME"
    is_plain = not any(params.get(key) for key in ("format", "space", "luks", "reflink"))
    if pool.pk == volume.pool_id and is_plain:
        return virsh(pool, "vol-clone", "--pool", pool.name, volume.name, name)
    xml = _shown_xml(volume, pool, params | {"name": name})
    flags = ["--reflink"] if params.get("reflink") else []
    source = ("--inputpool", volume.pool.name, volume.name)
    line = virsh(pool, "vol-create-from", *flags, pool.name, "/dev/stdin", *source)
    return f"{line} <<< '{xml}'"


def _shown_xml(volume: Volume, pool: Pool, params: Params) -> str:
    format = params.get("format") or (volume.format if volume.type == "file" else "raw")
    new = new_copy(params | {"name": params["name"]}, "UUID-OF-ITS-SECRET" if params.get("luks") else "")
    in_files = pool.type in IN_FILES
    return volume_xml(replace(new, format=format if in_files else "", capacity=volume.capacity))


def _accept(run: Run) -> Events:
    yield Step("Take the copy as it is")
    Volume.objects.filter(pk=run.target.pk).update(unverified_since=None)


def _settle_accept(run: Run) -> Finding:
    if run.target is not None and run.target.unverified_since is None:
        return Finding(Job.State.SUCCEEDED, "The copy was accepted.")
    return Finding(Job.State.FAILED, "It was not accepted; it can be asked for again.", "nothing_done")


CLONE = register(
    Operation(
        name="volume.clone",
        title="Clone",
        sentence="Makes a whole copy in this pool or another one of the host.",
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
        why_no_room=lambda volume, params: why_no_room(_target(volume, params), volume, params),
        effects=_clone_effects,
        locks=_clone_locks,
        # In another pool it would name a volume of this one.
        volume_of=lambda volume, params: volume.name if params.get("into") else params["name"],
        virsh=_clone_virsh,
        label=lambda volume, params: (
            f"Clone {volume.name} to {_place(volume, _target(volume, params), params['name'])}"
        ),
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
        virsh=lambda volume, params: virsh(volume.pool, "vol-info", "--pool", volume.pool.name, volume.name),
        label=lambda volume, params: f"Accept {volume.name}",
    )
)
