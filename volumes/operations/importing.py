"""Importing a volume from a web server: straight into libvirt, nothing is kept on this machine."""

import hashlib
import os
from typing import Any

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError

from pools.models import Pool
from pools.operations import check as check_pool
from pools.operations import find as find_pool
from pools.operations import once_it_answers
from storagemgr.access.objects import may
from storagemgr.jobs.models import Job
from storagemgr.jobs.operations import Finding, Operation, OperationFailed, Run, Step, register
from storagemgr.templatetags.storage import size
from storagemgr.virt.connection import Connection
from storagemgr.virt.filling import Filling
from volumes import room
from volumes.forms import NewVolumeForm, check_name
from volumes.operations.base import Events, Params, locks_of_new, made, virsh, why_off_in
from volumes.operations.uploading import ENDINGS
from volumes.transfer import arrival
from volumes.transfer.source_url import Address, Source, opened

FORMATS = {"qcow2": "qcow2", "raw": "raw", "iso": "ISO image", "vmdk": "VMDK", "vdi": "VDI", "vpc": "VHD"}

RECEIVE = "Receive "


class ImportForm(NewVolumeForm):
    url = forms.CharField(
        label="URL",
        max_length=2000,
        widget=forms.TextInput(attrs={"inputmode": "url", "autocomplete": "off", "spellcheck": "false"}),
    )
    format = forms.ChoiceField(
        label="Format",
        required=False,
        choices=[("", "As the URL ends"), *FORMATS.items()],
        help_text="What the file is: .qcow2, .img and .raw (raw), .iso, .vmdk, .vdi and .vhd are known endings. "
        "It is looked into at the end and refused if it is something else.",
    )
    sha256 = forms.CharField(
        label="SHA-256",
        required=False,
        help_text="Optional: what its publisher says. If it is another one, nothing is kept.",
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )
    field_order = ["url", "name", "format", "sha256"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["url"].help_text = f"Allowed here: {', '.join(settings.IMPORT_URLS)}"
        self.fields["name"].required = False
        self.fields["name"].help_text = "Left empty, it is the last part of the URL."
        if not self.target.kind.volume_formats:
            self.fields["format"].choices = [("raw", "raw")]

    def clean_url(self) -> str:
        text = self.cleaned_data["url"]
        try:
            address = Address.parse(text)
        except ValueError as error:
            raise ValidationError(str(error)) from error
        if not address.is_allowed:
            raise ValidationError("It does not begin with what is allowed here.")
        return str(text)

    def clean_name(self) -> str:
        url = self.cleaned_data.get("url")
        if not self.cleaned_data["name"] and url:
            self.cleaned_data["name"] = Address.parse(url).file_name
            try:
                check_name(self.cleaned_data["name"])
            except ValidationError as error:
                raise ValidationError(
                    "The last part of the URL is no name for a volume; type one."
                ) from error
        return super().clean_name()

    def clean_format(self) -> str:
        chosen, url = str(self.cleaned_data["format"]), self.cleaned_data.get("url")
        if chosen or not url:
            return chosen
        if not self.target.kind.volume_formats:
            return "raw"
        ending = os.path.splitext(Address.parse(url).file_name)[1].lower()
        if ending not in ENDINGS:
            raise ValidationError("The end of the URL names no format; choose one.")
        return ENDINGS[ending]

    def clean_sha256(self) -> str:
        text = str(self.cleaned_data["sha256"]).lower()
        if text and not arrival.SHA256.fullmatch(text):
            raise ValidationError("A SHA-256 has 64 digits, 0 to 9 and a to f.")
        return text


def _why_off(pool: Pool) -> str:
    if not settings.IMPORT_URLS:
        return "No URL is allowed. An administrator of this program can allow some with IMPORT_URLS."
    if pool.type == "disk":
        return "The kernel names partitions by their number, so libvirt cannot name the new one."
    return why_off_in(pool, "volume.create") or why_off_in(pool, "volume.upload")


def _check(run: Run) -> None:
    check_pool(run)
    requester, pool = run.job.requested_by, run.target
    if requester and not may(requester, "volume.create", pool.host_id, pool.uuid):
        raise OperationFailed("not_permitted_any_more")


def _import(run: Run) -> Events:
    pool, params, connection = run.target, run.job.params, run.open()
    arrival.take_name(connection, pool, params["name"])
    yield Step(f"{arrival.ASK}{Address.parse(params['url']).place}")
    with opened(params["url"]) as source:
        if source.size > settings.UPLOAD_LIMIT:
            limit = size(settings.UPLOAD_LIMIT)
            raise OperationFailed("too_big", f"It has {size(source.size)}; {limit} is allowed here.")
        arrival.refuse_too_big(connection, pool, source.size)
        yield Step(f"{arrival.MAKE}{params['name']}")
        arrival.make_empty(connection, pool, params["name"], source.size)
        with arrival.taken_back_unless_whole(run, pool, params["name"], source.size):
            yield from _receive(run, connection, source)
    yield Step(arrival.READ_NEW)
    arrival.read_new(connection, pool, params["name"])


def _receive(run: Run, connection: Connection, source: Source) -> Events:
    pool, params, digest = run.target, run.job.params, hashlib.sha256()
    name, is_file = params["name"], bool(pool.kind.volume_formats)
    yield Step(f"{RECEIVE}{name}", total=source.size)
    with Filling(connection, str(pool.uuid), name, source.size, is_zero=is_file) as filling:
        yield from arrival.pour(source, filling.write, digest.update)
        filling.finish()
    stored = yield from arrival.check_arrival(
        connection,
        pool,
        name,
        source.size,
        declared=params["format"],
        wanted=params["sha256"],
        sent=digest.hexdigest(),
    )
    run.log(f"SHA-256: {stored}")


@room.promising("volume.import")
def _promised(job: Job) -> tuple[Pool | None, int]:
    """Known while the bytes come; of a logical volume there is none then."""
    pool = find_pool(job)
    is_known = job.step.startswith(RECEIVE) and pool and pool.kind.volume_formats
    return pool, (job.total_bytes or 0) - job.done_bytes if is_known else 0


def _settle(run: Run) -> Finding:
    return arrival.settle(run, find_pool(run.job), run.job.params["name"])


def _virsh(pool: Pool, params: Params) -> str:
    """Once the file is on the machine where one types it."""
    return virsh(pool, "vol-upload", "--pool", pool.name, params.get("name") or "NAME", "FILE")


IMPORT = register(
    Operation(
        name="volume.import",
        title="Import from a URL",
        button="Import",
        sentence="Makes a volume from a file on a web server.",
        goes="into",
        icon="link-45deg",
        right="volume.data-write",
        target=Pool,
        find=find_pool,
        check=_check,
        form=ImportForm,
        run=_import,
        settle=once_it_answers(_settle),
        result=made,
        is_stoppable=True,
        why_off=_why_off,
        effects=lambda pool: [
            "The machine of this program reads the file and writes it into libvirt; it keeps nothing of it.",
            "What is stored is read back and compared, and looked into, before it can be used.",
            "It can be cancelled; what was written by then is deleted.",
        ],
        locks=lambda pool, params: locks_of_new(pool, params["name"]),
        volume_of=lambda pool, params: params["name"],
        virsh=_virsh,
        label=lambda pool, params: f"Import {params['name']}",
    )
)
