"""Volumes as the pages list them. The number of queries does not depend on the number of volumes."""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from django.db.models import Count, Q, QuerySet, prefetch_related_objects

from storagemgr.access.scopes import Actor, scope
from storagemgr.jobs.bulk import Many
from storagemgr.jobs.models import Job, JobLock
from storagemgr.jobs.words import shown_of
from volumes.kinds import Kind, kind_of
from volumes.models import DiskUse, Volume, VolumeNotes
from volumes.quarantined import quarantined


class Parent(NamedTuple):
    pk: int
    name: str


@dataclass
class VolumeRow:
    """`vms`: whether each runs, of this host and of others that see the same bytes; `hidden_vms`: how many more there
    are that the person may not see. `writer`: the job that changes or makes the volume; `is_read`: one copies from
    it; `parent`: what it is built on, where the person sees that.
    """

    volume: Volume
    vms: dict[str, bool] = field(default_factory=dict)
    hidden_vms: int = 0
    children: int = 0
    writer: Job | None = None
    is_read: bool = False
    notes: VolumeNotes | None = None
    is_quarantined: bool = False
    due_at: datetime | None = None
    parent: Parent | None = None

    @property
    def kind(self) -> Kind:
        return kind_of(self.volume, self.children)

    @property
    def shown(self) -> Hashable:
        """All that volumes/_row.html shows of it."""
        volume, pool, notes = self.volume, self.volume.pool, self.notes
        return (
            *(volume.pk, volume.name, volume.type, volume.format, volume.allocation, volume.capacity),
            *(volume.modified, volume.encrypted, volume.unverified_since is None, volume.backing_path),
            *(volume.is_special, volume.label, self.parent and (self.parent.pk, self.parent.name)),
            *(pool.pk, pool.name, pool.host.name, pool.answers and pool.is_active),
            *(tuple(self.vms.items()), self.hidden_vms, self.children, self.is_read, self.due_at),
            notes and (notes.is_protected, notes.is_expired, notes.expires_on, str(notes.owner or "")),
            self.is_quarantined,
            self.writer and shown_of(self.writer),
        )

    @property
    def only_vm(self) -> tuple[str, bool] | None:
        return next(iter(self.vms.items())) if len(self.vms) == 1 and not self.hidden_vms else None

    @property
    def vm_count(self) -> int:
        return len(self.vms) + self.hidden_vms

    @property
    def backing_name(self) -> str:
        return self.volume.backing_path.rpartition("/")[2]


def rows_of(volumes: Sequence[Volume], user: Actor | None = None) -> list[VolumeRow]:
    """`volumes` with their pool. Without a `user` nothing is hidden."""
    rows = {volume.pk: VolumeRow(volume) for volume in volumes}
    places, meant = _read_same(rows, user)
    in_quarantine = quarantined(volumes, meant)
    children = _children(volumes, places)
    locks = _locks(volumes)
    parents = _parents(volumes, user)
    for notes in VolumeNotes.objects.filter(volume__in=list(rows)).select_related("owner"):
        rows[notes.volume_id].notes = notes
    for row in rows.values():
        volume = row.volume
        row.is_quarantined = volume.pk in in_quarantine
        row.children = children.get(volume.pk, 0)
        row.parent = parents.get((volume.pool.host_id, volume.backing_path))
        for lock in locks[volume.pool.host_id, volume.pool.uuid, volume.name]:
            if lock.job.state == Job.State.SCHEDULED:
                row.due_at = lock.job.due_at
            elif lock.is_write:
                row.writer = lock.job
            else:
                row.is_read = True
    return list(rows.values())


def _read_same(
    rows: dict[int, VolumeRow], user: Actor | None
) -> tuple[dict[tuple[int, str], set[int]], dict[int, set[int]]]:
    """Fills in the VMs; answers by which paths of which hosts, and by which volumes, which rows are seen."""
    by_identity: dict[str, set[int]] = defaultdict(set)
    places: dict[tuple[int, str], set[int]] = defaultdict(set)
    for pk, row in rows.items():
        if row.volume.identity:
            by_identity[row.volume.identity].add(pk)
        if row.volume.path:
            places[row.volume.pool.host_id, row.volume.path].add(pk)
    paths = {path for _, path in places}
    twins = Volume.objects.filter(Q(identity__in=by_identity) | Q(path__in=paths) | Q(pk__in=list(rows)))
    columns = ("pk", "identity", "path", "pool__host_id")
    meant: dict[int, set[int]] = {}
    hidden: set[int] = set()
    may_see = scope(user, "pool.view") if user else None
    if may_see and may_see.everything:
        may_see = None
    # To make a UUID of each of many rows takes as long as the rest of this.
    last = "pool__uuid" if may_see else "pk"
    for pk, identity, path, host_id, pool_uuid in twins.order_by().values_list(*columns, last):
        found = by_identity.get(identity, set()) | places.get((host_id, path), set()) | ({pk} & rows.keys())
        if not found:
            continue
        meant[pk] = found
        if path:
            places[host_id, path] |= found
        if pk not in rows and may_see and not may_see.covers(host_id, pool_uuid):
            hidden.add(pk)
    _read_vms(rows, meant, hidden)
    return places, meant


def _read_vms(rows: dict[int, VolumeRow], meant: dict[int, set[int]], hidden: set[int]) -> None:
    uses = DiskUse.objects.filter(volume__in=list(meant)).order_by("volume_id", "pk")
    unseen: dict[int, set[object]] = defaultdict(set)
    vm_id = "domain_uuid" if hidden else "pk"
    for volume, vm, name, running in uses.values_list("volume_id", vm_id, "domain_name", "running"):
        for pk in meant[volume]:
            if volume in hidden:
                unseen[pk].add(vm)
            else:
                rows[pk].vms[name] = rows[pk].vms.get(name, False) or running
    for pk, vms in unseen.items():
        rows[pk].hidden_vms = len(vms)


def _children(volumes: Sequence[Volume], places: dict[tuple[int, str], set[int]]) -> dict[int, int]:
    """How many volumes are built on each: on the host that sees most of them."""
    built_on = Volume.objects.filter(backing_path__in={path for _, path in places}).order_by()
    counted = built_on.values_list("pool__host_id", "backing_path").annotate(Count("pk"))
    found: dict[int, int] = {}
    for host, path, number in counted:
        for pk in places.get((host, path), ()):
            found[pk] = max(number, found.get(pk, 0))
    return found


def _parents(volumes: Sequence[Volume], user: Actor | None) -> dict[tuple[int, str], Parent]:
    paths = {volume.backing_path for volume in volumes if volume.backing_path}
    if not paths:
        return {}
    seen = Volume.objects.visible_to(user) if user else Volume.objects.all()
    rows = seen.filter(path__in=paths).order_by("pk").values_list("pool__host_id", "path", "pk", "name")
    return {(host_id, path): Parent(pk, name) for host_id, path, pk, name in rows}


def _locks(volumes: Sequence[Volume]) -> dict[tuple[int, object, str], list[JobLock]]:
    found: dict[tuple[int, object, str], list[JobLock]] = defaultdict(list)
    pools, names = {volume.pool.uuid for volume in volumes}, {volume.name for volume in volumes}
    held = JobLock.objects.filter(job__state__in=Job.HOLDING, pool_uuid__in=pools, volume_name__in=names)
    locks = list(held.order_by("pk"))
    prefetch_related_objects(locks, "job")
    for lock in locks:
        found[lock.host_id, lock.pool_uuid, lock.volume_name].append(lock)
    return found


def _choosable(user: Actor) -> QuerySet[Volume]:
    rows = Volume.objects.visible_to(user).select_related("pool__host")
    return rows.order_by("pool__host__name", "pool__name", "name", "pk")


def _of_jobs(rows: QuerySet[Volume], jobs: Sequence[Job]) -> Iterable[Volume]:
    wanted = {(job.host_id, job.pool_uuid, job.volume_name) for job in jobs}
    near = rows.filter(
        name__in={job.volume_name for job in jobs}, pool__uuid__in={job.pool_uuid for job in jobs}
    )
    return [volume for volume in near if (volume.pool.host_id, volume.pool.uuid, volume.name) in wanted]


MANY = Many("volume", "volumes:all", _choosable, _of_jobs)
