"""Copying a volume inside a host, into its own pool or another one. Sizes in bytes."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait

import libvirt
from lxml import etree

from storagemgr.virt.connection import Connection, translate
from storagemgr.virt.errors import VirtError
from storagemgr.virt.volume_formats import IN_FILES
from storagemgr.virt.volume_xml import NewVolume, copy_xml
from storagemgr.virt.volumes import check_name, flags_of, in_pool, patiently

_POLL_S = 0.3


def copy(
    c: Connection,
    watch: Connection,
    source_pool: str,
    source: str,
    target_pool: str,
    new: NewVolume,
    *,
    reflink: bool = False,
) -> Iterator[int]:
    """virStorageVolCreateXMLFrom on `c`: yields the bytes that the copy takes, until libvirt is done.

    Pools by their UUIDs. The bytes are asked over `watch`, since calls on `c` can be held until the copy ends. libvirt
    cannot stop a copy: a generator closed early waits for it. What a source is built on is copied into the copy.
    """
    check_name(new.name)
    with in_pool(c, source_pool, else_code="volume_busy") as pool:
        original = pool.storageVolLookupByName(source)
        source_xml = original.XMLDesc(0)
    with in_pool(c, target_pool, else_code="volume_busy") as pool:
        in_files = etree.fromstring(pool.XMLDesc(0).encode()).get("type") in IN_FILES
        xml = copy_xml(source_xml, new, in_files=in_files)
        _refuse_taken(pool, new.name)
        flags = flags_of(new) | (libvirt.VIR_STORAGE_VOL_CREATE_REFLINK if reflink else 0)
        with ThreadPoolExecutor(1, thread_name_prefix="copy") as executor:
            copying = executor.submit(patiently, pool.createXMLFrom, xml, original, flags)
            done = 0
            while not wait([copying], _POLL_S).done:
                # File systems give a block back now and then.
                done = max(done, _allocation(watch, target_pool, new.name, done))
                yield done
            copying.result()


def _refuse_taken(pool: libvirt.virStoragePool, name: str) -> None:
    """createXMLFrom tells a taken name in words only."""
    try:
        pool.storageVolLookupByName(name)
    except libvirt.libvirtError as error:
        if translate(error).code == "no_volume":
            return
        raise
    raise VirtError("volume_exists", name)


def _allocation(watch: Connection, pool_uuid: str, name: str, before: int) -> int:
    """`before` while it cannot be told: not there yet, or `watch` is lost and the copy goes on."""
    try:
        pool = watch.raw.storagePoolLookupByUUIDString(pool_uuid)
        return int(pool.storageVolLookupByName(name).info()[2])
    except libvirt.libvirtError:
        return before
