"""Which of very many volumes are in use, in conditions that a database answers quickly.

The same bytes can be seen through several pools and hosts. Nearly always they are seen once, so the dear question
who else sees them is asked of those pools alone that share a place with another one.
"""

from collections import defaultdict
from collections.abc import Iterable
from functools import cached_property

from django.db.models import Exists, OuterRef, Q, QuerySet

from pools.models import Pool
from pools.same_place import ON_A_SERVER
from volumes.among import among
from volumes.identity import LUN, endings_of
from volumes.models import DiskUse, Volume


class Usage:
    """Read once for a page. `in_use` builds the set of all that is used: for counting; `is_used` asks row by row: for
    the first rows in an order that an index gives."""

    @cached_property
    def _groups(self) -> tuple[list[list[int]], list[list[int]]]:
        """The pools that list one source, and those of a host that list one directory."""
        sources: dict[tuple[str, str], list[int]] = defaultdict(list)
        places: dict[tuple[int, str], list[int]] = defaultdict(list)
        columns = ("pk", "host_id", "type", "source", "target_path")
        for pk, host_id, kind, source, path in Pool.objects.order_by("pk").values_list(*columns):
            if kind in ON_A_SERVER and source:
                sources[kind, source].append(pk)
            if path:
                places[host_id, path].append(pk)
        return _of_several(sources.values()), _of_several(places.values())

    @property
    def groups(self) -> list[list[int]]:
        return [*self._groups[0], *self._groups[1]]

    @cached_property
    def sharing(self) -> list[int]:
        """The pools that list what another one lists too."""
        return sorted({pk for group in self.groups for pk in group})

    @cached_property
    def by_other_ways(self) -> list[int]:
        """Volumes that a VM means by the path of another pool or by an address, such as nfs://nas/export/name."""
        return [*self._by_path(), *_by_address()]

    def _by_path(self) -> list[int]:
        pools = [pk for group in self._groups[1] for pk in group]
        if not pools:
            return []
        rows = Volume.objects.filter(among("pool_id", pools)).exclude(path="").order_by()
        used = set(rows.filter(uses__isnull=False).values_list("pool__host_id", "path"))
        if not used:
            return []
        same = rows.filter(path__in={path for _, path in used}).values_list("pool__host_id", "path", "pk")
        return [pk for host_id, path, pk in same if (host_id, path) in used]

    @cached_property
    def in_use(self) -> Q:
        used = Q(pk__in=_referred().values("volume"))
        if self.sharing:
            sharing = Volume.objects.filter(among("pool_id", self.sharing)).exclude(identity="").order_by()
            users = sharing.filter(pk__in=_referred().values("volume"))
            used |= Q(pk__in=sharing.filter(identity__in=users.values("identity")).values("pk"))
        return used | among("pk", self.by_other_ways) if self.by_other_ways else used

    @cached_property
    def is_used(self) -> Q:
        used = Q(Exists(_referred().filter(volume=OuterRef("pk"))))
        if self.sharing:
            users = Volume.objects.filter(uses__isnull=False, identity=OuterRef("identity")).order_by()
            used |= among("pool_id", self.sharing) & ~Q(identity="") & Exists(users)
        return used | among("pk", self.by_other_ways) if self.by_other_ways else used


def _of_several(groups: Iterable[list[int]]) -> list[list[int]]:
    return [group for group in groups if len(group) > 1]


def _referred() -> QuerySet[DiskUse]:
    return DiskUse.objects.filter(volume__isnull=False).order_by()


def _by_address() -> list[int]:
    uses = DiskUse.objects.filter(Q(path__contains="://") | Q(path__contains="-iscsi-"), volume=None)
    paths = set(uses.order_by().values_list("path", flat=True))
    if not paths:
        return []
    names = {path.rstrip("/").rpartition("/")[2] for path in paths}
    is_near = Q(name__in=names) | Q(pool__type__in=("iscsi", "iscsi-direct", "gluster", "rbd"))
    near = Volume.objects.filter(is_near, pool__type__in=ON_A_SERVER).select_related("pool")
    return [volume.pk for volume in near if any(path.endswith(_endings(volume)) for path in paths)]


def _endings(volume: Volume) -> tuple[str, ...]:
    """How the paths and addresses end that mean this volume."""
    lun = LUN.search(volume.path)
    return (*endings_of(volume), *([lun[0]] if lun else [volume.path or "\0"]))
