"""Which volumes are the same bytes: one directory in two pools, one export mounted by two hosts.

A VM of another host that uses the same file is as good a reason not to delete it as one of this host.
"""

from hashlib import blake2b

from django.db.models import Q, QuerySet

from pools.models import Pool
from volumes.models import DiskUse, Volume

# What these list lies on a server: the same for every host whose pool names the same source.
ON_A_SERVER = frozenset({"netfs", "gluster", "vstorage", "rbd", "sheepdog", "iscsi", "iscsi-direct"})


def identity_of(pool: Pool, name: str, path: str) -> str:
    """32 hex digits, the same for the same bytes as far as names tell. Links and bind mounts are not seen."""
    if pool.type in ON_A_SERVER and pool.source:
        place = f"{pool.type}\0{pool.source}\0{name}"
    else:
        place = f"{pool.host_id}\0{path}"
    return blake2b(place.encode(errors="surrogateescape"), digest_size=16).hexdigest()


def same_bytes(volume: Volume) -> QuerySet[Volume]:
    """The volume and all that are the same by path on its host or by identity on any."""
    return Volume.objects.filter(pk__in=_same(volume))


def _same(volume: Volume) -> set[int]:
    here = Q(pool__host_id=volume.pool.host_id, path=volume.path) if volume.path else Q()
    first = Volume.objects.filter(Q(pk=volume.pk) | Q(identity=volume.identity) & ~Q(identity="") | here)
    rows = list(first.order_by().values_list("pk", "identity"))
    identities = {identity for _, identity in rows if identity}
    further = Volume.objects.filter(identity__in=identities).order_by().values_list("pk", flat=True)
    return {pk for pk, _ in rows}.union(further)


def uses_of(volume: Volume) -> QuerySet[DiskUse]:
    """What VMs of any host have of these bytes."""
    return DiskUse.objects.filter(volume__in=_same(volume))


def children_of(volume: Volume) -> QuerySet[Volume]:
    """The volumes of any host whose backing store these bytes are, nearest level only."""
    built_on = Q(pk__in=[])
    for host_id, path in same_bytes(volume).order_by().values_list("pool__host_id", "path"):
        if path:
            built_on |= Q(pool__host_id=host_id, backing_path=path)
    return Volume.objects.filter(built_on).exclude(pk__in=_same(volume))
