"""What depends on the bytes of a volume, by whatever pool and host they are reached. Rows only."""

from collections.abc import Collection
from datetime import timedelta
from functools import cached_property
from typing import Literal

from django.db.models import Q, QuerySet
from django.utils import timezone

from pools.models import PoolNotes
from storagemgr.hosts.models import Host
from storagemgr.jobs.models import JobLock, conflicting
from volumes.identity import (
    Twin,
    children_of,
    descendants_of,
    hosts_beside,
    notes_in_place,
    twins_of,
    uses_of,
)
from volumes.models import DiskUse, Volume, VolumeNotes

Action = Literal["delete", "wipe", "shrink", "overwrite", "resize"]

DESTROYS: Collection[str] = ("delete", "wipe", "shrink", "overwrite")
IN_PLACE: Collection[str] = ("resize", "shrink")  # QEMU opens the image for it
STALE = timedelta(minutes=5)


class Look:
    """The rows that say what depends on a volume, each read once and only when it is asked for."""

    def __init__(self, volume: Volume) -> None:
        self.volume = volume

    @cached_property
    def twins(self) -> list[Twin]:
        return twins_of(self.volume)

    @cached_property
    def uses(self) -> list[DiskUse]:
        return list(uses_of(self.volume, self.twins).select_related("host"))

    @property
    def children(self) -> QuerySet[Volume]:
        return children_of(self.volume, self.twins)

    @cached_property
    def descendants(self) -> set[int]:
        return descendants_of(self.volume, self.twins)

    @cached_property
    def protections(self) -> list[VolumeNotes | PoolNotes]:
        """Those in force: of the volume and its pool first, then of what is the same bytes."""
        volumes = self._notes(VolumeNotes.objects.filter(protected_at__isnull=False))
        pools = PoolNotes.objects.filter(
            protected_at__isnull=False, pool__in={twin.pool_id for twin in self.twins}
        )
        found = [notes for notes in (*volumes, *pools) if notes.is_protected]
        return sorted(found, key=lambda notes: not self.is_own(notes))

    @cached_property
    def quarantines(self) -> list[VolumeNotes]:
        """Its own first, then those of what is the same bytes."""
        found = self._notes(VolumeNotes.objects.filter(quarantined_because__gt=""))
        return sorted(found, key=lambda notes: not self.is_own(notes))

    def _notes(self, some: QuerySet[VolumeNotes]) -> list[VolumeNotes]:
        """Those of `some`, of which there are few, that are about these bytes or about the name that they have."""
        if not some.exists():
            return []
        named = notes_in_place(self.volume.pool, self.volume.name)
        about = Q(volume__in=[twin.pk for twin in self.twins]) | Q(pk__in=named.values("pk"))
        return list(some.filter(about))

    def is_own(self, notes: VolumeNotes | PoolNotes) -> bool:
        if isinstance(notes, VolumeNotes):
            pool, own = self.volume.pool, (notes.host_id, notes.pool_uuid, notes.volume_name)
            return own == (pool.host_id, pool.uuid, self.volume.name)
        return notes.pool_id == self.volume.pool_id

    @cached_property
    def locks(self) -> list[JobLock]:
        """Of jobs that run, wait or are scheduled."""
        locks = [lock_on(twin, is_write=True) for twin in self.twins]
        return list(conflicting(locks).select_related("job__host").order_by("job_id"))

    @cached_property
    def beside(self) -> list[Host]:
        """The other hosts that see the storage."""
        return list(hosts_beside(self.volume))

    @property
    def silent(self) -> list[Host]:
        """Those of whose VMs nothing was heard for a while."""
        old = timezone.now() - STALE
        return [host for host in self.beside if host.uses_read_at is None or host.uses_read_at < old]

    def uses_that_block(self, action: Action) -> list[DiskUse]:
        if action in DESTROYS:
            return self.uses
        # A VM of this host that writes the volume itself is told of the new size by QEMU.
        return [use for use in self.uses if use.running and not self._is_writer_here(use)]

    def _is_writer_here(self, use: DiskUse) -> bool:
        return use.kind == "disk" and not use.readonly and use.host_id == self.volume.pool.host_id


def look_of(volume: Volume) -> Look:
    """The one that a page took for all that it shows, kept with the row as `look`; else a new one."""
    return getattr(volume, "look", None) or Look(volume)


def lock_on(twin: Twin, *, is_write: bool, is_twin: bool = False) -> JobLock:
    place = {"host_id": twin.host_id, "pool_uuid": twin.pool_uuid, "volume_name": twin.name}
    return JobLock(**place, is_write=is_write, is_twin=is_twin)
