"""The <disk> element that gives a volume to a VM."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from storagemgr.templatetags.storage import count, printable
from volumes import chain
from volumes.details import Details
from volumes.models import Volume
from volumes.rows import VolumeRow

# libvirt resolves a volume for a disk only in pools of these types (virStorageTranslateDiskSourcePool).
THROUGH_POOL = frozenset({"dir", "fs", "netfs", "logical", "disk", "iscsi", "scsi", "zfs", "vstorage"})
BY_ADDRESS = frozenset({"rbd", "gluster"})
IMAGE_FORMATS = frozenset({"raw", "qcow2", "qcow", "qed", "vmdk", "vdi", "vpc", "bochs", "cloop", "dmg"})

# Of each bus the name of the second device, for the first is taken as a rule.
BUSES = {"virtio": "vdb", "scsi": "sdb", "sata": "sdb", "usb": "sdb", "ide": "hdb"}
BUS_WORDS = {"virtio": "virtio", "scsi": "SCSI", "sata": "SATA", "usb": "USB", "ide": "IDE"}
BUS_NOTES = {
    "scsi": "The VM needs a SCSI controller, best of the model virtio-scsi.",
    "ide": "Only old machine types (pc, not q35) have IDE.",
    "usb": "Slow; for what has no other driver.",
}


WAY_WORDS = {"pool": "pool and volume", "path": "path", "address": "address"}
WAY_NOTES = {
    "path": "By its path it works also while the pool is stopped.",
    "address": "The VM reads it over the network; where the storage asks for a password, add an <auth> element.",
}


@dataclass(frozen=True)
class Choice:
    name: str
    title: str
    url: str
    is_on: bool


def is_iso(volume: Volume) -> bool:
    return volume.format == "iso" or volume.name.lower().endswith(".iso")


def buses_of(volume: Volume) -> list[str]:
    """Those that make sense, the best first."""
    return ["sata", "scsi", "usb", "ide"] if is_iso(volume) else list(BUSES)


def ways_of(volume: Volume) -> list[str]:
    """How the element can name it: "pool", "path" or "address"; the best first, none when it cannot be a disk."""
    if why_no_disk(volume):
        return []
    ways = ["pool"] if volume.pool.type in THROUGH_POOL else []
    if volume.pool.type in BY_ADDRESS:
        return ["address"]
    return [*ways, "path"] if volume.path.startswith("/") else ways


def why_no_disk(volume: Volume) -> str:
    """Why there is no element to show, "" when there is one."""
    if volume.type == "dir":
        return "A directory cannot be a disk."
    if reason := chain.why_no_disk(volume):
        return reason
    if not all(text.isprintable() for text in (volume.name, volume.pool.name, volume.path)):
        return "The name holds characters that XML cannot carry."
    known = THROUGH_POOL | BY_ADDRESS | {"mpath"}
    if volume.pool.type not in known:
        return f"libvirt does not attach volumes of {volume.pool.kind.title} pools through the pool."
    return ""


def caution(row: VolumeRow) -> str:
    """What to know before a VM gets the volume, "" for nothing."""
    if row.vms:
        name = row.only_vm[0] if row.only_vm else count(len(row.vms), "VM")
        return f"It is in use by {printable(name)}; a second writer would damage it."
    if row.volume.unverified_since:
        return "Do not attach it before it is verified."
    if row.children:
        return f"Not for writing: {count(row.children, 'overlay')} would break."
    return ""


def disk_xml(volume: Volume, *, bus: str = "", way: str = "", secret: Mapping[str, str] | None = None) -> str:
    """`secret`: the attributes of the libvirt secret of an encrypted volume, where they are known."""
    bus, way = bus or buses_of(volume)[0], way or ways_of(volume)[0]
    disk = Element("disk", type=_type(volume, way), device="cdrom" if is_iso(volume) else "disk")
    # Always said: QEMU would guess, and a VM could write a header of another format into its disk.
    SubElement(disk, "driver", name="qemu", type=volume.format if volume.format in IMAGE_FORMATS else "raw")
    source = _source(disk, volume, way)
    if secret:
        SubElement(SubElement(source, "encryption", format="luks"), "secret", secret)
    SubElement(disk, "target", dev=BUSES[bus], bus=bus)
    if is_iso(volume):
        SubElement(disk, "readonly")
    indent(disk)
    return tostring(disk, encoding="unicode")


def attaching(chosen: Mapping[str, str], row: VolumeRow, details: Details | None) -> dict[str, Any]:
    """What volumes/_attach.html shows; `chosen`: the bus and the way, from the URL."""
    volume = row.volume
    buses, ways = buses_of(volume), ways_of(volume)
    if not ways:
        return {"xml": "", "why_no_xml": why_no_disk(volume)}
    bus = chosen.get("bus", "") if chosen.get("bus") in buses else buses[0]
    way = chosen.get("way", "") if chosen.get("way") in ways else ways[0]
    hints = [BUS_NOTES.get(bus, ""), WAY_NOTES.get(way, ""), caution(row)]
    if volume.encrypted and not (details and details.secret):
        hints.append("It is encrypted: read its XML below once, and the secret is added here.")
    return {
        "xml": disk_xml(volume, bus=bus, way=way, secret=details.secret if details else None),
        "buses": [Choice(name, BUS_WORDS[name], f"?bus={name}&way={way}", name == bus) for name in buses],
        "ways": [Choice(name, WAY_WORDS[name], f"?bus={bus}&way={name}", name == way) for name in ways],
        "hints": [hint for hint in hints if hint],
    }


def _type(volume: Volume, way: str) -> str:
    if way == "pool":
        return "volume"
    if way == "address":
        return "network"
    return "block" if volume.type == "block" else "file"


def _source(disk: Element, volume: Volume, way: str) -> Element:
    if way == "pool":
        return SubElement(disk, "source", pool=volume.pool.name, volume=volume.name)
    if way == "path":
        return SubElement(disk, "source", {"dev" if volume.type == "block" else "file": volume.path})
    if volume.pool.type == "rbd":
        return SubElement(disk, "source", protocol="rbd", name=volume.path)
    address = urlsplit(volume.path)
    source = SubElement(disk, "source", protocol="gluster", name=address.path.strip("/"))
    SubElement(source, "host", name=address.hostname or "", port=str(address.port or 24007))
    return source
