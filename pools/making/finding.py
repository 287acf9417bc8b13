"""Looks on a host for what a new pool can be made of."""

import hashlib
import json
from collections.abc import Iterator
from functools import partial
from typing import Any

from django import forms
from django.utils import timezone

from pools.making.creation import find
from pools.making.limits import limited
from pools.models import NewPool
from storagemgr.jobs.operations import Operation, OperationForm, Run, Step, register
from storagemgr.virt import devices, discovery
from storagemgr.virt.connection import Connection
from storagemgr.virt.pool_fields import fields_of
from storagemgr.virt.pool_types import pool_type
from storagemgr.virt.signatures import Finding

FIND_S, DISKS_S = 20.0, 45.0
FOUND_LIMIT = 1000  # a page with more takes seconds; what is not among them can be typed
# What a search asks for, by the names of the pool's fields.
ASKED = ("source_host", "source_port", "initiator")


class FindForm(OperationForm):
    source_host = forms.CharField(label="Server", required=False)
    source_port = forms.CharField(label="Port", required=False)
    initiator = forms.CharField(label="Initiator", required=False)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        draft = self.target.draft
        for name in ASKED:
            self.fields[name].initial = draft.values.get(name, "") if draft else ""

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        kind = self.target.draft.type if self.target.draft else ""
        for field in fields_of(kind):
            if field.name in ASKED and (wrong := field.problem(cleaned.get(field.name))):
                self.add_error(field.name, wrong)
        return cleaned

    def params(self) -> dict[str, Any]:
        return search_params(self.target, super().params())


def search_params(new: NewPool, asked: dict[str, Any]) -> dict[str, Any]:
    kept = {name: str(asked.get(name) or "") for name in ASKED}
    return {"type": new.draft.type if new.draft else ""} | kept


def what_is_found(kind: str, params: dict[str, Any]) -> str:
    """ "the exports of nas1", "the disks of the host"."""
    finds = pool_type(kind).finds
    server = params.get("source_host", "")
    return finds.replace("a server", server).replace("a portal", server) if server else finds


def _why_no_search(new: NewPool) -> str:
    if new.draft is None:
        return "Its draft was thrown away."
    if not pool_type(new.draft.type).finds:
        return "There is nothing to be found for pools of this type; type it in."
    return unanswering(new)


def unanswering(new: NewPool) -> str:
    return "" if new.host.answers else f"{new.host} does not answer now."


def _find(run: Run) -> Iterator[Step]:
    params, new = run.job.params, run.target
    yield Step(f"Look for {what_is_found(params['type'], params)}")
    looks_at_disks = params["type"] in ("fs", "disk")
    found = limited(run, DISKS_S if looks_at_disks else FIND_S, partial(_search, params=params))
    if len(found) > FOUND_LIMIT:
        run.log(f"{len(found)} found; the first {FOUND_LIMIT} are offered")
    result = {"asked": params, "sources": found[:FOUND_LIMIT]}
    NewPool.objects.filter(pk=new.pk).update(found=result, found_at=timezone.now())


def _search(c: Connection, params: dict[str, Any]) -> list[dict[str, Any]]:
    match params["type"]:
        case "scsi":
            return [found(adapter.values, adapter.name, adapter.text) for adapter in devices.list_adapters(c)]
        case "fs" | "disk":
            return [row for disk in devices.list_disks(c) for row in _of_disk(disk, params["type"])]
    sources = discovery.find_sources(
        c,
        params["type"],
        host=params["source_host"],
        port=params["source_port"],
        initiator=params["initiator"],
    )
    return [found(source.values, source.text, source.detail) for source in sources]


def found(values: dict[str, Any], text: str, detail: str, **more: Any) -> dict[str, Any]:
    """One thing that was found. `key` is the same for the same thing on another host."""
    told = {name: value for name, value in values.items() if value}
    key = hashlib.blake2b(json.dumps(told, sort_keys=True).encode(), digest_size=9).hexdigest()
    return {"key": key, "values": told, "text": text, "detail": detail} | more


def _of_disk(disk: devices.Disk, kind: str) -> Iterator[dict[str, Any]]:
    """The disk, and for a file system its partitions too."""
    if disk.drive_type in ("cdrom", "floppy") or not disk.size:
        return
    what = " ".join(filter(None, (disk.vendor, disk.model))) or disk.bus
    parts = disk.partitions or ()
    free = disk.finding is not None and disk.finding.blank and not parts and not disk.is_multipath
    says = disk.finding.text if disk.finding else "could not be read"
    if disk.is_multipath:
        says = "a path of a multipath device"
    elif parts:
        says = f"{len(parts)} partition{'' if len(parts) == 1 else 's'}"
    path = disk.stable_path or disk.path
    yield found(
        {"device": path},
        disk.path,
        what,
        size=disk.size,
        holds=says,
        free=free,
        link=path if path != disk.path else "",
        names=[disk.path, *disk.links],
        groups=_groups_on(disk.finding, *(part.finding for part in parts)),
    )
    for part in parts if kind == "fs" else ():
        holds = part.finding.text if part.finding else "could not be read"
        blank = part.finding is not None and part.finding.blank
        yield found(
            {"device": part.path},
            part.path,
            f"partition of {disk.path}",
            size=part.size,
            holds=holds,
            free=blank,
            names=[part.path],
            groups=_groups_on(part.finding),
        )


def _groups_on(*findings: Finding | None) -> list[str]:
    """The LVM groups whose members these are."""
    seen = [signature for finding in findings if finding for signature in finding.signatures]
    return [signature.label for signature in seen if signature.name == "lvm2" and signature.label]


FIND = register(
    Operation(
        name="pool.find_sources",
        title="Look for sources",
        button="Look",
        sentence="Asks the host what a pool could be made of.",
        icon="search",
        right="pool.define",
        target=NewPool,
        form=FindForm,
        find=find,
        run=_find,
        why_off=_why_no_search,
        virsh=lambda new, params: (
            f"virsh -c {new.host.uri} find-storage-pool-sources-as "
            f"{new.draft.type if new.draft else ''} {params.get('source_host', '')}".rstrip()
        ),
        label=lambda new, params: f"Look for {what_is_found(params.get('type', ''), params) or 'sources'}",
    )
)
