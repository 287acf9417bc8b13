"""Storage pools: read them and do what libvirt does with them. Sizes in bytes."""

from collections.abc import Container, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple
from uuid import UUID

import libvirt
from lxml import etree

from storagemgr.virt.connection import Connection, translate, translated
from storagemgr.virt.errors import VirtError
from storagemgr.virt.pool_guard import parse, schema_is_wrong
from storagemgr.virt.sizes import counted

STATES = ("inactive", "building", "running", "degraded", "inaccessible")

# The first libvirt that knows VIR_STORAGE_POOL_DEFINE_VALIDATE: 7.7.0.
_VALIDATES = 7_007_000
Existing = Literal["", "keep", "overwrite"]
_BUILD_FLAGS: dict[Existing, int] = {
    "": libvirt.VIR_STORAGE_POOL_BUILD_NEW,
    "keep": libvirt.VIR_STORAGE_POOL_BUILD_NO_OVERWRITE,
    "overwrite": libvirt.VIR_STORAGE_POOL_BUILD_OVERWRITE,
}


@dataclass(frozen=True)
class PoolStatus:
    """A pool as libvirt last counted it: the sizes date from its refresh, not from this call.

    An inactive pool keeps its last sizes, or zeros; `volume_count` is then None. `config`: where it was asked for too.
    """

    uuid: str
    name: str
    state: str
    persistent: bool
    autostart: bool
    capacity: int
    allocation: int
    available: int
    volume_count: int | None
    config: "ConfigXml | None" = None


class ConfigXml(NamedTuple):
    """How a pool is defined, and how it runs; the same text but for a running one that was defined anew."""

    defined: str
    running: str


@dataclass(frozen=True)
class PoolConfig:
    """How a pool is defined: for a persistent one as it will be at its next start."""

    uuid: str
    name: str
    type: str
    source_hosts: tuple[str, ...]
    source_dir: str
    source_devices: tuple[str, ...]
    source_name: str
    source_format: str
    initiator: str
    adapter: str
    target_path: str
    xml: str

    @property
    def source_text(self) -> str:
        """The source in one line: "nas1:/export/vm", "/dev/sdb", "vg0"; a directory is its own."""
        hosts = ", ".join(self.source_hosts)
        device = ", ".join(self.source_devices)
        source_name = self.source_name or self.name
        if self.type in ("logical", "zfs"):
            what = f"{source_name} ({device})" if device else source_name
        elif self.type == "gluster":
            what = source_name + (self.source_dir if self.source_dir != "/" else "")
        else:
            what = self.adapter or device or self.source_name or self.source_dir
        if hosts and what:
            return f"{hosts} {what}" if self.type in ("rbd", "iscsi", "iscsi-direct") else f"{hosts}:{what}"
        return hosts or what or (self.target_path if self.type == "dir" else "")


def list_pools(c: Connection, configs_of: Container[str] = ()) -> list[PoolStatus]:
    """virConnectListAllStoragePools: blocks for as long as any one pool of the host hangs.

    `configs_of`: the UUIDs of the pools whose definition is read too.
    """
    with translated():
        pools = c.raw.listAllStoragePools(0)
    found = []
    for pool in pools:
        try:
            status = _status(pool)
            if status.uuid in configs_of:
                differs = status.persistent and status.state != "inactive"
                status = replace(status, config=_config_xml(c, pool, may_differ=differs))
            found.append(status)
        except libvirt.libvirtError as error:
            if translate(error).code != "no_pool":
                raise translate(error) from error
    return found


def list_uuids(c: Connection) -> list[str]:
    with translated():
        return [pool.UUIDString() for pool in c.raw.listAllStoragePools(0)]


def read_pool(c: Connection, uuid: str) -> PoolStatus:
    """Asks for this pool alone, so that no other pool can hold it up."""
    with translated():
        return _status(c.raw.storagePoolLookupByUUIDString(uuid))


def _status(pool: libvirt.virStoragePool) -> PoolStatus:
    number, *sizes = pool.info()
    capacity, allocation, available = map(counted, sizes)
    state = STATES[number] if number < len(STATES) else "inaccessible"
    return PoolStatus(
        uuid=pool.UUIDString(),
        name=pool.name(),
        state=state,
        persistent=bool(pool.isPersistent()),
        autostart=bool(pool.autostart()),
        capacity=capacity,
        allocation=allocation,
        available=available,
        volume_count=_volume_count(pool) if state in ("running", "degraded") else None,
    )


def _volume_count(pool: libvirt.virStoragePool) -> int | None:
    try:
        return int(pool.numOfVolumes())
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_OPERATION_INVALID:
            return None
        raise


def read_config(c: Connection, uuid: str) -> PoolConfig:
    return parse_config(read_config_xml(c, uuid).defined)


def read_config_xml(c: Connection, uuid: str) -> ConfigXml:
    with translated():
        pool = c.raw.storagePoolLookupByUUIDString(uuid)
        return _config_xml(c, pool, may_differ=bool(pool.isPersistent()))


def _config_xml(c: Connection, pool: libvirt.virStoragePool, *, may_differ: bool) -> ConfigXml:
    """`may_differ`: not of a transient pool, which has no definition but the one it runs by."""
    running = str(pool.XMLDesc(0))
    # The test driver has no other.
    if not may_differ or c.uri.startswith("test:"):
        return ConfigXml(running, running)
    return ConfigXml(str(pool.XMLDesc(libvirt.VIR_STORAGE_XML_INACTIVE)), running)


def read_running_xml(c: Connection, uuid: str) -> str:
    """How a pool is now, which for a running one can differ from how it starts the next time."""
    with translated():
        return str(c.raw.storagePoolLookupByUUIDString(uuid).XMLDesc(0))


def parse_config(xml: str) -> PoolConfig:
    root = parse(xml)
    source = root.find("source")
    source = etree.Element("source") if source is None else source
    return PoolConfig(
        uuid=root.findtext("uuid", ""),
        name=root.findtext("name", ""),
        type=root.get("type", ""),
        source_hosts=tuple(_host(host) for host in source.iterfind("host")),
        source_dir=_attribute(source, "dir", "path"),
        source_devices=tuple(device.get("path", "") for device in source.iterfind("device")),
        source_name=source.findtext("name", ""),
        source_format=_attribute(source, "format", "type"),
        initiator=_attribute(source, "initiator/iqn", "name"),
        adapter=_adapter(source),
        target_path=root.findtext("target/path", ""),
        xml=xml,
    )


def _attribute(parent: etree._Element, path: str, name: str) -> str:
    element = parent.find(path)
    return "" if element is None else element.get(name, "")


def _host(host: etree._Element) -> str:
    name, port = host.get("name", ""), host.get("port")
    if not port:
        return name
    return f"[{name}]:{port}" if ":" in name else f"{name}:{port}"


def _adapter(source: etree._Element) -> str:
    adapter = source.find("adapter")
    if adapter is None:
        return ""
    if adapter.get("type") == "fc_host":
        return f"{adapter.get('wwnn', '')}:{adapter.get('wwpn', '')}"
    address = adapter.find("parentaddr/address")
    if adapter.get("name") or address is None:
        return adapter.get("name", "")
    parts = (address.get(part, "").removeprefix("0x") for part in ("domain", "bus", "slot"))
    return ":".join(parts) + "." + address.get("function", "").removeprefix("0x")


def start(c: Connection, uuid: str) -> None:
    """virStoragePoolCreate"""
    with _pool(c, uuid, needs_active=False) as pool:
        pool.create(0)


def stop(c: Connection, uuid: str) -> None:
    """virStoragePoolDestroy: deactivates the pool and keeps its data; a transient pool is forgotten."""
    with _pool(c, uuid, needs_active=True) as pool:
        pool.destroy()


def refresh(c: Connection, uuid: str) -> None:
    """virStoragePoolRefresh: when it fails, libvirt stops the pool."""
    with _pool(c, uuid, needs_active=True) as pool:
        pool.refresh(0)


def set_autostart(c: Connection, uuid: str, on: bool) -> None:
    with translated():
        c.raw.storagePoolLookupByUUIDString(uuid).setAutostart(int(on))


def build(c: Connection, uuid: str, existing: Existing = "") -> None:
    """virStoragePoolBuild: makes the directory, group or label of an inactive pool.

    `existing` is what to do when the device carries data, of fs, disk and logical only: "keep" refuses
    (already_formatted), "overwrite" destroys it. "" of fs makes the mount point alone.
    """
    # The test driver takes no flags, and has no devices.
    flags = 0 if c.uri.startswith("test:") else _BUILD_FLAGS[existing]
    with _pool(c, uuid, needs_active=False) as pool:
        pool.build(flags)


def delete(c: Connection, uuid: str) -> None:
    """virStoragePoolDelete: the storage itself of an inactive pool; its definition stays."""
    with _pool(c, uuid, needs_active=False) as pool:
        pool.delete(0)


def undefine(c: Connection, uuid: str) -> None:
    """virStoragePoolUndefine: forgets an inactive pool and touches no data."""
    with _pool(c, uuid, needs_active=False) as pool:
        pool.undefine()


def define(c: Connection, xml: str, *, validate: bool = True) -> str:
    """virStoragePoolDefineXML: the UUID of the pool, which replaces one of the same name and UUID.

    `validate`: the daemon checks the XML by its own schema first (libvirt 7.7 and later; xml_invalid).
    """
    try:
        known = validate and c.raw.getLibVersion() >= _VALIDATES and not schema_is_wrong(xml)
        flags = libvirt.VIR_STORAGE_POOL_DEFINE_VALIDATE if known else 0
        return str(c.raw.storagePoolDefineXML(xml, flags).UUIDString())
    except libvirt.libvirtError as error:
        raise _define_error(c, translate(error), xml) from error


def create_transient(c: Connection, xml: str, *, build: bool = False) -> str:
    """virStoragePoolCreateXML: the UUID of a pool that runs at once and is forgotten when it stops."""
    flags = libvirt.VIR_STORAGE_POOL_CREATE_WITH_BUILD if build else 0
    try:
        return str(c.raw.storagePoolCreateXML(xml, flags).UUIDString())
    except libvirt.libvirtError as error:
        raise _define_error(c, translate(error), xml) from error


def dir_pool_xml(name: str, path: str) -> str:
    pool = etree.Element("pool", type="dir")
    try:
        etree.SubElement(pool, "name").text = name
        etree.SubElement(etree.SubElement(pool, "target"), "path").text = path
    except ValueError as error:
        raise VirtError("bad_name", f"{name!r} or {path!r} cannot be written as XML") from error
    return etree.tostring(pool, encoding="unicode")


@contextmanager
def _pool(c: Connection, uuid: str, *, needs_active: bool) -> Iterator[libvirt.virStoragePool]:
    """The pool; an unspecific refusal inside is explained by the state that the pool is in."""
    with translated():
        pool = c.raw.storagePoolLookupByUUIDString(uuid)
    try:
        yield pool
    except libvirt.libvirtError as error:
        raise explained(translate(error), pool, needs_active=needs_active) from error


def explained(
    error: VirtError, pool: libvirt.virStoragePool, *, needs_active: bool, else_code: str = "invalid"
) -> VirtError:
    """`error` with a better code where libvirt said why in words only (number 55, any language)."""
    if error.number != libvirt.VIR_ERR_OPERATION_INVALID or error.code != "invalid":
        return error
    with translated():
        active = bool(pool.isActive())
    if active != needs_active:
        else_code = "pool_active" if active else "pool_inactive"
    return VirtError(else_code, error.detail, number=error.number, domain=error.domain)


def _define_error(c: Connection, error: VirtError, xml: str) -> VirtError:
    """Number 9 is either a name that is taken or a source that another pool has; the name is looked up."""
    if error.number == libvirt.VIR_ERR_XML_INVALID_SCHEMA:
        # The schema is asked before the name, and says less about it.
        name = parse(xml).findtext("name", "")
        code = "bad_name" if "/" in name or "\n" in name else error.code
        return VirtError(code, error.detail, number=error.number, domain=error.domain)
    if error.number != libvirt.VIR_ERR_OPERATION_FAILED or error.code != "unknown":
        return error
    root = parse(xml)
    try:
        holder = UUID(c.raw.storagePoolLookupByName(root.findtext("name", "")).UUIDString())
    except libvirt.libvirtError:
        return VirtError("source_conflict", error.detail, number=error.number, domain=error.domain)
    wanted = root.findtext("uuid")
    code = "source_conflict" if wanted and UUID(wanted) == holder else "name_taken"
    return VirtError(code, error.detail, number=error.number, domain=error.domain)
