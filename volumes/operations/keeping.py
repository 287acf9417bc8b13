"""What people note on a volume, and how they protect it. Nothing of it is on the host."""

from typing import Any

from pools.notes import (
    OwnerForm,
    ReasonForm,
    declare_notes,
    declare_protect,
    declare_unprotect,
    settle,
    write,
    writing,
)
from storagemgr.jobs.operations import Danger, Operation, Run, Step, register
from volumes.models import Volume, VolumeNotes
from volumes.operations.base import Events, find


def save(volume: Volume, values: dict[str, Any]) -> None:
    pool = volume.pool
    key = {"host_id": pool.host_id, "pool_uuid": pool.uuid, "volume_name": volume.name}
    VolumeNotes.objects.update_or_create(**key, defaults={**values, "volume": volume})


def _keep(run: Run) -> Events:
    yield Step("Leave it out of the review")
    reason, person = run.job.params["reason"], run.job.requester_name
    write(run, save, {"not_unused_because": reason, "not_unused_by": person})


def _keep_no_more(run: Run) -> Events:
    yield Step("Take it into the review again")
    write(run, save, {"not_unused_because": "", "not_unused_by": ""})


def is_kept(volume: Volume) -> bool:
    notes = getattr(volume, "notes", None)
    return bool(notes and notes.not_unused_because)


def _label(verb: str) -> Any:
    return lambda volume, params: f"{verb} {volume.name}"


_SHARED: dict[str, Any] = {
    "target": Volume,
    "find": find,
    "is_free": True,
    "is_quick": True,
    "settle": settle,
    "volume_of": lambda volume, params: volume.name,
    "virsh": lambda volume, params: "",
}

declare_notes("volume", save, _label, _SHARED)

OWN = register(
    Operation(
        name="volume.own",
        title="Set the owner",
        button="Owner",
        sentence="The team that answers for it.",
        icon="person-circle",
        right="pool.note",
        form=OwnerForm,
        is_for_many=True,
        run=writing(save),
        effects=lambda volume: ["The team that owns it stands on its page and in the lists."],
        label=_label("Owner of"),
        **_SHARED,
    )
)

declare_protect(
    "volume",
    save,
    _label,
    _SHARED,
    sentence="Nobody deletes, wipes or shrinks it.",
    effect="Here nobody can delete, wipe, shrink or overwrite it, nor delete the storage of its pool. Who uses "
    "virsh can.",
)
declare_unprotect(
    "volume",
    save,
    _label,
    _SHARED,
    sentence="It can be deleted, wiped and made smaller again.",
    effect="From then on it can be deleted, wiped and made smaller.",
)

KEEP = register(
    Operation(
        name="volume.keep",
        title="Not unused",
        sentence="The review of unused volumes leaves it out.",
        icon="bookmark",
        right="pool.note",
        form=ReasonForm,
        is_for_many=True,
        applies=lambda volume: not is_kept(volume),
        run=_keep,
        effects=lambda volume: [
            "The review of unused volumes shows it no more, for the reason that you give."
        ],
        label=_label("Not unused:"),
        **_SHARED,
    )
)

UNKEEP = register(
    Operation(
        name="volume.unkeep",
        title="Review it again",
        sentence="The review of unused volumes may show it again.",
        icon="arrow-repeat",
        right="pool.note",
        danger=Danger.ASKS,
        applies=is_kept,
        run=_keep_no_more,
        effects=lambda volume: ["The review of unused volumes shows it again when nothing refers to it."],
        label=_label("Review again:"),
        **_SHARED,
    )
)
