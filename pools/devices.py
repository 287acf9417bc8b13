"""The devices of a pool, who else uses them, and what was on them when somebody looked. Reads rows only."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from django.db.models import Q, QuerySet
from django.utils import timezone
from lxml import etree

from pools.models import Look, Pool
from pools.same_place import pools_of_paths
from storagemgr.hosts.models import Host
from storagemgr.templatetags.storage import moment_long, size

# Whose devices can be overwritten. Of a ZFS pool libvirt only makes what is not there.
ON_DEVICES = ("fs", "disk", "logical")
WITH_DEVICES = (*ON_DEVICES, "zfs")
_IN_DIRECTORY = ("dir", "fs", "netfs", "vstorage", "logical", "zfs")
FRESH = timedelta(minutes=15)
NAMED = 5

Content = Mapping[str, Any]
Contents = dict[str, Content]


def devices_of(pool: Pool) -> list[str]:
    if not pool.xml:
        return []
    found = etree.fromstring(pool.xml.encode()).iterfind("source/device")
    return [path for device in found if (path := device.get("path", ""))]


def source_of(pool: Pool, place: str) -> str:
    """A text or, with "@", an attribute below <source>: "name", "format/@type"; "" when it is not there."""
    found = etree.fromstring(pool.xml.encode()).xpath(f"string(source/{place})") if pool.xml else ""
    return str(found)


def is_of(path: str, device: str) -> bool:
    """Whether `path` is this device or a partition of it: /dev/sdb1, /dev/nvme0n1p1, /dev/disk/by-id/x-part1."""
    rest = path[len(device) :]
    return path.startswith(device) and re.fullmatch(r"|p?\d+|-part\d+", rest) is not None


def places_of(pool: Pool) -> list[str]:
    """What the paths of its volumes begin with, as far as that is only theirs."""
    found = []
    if pool.type in _IN_DIRECTORY and pool.target_path.strip("/"):
        found.append(pool.target_path.rstrip("/") + "/")
    if pool.type == "logical" and (group := source_of(pool, "name") or pool.name):
        found += _places_of_groups([group])
    return found


def looks_of(pool: Pool) -> list[Look]:
    """The last look at each of its devices, in their order; of one that nobody looked at, none."""
    devices = devices_of(pool)
    known = {look.path: look for look in Look.objects.filter(host=pool.host_id, path__in=devices)}
    return [known[path] for path in devices if path in known]


def not_looked_at(pool: Pool) -> list[str]:
    fresh = {look.path for look in looks_of(pool) if look.at > timezone.now() - FRESH}
    return [path for path in devices_of(pool) if path not in fresh]


def contents_of(pool: Pool) -> Contents:
    return {look.path: look.content for look in looks_of(pool)}


def digest(contents: Contents) -> str:
    """Of what is on the devices, not of how it was found out."""
    text = json.dumps({path: _compared(content) for path, content in contents.items()}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _compared(content: Content) -> dict[str, Any]:
    return {name: value for name, value in content.items() if name not in ("seen", "unseen", "pools")}


def difference(shown: Contents, now: Contents) -> str:
    """What is on the devices now and was not when it was shown, and the reverse."""
    before, after = ([line for lines in map(words, c.values()) for line in lines] for c in (shown, now))
    gone = [line for line in before if line not in after]
    new = [line for line in after if line not in before]
    parts = [f"It is not there any more: {'; '.join(gone)}." if gone else ""]
    parts += [f"It is new: {'; '.join(new)}." if new else ""]
    return " ".join(filter(None, parts)) or "The devices differ from those that were looked at."


def words(content: Content) -> list[str]:
    """What is on one device, its partitions and what they are a part of."""
    path, total = content["path"], content.get("size")
    found = [f"{path}{f' ({size(total)})' if total else ''}: {content['text']}"]
    for part in content.get("partitions") or ():
        on_it = part["finding"]["text"] if part.get("finding") else "could not be read"
        found.append(f"{part['path']} ({size(part['size'])}): {on_it}")
    found += [f"{path} is a part of the LVM group {group}" for group in content.get("groups") or ()]
    return found


def seen(look: Look) -> list[str]:
    """`words`, with when it was and what could not be seen."""
    first, *rest = words(look.content)
    missed = [f"What could not be seen: {text}" for text in look.content.get("unseen") or ()]
    return [f"Lost with it, seen {moment_long(look.at)}: {first}.", *(f"{line}." for line in rest), *missed]


def names_of(pool: Pool) -> set[str]:
    """Every path under which its devices are known."""
    names = set(devices_of(pool))
    for look in looks_of(pool):
        names.update(look.content.get("names") or ())
    return names


def groups_of(pool: Pool) -> set[str]:
    return groups_in(contents_of(pool))


def names_in(contents: Contents) -> set[str]:
    return {name for path, on_it in contents.items() for name in (path, *(on_it.get("names") or ()))}


def groups_in(contents: Contents) -> set[str]:
    """The LVM groups that are on these devices."""
    return {group for on_it in contents.values() for group in on_it.get("groups") or ()}


def pools_on_devices(pool: Pool) -> list[Pool]:
    """The other pools of the host that have a device of this one, a partition of it or an LVM group on it."""
    return pools_among(_others(pool), names_of(pool), groups_of(pool))


def pools_among(others: QuerySet[Pool], names: set[str], groups: set[str]) -> list[Pool]:
    return [other for other in others.filter(type__in=WITH_DEVICES) if is_on_device(other, names, groups)]


def is_on_device(other: Pool, names: set[str], groups: set[str]) -> bool:
    if other.type == "logical" and (source_of(other, "name") or other.name) in groups:
        return True
    return any(is_of(theirs, name) or is_of(name, theirs) for theirs in devices_of(other) for name in names)


def _others(pool: Pool) -> QuerySet[Pool]:
    return Pool.objects.filter(host=pool.host_id).exclude(pk=pool.pk)


def vms_on_devices(pool: Pool) -> list[str]:
    """VMs, running or not, that have a device itself, a partition of it or a volume of an LVM group on it."""
    return vms_on(pool.host, names_of(pool), groups_of(pool))


def vms_on(host: Host, names: set[str], groups: set[str]) -> list[str]:
    begins = Q(pk__in=[])
    for start in (*names, *_places_of_groups(groups)):
        begins |= Q(path__startswith=start)
    uses = host.disk_uses.filter(begins).values_list("domain_name", "path")
    return sorted({vm for vm, path in uses if is_on(path, names, groups)})


def is_on(path: str, names: set[str], groups: set[str]) -> bool:
    """Whether the path of a VM's disk is one of these devices, a partition or a volume of a group."""
    return path.startswith(_places_of_groups(groups) or ("\0",)) or any(is_of(path, name) for name in names)


def _places_of_groups(groups: Iterable[str]) -> tuple[str, ...]:
    """What the paths of the volumes of LVM groups begin with."""
    mapped = [group.replace("-", "--") for group in groups]
    return tuple(
        [f"/dev/{group}/" for group in groups]
        + [f"/dev/mapper/{group}-" for group in mapped]
        + [f"/dev/disk/by-id/dm-name-{group}-" for group in mapped]
    )


def vms_of(pool: Pool, **having: Any) -> list[str]:
    """VMs of the host, running or not, that have a disk in this pool, by path or by a pool's name."""
    uses = pool.host.disk_uses.filter(disks_in(pool), **having)
    return sorted(set(uses.values_list("domain_name", flat=True)))


def disks_in(pool: Pool) -> Q:
    """Of the uses of its host those here. The row may be the one of another pool that has the same paths."""
    paths = pool.volumes.exclude(path="").order_by().values("path")
    here = (
        Q(volume__pool=pool) | Q(path__in=paths) | Q(volume__pool__host=pool.host_id, volume__path__in=paths)
    )
    here |= Q(pool_name__in=_names_of(pool))
    for place in places_of(pool):
        here |= Q(path__startswith=place)
    return here


def _names_of(pool: Pool) -> set[str]:
    return set(pools_of_paths(pool).values_list("name", flat=True)) | {pool.name}


def vms_among(pool: Pool, uses: Iterable[Any]) -> list[str]:
    """The same of what libvirt says now (virt.domains.DiskUse), on the devices too."""
    places, names = tuple(places_of(pool)) or ("\0",), names_of(pool) if pool.type in WITH_DEVICES else set()
    paths, pools = set(pool.volumes.values_list("path", flat=True)) - {""}, _names_of(pool)
    found = {
        use.domain_name
        for use in uses
        if use.pool in pools
        or use.path in paths
        or use.path.startswith(places)
        or any(is_of(use.path, name) for name in names)
    }
    return sorted(found)


def built_on(pool: Pool) -> int:
    """How many other pools of the host have volumes that are built on one here, or have one as their device."""
    return len(pools_built_on(pool))


def pools_built_on(pool: Pool) -> set[int]:
    paths = pool.volumes.values("path")
    found = set(_others(pool).filter(volumes__backing_path__in=paths).values_list("pk", flat=True))
    places = tuple(places_of(pool))
    for place in places:
        found.update(
            _others(pool).filter(volumes__backing_path__startswith=place).values_list("pk", flat=True)
        )
    for other in _others(pool).filter(type__in=WITH_DEVICES):
        devices = devices_of(other)
        if any(path.startswith(places) for path in devices if places) or (
            devices and pool.volumes.filter(path__in=devices).exists()
        ):
            found.add(other.pk)
    return found


def some(names: list[str], limit: int = NAMED) -> str:
    """ "a, b, c and 7 more"."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
