"""Volumes as the pages list them. The number of queries does not depend on the number of volumes."""

from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

from django.db.models import Count, prefetch_related_objects

from storagemgr.jobs.models import Job, JobLock
from storagemgr.jobs.words import shown_of
from volumes.models import DiskUse, Volume


@dataclass(frozen=True)
class Kind:
    icon: str
    title: str


@dataclass
class VolumeRow:
    """`writer`: the job that changes or makes the volume; `is_read`: a job copies from it."""

    volume: Volume
    vms: dict[str, bool] = field(default_factory=dict)
    children: int = 0
    writer: Job | None = None
    is_read: bool = False

    @property
    def kind(self) -> Kind:
        return kind_of(self.volume, self.children)

    @property
    def shown(self) -> Hashable:
        """All that volumes/_row.html shows of it."""
        volume, pool = self.volume, self.volume.pool
        return (
            *(volume.pk, volume.name, volume.type, volume.format, volume.allocation, volume.capacity),
            *(volume.modified, volume.encrypted, volume.unverified_since is None, volume.backing_path != ""),
            *(pool.pk, pool.name, pool.host.name, pool.answers and pool.is_active),
            *(tuple(self.vms.items()), self.children, self.is_read),
            self.writer and shown_of(self.writer),
        )

    @property
    def only_vm(self) -> tuple[str, bool] | None:
        return next(iter(self.vms.items())) if len(self.vms) == 1 else None


def kind_of(volume: Volume, children: int) -> Kind:
    if volume.type == "dir":
        return Kind("folder2", "Folder")
    if volume.format == "iso" or volume.name.lower().endswith(".iso"):
        return Kind("disc", "ISO")
    if children:
        return Kind("layers", "Base image")
    return Kind("files", "Overlay") if volume.backing_path else Kind("hdd", "Disk")


def rows_of(volumes: Sequence[Volume]) -> list[VolumeRow]:
    """`volumes` with their pool."""
    rows = {volume.pk: VolumeRow(volume) for volume in volumes}
    uses = DiskUse.objects.filter(volume_id__in=list(rows)).order_by()
    for volume, name, running in uses.values_list("volume_id", "domain_name", "running"):
        rows[volume].vms[name] = rows[volume].vms.get(name, False) or running
    children = _children(volumes)
    locks = _locks(volumes)
    for row in rows.values():
        row.children = children.get((row.volume.pool.host_id, row.volume.path), 0)
        for lock in locks[row.volume.pool.host_id, row.volume.pool.uuid, row.volume.name]:
            if lock.is_write:
                row.writer = lock.job
            else:
                row.is_read = True
    return list(rows.values())


def _children(volumes: Sequence[Volume]) -> dict[tuple[int, str], int]:
    paths = {volume.path for volume in volumes if volume.path}
    built_on = Volume.objects.filter(backing_path__in=paths).order_by()
    counted = built_on.values_list("pool__host_id", "backing_path").annotate(Count("pk"))
    return {(host, path): number for host, path, number in counted}


def _locks(volumes: Sequence[Volume]) -> dict[tuple[int, object, str], list[JobLock]]:
    found: dict[tuple[int, object, str], list[JobLock]] = defaultdict(list)
    pools = {volume.pool.uuid for volume in volumes}
    locks = list(JobLock.objects.filter(job__state__in=Job.ACTIVE, pool_uuid__in=pools))
    prefetch_related_objects(locks, "job")
    for lock in locks:
        found[lock.host_id, lock.pool_uuid, lock.volume_name].append(lock)
    return found
