"""Which volumes are the same bytes: one directory in two pools, one export mounted by two hosts.

A VM of another host that uses the same file is as good a reason not to delete it as one of this host.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from uuid import UUID

from django.db.models import Q, QuerySet

from pools.models import Pool
from pools.same_place import ON_A_SERVER, pools_of_place
from storagemgr.hosts.models import Host
from volumes.models import DiskUse, Volume, VolumeNotes

LUN = re.compile(r"-iscsi-(?P<target>[^/]+)-lun-(?P<number>\d+)$")
_DEPTH = 16  # of overlays upon overlays that are followed


@dataclass(frozen=True)
class Twin:
    """One row of the same bytes."""

    pk: int
    identity: str
    path: str
    name: str
    pool_id: int
    pool_uuid: UUID
    host_id: int


def identity_of(pool: Pool, name: str, path: str) -> str:
    """32 hex digits, the same for the same bytes as far as names tell. Bind mounts are not seen.

    `path`: with links resolved where the host is this machine (files.real_directory).
    """
    if pool.type in ON_A_SERVER and pool.source:
        place = f"{pool.type}\0{pool.source}\0{name}"
    else:
        place = f"{pool.host_id}\0{path}"
    return blake2b(place.encode(errors="surrogateescape"), digest_size=16).hexdigest()


def twins_of(volume: Volume) -> list[Twin]:
    """The volume itself, and all that are the same by path on its host or by identity on any."""
    here = Q(pool__host_id=volume.pool.host_id, path=volume.path) if volume.path else Q(pk__in=[])
    rows = _twins(Q(pk=volume.pk) | Q(identity=volume.identity) & ~Q(identity="") | here)
    identities = {row.identity for row in rows} - {"", volume.identity}
    if not identities:
        return rows
    return list(dict.fromkeys([*rows, *_twins(Q(identity__in=identities))]))


def _twins(which: Q) -> list[Twin]:
    columns = ("pk", "identity", "path", "name", "pool_id", "pool__uuid", "pool__host_id")
    return [Twin(*values) for values in Volume.objects.filter(which).order_by().values_list(*columns)]


def same_bytes(volume: Volume) -> QuerySet[Volume]:
    """The volume and all that are the same bytes."""
    return Volume.objects.filter(pk__in={twin.pk for twin in twins_of(volume)})


def notes_in_place(pool: Pool, name: str) -> QuerySet[VolumeNotes]:
    """On this name in the pool, and in all pools that list the same place; also while no row has the name."""
    places = {(pool.host_id, pool.uuid), *pools_of_place(pool).order_by().values_list("host_id", "uuid")}
    somewhere = Q()
    for host_id, uuid in places:
        somewhere |= Q(host_id=host_id, pool_uuid=uuid)
    return VolumeNotes.objects.filter(somewhere, volume_name=name)


def forget_notes(pool: Pool, name: str) -> None:
    """For a new volume: nobody inherits an owner or an expiry. Those on a row that another pool has stay."""
    own = Q(host_id=pool.host_id, pool_uuid=pool.uuid)
    notes_in_place(pool, name).filter(own | Q(volume=None)).delete()


def hosts_beside(volume: Volume) -> QuerySet[Host]:
    """The other hosts that see the storage on which the volume lies."""
    pool = volume.pool
    if pool.type not in ON_A_SERVER or not pool.source:
        return Host.objects.none()
    sharing = Pool.objects.filter(type=pool.type, source=pool.source).exclude(host_id=pool.host_id)
    return Host.objects.filter(pk__in=sharing.values("host_id"))


def uses_of(volume: Volume, twins: Iterable[Twin] | None = None) -> QuerySet[DiskUse]:
    """What VMs of any host have of these bytes, also by a path or an address that leads to no row of ours."""
    twins = list(twins_of(volume) if twins is None else twins)
    means = Q(volume__in={twin.pk for twin in twins})
    for paths, hosts in hosts_by_paths(_paths(twins)):
        means |= Q(host_id__in=hosts, path__in=paths)
    for ending in endings_of(volume):
        # An address begins with a letter and a path with "/", which comes before: an index leads to the addresses.
        by_index = Q(host__in=Host.objects.values("pk"), path__gte="0")
        means |= by_index & Q(path__contains="://", path__endswith=ending)
    if found := LUN.search(volume.path):
        means |= Q(path__endswith=found[0])
    if volume.pool.type == "rbd" and volume.path:
        means |= Q(volume=None, path=volume.path)
    return DiskUse.objects.filter(means)


def endings_of(volume: Volume) -> list[str]:
    """How the addresses end under which QEMU reaches these bytes itself, by whatever name of the server."""
    pool = volume.pool
    if found := LUN.search(volume.path):
        target, number = found["target"], found["number"]
        return [f"/{target}/{number}", *([f"/{target}"] if number == "0" else [])]
    if pool.type == "netfs" and (directory := pool.source.partition(":/")[2].strip("/")):
        return [f"/{directory}/{volume.name}"]
    if pool.type == "gluster" and "://" in volume.path:
        return ["/" + volume.path.partition("://")[2].partition("/")[2]]
    return []


def _paths(twins: Iterable[Twin]) -> dict[int, set[str]]:
    found: dict[int, set[str]] = defaultdict(set)
    for twin in twins:
        if twin.path:
            found[twin.host_id].add(twin.path)
    return found


def hosts_by_paths(paths: Mapping[int, Iterable[str]]) -> Iterable[tuple[frozenset[str], list[int]]]:
    """Hosts that mount one export have the same paths: asked about together, twenty are one condition."""
    found: dict[frozenset[str], list[int]] = defaultdict(list)
    for host_id, some in paths.items():
        found[frozenset(some)].append(host_id)
    return found.items()


def children_of(volume: Volume, twins: Iterable[Twin] | None = None) -> QuerySet[Volume]:
    """The volumes of any host whose backing store these bytes are, nearest level only."""
    twins = list(twins_of(volume) if twins is None else twins)
    return Volume.objects.filter(_built_on(_paths(twins))).exclude(pk__in={twin.pk for twin in twins})


def _built_on(paths: dict[int, set[str]]) -> Q:
    built_on = Q(pk__in=[])
    for some, hosts in hosts_by_paths(paths):
        built_on |= Q(pool__host_id__in=hosts, backing_path__in=some)
    # Said twice, since a database finds the few by their index only where no host stands beside the path.
    return Q(backing_path__in=set().union(*paths.values())) & built_on


def descendants_of(volume: Volume, twins: Iterable[Twin] | None = None) -> set[int]:
    """The ids of all that would be lost with it: the overlays, and what is built on them."""
    twins = list(twins_of(volume) if twins is None else twins)
    known, paths = {twin.pk for twin in twins}, _paths(twins)
    found: set[int] = set()
    for _ in range(_DEPTH):
        level = _twins(_built_on(paths))
        identities = {row.identity for row in level} - {""}
        new = [row for row in {*level, *_twins(Q(identity__in=identities))} if row.pk not in known]
        if not new:
            break
        known.update(row.pk for row in new)
        found.update(row.pk for row in new)
        paths = _paths(new)
    return found
