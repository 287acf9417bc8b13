"""Giving a volume another size, or all the space that it may take."""

from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from pools.operations import once_it_answers
from storagemgr.jobs.models import Job
from storagemgr.jobs.operations import (
    Danger,
    Finding,
    Operation,
    OperationFailed,
    OperationForm,
    Run,
    Step,
    register,
)
from storagemgr.jobs.pages import TypedName
from storagemgr.templatetags.storage import size
from storagemgr.virt import volume_changes
from volumes import chain, safety
from volumes.dependents import look_of
from volumes.forms import SizeField
from volumes.identity import uses_of
from volumes.models import DiskUse, Volume
from volumes.operations.base import Events, Params, find, read_new, some, virsh, why_off_in
from volumes.panel import children_words

# Of files; volumes of other types have no format that matters.
RESIZED, SHRUNK = ("raw", "qcow2", "qed"), ("raw", "qcow2")


def live_uses(volume: Volume) -> list[DiskUse]:
    """The disks of running VMs that are this volume, one for each disk."""
    running = uses_of(volume).filter(running=True, kind="disk", readonly=False)
    return list({(use.domain_uuid, use.target): use for use in running}.values())


def _why_no_resize(volume: Volume) -> str:
    if reason := why_off_in(volume.pool, "volume.resize"):
        return reason
    if volume.type == "dir":
        return "It is a directory, not a disk."
    if volume.type == "file" and volume.format not in RESIZED:
        return f"libvirt cannot resize images of the format {volume.format}; those of raw and qcow2 it can."
    if reason := safety.why_not(volume, "resize"):
        return reason
    if children := children_words(look_of(volume)):
        return f"Other volumes are built on it: {children}. Resize those; they have sizes of their own."
    if len(live_uses(volume)) > 1:
        return "It is more than one disk of running VMs, and each would have to be told of the new size."
    return ""


def why_not_to(volume: Volume, capacity: int, *, allocate: bool) -> str:
    """What libvirt, or the VM, would not bear of this size; "" for nothing."""
    if capacity < volume.capacity:
        return _why_no_shrink(volume, capacity, allocate)
    if allocate and (use := next(iter(live_uses(volume)), None)):
        return f"{use.domain_name} runs from it: until it is shut down the volume can only grow."
    if capacity == volume.capacity and not allocate:
        return "It has this size already."
    needed, free = capacity - volume.allocation, volume.pool.available
    if allocate and needed > free:
        return f"{size(needed)} is wanted now, {size(free)} is free in {volume.pool}."
    return ""


def _why_no_shrink(volume: Volume, capacity: int, allocate: bool) -> str:
    if volume.pool.kind.only_grows:
        return (
            f"libvirt makes volumes of {volume.pool.kind.title} only larger; it has {size(volume.capacity)}."
        )
    if volume.type == "file" and volume.format not in SHRUNK:
        return f"Images of the format {volume.format} only grow; it has {size(volume.capacity)}."
    if allocate:
        return "Taking all its space goes only with the size that it has, or with a larger one."
    if reason := safety.why_not(volume, "shrink"):
        return f"It has {size(volume.capacity)} and cannot be made smaller: {reason}"
    if volume.allocation >= volume.capacity:
        return "All its space is taken, and libvirt never cuts off what is taken. A smaller one has to be made anew."
    if capacity < volume.allocation:
        return f"{size(volume.allocation)} of it is taken, and libvirt never cuts off what is taken."
    return ""


class ResizeForm(OperationForm):
    capacity = SizeField(label="New size", help_text="What the VM sees, for example 20 GiB.")
    allocate = forms.BooleanField(
        label="Take all of its space now", required=False, help_text="So that no other volume can take it."
    )
    # Asked for only when they matter.
    outgrow = forms.BooleanField(label="Make it so large all the same", required=False)
    shrink = forms.BooleanField(
        label="Cut off what is beyond the new end",
        help_text="It is lost. Make the file systems and partitions inside smaller first.",
        error_messages={"required": "It gets smaller: say that this is what you want."},
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        volume, wanted = self.target, self._wanted()
        self.fields["capacity"].initial = volume.capacity
        if volume.type != "file" or volume.format != "raw" or volume.encrypted or live_uses(volume):
            del self.fields["allocate"]
        if not (volume.pool.kind.numbers == "normal" and 0 < volume.pool.capacity < wanted):
            del self.fields["outgrow"]
        if not 0 < wanted < volume.capacity or why_not_to(volume, wanted, allocate=False):
            del self.fields["shrink"]
        else:
            self.fields["typed_name"] = TypedName(str(volume), "the name of the volume")

    def _wanted(self) -> int:
        """The size as typed, 0 for none."""
        try:
            return int(SizeField().clean(self.data.get("capacity")))
        except ValidationError:
            return 0

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        capacity, allocate = cleaned.get("capacity"), cleaned.get("allocate", False)
        if capacity is None:
            return cleaned
        if reason := why_not_to(self.target, capacity, allocate=allocate):
            self.add_error("capacity", reason)
        elif "outgrow" in self.fields and not allocate and not cleaned.get("outgrow"):
            whole = size(self.target.pool.capacity)
            self.add_error(
                "outgrow",
                f"It may grow to {size(capacity)}, and {self.target.pool} as a whole has {whole}: "
                "its VM stops when the pool is full.",
            )
        return cleaned

    def params(self) -> Params:
        cleaned = super().params()
        return {
            "capacity": cleaned.get("capacity", self.target.capacity),
            "allocate": cleaned.get("allocate", False),
            "shrink": cleaned.get("shrink", False),
        }


def _check_resize(run: Run) -> None:
    safety.read_again(run)
    volume, params = find(run.job), run.job.params
    if volume is None:
        return
    if volume.capacity > params["capacity"] and not params["shrink"]:
        raise OperationFailed("changed_since", f"It has {size(volume.capacity)} by now, which is more.")
    if reason := why_not_to(volume, params["capacity"], allocate=params["allocate"]):
        raise OperationFailed("changed_since", reason)
    if not live_uses(volume):
        chain.check_writing(run.open(), volume)


def _resize(run: Run) -> Events:
    volume, params, connection = run.target, run.job.params, run.open()
    capacity, uses = params["capacity"], live_uses(volume)
    yield Step(f"Resize {volume.name} from {size(volume.capacity)} to {size(capacity)}")
    if uses:
        run.log(f"{uses[0].domain_name} runs from it: its QEMU changes the size of {uses[0].target}")
        volume_changes.block_resize(connection, str(uses[0].domain_uuid), uses[0].target, capacity)
    else:
        flags = {"shrink": params["shrink"], "allocate": params["allocate"]}
        volume_changes.resize(connection, str(volume.pool.uuid), volume.name, capacity, **flags)
    run.change({"capacity": volume.capacity}, {"capacity": capacity})
    yield Step("Read the volume")
    read_new(connection, volume.pool, volume.name)


def _settle_resize(run: Run) -> Finding:
    volume, params = run.target, run.job.params
    if volume is None:
        return Finding(Job.State.FAILED, "The volume is gone.", "target_gone")
    volume = read_new(run.open(), volume.pool, volume.name)
    if volume is None:
        return Finding(Job.State.FAILED, "The volume is gone.", "target_gone")
    if volume.capacity != params["capacity"]:
        return Finding(Job.State.FAILED, f"It has {size(volume.capacity)}.", "nothing_done")
    if params["allocate"] and volume.allocation < volume.capacity:
        return Finding(Job.State.FAILED, "It has its new size, and not all of its space.", "end_unknown")
    return Finding(Job.State.SUCCEEDED, f"It has {size(volume.capacity)}.")


def _effects(volume: Volume) -> list[str]:
    effects = ["The disk gets the new size. Partitions and file systems inside it stay as they are."]
    if uses := live_uses(volume):
        name = uses[0].domain_name
        return [
            *effects,
            f"{name} runs from it: its QEMU does it, and {name} sees the new size at once. It can only grow.",
        ]
    if vms := sorted(set(uses_of(volume).values_list("domain_name", flat=True))):
        return [*effects, f"{some(vms)} sees the new size at its next start. It can only grow."]
    if not volume.pool.kind.only_grows:
        effects.append("Where it gets smaller, what is beyond the new end is lost.")
    return effects


def _virsh(volume: Volume, params: Params) -> str:
    capacity = f"{params['capacity']}b" if params.get("capacity") else "SIZE"
    if uses := live_uses(volume):
        return virsh(volume.pool, "blockresize", uses[0].domain_name, uses[0].target, capacity)
    flags = [f"--{name}" for name in ("shrink", "allocate") if params.get(name)]
    return virsh(volume.pool, "vol-resize", "--pool", volume.pool.name, volume.name, capacity, *flags)


RESIZE = register(
    Operation(
        name="volume.resize",
        title="Resize",
        sentence="Gives the disk more or less space.",
        icon="arrows-angle-expand",
        right="volume.resize",
        target=Volume,
        find=find,
        check=_check_resize,
        form=ResizeForm,
        danger=Danger.ASKS,
        is_quick=True,
        run=_resize,
        settle=once_it_answers(_settle_resize),
        why_off=_why_no_resize,
        effects=_effects,
        checks=lambda volume, user: safety.checks(volume, "resize", user),
        locks=lambda volume, params: safety.locks_of(volume),
        volume_of=lambda volume, params: volume.name,
        virsh=_virsh,
        label=lambda volume, params: f"Resize {volume.name} to {size(params['capacity'])}",
    )
)
