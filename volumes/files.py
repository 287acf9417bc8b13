"""What else is the same file: by a link, a bind mount, or one of the names that LVM gives. On this machine alone."""

import os
from functools import partial

from pools.models import Pool
from storagemgr.hosts import calls
from volumes.models import DiskUse, Volume

STAT_S = 2.0


def needed_by(volume: Volume) -> str:
    """The VM or the overlay that means this volume by another path, "" for none."""
    host = volume.pool.host
    if host.transport != "local":
        return ""
    uses = DiskUse.objects.filter(host=host)
    overlays = Volume.objects.filter(pool__host=host).exclude(pk=volume.pk)
    places = (
        (uses, "path", "domain_name"),
        (uses.filter(path=""), "volume__path", "domain_name"),
        (overlays, "backing_path", "name"),
    )
    known: dict[str, bool] = {}
    for rows, path_column, name_column in places:
        meant = rows.exclude(**{f"{path_column}__in": ("", volume.path)}).order_by(path_column)
        for path, name in meant.values_list(path_column, name_column):
            if path and path not in known:
                known[path] = _is_same(volume.path, path)
            if path and known[path]:
                return str(name)
    return ""


def _is_same(path: str, other: str) -> bool:
    """A path that does not answer leads into a dead mount, and so not to a volume that libvirt just read."""
    key = ("file", other)
    if calls.overdue_since(key):
        return False
    try:
        return calls.within(STAT_S, key, partial(_stat, path, other), lambda late: None)
    except calls.Overdue:
        return False


def real_directory(pool: Pool) -> str:
    """Where a link leads that the pool has as its directory; "" for none, or where that cannot be known."""
    if pool.host.transport != "local" or pool.type != "dir" or not pool.target_path:
        return ""
    key = ("directory", pool.target_path)
    if calls.overdue_since(key):
        return ""
    try:
        real = calls.within(STAT_S, key, partial(os.path.realpath, pool.target_path), lambda late: None)
    except calls.Overdue:
        return ""
    return "" if real == pool.target_path else real


def _stat(path: str, other: str) -> bool:
    try:
        return os.path.samefile(path, other)
    except (OSError, ValueError):
        return False
