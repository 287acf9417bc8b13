"""Change the size of a volume, or overwrite its data. Sizes in bytes."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType

import libvirt

from storagemgr.virt.connection import Connection, translate, translated
from storagemgr.virt.pools import explained
from storagemgr.virt.wipe_algorithms import ALGORITHMS

__all__ = ["ALGORITHMS", "block_resize", "resize", "wipe"]

_NUMBERS: Mapping[str, int] = MappingProxyType(
    {
        "zero": libvirt.VIR_STORAGE_VOL_WIPE_ALG_ZERO,
        "nnsa": libvirt.VIR_STORAGE_VOL_WIPE_ALG_NNSA,
        "dod": libvirt.VIR_STORAGE_VOL_WIPE_ALG_DOD,
        "bsi": libvirt.VIR_STORAGE_VOL_WIPE_ALG_BSI,
        "gutmann": libvirt.VIR_STORAGE_VOL_WIPE_ALG_GUTMANN,
        "schneier": libvirt.VIR_STORAGE_VOL_WIPE_ALG_SCHNEIER,
        "pfitzner7": libvirt.VIR_STORAGE_VOL_WIPE_ALG_PFITZNER7,
        "pfitzner33": libvirt.VIR_STORAGE_VOL_WIPE_ALG_PFITZNER33,
        "random": libvirt.VIR_STORAGE_VOL_WIPE_ALG_RANDOM,
        "trim": libvirt.VIR_STORAGE_VOL_WIPE_ALG_TRIM,
    }
)


def resize(
    c: Connection, pool_uuid: str, name: str, capacity: int, *, shrink: bool = False, allocate: bool = False
) -> None:
    """virStorageVolResize. The pool is locked until it ends; a VM that runs from the volume is not looked at.

    `allocate` takes the space of the whole volume, also with the capacity that it has.
    """
    flags = libvirt.VIR_STORAGE_VOL_RESIZE_SHRINK if shrink else 0
    flags |= libvirt.VIR_STORAGE_VOL_RESIZE_ALLOCATE if allocate else 0
    with _volume(c, pool_uuid, name) as volume:
        volume.resize(capacity, flags)


def block_resize(c: Connection, domain_uuid: str, target: str, capacity: int) -> None:
    """virDomainBlockResize: the QEMU of a running VM changes the size of its disk `target`, vda for example."""
    with translated():
        domain = c.raw.lookupByUUIDString(domain_uuid)
        domain.blockResize(target, capacity, libvirt.VIR_DOMAIN_BLOCK_RESIZE_BYTES)


def wipe(c: Connection, pool_uuid: str, name: str, algorithm: str) -> None:
    """virStorageVolWipePattern, which returns when all is overwritten and cannot be stopped.

    Raises program_missing on a host without scrub.
    """
    with _volume(c, pool_uuid, name) as volume:
        volume.wipePattern(_NUMBERS[algorithm], 0)


@contextmanager
def _volume(c: Connection, pool_uuid: str, name: str) -> Iterator[libvirt.virStorageVol]:
    with translated():
        pool = c.raw.storagePoolLookupByUUIDString(pool_uuid)
    try:
        yield pool.storageVolLookupByName(name)
    except libvirt.libvirtError as error:
        raise explained(translate(error), pool, needs_active=True, else_code="volume_busy") from error
