"""What else leads to the storage of a pool: a second pool of the same directory, the export that another host mounts.

Rows only. volumes/identity.py does the same for one volume.
"""

from typing import Any

from django.db.models import Q, QuerySet

from pools.models import Pool

# What these list lies on a server: the same for every host whose pool names the same source.
ON_A_SERVER = frozenset({"netfs", "gluster", "vstorage", "rbd", "sheepdog", "iscsi", "iscsi-direct"})


def pools_of_place(pool: Pool) -> QuerySet[Pool]:
    """The pool and all that list the same place: a name in one is the same name in the others."""
    same = Q(pk=pool.pk)
    if pool.type in ON_A_SERVER and pool.source:
        same |= Q(type=pool.type, source=pool.source)
    if pool.target_path.strip("/") not in ("", "dev", "dev/disk/by-path"):
        same |= Q(host_id=pool.host_id, target_path=pool.target_path)
    return Pool.objects.filter(same)


def pools_of_paths(pool: Pool) -> QuerySet[Pool]:
    """Those of them on its host that have it by the same paths: they go when it is stopped."""
    return pools_of_place(pool).filter(host=pool.host_id, target_path=pool.target_path)


def volumes_elsewhere(pool: Pool) -> QuerySet[Any]:
    """The rows of other pools that are the bytes of a volume here, or have their name in the same place."""
    own, rows = pool.volumes.order_by(), pool.volumes.model.objects
    same = Q(pool__in=pools_of_place(pool).order_by().values("pk"))
    same |= Q(identity__in=own.exclude(identity="").values("identity"))
    same |= Q(pool__host=pool.host_id, path__in=own.exclude(path="").values("path"))
    return rows.filter(same).exclude(pool=pool)
