"""Overwriting the data of a volume, with a record that stays."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from django import forms

from pools.operations import find as find_pool
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
from storagemgr.templatetags.storage import size
from storagemgr.virt import volume_changes
from storagemgr.virt import volumes as virt_volumes
from storagemgr.virt.errors import VirtError
from storagemgr.virt.wipe_algorithms import ALGORITHMS, algorithm
from volumes import safety
from volumes.models import Volume, WipeRecord
from volumes.operations.base import Events, Params, find, read_new, virsh, why_off_in
from volumes.operations.wipe_evidence import UNSEEN, close, filled, read_back, recorded
from volumes.promises import FILE_TYPES, has_holes, promises_little


def _why_no_wipe(volume: Volume) -> str:
    if reason := why_off_in(volume.pool, "volume.wipe"):
        return reason
    if volume.type == "dir":
        return "It is a directory; only what is in it could be wiped."
    if volume.is_special:
        return "It is a link or the like, and not the data itself."
    if volume.pool.type == "disk" and volume.format == "extended":
        return "It only holds other partitions; libvirt wipes each of those."
    if volume.pool.type == "logical" and volume.allocation < volume.capacity:
        return "libvirt does not wipe sparse logical volumes and snapshots; it can delete them."
    return safety.why_not(volume, "wipe")


class WipeForm(OperationForm):
    algorithm = forms.ChoiceField(label="With", initial="zero")
    fill = forms.BooleanField(
        label="Take all its space first",
        required=False,
        initial=True,
        help_text="The file has holes: else zeros free its blocks and do not overwrite them. It takes that space from "
        "the pool; the patterns of scrub do not need it.",
    )
    reason = forms.CharField(label="Why", required=False, max_length=400, help_text="Stands in the record.")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        kind, path = self.target.pool.kind, self.target.path
        left_out = {name: kind.why_no_wipe(name, path) for name in ALGORITHMS}
        names = [name for name in ALGORITHMS if not left_out[name]]
        field = self.fields["algorithm"]
        field.choices = [(name, f"{ALGORITHMS[name]}: {ALGORITHMS[name].words}") for name in names]
        field.help_text = " ".join(_words_of_choice(names, left_out))
        if not _is_fillable(self.target):
            del self.fields["fill"]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        params = {"algorithm": cleaned.get("algorithm"), "fill": cleaned.get("fill")}
        if _fills(self.target, params) and (reason := _why_not_full(self.target)):
            self.add_error("fill", reason)
        return cleaned

    def params(self) -> Params:
        cleaned = super().params()
        return {
            "algorithm": cleaned.get("algorithm", "zero"),
            "fill": cleaned.get("fill", False),
            "reason": cleaned.get("reason", ""),
        }


def _words_of_choice(names: Iterable[str], left_out: Mapping[str, str]) -> Iterator[str]:
    """What the choice takes, and why the rest of libvirt's is not offered here."""
    if any(ALGORITHMS[name].needs_scrub for name in names):
        yield "Zeros are written by libvirt itself; everything else takes the program scrub on the host."
    yield from dict.fromkeys(reason for reason in left_out.values() if reason)


def _is_fillable(volume: Volume) -> bool:
    is_raw = volume.format == "raw" and not volume.encrypted
    return is_raw and volume.pool.type in FILE_TYPES and has_holes(volume)


def _fills(volume: Volume, params: Params) -> bool:
    return bool(params["fill"] and params["algorithm"] == "zero" and _is_fillable(volume))


def _why_not_full(volume: Volume) -> str:
    needed, free = volume.capacity - volume.allocation, volume.pool.available
    return (
        f"{size(needed)} more would be taken, {size(free)} is free in {volume.pool}." if needed > free else ""
    )


def _check_wipe(run: Run) -> None:
    safety.read_again(run)
    volume, params = find(run.job), run.job.params
    if volume is None:
        return
    if reason := volume.pool.kind.why_no_wipe(params["algorithm"], volume.path):
        raise OperationFailed("changed_since", reason)
    if _fills(volume, params) and (reason := _why_not_full(volume)):
        raise OperationFailed("changed_since", reason)


def _wipe(run: Run) -> Events:
    volume, params, connection = run.target, run.job.params, run.open()
    pool_uuid, fills = str(volume.pool.uuid), _fills(volume, params)
    with recorded(run, fills) as evidence:
        if fills:
            yield Step(f"Take all the space of {volume.name}: {size(volume.capacity)}")
            volume_changes.resize(connection, pool_uuid, volume.name, volume.capacity, allocate=True)
            evidence.seen.append(filled(volume))
        yield Step(f"Wipe {volume.name}: {algorithm(params['algorithm'])}")
        volume_changes.wipe(connection, pool_uuid, volume.name, params["algorithm"])
        if params["algorithm"] == "zero":
            yield Step("Read some of it back")
        read_back(connection, volume, params["algorithm"], evidence)
    yield Step("Read the volume")
    read_new(connection, volume.pool, volume.name)


def _settle_wipe(run: Run) -> Finding:
    """libvirt does not say how a wipe ended that nobody waited for, so at best it is one to do again."""
    job, pool, connection = run.job, find_pool(run.job), run.open()
    record = WipeRecord.objects.filter(job_id=job.pk).first()
    if record is not None and record.is_done:
        return Finding(Job.State.SUCCEEDED, "libvirt had ended it; only the volume was not read again.")
    if pool is not None and job.daemon != "unknown" and connection.daemon_id() == job.daemon:
        try:
            if virt_volumes.is_building(connection, str(pool.uuid), job.volume_name):
                return Finding(None, "libvirt goes on with it; nobody will be told whether it went well.")
        except VirtError as error:
            if error.code not in ("no_volume", "no_pool", "pool_inactive"):
                raise
    if record is not None:
        close(record, UNSEEN)
    return Finding(Job.State.FAILED, UNSEEN, "wipe_unseen")


def _effects(volume: Volume) -> list[str]:
    effects = [f"The data of {volume.name} is overwritten. Nothing brings it back."]
    if volume.type == "file" and volume.format not in ("raw", "iso", ""):
        length = size(volume.physical or volume.allocation)
        effects.append(
            f"The {volume.format} header goes too: afterwards it is a raw volume of {length}, the length of the file, "
            "and no VM can use it as it is."
        )
    effects.append("It takes as long as writing all its bytes does, for each pass. libvirt cannot stop it.")
    effects.append(f"Meanwhile nobody can stop or refresh {volume.pool}.")
    return effects + [f"Not promised: {text}" for text in _not_promised(volume)]


def _not_promised(volume: Volume) -> list[str]:
    """Of a file with holes both: what the form's box changes is not known here."""
    if not _is_fillable(volume):
        return promises_little(volume)
    without = promises_little(volume)[0].removesuffix(".")
    return [f"Without taking all its space first: {without}.", *promises_little(volume, fills=True)]


def _virsh(volume: Volume, params: Params) -> str:
    words = ["vol-wipe", "--pool", volume.pool.name, volume.name, "--algorithm"]
    return virsh(volume.pool, *words, params.get("algorithm", "zero"))


def _record_link(job: Job) -> tuple[str, str] | None:
    record = WipeRecord.objects.filter(job_id=job.pk).first()
    return ("Record of the wipe", record.get_absolute_url()) if record else None


WIPE = register(
    Operation(
        name="volume.wipe",
        title="Wipe",
        sentence="Overwrites the data and keeps a record of it.",
        icon="eraser",
        right="volume.wipe",
        target=Volume,
        find=find,
        check=_check_wipe,
        form=WipeForm,
        danger=Danger.DESTROYS,
        is_for_many=True,
        run=_wipe,
        settle=once_it_answers(_settle_wipe),
        why_off=_why_no_wipe,
        effects=_effects,
        checks=lambda volume, user: safety.checks(volume, "wipe", user),
        locks=lambda volume, params: safety.locks_of(volume),
        volume_of=lambda volume, params: volume.name,
        virsh=_virsh,
        label=lambda volume, params: f"Wipe {volume.name}",
        next_step=_record_link,
    )
)
