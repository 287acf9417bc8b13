"""Volumes of a pool: read, create and delete them. Sizes in bytes."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import libvirt

from storagemgr.virt.connection import Connection, translate, translated
from storagemgr.virt.errors import VirtError
from storagemgr.virt.pools import explained
from storagemgr.virt.secrets import forget_volume_secret
from storagemgr.virt.volume_xml import NewVolume, VolumeInfo, parse_volume, parse_volumes, volume_xml

__all__ = [
    "NewVolume",
    "VolumeInfo",
    "VolumeListing",
    "create",
    "delete",
    "is_building",
    "list_volumes",
    "read_bytes",
    "read_volume",
    "read_xml",
]

LIST_LIMIT = 16_384
NAME_LIMIT = 255

# Below libvirt's four long calls per connection, so that another call still gets through.
_READERS = 3
_CLOCK_TRIES = 30
_CHUNK = 500


@dataclass(frozen=True)
class VolumeListing:
    """`skipped`: volumes that libvirt lists and cannot name in UTF-8 or cannot read."""

    volumes: list[VolumeInfo]
    skipped: int


def list_volumes(c: Connection, pool_uuid: str) -> VolumeListing:
    """Every volume of an active pool: virStoragePoolListAllVolumes and one XMLDesc each.

    A volume that goes while we read is left out. Raises too_many_volumes beyond LIST_LIMIT.
    """
    with in_pool(c, pool_uuid, else_code="invalid") as pool:
        handles = _handles(pool)
        if len(handles) <= _CHUNK:
            return _listing([_read(handles)])
        chunks = [handles[i : i + _CHUNK] for i in range(0, len(handles), _CHUNK)]
        executor = ThreadPoolExecutor(_READERS, thread_name_prefix="read-volumes")
        try:
            return _listing(executor.map(_read, chunks))
        finally:
            executor.shutdown(cancel_futures=True)


def _handles(pool: libvirt.virStoragePool) -> Sequence[libvirt.virStorageVol]:
    try:
        handles: Sequence[libvirt.virStorageVol] = pool.listAllVolumes(0)
    except libvirt.libvirtError as error:
        if translate(error).code != "connection_lost" and pool.numOfVolumes() > LIST_LIMIT:
            raise VirtError("too_many_volumes", error.get_error_message()) from error
        raise
    return handles


def _read(handles: Sequence[libvirt.virStorageVol]) -> tuple[list[str], int]:
    """The XML of each, and how many could not be read."""
    xmls, skipped = [], 0
    for handle in handles:
        try:
            xmls.append(handle.XMLDesc(0))
        except UnicodeDecodeError:
            skipped += 1
        except libvirt.libvirtError as error:
            code = translate(error).code
            if code in ("connection_lost", "pool_inactive", "no_pool", "denied"):
                raise
            skipped += code != "no_volume"
    return xmls, skipped


def _listing(parts: Iterable[tuple[list[str], int]]) -> VolumeListing:
    volumes: list[VolumeInfo] = []
    skipped = 0
    for xmls, unread in parts:
        volumes += parse_volumes(xmls)
        skipped += unread
    return VolumeListing(volumes, skipped)


def read_volume(c: Connection, pool_uuid: str, name: str) -> VolumeInfo:
    with in_pool(c, pool_uuid, else_code="invalid") as pool:
        return parse_volume(pool.storageVolLookupByName(name).XMLDesc(0))


def read_xml(c: Connection, pool_uuid: str, name: str) -> str:
    """virStorageVolGetXMLDesc. It holds no password, only the UUID of a secret."""
    with in_pool(c, pool_uuid, else_code="invalid") as pool:
        return str(pool.storageVolLookupByName(name).XMLDesc(0))


def read_bytes(c: Connection, pool_uuid: str, name: str, offset: int, length: int) -> bytes:
    """virStorageVolDownload of a few bytes; fewer where the volume ends."""
    with in_pool(c, pool_uuid, else_code="volume_busy") as pool:
        stream = c.raw.newStream(0)
        pool.storageVolLookupByName(name).download(stream, offset, length, 0)
        found = bytearray()
        while part := stream.recv(length):
            found += part
        stream.finish()
    return bytes(found)


def create(c: Connection, pool_uuid: str, new: NewVolume) -> VolumeInfo:
    """virStorageVolCreateXML. libvirt itself never writes the zeros of "full": a wipe does, after the creation."""
    check_name(new.name)
    if new.allocation is not None and not 0 <= new.allocation <= new.capacity:
        # libvirt would make a bigger volume than was asked for.
        raise VirtError("invalid", f"allocation {new.allocation} is more than capacity {new.capacity}")
    xml = volume_xml(new)
    with in_pool(c, pool_uuid, else_code="exists_on_host") as pool:
        volume = patiently(pool.createXML, xml, flags_of(new))
        if new.preallocation == "full" and new.format != "qcow2":
            _write_zeros(volume)
        return parse_volume(volume.XMLDesc(0))


def patiently(make: Callable[..., libvirt.virStorageVol], *arguments: Any) -> libvirt.virStorageVol:
    """QEMU before 9.1 times its key derivation with a clock that is too coarse for a fast machine, and gives up."""
    for _ in range(_CLOCK_TRIES):
        try:
            return make(*arguments)
        except libvirt.libvirtError as error:
            if "accurate CPU usage" not in error.get_error_message():
                raise
    return make(*arguments)


def flags_of(new: NewVolume) -> int:
    is_allocated = new.preallocation != "off" and new.format == "qcow2"
    return int(libvirt.VIR_STORAGE_VOL_CREATE_PREALLOC_METADATA) if is_allocated else 0


def _write_zeros(volume: libvirt.virStorageVol) -> None:
    try:
        volume.wipe(0)
    except libvirt.libvirtError as error:
        if translate(error).code != "connection_lost":
            volume.delete(0)
        raise


def delete(c: Connection, pool_uuid: str, name: str) -> None:
    """virStorageVolDelete: also of a volume that a VM uses, which libvirt does not look at. Its passphrase goes too."""
    with in_pool(c, pool_uuid, else_code="volume_busy") as pool:
        volume = pool.storageVolLookupByName(name)
        path = volume.path()
        volume.delete(0)
    forget_volume_secret(c, path)


def is_building(c: Connection, pool_uuid: str, name: str) -> bool:
    """Whether libvirt still writes the volume, or reads it for a copy or wipe.

    libvirt has no call that says so. A resize that must fail tells: number 55 while it is busy, else
    another one. storageVolResize looks at this first and touches the volume last.
    """
    with in_pool(c, pool_uuid, else_code="invalid") as pool:
        volume = pool.storageVolLookupByName(name)
        capacity = _capacity(volume)
        try:
            _resize_in_vain(volume, capacity)
        except libvirt.libvirtError as error:
            number = error.get_error_code()
            if number == libvirt.VIR_ERR_OPERATION_INVALID and pool.isActive():
                return True
            if number not in _RESIZE_REFUSED:
                raise
        if capacity is None:
            # Gone, or finished since.
            volume.info()
        return False


_RESIZE_REFUSED = (libvirt.VIR_ERR_INVALID_ARG, libvirt.VIR_ERR_NO_SUPPORT, libvirt.VIR_ERR_OPERATION_FAILED)


def _capacity(volume: libvirt.virStorageVol) -> int | None:
    """None without a file: a volume is listed a moment before, and its capacity is 0 for the next."""
    try:
        return int(volume.info()[1])
    except libvirt.libvirtError as error:
        if translate(error).code != "no_volume":
            raise
        return None


def _resize_in_vain(volume: libvirt.virStorageVol, capacity: int | None) -> None:
    if capacity is None or capacity > 1:
        # Smaller, without the flag that allows it.
        volume.resize(1, 0)
    else:
        # More space than any pool has.
        volume.resize(2**62, libvirt.VIR_STORAGE_VOL_RESIZE_ALLOCATE)


def check_name(name: str) -> None:
    if name in ("", ".", "..") or "/" in name or "\0" in name:
        raise VirtError("bad_name", f"{name!r} is not a file name")
    if len(name.encode(errors="surrogateescape")) > NAME_LIMIT:
        raise VirtError("bad_name", f"{name!r} has more than {NAME_LIMIT} bytes")


@contextmanager
def in_pool(c: Connection, uuid: str, *, else_code: str) -> Iterator[libvirt.virStoragePool]:
    """The pool. `else_code` is what number 55 inside means when the pool is active."""
    with translated():
        pool = c.raw.storagePoolLookupByUUIDString(uuid)
    try:
        yield pool
    except libvirt.libvirtError as error:
        raise explained(translate(error), pool, needs_active=True, else_code=else_code) from error
