"""Which VM uses which storage. libvirt keeps no such link, so it is read from every domain's XML."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import libvirt
from lxml import etree

from storagemgr.virt.connection import Connection, translate, translated
from storagemgr.virt.volume_xml import clean_path

_FIRMWARE = ("kernel", "initrd", "dtb", "loader", "nvram", "varstore")


@dataclass(frozen=True)
class DiskUse:
    """One place in a domain that names storage.

    `kind`: disk, backing, data (of qcow2), mirror, snapshot, filesystem, nvdimm, kernel, initrd, dtb,
    loader, nvram or varstore. `device`: disk, cdrom, floppy, lun, or "" for what is no disk. Either `path` is set
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
    use = DiskUse(
        domain_uuid=domain.UUIDString(),
        domain_name=domain.name(),
        running=running,
        target="",
        device="",
        path="",
        pool="",
        volume="",
        readonly=False,
        kind="",
    )
    yield from _of_domain(use, _tree(domain.XMLDesc(0)))
    if running and domain.isPersistent():
        yield from _of_domain(use, _tree(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)))
    for xml in _snapshots(domain):
        yield from _of_snapshot(replace(use, kind="snapshot"), _tree(xml))


def _tree(xml: str) -> etree._Element:
    return etree.fromstring(xml.encode())


def _snapshots(domain: libvirt.virDomain) -> list[str]:
    try:
        return [snapshot.getXMLDesc(0) for snapshot in domain.listAllSnapshots(0)]
    except libvirt.libvirtError as error:
        if translate(error).code == "no_support":
            return []
        raise


def _of_domain(use: DiskUse, root: etree._Element) -> Iterator[DiskUse]:
    for disk in root.iterfind("devices/disk"):
        yield from _of_disk(replace(use, kind="disk"), disk)
    for tag in _FIRMWARE:
        for element in root.iterfind(f"os/{tag}"):
            yield from _of_path(replace(use, kind=tag, readonly=tag not in ("nvram", "varstore")), element)
    for source in root.iterfind("devices/filesystem/source"):
        yield from _of_source(replace(use, kind="filesystem"), source)
    for path in root.iterfind("devices/memory/source/path"):
        yield from _of_path(replace(use, kind="nvdimm"), path)


def _of_snapshot(use: DiskUse, root: etree._Element) -> Iterator[DiskUse]:
    """The overlay and memory file that the snapshot made, and the disks that the domain had before it."""
    for disk in (*root.iterfind("disks/disk"), *root.iterfind(".//devices/disk")):
        yield from _of_disk(use, disk)
    for memory in root.iterfind("memory"):
        yield from _of_source(use, memory)


def _of_disk(use: DiskUse, disk: etree._Element) -> Iterator[DiskUse]:
    target = disk.find("target")
    device = disk.get("device", "disk")
    use = replace(
        use,
        target=disk.get("name", "") if target is None else target.get("dev", ""),
        device=device,
        readonly=device == "cdrom" or disk.find("readonly") is not None,
    )
    for place, kind, readonly in (
        ("source", use.kind, use.readonly),
        ("mirror/source", "mirror", False),
        (".//backingStore/source", "backing", True),
        (".//dataStore/source", "data", use.readonly),
    ):
        for source in disk.iterfind(place):
            yield from _of_source(replace(use, kind=kind, readonly=readonly), source)


def _of_path(use: DiskUse, element: etree._Element) -> Iterator[DiskUse]:
    """`element` has the path as its text or attribute, or (nvram) a source below it."""
    path = (element.text or "").strip() or element.get("path", "")
    if path:
        yield replace(use, path=clean_path(path))
    for source in element.iterfind("source"):
        yield from _of_source(use, source)


def _of_source(use: DiskUse, source: etree._Element) -> Iterator[DiskUse]:
    path, volume = _path(source), source.get("volume", "")
    if path or volume:
        yield replace(use, path=path, pool=source.get("pool", ""), volume=volume)


def _path(source: etree._Element) -> str:
    for attribute in ("file", "dev", "dir"):
        if path := source.get(attribute):
            return clean_path(path) if path.startswith("/") else path
    protocol, name = source.get("protocol", ""), source.get("name", "")
    if protocol in ("", "rbd"):
        return name if protocol else ""
    host = source.find("host")
    address = "" if host is None else host.get("name") or host.get("socket", "")
    return f"{protocol}://{address}/{name.removeprefix('/')}"
