"""Deleting a volume: after a time in which it can be undone, or at once."""

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.utils import timezone

from pools.models import Pool
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
from storagemgr.jobs.words import duration
from storagemgr.templatetags.storage import moment_long
from storagemgr.virt import volumes as virt_volumes
from storagemgr.virt.errors import VirtError
from volumes import safety
from volumes.identity import notes_in_place
from volumes.models import Volume
from volumes.operations.base import Events, Params, find, read_new, virsh, why_off_in


def delay() -> timedelta:
    """How long a deletion can be undone; nothing where that is switched off."""
    return timedelta(seconds=settings.DELETE_DELAY)


def scheduled_deletion(volume: Volume) -> Job | None:
    """The job that will delete it when its time has come."""
    scheduled = Job.objects.filter(state=Job.State.SCHEDULED, operation=DELETE.name)
    here = scheduled.filter(host_id=volume.pool.host_id, pool_uuid=volume.pool.uuid, volume_name=volume.name)
    return here.first()


class DeleteForm(OperationForm):
    """Asks for nothing, and keeps which volume was meant: a day later another one may have its name."""

    def params(self) -> Params:
        return super().params() | {"meant": marks_of(self.target)}


def marks_of(volume: Volume) -> list[Any]:
    return [volume.key, volume.type, volume.format, volume.capacity, volume.backing_path]


def _check_delete(run: Run) -> None:
    safety.read_again(run)
    volume, meant = find(run.job), run.job.params.get("meant")
    if volume is not None and meant and meant != marks_of(volume):
        raise OperationFailed(
            "changed_since", f"{volume} is another volume, or another image, than was meant."
        )


def _why_no_delete(volume: Volume) -> str:
    if reason := why_off_in(volume.pool, "volume.delete"):
        return reason
    if volume.pool.type == "disk" and volume.pool.source.startswith("/dev/disk/"):
        return "libvirt deletes a partition only where the pool names its disk as the kernel does: /dev/sdb."
    return safety.why_not(volume, "delete")


def _delete(run: Run) -> Events:
    volume, connection = run.target, run.open()
    yield Step(f"Delete {volume.name}")
    try:
        virt_volumes.delete(connection, str(volume.pool.uuid), volume.name)
    except VirtError as error:
        # It gives the number of an error that was before, "No such file or directory" for example.
        if volume.pool.type == "rbd" and "failed to remove volume" in error.detail:
            raise OperationFailed("kept_by_ceph", error.detail) from error
        raise
    yield Step("Read the pool")
    if read_new(connection, volume.pool, volume.name) is None:
        _forget_notes(volume.pool, volume.name)


def _forget_notes(pool: Pool, name: str) -> None:
    """By whatever pool: another volume of this name is another volume."""
    notes_in_place(pool, name).delete()


def _settle_delete(run: Run) -> Finding:
    pool = find_pool(run.job)
    try:
        is_gone = pool is None or read_new(run.open(), pool, run.job.volume_name) is None
    except VirtError as error:
        if error.code != "pool_inactive":
            raise
        return Finding(Job.State.FAILED, "The pool is stopped; start it to see what is there.", "end_unknown")
    if is_gone:
        if pool is not None:
            _forget_notes(pool, run.job.volume_name)
        return Finding(Job.State.SUCCEEDED, "The volume is deleted.")
    return Finding(Job.State.FAILED, "The volume is still there; nothing was deleted.", "nothing_done")


def _effects_later(volume: Volume) -> list[str]:
    when = moment_long(timezone.now() + delay())
    return [
        f"{volume.name} is deleted in {duration(delay())}, on {when}. Until then you can undo that.",
        "Until then its data stays, and nothing else can be done with it here; VMs are not kept from it.",
        "Then all is checked again. Where a VM or another volume needs it by then, it is not deleted.",
        *_effects_on_link(volume),
    ]


def _effects_now(volume: Volume) -> list[str]:
    if volume.is_special:
        return _effects_on_link(volume)
    return [f"The data of {volume.name} is gone at once; libvirt has no trash."]


def _effects_on_link(volume: Volume) -> list[str]:
    if not volume.is_special:
        return []
    return ["It is a link or a special file: that alone is removed, and what it leads to stays as it is."]


_SHARED: dict[str, Any] = {
    "icon": "trash3",
    "target": Volume,
    "find": find,
    "check": _check_delete,
    "form": DeleteForm,
    "is_quick": True,
    "is_for_many": True,
    "run": _delete,
    "settle": once_it_answers(_settle_delete),
    "why_off": _why_no_delete,
    "checks": lambda volume, user: safety.checks(volume, "delete", user),
    "locks": lambda volume, params: safety.locks_of(volume),
    "volume_of": lambda volume, params: volume.name,
    "virsh": lambda volume, params: virsh(volume.pool, "vol-delete", "--pool", volume.pool.name, volume.name),
    "label": lambda volume, params: f"Delete {volume.name}",
}

DELETE = register(
    Operation(
        name="volume.delete",
        title="Delete",
        sentence="Deletes it later; until then it can be undone.",
        right="volume.delete",
        danger=Danger.ASKS,
        delay=delay,
        applies=lambda volume: bool(delay()),
        effects=_effects_later,
        **_SHARED,
    )
)

DELETE_NOW = register(
    Operation(
        name="volume.delete_now",
        title="Delete at once",
        button="Delete now",
        sentence="Destroys the volume and its data. Nothing brings them back.",
        right="volume.delete-now",
        danger=Danger.DESTROYS,
        effects=_effects_now,
        **_SHARED,
    )
)
