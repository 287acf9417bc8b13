"""Looks at block devices through transient pools that exist for a moment. Nothing is written to a device.

libvirt has no call that reads a device; it reads those that belong to a pool. A pool of type disk shows the
partitions of one device, a pool of type dir the devices of a folder of links. Starting them opens the devices
for reading (parted opens a disk that has a partition table for writing too, and writes nothing).

What a folder costs, as every pool of type dir does: libvirt opens each device in it, and the backing file that an
image on one of them names. A device that does not answer holds up the look, and libvirt's list of pools with it,
until the kernel gives up on it; one that fails hides the whole folder.
"""

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import libvirt
from lxml import etree

from storagemgr.virt.connection import Connection, translate, translated
from storagemgr.virt.errors import VirtError
from storagemgr.virt.signatures import HEAD, TAIL, Finding, examine
from storagemgr.virt.volume_xml import parse_volume

LOOK_PREFIX = "storagemgr-look-"

# No look takes that long: a pool that is older was left by one that died.
LIFE_S = 15 * 60

# Folders of links to block devices and nothing else: libvirt opens each file of a pool's folder, and opening some
# other files of /dev does something (/dev/watchdog resets the host).
BY_ID, BY_PATH = FOLDERS = ("/dev/disk/by-id", "/dev/disk/by-path")


@dataclass(frozen=True)
class Block:
    """A block device, `size` in bytes. `finding`: None when it could not be read."""

    path: str
    size: int
    finding: Finding | None


@dataclass(frozen=True)
class Folder:
    """`names`: of all its links; `blocks`: what was read of those that were wanted, by the paths of the links.

    `error`: why libvirt could not read the folder. One device in it that fails is enough (an empty CD drive).
    """

    names: frozenset[str] = frozenset()
    blocks: tuple[Block, ...] = ()
    error: str = ""


@contextmanager
def disk_pool(c: Connection, path: str, table: str) -> Iterator[libvirt.virStoragePool]:
    """`table`: gpt or dos, which has to be the one of the device."""
    pool = etree.Element("pool", type="disk")
    source = etree.SubElement(pool, "source")
    etree.SubElement(source, "device", path=path)
    etree.SubElement(source, "format", type=table)
    with _look(c, pool, "/dev") as look:
        yield look


@contextmanager
def _folder_pool(c: Connection, path: str) -> Iterator[libvirt.virStoragePool]:
    if path not in FOLDERS:
        raise ValueError(f"not a folder of block devices alone: {path}")
    with _look(c, etree.Element("pool", type="dir"), path) as look:
        yield look


@contextmanager
def _look(c: Connection, pool: etree._Element, target: str) -> Iterator[libvirt.virStoragePool]:
    """virStoragePoolCreateXML and, whatever happens, virStoragePoolDestroy."""
    etree.SubElement(pool, "name").text = f"{LOOK_PREFIX}{int(time.time()):08x}{secrets.token_hex(4)}"
    etree.SubElement(etree.SubElement(pool, "target"), "path").text = target
    with translated():
        look = c.raw.storagePoolCreateXML(etree.tostring(pool, encoding="unicode"), 0)
    try:
        yield look
    finally:
        _end(look)


def _end(look: libvirt.virStoragePool) -> None:
    """Also of a look that is gone. The job of a read that just ended can be in the way for a moment."""
    for attempt in range(10):
        try:
            look.destroy()
            return
        except libvirt.libvirtError as error:
            failure = translate(error)
            if failure.code == "no_pool":
                return
            if failure.code != "pool_busy" or attempt == 9:
                raise failure from error
            time.sleep(0.1)


def remove_leftovers(c: Connection) -> int:
    """Destroys the pools of looks that died with their process; how many. A look that runs is let alone."""
    removed = 0
    with translated():
        pools = c.raw.listAllStoragePools(libvirt.VIR_CONNECT_LIST_STORAGE_POOLS_TRANSIENT)
    for pool in pools:
        if _is_leftover(pool.name()):
            _end(pool)
            removed += 1
    return removed


def _is_leftover(name: str) -> bool:
    begun = name.removeprefix(LOOK_PREFIX)[:8]
    if not name.startswith(LOOK_PREFIX) or len(name) != len(LOOK_PREFIX) + 16:
        return False
    try:
        return abs(time.time() - int(begun, 16)) > LIFE_S
    except ValueError:
        return False


def read_block(c: Connection, volume: libvirt.virStorageVol, path: str = "") -> Block:
    """What is on a volume of a pool that is active. `path`: a better name than the volume's."""
    size = 0
    try:
        path = path or volume.path()
        size = _size(volume)
        return Block(path, size, examine(*_read_ends(c, volume, size)) if size else None)
    except (libvirt.libvirtError, VirtError) as error:
        failure = error if isinstance(error, VirtError) else translate(error)
        if failure.code in LOST:
            raise failure from error
        return Block(path, size, None)


def _size(volume: libvirt.virStorageVol) -> int:
    """Of the device: the capacity is what an image on it claims, if there is one."""
    info = parse_volume(volume.XMLDesc(0))
    return info.capacity if info.physical is None else info.physical


# What ends a look; anything else only means that something could not be seen.
LOST = ("connection_lost", "denied")


def look_into(c: Connection, folder: str, wanted: Callable[[str], bool]) -> Folder:
    try:
        with _folder_pool(c, folder) as pool, translated():
            volumes = {volume.name(): volume for volume in pool.listAllVolumes(0)}
            found = [name for name in sorted(volumes) if wanted(name)]
            blocks = [read_block(c, volumes[name], f"{folder}/{name}") for name in found]
            return Folder(frozenset(volumes), tuple(blocks))
    except VirtError as error:
        if error.code in LOST:
            raise
        return Folder(error=error.detail)


def _read_ends(c: Connection, volume: libvirt.virStorageVol, size: int) -> tuple[bytes, bytes]:
    """virStorageVolDownload of the first HEAD and the last TAIL bytes; they do not overlap."""
    head = _read(c, volume, 0, min(size, HEAD))
    begin = max(len(head), size - TAIL)
    return head, _read(c, volume, begin, size - begin)


def _read(c: Connection, volume: libvirt.virStorageVol, offset: int, length: int) -> bytes:
    if length <= 0:
        return b""
    found = bytearray()
    with translated():
        stream, is_finished = c.raw.newStream(0), False
        try:
            volume.download(stream, offset, length, 0)
            while part := stream.recv(length):
                found += part
            stream.finish()
            is_finished = True
        finally:
            if not is_finished:
                # The daemon keeps the device open until then; a stream that did not begin cannot be aborted.
                with suppress(libvirt.libvirtError):
                    stream.abort()
    return bytes(found)
