"""Partitions as volumes: libvirt wants to be told the name that the kernel will give the next one."""

from collections.abc import Iterator
from contextlib import contextmanager

from storagemgr.virt import pools, volumes
from storagemgr.virt.connection import Connection
from storagemgr.virt.errors import VirtError

NEAR = 64 * 1024**2  # parted rounds to cylinders and to what the disk likes


@contextmanager
def without_leftover(c: Connection, pool_uuid: str, name: str, capacity: int) -> Iterator[None]:
    """A partition that is made inside and gets another name than `name` is deleted again; raises named_otherwise then.

    libvirt leaves it on the disk and forgets how much is free, until a refresh.
    """
    before = _names(c, pool_uuid)
    try:
        yield
    except VirtError as error:
        if error.code == "connection_lost":
            raise
        pools.refresh(c, pool_uuid)
        new = [v for v in volumes.list_volumes(c, pool_uuid).volumes if v.name not in before]
        if not new:
            raise
        # Nobody else's: the only one that is new, and as large as it was to be.
        if len(new) == 1 and abs(new[0].capacity - capacity) <= NEAR:
            volumes.delete(c, pool_uuid, new[0].name)
            said = f"It was named {new[0].name} and is deleted again."
        else:
            said = f"New on the disk: {', '.join(volume.name for volume in new)}."
        raise VirtError("named_otherwise", f"{said}\n{error.detail}", number=error.number) from error


def _names(c: Connection, pool_uuid: str) -> set[str]:
    return {volume.name for volume in volumes.list_volumes(c, pool_uuid).volumes}
