"""How the storage of a pool is made: looked at first, built where there is nothing, or built over what is there."""

import dataclasses
import json
from collections.abc import Iterator
from typing import Any

from django import forms
from django.utils import timezone

from pools import devices, elsewhere, safety
from pools.devices import Contents, some
from pools.models import Look, Pool
from pools.operations import check, find, label, once_it_answers, read_again, unreachable, virsh
from storagemgr.jobs.models import Job
from storagemgr.jobs.operations import (
    Danger,
    Finding,
    Operation,
    OperationFailed,
    OperationForm,
    Progress,
    Run,
    Step,
    register,
)
from storagemgr.jobs.pages import form_url
from storagemgr.virt import domains
from storagemgr.virt import pools as virt_pools
from storagemgr.virt.connection import Connection
from storagemgr.virt.content import inspect
from storagemgr.virt.errors import VirtError

Events = Iterator[Step | Progress]

# What mount finds out by itself, or what can only be read: there is no file system to make.
_NOT_MADE = ("", "auto", "iso9660", "udf", "vmfs")
_HOLDING = ("disk", "logical", "iscsi", "scsi", "mpath")
_NO_WORDS = "libvirt does not tell how it ended. Start the pool: it starts when what it needs is there."


def _makes(pool: Pool) -> str:
    """What a build writes on the devices, in words; "" where it only makes a directory."""
    kind, path = devices.source_of(pool, "format/@type"), some(devices.devices_of(pool))
    match pool.type:
        case "fs":
            return "" if kind in _NOT_MADE else f"a new, empty {kind} file system on {path}"
        case "disk":
            table = "dos (MBR)" if kind in ("", "unknown", "dos") else kind
            return f"a new, empty partition table of type {table} on {path}"
        case "logical":
            return f"a new volume group {devices.source_of(pool, 'name') or pool.name} of {path}"
    return ""


def _why_no_build(pool: Pool) -> str:
    if reason := pool.kind.why_not("pool.build") or unreachable(pool):
        return reason
    if pool.is_active:
        return "It is running, so it is built. Stop it first if it has to be built anew."
    if pool.type in devices.ON_DEVICES and not devices.devices_of(pool):
        return "The pool names no device. Add it to its source first."
    return ""


def _build_effects(pool: Pool) -> list[str]:
    what = _makes(pool)
    if not what and pool.type == "fs":
        kind = devices.source_of(pool, "format/@type") or "auto"
        return [f"Makes the mount point {pool.target_path}. With the format {kind} no file system is made."]
    if not what:
        return [pool.kind.build]
    mount_point = [f"Makes the mount point {pool.target_path} if it is missing."] if pool.type == "fs" else []
    return [
        *mount_point,
        f"Makes {what}, if nothing is there.",
        "If there is a file system, a label or a part of an LVM group already, it stays as it is and the build "
        "fails. Such a pool may only have to be started.",
    ]


def _build(run: Run) -> Events:
    pool, connection = run.target, run.open()
    yield Step("Build the pool")
    virt_pools.build(connection, str(pool.uuid), "keep" if _makes(pool) else "")
    read_again(connection, pool)


def _settle_build(run: Run) -> Finding:
    pool, connection = run.target, run.open()
    if pool is not None:
        read_again(connection, pool)
        pool = find(run.job)
    if pool is None:
        return Finding(Job.State.FAILED, "The pool is gone.", "target_gone")
    if pool.is_active:
        return Finding(Job.State.SUCCEEDED, "The pool runs, so what it needs is there.")
    found = look_at(connection, pool) if pool.type in devices.ON_DEVICES else {}
    now = [f"Now on {devices.words(content)[0]}." for content in found.values()]
    return Finding(Job.State.FAILED, " ".join([*now, _NO_WORDS]), "end_unknown")


def _after_build(job: Job) -> tuple[str, str] | None:
    pool = find(job)
    if pool is None or job.error_code != "already_formatted":
        return None
    return "Look at what is there, to build anew (overwrite)", form_url(LOOK, pool)


def look_at(connection: Connection, pool: Pool) -> Contents:
    """What is on its devices now, also written down."""
    others = Pool.objects.filter(
        host=pool.host_id, type__in=_HOLDING, state=Pool.State.RUNNING, unreachable_since=None
    )
    uuids = [str(uuid) for uuid in others.exclude(pk=pool.pk).values_list("uuid", flat=True)]
    found = {}
    for path in devices.devices_of(pool):
        content = inspect(connection, path, pool_uuids=uuids, is_in_pool=True)
        found[path] = json.loads(json.dumps(dataclasses.asdict(content)))
        Look.objects.update_or_create(
            host_id=pool.host_id, path=path, defaults={"content": found[path], "at": timezone.now()}
        )
    return found


def _look(run: Run) -> Events:
    pool = run.target
    yield Step(f"Look at {some(devices.devices_of(pool))}")
    for content in look_at(run.open(), pool).values():
        for line in devices.words(content):
            run.log(f"on {line}" if line.startswith(content["path"]) else line)


def _why_no_look(pool: Pool) -> str:
    return unreachable(pool) or ("" if devices.devices_of(pool) else "The pool names no device.")


def _after_look(job: Job) -> tuple[str, str] | None:
    pool = find(job)
    if pool is None or job.state != Job.State.SUCCEEDED:
        return None
    return "What is there, and build anew (overwrite)", form_url(OVERWRITE, pool)


def _why_no_overwrite(pool: Pool) -> str:
    if reason := _why_no_build(pool):
        return reason
    if not _makes(pool):
        return "The pool does not say which file system to make. Set its format first."
    if unseen := devices.not_looked_at(pool):
        return f"Nobody looked at {some(unseen)} in the last 15 minutes. “{LOOK.title}” does."
    if others := len(devices.pools_on_devices(pool)):
        who = "Another pool of the host uses" if others == 1 else f"{others} other pools of the host use"
        return f"{who} the same device."
    if vms := sorted({*devices.vms_on_devices(pool), *devices.vms_of(pool)}):
        return f"VMs have a disk there: {some(vms)}. Detach it from them first, also when they are shut off."
    return safety.why_not(pool, "overwrite")


def _overwrite_effects(pool: Pool) -> list[str]:
    found = [line for look in devices.looks_of(pool) for line in devices.seen(look)]
    return [
        f"Makes {_makes(pool) or 'nothing'}. All that is there now is lost; libvirt has no undo.",
        *(found or ["What is on it is not known: nobody looked."]),
        "The devices are looked at once more before. If something else is there by then, nothing is done.",
        "A mount or a program outside libvirt, and a host that shares the device, cannot be seen from here.",
    ]


class OverwriteForm(OperationForm):
    """`looked`: the digest of what the page showed. The job keeps all of it, to compare before it begins."""

    looked = forms.CharField(widget=forms.HiddenInput, required=False)

    def __init__(self, *args: Any, target: Pool, **kwargs: Any) -> None:
        super().__init__(*args, target=target, **kwargs)
        self.contents = devices.contents_of(target)
        shown = devices.digest(self.contents)
        self.fields["looked"].initial = shown
        self.is_outdated = self.is_bound and self.data.get("looked") != shown
        if self.is_outdated:
            self.data = self.data.copy()
            self.data["looked"] = shown

    def clean(self) -> dict[str, Any]:
        if self.is_outdated:
            raise forms.ValidationError(
                "Somebody looked again meanwhile, and something else was there. Read it again."
            )
        return super().clean() or {}

    def params(self) -> dict[str, Any]:
        return {"seen": self.contents}


def _check_overwrite(run: Run) -> None:
    check(run)
    pool, connection = find(run.job), run.open()
    if pool is None:
        raise OperationFailed("target_gone")
    shown, now = run.job.params["seen"], look_at(connection, pool)
    if devices.digest(shown) != devices.digest(now):
        raise OperationFailed("changed_since", devices.difference(shown, now))
    if vms := devices.vms_among(pool, domains.list_disk_uses(connection)):
        raise OperationFailed("changed_since", f"VMs have a disk there: {some(vms)}.")
    elsewhere.refuse_used(run, pool)


def _overwrite(run: Run) -> Events:
    pool, connection = run.target, run.open()
    yield Step("Build the pool over what is there")
    try:
        virt_pools.build(connection, str(pool.uuid), "overwrite")
    except VirtError as error:
        # libvirt clears the first and the last MiB before it runs parted or pvcreate.
        if pool.type in ("disk", "logical") and error.code in ("program_missing", "command_failed"):
            raise OperationFailed("built_half", error.detail) from error
        raise
    finally:
        Look.objects.filter(host=pool.host_id, path__in=devices.devices_of(pool)).delete()
    read_again(connection, pool)


LOOK = register(
    Operation(
        name="pool.look",
        title="Look at the device",
        button="Look",
        sentence="Reads what is on the pool's device now. Nothing is written.",
        icon="search",
        right="pool.build",
        target=Pool,
        find=find,
        check=check,
        is_quick=True,
        is_limited=True,
        applies=lambda pool: pool.type in devices.ON_DEVICES,
        run=_look,
        settle=once_it_answers(
            lambda run: Finding(Job.State.FAILED, "Nothing was changed; look again.", "nothing_done")
        ),
        why_off=_why_no_look,
        effects=lambda pool: [
            f"Opens {some(devices.devices_of(pool))} for reading, through a pool of libvirt that exists for a moment."
        ],
        virsh=lambda pool, params: f"virsh -c {pool.host.uri} pool-dumpxml {pool.uuid}",
        label=label("Look at the device of"),
        next_step=_after_look,
    )
)

BUILD = register(
    Operation(
        name="pool.build",
        title="Build",
        sentence="Makes what the pool needs on the host, where nothing is there yet.",
        icon="hdd-rack",
        right="pool.build",
        target=Pool,
        find=find,
        check=check,
        danger=Danger.ASKS,
        is_exclusive=True,
        is_for_many=True,
        run=_build,
        settle=once_it_answers(_settle_build),
        why_off=_why_no_build,
        effects=_build_effects,
        checks=lambda pool, user: safety.checks(pool, "build", user),
        virsh=lambda pool, params: (
            f"virsh -c {pool.host.uri} pool-build {pool.uuid}{' --no-overwrite' if _makes(pool) else ''}"
        ),
        label=label("Build"),
        next_step=_after_build,
    )
)

OVERWRITE = register(
    Operation(
        name="pool.build_overwrite",
        title="Build anew (overwrite)",
        button="Build anew",
        sentence="Makes it over what is on the device, which is lost.",
        icon="eraser",
        right="pool.build",
        target=Pool,
        find=find,
        check=_check_overwrite,
        form=OverwriteForm,
        danger=Danger.DESTROYS,
        typed_word="overwrite",
        is_exclusive=True,
        applies=lambda pool: pool.type in devices.ON_DEVICES,
        run=_overwrite,
        settle=once_it_answers(_settle_build),
        why_off=_why_no_overwrite,
        effects=_overwrite_effects,
        checks=lambda pool, user: safety.checks(pool, "overwrite", user),
        virsh=virsh("pool-build --overwrite"),
        label=label("Build anew (overwrite):"),
    )
)
