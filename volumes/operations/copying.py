"""Copying a volume, and accepting a copy of which nobody saw the end."""

from pools.operations import once_it_answers
from storagemgr.jobs.models import Job
from storagemgr.jobs.operations import Danger, Finding, Operation, Progress, Run, Step, register
from storagemgr.virt.volume_copies import copy
from storagemgr.virt.volumes import NewVolume
from volumes import chain
from volumes.forms import CloneForm
from volumes.models import Volume
from volumes.operations.base import (
    Events,
    check,
    find,
    lock,
    made,
    read_new,
    settle_new,
    some,
    virsh,
    why_off_in,
)


def _check_clone(run: Run) -> None:
    check(run)
    chain.check(run.open(), run.target, run.job.requested_by)


def _why_no_clone(volume: Volume) -> str:
    if reason := why_off_in(volume.pool, "volume.clone"):
        return reason
    if volume.pool.type == "disk":
        return "The kernel names partitions by their number, so libvirt cannot name the copy."
    if volume.type == "dir":
        return "It is a directory, not a disk."
    if volume.unverified_since:
        return "It is an unverified copy: accept or delete it first."
    return chain.why_no_copy(volume)


def _clone(run: Run) -> Events:
    volume, name = run.target, run.job.params["name"]
    # Progress is asked for over a second connection: calls on the first one may wait until the copy ends.
    connection, watch = run.open(), run.open()
    yield Step(f"Copy {volume.name} to {name}", total=volume.allocation or None)
    pool_uuid = str(volume.pool.uuid)
    for done in copy(connection, watch, pool_uuid, volume.name, pool_uuid, NewVolume(name=name)):
        yield Progress(done)
    yield Step("Read the new volume")
    read_new(connection, volume.pool, name)


def _clone_effects(volume: Volume) -> list[str]:
    effects = [
        f"Copies the data inside {volume.pool}; the source cannot be changed or deleted until it ends."
    ]
    if volume.backing_path:
        effects.append("The copy is whole: it no longer needs the volume that this one is built on.")
    if running := sorted(set(volume.uses.filter(running=True).values_list("domain_name", flat=True))):
        effects.append(
            f"{some(running)} runs from it: the copy will be as after a power cut, or QEMU's lock refuses it."
        )
    effects.append("libvirt cannot stop a copy once it runs.")
    return effects


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
        virsh=lambda volume, params: virsh(
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
        virsh=lambda volume, params: virsh(volume.pool, "vol-info", "--pool", volume.pool.name, volume.name),
        label=lambda volume, params: f"Accept {volume.name}",
    )
)
