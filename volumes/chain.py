"""What a volume is built on. Its header names the file, and a VM that writes its own disk can name any file there."""

import posixpath

from django.contrib.auth.models import User

from storagemgr.access.objects import may
from storagemgr.jobs.operations import OperationFailed
from storagemgr.virt.connection import Connection
from storagemgr.virt.images import Image, shown
from storagemgr.virt.volume_xml import backing_file
from volumes import special
from volumes.images import look_at, why_unfit
from volumes.models import Volume

DEPTH = 100  # volumes upon each other that are followed


def chain_of(volume: Volume) -> list[Volume]:
    """The volume and those below it, as far as they are volumes of the same host."""
    found, seen = [volume], {volume.path}
    while (path := found[-1].backing_path) and path not in seen and len(found) < DEPTH:
        parents = rows_at(volume, path)
        if not parents:
            break
        seen.add(path)
        # A directory can be in two pools: the one of the overlay is meant, else the one that was there first.
        found.append(min(parents, key=lambda row: (row.pool_id != found[-1].pool_id, row.pk)))
    return found


def rows_at(volume: Volume, path: str) -> list[Volume]:
    """The volumes of the same host that have this path."""
    rows = Volume.objects.select_related("pool__host", "notes")
    return list(rows.filter(pool__host_id=volume.pool.host_id, path=path))


def why_no_copy(volume: Volume) -> str:
    """A copy would hold what is in the files below: of volumes alone, not of any file of the host."""
    if reason := why_unfit(volume):
        return reason
    return f"{reason}; a copy would show that." if (reason := _why_not_of_volumes(volume)) else ""


def why_no_disk(volume: Volume) -> str:
    """A VM would read the files below as its own, too."""
    if reason := why_unfit(volume):
        return reason
    return f"{reason}; a VM that gets it could read that." if (reason := _why_not_of_volumes(volume)) else ""


def _why_not_of_volumes(volume: Volume) -> str:
    """Who may see the volume may not see those below, nor know what they name."""
    chain = chain_of(volume)
    if any(why_unfit(part) for part in chain[1:]):
        return "It is built on a volume that is in quarantine or no disk"
    lowest = chain[-1].backing_path
    if lowest and lowest not in {part.path for part in chain}:
        what = shown(lowest) if len(chain) == 1 else "a file"
        return f"It is built on {what}, which is not a volume of any pool"
    return ""


def check(connection: Connection, volume: Volume, requester: User | None) -> None:
    """The same of the bytes as they are now, which libvirt reads only at a refresh; and the requester's rights."""
    chain = chain_of(volume)
    for part, below in zip(chain, [*chain[1:], None], strict=True):
        if requester and not _may_see(requester, part):
            raise OperationFailed("backing_hidden")
        special.mark(part.pool, [part.name])
        part.refresh_from_db(fields=["is_special"])
        if reason := why_unfit(part) or _why_not_as_listed(connection, part, below):
            raise OperationFailed("changed_since", reason)


def check_writing(connection: Connection, volume: Volume) -> None:
    """Before QEMU opens an image to change it: it would write into a data file that the header names, too."""
    if volume.type == "file" and (flaws := look_at(connection, volume, volume.format).flaws):
        raise OperationFailed("changed_since", f"{volume} is not safe to open. {flaws[0]}")


def _may_see(person: User, volume: Volume) -> bool:
    """In one of the pools in which the file is, if it is in several."""
    rows = rows_at(volume, volume.path) or [volume]
    return any(may(person, "pool.view", row.pool.host_id, row.pool.uuid) for row in rows)


def _why_not_as_listed(connection: Connection, volume: Volume, below: Volume | None) -> str:
    if volume.type == "dir" or volume.pool.kind.why_not("volume.download"):
        return ""
    image = look_at(connection, volume, volume.format)
    if image.flaws:
        return f"{volume} is not safe to open. {image.flaws[0]}"
    if not image.backing:
        return _said_before(volume) if volume.backing_path else ""
    name = image.backing
    if ":" in name.partition("/")[0]:
        return f"{volume} is built on {shown(name)}: such an address is not followed."
    if backing_file(posixpath.join(posixpath.dirname(volume.path), name)) != volume.backing_path:
        return _said_before(volume)
    if not image.backing_format:
        return f"{volume} does not say which format its backing file has, so it would be guessed."
    if below and image.backing_format != (below.format.replace("iso", "raw") or "raw"):
        return (
            f"{volume} takes what it is built on for {image.backing_format}; it is {below.format or 'raw'}."
        )
    return ""


def dangers_of(volume: Volume, image: Image) -> list[str]:
    """What is wrong with an image that is in the volume already: it may be built on other volumes."""
    path = backing_file(posixpath.join(posixpath.dirname(volume.path), image.backing))
    return list(image.flaws if image.backing and rows_at(volume, path) else image.problems)


def _said_before(volume: Volume) -> str:
    return f"{volume} names another backing file than when the pool was refreshed; refresh it again."
