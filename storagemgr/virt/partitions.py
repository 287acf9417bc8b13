"""Partitions as volumes: libvirt wants to be told the name that the kernel will give the next one."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import libvirt

from storagemgr.virt import pools, volumes
from storagemgr.virt.connection import Connection
from storagemgr.virt.errors import VirtError

NEAR = 8 * 1024**2  # parted rounds to cylinders
# In the daemon's language, so it may not be found; then nothing is deleted.
_NAMED = re.compile(r"invalid partition name '[^']*', expected '([^']+)'")


@contextmanager
def without_leftover(c: Connection, pool_uuid: str, name: str, capacity: int) -> Iterator[None]:
    """A partition that is made inside and gets another name than `name` is deleted again; raises named_otherwise then.

    libvirt leaves it on the disk and forgets how much is free, until a refresh. What others made on the disk since the
    last one is told first: libvirt would mistake theirs for ours.
    """
    pools.refresh(c, pool_uuid)
    before = _sizes(c, pool_uuid)
    if name in before:
        raise VirtError("volume_exists", f"{name} is on the disk already.")
    try:
        yield
    except VirtError as error:
        if error.code == "connection_lost":
            raise
        pools.refresh(c, pool_uuid)
        new = {part: size for part, size in _sizes(c, pool_uuid).items() if part not in before}
        if error.number != libvirt.VIR_ERR_INVALID_ARG and not new:
            raise
        said = _without(c, pool_uuid, new, error.detail, capacity)
        raise VirtError("named_otherwise", f"{said}{error.detail}", number=error.number) from error


def _without(c: Connection, pool_uuid: str, new: dict[str, int], said: str, capacity: int) -> str:
    """Deletes ours: the only one that is new, of the name that libvirt said it got, and as large as it was to be."""
    if not new:
        return ""
    match = _NAMED.search(said)
    named = match[1] if match else ""
    if list(new) == [named] and abs(new[named] - capacity) <= NEAR:
        volumes.delete(c, pool_uuid, named)
        return f"It was named {named} and is deleted again.\n"
    return f"New on the disk: {', '.join(new)}.\n"


def _sizes(c: Connection, pool_uuid: str) -> dict[str, int]:
    return {volume.name: volume.capacity for volume in volumes.list_volumes(c, pool_uuid).volumes}
