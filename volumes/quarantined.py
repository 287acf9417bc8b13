"""Which rows are in quarantine, also by what was found through another pool or host, for very many rows at once.

For one volume dependents.Look says it.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from uuid import UUID

from django.db.models import QuerySet

from pools.models import Pool
from pools.same_place import pools_of_place
from volumes.among import among
from volumes.models import Volume, VolumeNotes

Place = tuple[int, UUID]
_FOUND = VolumeNotes.objects.filter(quarantined_because__gt="").order_by()


def all_quarantined() -> set[int]:
    found: set[int] = set()
    places: set[tuple[int, str]] = set()
    identities: set[str] = set()
    columns = ("volume", "volume__identity", "host_id", "volume__path")
    for pk, identity, host_id, path in _FOUND.filter(volume__isnull=False).values_list(*columns):
        found.add(pk)
        identities.add(identity)
        places.add((host_id, path))
    found.update(_twins(identities - {""}, places))
    for name, pools in _of_away(_FOUND).items():
        found.update(Volume.objects.filter(name=name, pool__in=pools).values_list("pk", flat=True))
    return found


def _twins(identities: Collection[str], places: Collection[tuple[int, str]]) -> Iterator[int]:
    if not places:
        return
    same = among("path", {path for _, path in places} - {""})
    if identities:
        same |= among("identity", identities)
    rows = Volume.objects.filter(same).order_by()
    for pk, identity, host_id, path in rows.values_list("pk", "identity", "pool__host_id", "path"):
        if identity in identities or (host_id, path) in places:
            yield pk


def quarantined(volumes: Iterable[Volume], meant: Mapping[int, Collection[int]]) -> set[int]:
    """The ids of those among `volumes`. `meant`: of each row that is the same bytes, which of them it is."""
    volumes = list(volumes)
    # Few are in quarantine: they are read all, rather than asked for by the very many that a page means.
    twins = meant.keys() & _FOUND.filter(volume__isnull=False).values_list("volume", flat=True)
    found = {pk for twin in twins for pk in meant[twin]}
    away = _of_away(_FOUND.filter(volume_name__in={volume.name for volume in volumes}))
    return found | {volume.pk for volume in volumes if volume.pool_id in away.get(volume.name, ())}


def _of_away(notes: QuerySet[VolumeNotes]) -> dict[str, set[int]]:
    """By name the pools that list the place of a volume whose own row is away: with its mount, for a moment."""
    names: dict[Place, set[str]] = defaultdict(set)
    for host_id, uuid, name in notes.filter(volume=None).values_list("host_id", "pool_uuid", "volume_name"):
        names[host_id, uuid].add(name)
    found: dict[str, set[int]] = defaultdict(set)
    if not names:
        return found
    for pool in Pool.objects.filter(uuid__in={uuid for _, uuid in names}):
        if said := names.get((pool.host_id, pool.uuid)):
            pools = set(pools_of_place(pool).values_list("pk", flat=True))
            for name in said:
                found[name] |= pools
    return found
