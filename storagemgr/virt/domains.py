"""Which VM uses which storage. libvirt keeps no such link, so it is read from every domain's XML."""

from collections.abc import Iterator
from dataclasses import dataclass

import libvirt
from lxml import etree

from storagemgr.virt.connection import Connection, translate, translated

_FIRMWARE = ("kernel", "initrd", "dtb", "loader", "nvram")


@dataclass(frozen=True)
class DiskUse:
    """One place in a domain that names storage.

    `kind`: disk, backing, data (of qcow2), mirror, snapshot, filesystem, nvdimm, kernel, initrd, dtb,
    loader or nvram. `device`: disk, cdrom, floppy, lun, or "" for what is no disk. Either `path` is set
    (also "pool/image" of rbd, else a URL of network storage) or `pool` and `volume`, by name; running
    domains can have all three. Backing files are known of running domains only: for others follow the
    backing store of the volume.
    """

    domain_uuid: str
    domain_name: str
    running: bool
    target: str
    device: str
    path: str
    pool: str
    volume: str
    readonly: bool
    kind: str


def list_disk_uses(c: Connection) -> list[DiskUse]:
    """virConnectListAllDomains and the XML of each, of running ones also as they start next time."""
    with translated():
        domains = c.raw.listAllDomains(0)
    uses: dict[DiskUse, None] = {}
    for domain in domains:
        try:
            uses.update(dict.fromkeys(_uses(domain)))
        except libvirt.libvirtError as error:
            if translate(error).code != "no_domain":
                raise translate(error) from error
    return list(uses)


def _uses(domain: libvirt.virDomain) -> Iterator[DiskUse]:
    running = domain.ID() != -1
    reader = _Reader(domain.UUIDString(), domain.name(), running)
    yield from reader.domain(_tree(domain.XMLDesc(0)))
    if running and domain.isPersistent():
        yield from reader.domain(_tree(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)))
    for xml in _snapshots(domain):
        yield from reader.snapshot(_tree(xml))


def _tree(xml: str) -> etree._Element:
    return etree.fromstring(xml.encode())


def _snapshots(domain: libvirt.virDomain) -> list[str]:
    try:
        return [snapshot.getXMLDesc(0) for snapshot in domain.listAllSnapshots(0)]
    except libvirt.libvirtError as error:
        if translate(error).code == "no_support":
            return []
        raise


@dataclass(frozen=True)
class _Reader:
    uuid: str
    name: str
    running: bool

    def domain(self, root: etree._Element) -> Iterator[DiskUse]:
        for disk in root.iterfind("devices/disk"):
            yield from self._disk(disk, "disk")
        for tag in _FIRMWARE:
            for element in root.iterfind(f"os/{tag}"):
                yield from self._named(element, tag)
        for source in root.iterfind("devices/filesystem/source"):
            yield from self._source(source, "filesystem")
        for path in root.iterfind("devices/memory/source/path"):
            yield from self._named(path, "nvdimm")

    def snapshot(self, root: etree._Element) -> Iterator[DiskUse]:
        """The overlay that a snapshot made, and what the domain had before it."""
        for disk in root.iterfind("disks/disk"):
            yield from self._disk(disk, "snapshot")
        for disk in root.iterfind(".//devices/disk"):
            yield from self._disk(disk, "snapshot")

    def _disk(self, disk: etree._Element, kind: str) -> Iterator[DiskUse]:
        target = disk.find("target")
        where = {
            "target": disk.get("name", "") if target is None else target.get("dev", ""),
            "device": disk.get("device", "disk"),
            "readonly": disk.find("readonly") is not None or disk.get("device") == "cdrom",
        }
        for source in disk.iterfind("source"):
            yield from self._source(source, kind, **where)
        for source in disk.iterfind("mirror/source"):
            yield from self._source(source, "mirror", **where)
        for source in disk.iterfind(".//backingStore/source"):
            yield from self._source(source, "backing", **{**where, "readonly": True})
        for source in disk.iterfind(".//dataStore/source"):
            yield from self._source(source, "data", **where)

    def _source(
        self, source: etree._Element, kind: str, *, target: str = "", device: str = "", readonly: bool = False
    ) -> Iterator[DiskUse]:
        path, pool, volume = _path(source), source.get("pool", ""), source.get("volume", "")
        if path or volume:
            yield DiskUse(
                domain_uuid=self.uuid,
                domain_name=self.name,
                running=self.running,
                target=target,
                device=device,
                path=path,
                pool=pool,
                volume=volume,
                readonly=readonly,
                kind=kind,
            )

    def _named(self, element: etree._Element, kind: str) -> Iterator[DiskUse]:
        """`element` has the path as its text, or (nvram) a source below it."""
        readonly = kind != "nvram" and element.get("readonly") != "no" and kind != "nvdimm"
        text = (element.text or "").strip()
        if text:
            source = etree.Element("source", file=text)
            yield from self._source(source, kind, readonly=readonly)
        for source in element.iterfind("source"):
            yield from self._source(source, kind, readonly=readonly)


def _path(source: etree._Element) -> str:
    for attribute in ("file", "dev", "dir"):
        if path := source.get(attribute):
            return path
    protocol, name = source.get("protocol"), source.get("name", "")
    if not protocol or protocol == "rbd":
        return name if protocol else ""
    host = source.find("host")
    address = "" if host is None else host.get("name", "") or host.get("socket", "")
    return f"{protocol}://{address}/{name.removeprefix('/')}"
