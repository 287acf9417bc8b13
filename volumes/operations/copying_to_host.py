"""Copying a volume to a pool of another host: read from the one, written to the other, compared at the end."""

import hashlib
from collections import defaultdict
from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from pools.models import Pool
from pools.operations import once_it_answers
from storagemgr.access.objects import may
from storagemgr.hosts.reaching import open_in_time
from storagemgr.jobs.models import Job
from storagemgr.jobs.operations import Finding, Operation, OperationFailed, OperationForm, Run, Step, register
from storagemgr.templatetags.storage import printable, size
from storagemgr.virt.connection import Connection
from storagemgr.virt.filling import Filling
from storagemgr.virt.streams import Download
from volumes import chain, images, room
from volumes.forms import NameField, why_name_is_kept
from volumes.identity import uses_of
from volumes.models import Volume
from volumes.operations.base import Events, Params, check, find, lock, locks_of_new, some, virsh, why_off_in
from volumes.transfer import arrival

RIGHTS = ("volume.create", "volume.data-write")
NO_POOL = "There is none: it takes a running pool of another host in which you may create and upload volumes."
PLAIN = ("", "raw", "iso", "none", "unknown")


def can_receive(pool: Pool) -> bool:
    """Whether a volume of any name can be made there and filled."""
    kind = pool.kind
    has_names = pool.type != "disk"
    return has_names and not (kind.why_not("volume.create") or kind.why_not("volume.upload"))


class PoolChoice(forms.ChoiceField):
    """A pool by its id, in groups by host."""

    def offer(self, pools: Any) -> None:
        groups = defaultdict(list)
        for pool in pools:
            free = f", {size(pool.available)} free" if pool.kind.numbers == "normal" else ""
            groups[printable(pool.host)].append((str(pool.pk), f"{printable(pool)}{free}"))
        self.choices = sorted(groups.items())

    def words(self, value: Any, user: Any) -> str:
        pool = Pool.objects.visible_to(user).select_related("host").filter(pk=value).first()
        return f"{pool} on {pool.host}" if pool else "a pool that you do not see"


class CopyToHostForm(OperationForm):
    pool = PoolChoice(label="Pool", error_messages={"required": "Choose a pool of another host."})
    name = NameField(label="Name", help_text="Of the copy.")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.pools = {str(pool.pk): pool for pool in self._pools()}
        self.fields["pool"].offer(self.pools.values())
        self.fields["name"].initial = self.target.name
        if not self.pools:
            self.fields["pool"].help_text = NO_POOL

    def _pools(self) -> list[Pool]:
        pools = Pool.objects.select_related("host").exclude(host_id=self.target.pool.host_id)
        for right in RIGHTS:
            pools = pools.visible_to(self.user, right)
        return [pool for pool in pools if pool.is_active and pool.answers and can_receive(pool)]

    def clean_pool(self) -> str:
        pool = self.pools[self.cleaned_data["pool"]]
        needed = needed_in(pool, self.target)
        if not pool.kind.volume_formats and self.target.format not in PLAIN:
            raise ValidationError(
                f"{pool} holds plain bytes without a format, and this is {self.target.format}. "
                "Clone it to raw first and copy the clone."
            )
        if reason := room.why_none(pool, needed):
            raise ValidationError(f"It needs {size(needed)}; {reason}")
        return str(pool.pk)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        pool = self.pools.get(cleaned.get("pool", ""))
        if pool and Volume.objects.filter(pool=pool, name=cleaned.get("name")).exists():
            self.add_error("name", f"{pool} already has a volume of this name.")
        elif pool and (reason := why_name_is_kept(pool, cleaned.get("name", ""))):
            self.add_error("name", reason)
        return cleaned

    def params(self) -> Params:
        return super().params() | {"source": self.target.name}


def length_of(volume: Volume) -> int:
    """How many bytes a download gives: a qcow2 file is shorter than what it holds."""
    return volume.capacity if volume.physical is None else volume.physical


def needed_in(pool: Pool, volume: Volume) -> int:
    length = length_of(volume)
    return min(length, volume.allocation) if pool.kind.volume_formats else length


@room.promising("volume.copy_to_host")
def _promised(job: Job) -> tuple[Pool | None, int]:
    volume, pool = find(job), _target_pool(job)
    if volume is None or pool is None:
        return pool, 0
    return pool, room.left_of(job, needed_in(pool, volume))


def _why_no_room(volume: Volume, params: Params) -> str:
    pool = Pool.objects.select_related("host").get(pk=params["pool"])
    return room.why_none(pool, needed_in(pool, volume))


def _why_off(volume: Volume) -> str:
    if reason := why_off_in(volume.pool, "volume.download"):
        return reason
    if volume.type in ("dir", "netdir"):
        return "It is a directory, not a disk."
    if volume.unverified_since:
        return "It is an unverified copy: accept or delete it first."
    if reason := images.why_unfit(volume):
        return reason
    if volume.backing_path:
        return "It is built on another volume, which would stay behind. Clone it first: the clone is whole."
    if reason := chain.why_no_copy(volume):
        return reason
    running = uses_of(volume).filter(running=True, readonly=False).exclude(device="cdrom")
    if vms := sorted(set(running.values_list("domain_name", flat=True))):
        return (
            f"{some(vms)} runs from it, and what changes while it is read would be torn. Shut it down first."
        )
    return ""


def _target_pool(job: Job) -> Pool | None:
    return Pool.objects.select_related("host").filter(pk=job.params["pool"]).first()


def _check(run: Run) -> None:
    check(run)
    volume, requester, pool = find(run.job), run.job.requested_by, _target_pool(run.job)
    if volume is None or pool is None:
        raise OperationFailed("target_gone")
    if not all(may(requester, right, pool.host_id, pool.uuid) for right in RIGHTS if requester):
        raise OperationFailed("not_permitted_any_more")
    if not can_receive(pool):
        raise OperationFailed("changed_since", f"{pool} cannot take it any more.")
    if reason := why_name_is_kept(pool, run.job.params["name"]):
        raise OperationFailed("changed_since", reason)
    if not pool.kind.volume_formats and volume.format not in PLAIN:
        raise OperationFailed(
            "changed_since", f"{volume} is {volume.format} now, and {pool} holds plain bytes."
        )
    connection = run.open()
    chain.check(connection, volume, requester)
    if problems := images.problems_of(connection, volume, volume.format):
        raise OperationFailed("image_refused", " ".join(problems))


def _copy(run: Run) -> Events:
    volume, pool, name = run.target, _target_pool(run.job), run.job.params["name"]
    if pool is None:
        raise OperationFailed("target_gone")
    source, target = run.open(), open_in_time(pool.host)
    run.connections.append(target)
    needed, length = needed_in(pool, volume), length_of(volume)
    arrival.take_name(target, pool, name)
    arrival.refuse_too_big(target, pool, needed)
    yield Step(f"{arrival.MAKE}{name} in {pool} on {pool.host}")
    arrival.make_empty(target, pool, name, length)
    with arrival.taken_back_unless_whole(run, pool, name, needed):
        yield Step(f"Copy {volume.name} to {name}", total=length or None)
        digest = hashlib.sha256()
        if length:
            yield from _stream(source, target, volume, pool, name, digest.update)
        stored = yield from arrival.stored_sha256(target, pool, name, length)
        if stored != digest.hexdigest():
            raise OperationFailed("copy_differs", f"Sent {digest.hexdigest()}, stored {stored}.")
        run.log(f"SHA-256 of both: {stored}")
    yield Step(arrival.READ_NEW)
    arrival.read_new(target, pool, name)


def _stream(
    source: Connection, target: Connection, volume: Volume, pool: Pool, name: str, also: Any
) -> Events:
    length, is_file = length_of(volume), bool(pool.kind.volume_formats)
    with (
        Filling(target, str(pool.uuid), name, length, is_zero=is_file) as filling,
        Download(source, str(volume.pool.uuid), volume.name, 0, length) as reading,
    ):
        taken = 0
        for event in arrival.pour(reading, filling.write, also):
            taken = event.done
            yield event
        if taken != length:
            raise OperationFailed(
                "copy_broken", f"{volume.name} ended after {size(taken)} of {size(length)}."
            )
        filling.finish()


def _settle(run: Run) -> Finding:
    return arrival.settle(run, _target_pool(run.job), run.job.params["name"])


def _result(job: Job) -> Volume | None:
    return Volume.objects.filter(pool_id=job.params["pool"], name=job.params["name"]).first()


def _locks(volume: Volume, params: Params) -> list[Any]:
    pool = Pool.objects.get(pk=params["pool"])
    return [lock(volume.pool, volume.name, is_write=False), *locks_of_new(pool, params["name"])]


def _effects(volume: Volume) -> list[str]:
    return [
        f"Reads {size(length_of(volume))} of {volume.name}; it cannot be changed or deleted until that ends.",
        "The bytes go through the machine of this program to the other host and are read back there and compared.",
        "It can be cancelled; what was written by then is deleted.",
    ]


def _virsh(volume: Volume, params: Params) -> str:
    """The first half; the second goes to the other host."""
    return virsh(volume.pool, "vol-download", "--pool", volume.pool.name, volume.name, "FILE")


COPY_TO_HOST = register(
    Operation(
        name="volume.copy_to_host",
        title="Copy to another host",
        button="Copy",
        sentence="Makes the same volume in a pool of another host.",
        icon="hdd-network",
        right="volume.data-read",
        target=Volume,
        find=find,
        check=_check,
        form=CopyToHostForm,
        run=_copy,
        settle=once_it_answers(_settle),
        result=_result,
        is_stoppable=True,
        why_off=_why_off,
        why_no_room=_why_no_room,
        effects=_effects,
        locks=_locks,
        volume_of=lambda volume, params: volume.name,
        virsh=_virsh,
        label=lambda volume, params: f"Copy {volume.name} to another host as {params['name']}",
    )
)
