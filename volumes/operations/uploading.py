"""Uploading: a volume is made empty, the transfer process takes the bytes, and a last run looks at what has come.

Which run it is says the Transfer row: not ready, all bytes there, or neither, and then what is there is taken back.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import RegexValidator
from django.utils import timezone

from pools.models import Pool
from pools.operations import check as check_pool
from pools.operations import find as find_pool
from pools.operations import once_it_answers
from storagemgr.access.objects import may, who_may
from storagemgr.jobs.lease import move
from storagemgr.jobs.models import Job
from storagemgr.jobs.operations import (
    Finding,
    Handed,
    Operation,
    OperationFailed,
    Run,
    Step,
    Stopped,
    register,
)
from storagemgr.jobs.submit import ring
from storagemgr.templatetags.storage import size as size_words
from storagemgr.templatetags.storage import span
from storagemgr.virt import volumes as virt_volumes
from storagemgr.virt.errors import VirtError
from volumes import room, sync
from volumes.forms import NewVolumeForm
from volumes.models import Transfer, VolumeNotes
from volumes.operations.base import Events, Params, locks_of_new, made, virsh, why_off_in
from volumes.transfer import arrival
from volumes.transfer.job_page import receiving
from volumes.transfer.tickets import transfer_of

FORMATS = {
    "raw": "raw: the plain bytes of a disk",
    "qcow2": "qcow2: QEMU's own",
    "iso": "ISO: a CD or DVD",
    "vmdk": "VMDK: of VMware, whole in one file",
    "vdi": "VDI: of VirtualBox",
    "vpc": "VHD: of Hyper-V",
}
ENDINGS = {
    ".img": "raw",
    ".raw": "raw",
    ".qcow2": "qcow2",
    ".iso": "iso",
    ".vmdk": "vmdk",
    ".vdi": "vdi",
    ".vhd": "vpc",
}
INCOMPLETE = "Its upload has not ended, so it is not whole."
RIGHTS = ("volume.data-write", "volume.create")


def format_of(file_name: str) -> str:
    """What a file of this name mostly is, to be offered and never to be relied upon."""
    return ENDINGS.get(os.path.splitext(file_name)[1].lower(), "raw")


class UploadForm(NewVolumeForm):
    """`size` in bytes; the browser fills it in from the file."""

    format = forms.ChoiceField(
        label="Format",
        help_text="What the file is. It is looked into: what it turns out not to be, it cannot become.",
    )
    size = forms.IntegerField(
        label="Size in bytes",
        min_value=1,
        error_messages={"min_value": "An empty file cannot be uploaded; make an empty volume instead."},
    )
    sha256 = forms.CharField(
        label="SHA-256",
        required=False,
        validators=[RegexValidator(r"^[0-9a-f]{64}$", "64 digits of 0-9 and a-f.")],
        help_text="If you have it: what is stored is read back and compared.",
    )
    file_name = forms.CharField(required=False, max_length=255, widget=forms.HiddenInput)

    field_order = ["name", "format", "size", "sha256"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        known = (
            FORMATS if self.target.kind.volume_formats else {name: FORMATS[name] for name in ("raw", "iso")}
        )
        self.fields["format"].choices = list(known.items())

    def clean_size(self) -> int:
        wanted, limit = int(self.cleaned_data["size"]), settings.UPLOAD_LIMIT
        if wanted > limit:
            raise ValidationError(
                f"It has {size_words(wanted)}; at most {size_words(limit)} can be uploaded."
            )
        if reason := room.why_none(self.target, wanted):
            raise ValidationError(f"It has {size_words(wanted)}; {reason}")
        return wanted

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if self.user is not None and (reason := _why_not_for(self.user, self.target)):
            self.add_error(None, reason)
        return cleaned


def _why_not_for(user: Any, pool: Pool) -> str:
    for right in RIGHTS:
        if not may(user, right, pool.host_id, pool.uuid):
            return who_may(user, right, pool.host_id, pool.uuid)
    return ""


@room.promising("volume.upload")
def _promised(job: Job) -> tuple[Pool | None, int]:
    """A logical volume has its room as soon as it is there."""
    pool, transfer = find_pool(job), getattr(job, "transfer", None)
    if transfer is None:
        return pool, job.params["size"]
    has_all = transfer.is_ready and pool and not pool.kind.volume_formats
    return pool, 0 if has_all else transfer.size - transfer.done


def _why_off(pool: Pool) -> str:
    if pool.type == "disk":
        return (
            "The kernel names partitions by their number; make one first and fill it with virsh vol-upload."
        )
    return why_off_in(pool, "volume.create") or why_off_in(pool, "volume.upload")


def _check(run: Run) -> None:
    check_pool(run)
    if reason := _why_not_for(run.job.requested_by, run.target):
        raise OperationFailed("changed_since", reason)


def _upload(run: Run) -> Events:
    transfer = transfer_of(run.job)
    if run.job.cancel_asked_at or transfer.verdict:
        yield from _take_back(run, transfer)
    elif not transfer.is_ready:
        yield from _make(run, transfer)
    elif transfer.done < transfer.size:
        raise Handed(f"waits for the rest of {transfer.file_name}")
    else:
        yield from _look_at_all(run, transfer)


def _make(run: Run, transfer: Transfer) -> Events:
    pool, name, connection = run.target, run.job.params["name"], run.open()
    arrival.take_name(connection, pool, name)
    arrival.refuse_too_big(connection, pool, transfer.size)
    yield Step(arrival.MAKE + name)
    # Before it is there: whatever happens, a part of an image is never taken for a whole one.
    place = {"host": pool.host, "pool_uuid": pool.uuid, "volume_name": name}
    VolumeNotes.objects.update_or_create(**place, defaults={"quarantined_because": INCOMPLETE})
    try:
        arrival.make_empty(connection, pool, name, transfer.size)
    except VirtError as error:
        if error.code != "connection_lost":
            mark(pool, name, "")
        raise
    _is_made(run, transfer, pool)
    raise Handed(f"waits for {size_words(transfer.size)}")


def _is_made(run: Run, transfer: Transfer, pool: Pool) -> None:
    sync.read_one(run.connections[-1], pool, run.job.params["name"])
    Transfer.objects.filter(pk=transfer.pk).update(is_ready=True, moved_at=timezone.now())
    step = f"Receive {transfer.file_name}"[:255]
    Job.objects.filter(pk=run.job.pk).update(step=step, total_bytes=transfer.size, done_bytes=0)


def mark(pool: Pool, name: str, reason: str) -> None:
    """Why the volume stays in quarantine; "" takes it out."""
    notes = VolumeNotes.objects.filter(host=pool.host, pool_uuid=pool.uuid, volume_name=name)
    notes.update(quarantined_because=reason)


def _look_at_all(run: Run, transfer: Transfer) -> Events:
    pool, name = run.target, run.job.params["name"]
    connection = run.open()
    with _taken_back_when_refused(run, transfer):
        yield Step("Look into the image")
        arrival.look_into(connection, pool, name, run.job.params["format"])
        found = yield from arrival.stored_sha256(connection, pool, name, transfer.size)
        Transfer.objects.filter(pk=transfer.pk).update(sha256=found)
        if transfer.sha256_wanted not in ("", found):
            raise OperationFailed("checksum_wrong", f"Wanted {transfer.sha256_wanted}, stored is {found}.")
        yield Step(arrival.READ_NEW)
    mark(pool, name, "")
    arrival.read_new(connection, pool, name)


@contextmanager
def _taken_back_when_refused(run: Run, transfer: Transfer) -> Iterator[None]:
    """Not when libvirt fails: the bytes are all there, and settling has them looked at again."""
    try:
        yield
    except OperationFailed as error:
        refuse(transfer, error.code, error.detail)
        _delete(run, error.detail or error.code)
        raise
    except GeneratorExit:
        _delete(run, "It was cancelled.")
        raise


def refuse(transfer: Transfer, code: str, reason: str) -> None:
    """`verdict` keeps the code too: a run that comes later ends the job with it."""
    Transfer.objects.filter(pk=transfer.pk).update(verdict=f"{code} {reason}")


def _take_back(run: Run, transfer: Transfer) -> Events:
    if transfer.is_ready:
        yield Step(f"Delete what came of {run.job.params['name']}")
        _delete(run, transfer.verdict or "It was cancelled.")
    code, _, reason = transfer.verdict.partition(" ")
    raise OperationFailed(code, reason) if code else Stopped


def _delete(run: Run, reason: str) -> None:
    """What cannot be deleted stays in quarantine, and says why."""
    pool, name = run.target, run.job.params["name"]
    try:
        arrival.delete_part(run.open(), pool, name)
    except VirtError as error:
        run.log(f"not deleted: {error}")
        mark(pool, name, f"{INCOMPLETE} {reason}")
    else:
        mark(pool, name, "")


def _settle(run: Run) -> Finding:
    """The worker died: in the first run, in the last one, or while it took the volume back."""
    job, pool = run.job, find_pool(run.job)
    if pool is None:
        return Finding(Job.State.FAILED, "The pool is gone, and with it what was made.", "target_gone")
    transfer = transfer_of(job)
    if not transfer.is_ready:
        return _settle_made(run, transfer, pool)
    if transfer.done < transfer.size and not (job.cancel_asked_at or transfer.verdict):
        move(
            job, from_state=Job.State.INTERRUPTED, to_state=Job.State.TRANSFERRING, lease_until=timezone.now()
        )
        return Finding(None, "Nothing was lost: the rest of the file can come.")
    # To read and to delete again harms nothing.
    if move(job, from_state=Job.State.INTERRUPTED, to_state=Job.State.QUEUED):
        ring(job)
    return Finding(None, "Every byte is there; it is looked at again.")


def _settle_made(run: Run, transfer: Transfer, pool: Pool) -> Finding:
    """An empty file of this very size is the one that the job made, or as good as that."""
    job, name, connection = run.job, run.job.params["name"], run.open()
    try:
        info = virt_volumes.read_volume(connection, str(pool.uuid), name)
    except VirtError as error:
        if error.code != "no_volume":
            raise
        mark(pool, name, "")
        return Finding(Job.State.FAILED, "Nothing was made.", "nothing_done")
    if (info.type, info.capacity) != ("file", transfer.size) or info.allocation > 0:
        text = f"{name} is there, and nothing was written into it by this job; delete it if nobody needs it."
        return Finding(Job.State.FAILED, text, "unverified")
    _is_made(run, transfer, pool)
    move(job, from_state=Job.State.INTERRUPTED, to_state=Job.State.TRANSFERRING, lease_until=timezone.now())
    return Finding(None, "The empty volume is there: the file can come.")


def _effects(pool: Pool) -> list[str]:
    kept = timedelta(seconds=settings.TRANSFER_KEPT)
    return [
        f"Makes a volume in {pool} and fills it while the file comes; until it is whole nobody can use it.",
        f"After a break it goes on where it was; without a new byte for {span(kept)} it is deleted.",
        "An image that names other files, or is not what it is said to be, is refused and deleted.",
    ]


def _left(job: Job) -> list[str]:
    place = {"host_id": job.host_id, "pool_uuid": job.pool_uuid, "volume_name": job.volume_name}
    parts = VolumeNotes.objects.filter(**place, quarantined_because__startswith=INCOMPLETE)
    if not parts.exists() or made(job) is None:
        return []
    return [
        f"{job.volume_name} is in the pool, in quarantine, and nobody can use it. Unless somebody changed it on the "
        "host it is deleted by itself, once its pool runs; you can also delete it, or inspect it to take it as it is"
    ]


def _virsh(pool: Pool, params: Params) -> str:
    return virsh(
        pool, "vol-upload", "--pool", pool.name, params.get("name", "NAME"), params.get("file_name") or "FILE"
    )


UPLOAD = register(
    Operation(
        name="volume.upload",
        title="Upload",
        sentence="Fills a new volume with a file of yours.",
        goes="into",
        icon="upload",
        right="volume.data-write",
        target=Pool,
        find=find_pool,
        check=_check,
        form=UploadForm,
        template="volumes/upload.html",
        part=receiving,
        run=_upload,
        settle=once_it_answers(_settle),
        result=made,
        done=_left,
        is_stoppable=True,
        why_off=_why_off,
        why_no_room=lambda pool, params: room.why_none(pool, params["size"]),
        effects=_effects,
        locks=lambda pool, params: locks_of_new(pool, params["name"]),
        volume_of=lambda pool, params: params["name"],
        virsh=_virsh,
        label=lambda pool, params: f"Upload {params['name']}",
    )
)
