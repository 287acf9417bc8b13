"""The <disk> element that gives a volume to a VM."""

from xml.etree.ElementTree import Element, SubElement, indent, tostring

from storagemgr.templatetags.storage import count, printable
from volumes.models import Volume
from volumes.rows import VolumeRow

# libvirt resolves a volume for a disk only in pools of these types (virStorageTranslateDiskSourcePool).
THROUGH_POOL = frozenset({"dir", "fs", "netfs", "logical", "disk", "iscsi", "scsi", "zfs", "vstorage"})


def why_no_disk(volume: Volume) -> str:
    """Why there is no element to show, "" when there is one."""
    if volume.type == "dir":
        return "A directory cannot be a disk."
    if volume.pool.type not in THROUGH_POOL:
        return f"libvirt does not attach volumes of {volume.pool.kind.title} pools through the pool."
    if not volume.name.isprintable() or not volume.pool.name.isprintable():
        return "The name holds characters that XML cannot carry."
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


def disk_xml(volume: Volume) -> str:
    is_iso = volume.format == "iso" or volume.name.lower().endswith(".iso")
    disk = Element("disk", type="volume", device="cdrom" if is_iso else "disk")
    SubElement(disk, "driver", name="qemu", type="raw" if volume.format in ("", "iso") else volume.format)
    SubElement(disk, "source", pool=volume.pool.name, volume=volume.name)
    if is_iso:
        SubElement(disk, "target", dev="sda", bus="sata")
        SubElement(disk, "readonly")
    else:
        SubElement(disk, "target", dev="vdb", bus="virtio")
    indent(disk)
    return tostring(disk, encoding="unicode")
