"""Disks and adapters of a host, from its node devices. Sizes in bytes."""

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace

import libvirt
from lxml import etree

from storagemgr.virt.connection import Connection, translate, translated
from storagemgr.virt.look import BY_ID, BY_PATH, LOST, Block, look_into, remove_leftovers
from storagemgr.virt.signatures import Finding

Values = dict[str, str | list[str]]


@dataclass(frozen=True)
class Adapter:
    """A SCSI host. `values`: the fields of a pool of type scsi that it fills.

    `parent`: the node device above it; `address`: of that on the PCI bus, "0000:00:1f.2", or "". `model`: what it
    is, as far as the host knows. `luns`: how many disks hang on it. `max_vports` is None where it can make none.
    """

    name: str
    parent: str
    address: str
    unique_id: str
    driver: str
    model: str
    is_fc: bool
    wwnn: str
    wwpn: str
    fabric_wwn: str
    max_vports: int | None
    vports: int | None
    luns: int
    text: str
    values: Values


@dataclass(frozen=True)
class Disk:
    """`stable_path`: names the same disk after a reboot, or "". `size`: 0 without a medium.

    `drive_type`: disk, cdrom, floppy, sd or dasd of a node device; else mapped, array or "". `is_multipath`: it is
    one path to a disk that multipath holds. `partitions` and `finding` are None when they could not be seen.
    `values`: the fields of a pool that it fills.
    """

    path: str
    stable_path: str
    links: tuple[str, ...]
    size: int
    values: Values
    model: str = ""
    vendor: str = ""
    serial: str = ""
    bus: str = ""
    drive_type: str = ""
    removable: bool = False
    is_multipath: bool = False
    partitions: tuple[Block, ...] | None = None
    finding: Finding | None = None


# Of what libvirt neither lists as node devices nor finds in a folder of links.
UNSEEN = "Loop devices, RAM disks and other devices without a link in /dev/disk/by-path are not listed."


def list_adapters(c: Connection) -> list[Adapter]:
    """virConnectListAllNodeDevices, scsi_host; each one's parent too, for its address."""
    counts: dict[str, int] = {}
    for lun in _devices(c, libvirt.VIR_CONNECT_LIST_NODE_DEVICES_CAP_SCSI):
        if lun.findtext("capability/type") == "disk":
            number = lun.findtext("capability/host", "")
            counts[number] = counts.get(number, 0) + 1
    hosts = list(_devices(c, libvirt.VIR_CONNECT_LIST_NODE_DEVICES_CAP_SCSI_HOST))
    found = [_adapter(c, host, counts.get(host.findtext("capability/host", ""), 0)) for host in hosts]
    return sorted(found, key=lambda adapter: (len(adapter.name), adapter.name))


def _adapter(c: Connection, device: etree._Element, luns: int) -> Adapter:
    scsi = _find(device, "capability[@type='scsi_host']")
    fc = _find(scsi, "capability[@type='fc_host']")
    vports = _find(scsi, "capability[@type='vport_ops']")
    above = _parents(c, device)
    pci = next((parent for parent in above if parent.find("capability[@type='pci']") is not None), None)
    name, unique_id = f"host{scsi.findtext('host', '')}", scsi.findtext("unique_id", "")
    address = "" if pci is None else _address(pci)
    model = "" if pci is None else _words(pci, "capability/vendor", "capability/product")
    wwnn, wwpn = fc.findtext("wwnn", ""), fc.findtext("wwpn", "")
    driver = next(filter(None, (parent.findtext("driver/name", "") for parent in above)), "")
    is_fc = len(fc) > 0
    what = model or driver or ("Fibre Channel" if is_fc else "")
    disks = "1 disk" if luns == 1 else f"{luns} disks"
    return Adapter(
        name=name,
        parent=device.findtext("parent", ""),
        address=address,
        unique_id=unique_id,
        driver=driver,
        model=model,
        is_fc=is_fc,
        wwnn=wwnn,
        wwpn=wwpn,
        fabric_wwn=fc.findtext("fabric_wwn", ""),
        max_vports=_number(vports, "max_vports"),
        vports=_number(vports, "vports"),
        luns=luns,
        text=", ".join(filter(None, (name, what, address, wwpn and f"port {wwpn}", disks))),
        values=_adapter_values(device, name, address, unique_id, wwnn, wwpn),
    )


def _adapter_values(
    device: etree._Element, name: str, address: str, unique_id: str, wwnn: str, wwpn: str
) -> Values:
    """The surest way to name it: the number of a SCSI host can change when the host boots."""
    if wwnn and wwpn:
        above = device.findtext("parent", "")
        parent = above if above.startswith("scsi_host") else ""
        return {"adapter_kind": "fc_host", "wwnn": wwnn, "wwpn": wwpn, "parent": parent}
    if address and unique_id:
        return {"adapter_kind": "scsi_parent", "parent_address": address, "unique_id": unique_id}
    return {"adapter_kind": "scsi_host", "adapter_name": name}


def _parents(c: Connection, device: etree._Element) -> list[etree._Element]:
    """The devices above, nearest first. One that is gone by now ends the line."""
    found: list[etree._Element] = []
    while (name := device.findtext("parent", "")) and name != "computer" and len(found) < 8:
        try:
            device = etree.fromstring(c.raw.nodeDeviceLookupByName(name).XMLDesc(0).encode())
        except libvirt.libvirtError as error:
            if translate(error).code == "connection_lost":
                raise translate(error) from error
            break
        found.append(device)
    return found


def _address(pci: etree._Element) -> str:
    domain, bus, slot, function = (
        int(pci.findtext(f"capability/{part}", "0"), 0) for part in ("domain", "bus", "slot", "function")
    )
    return f"{domain:04x}:{bus:02x}:{slot:02x}.{function:x}"


def list_disks(c: Connection, *, contents: bool = True) -> list[Disk]:
    """Node devices with the capability storage; with `contents` also devices that only have a link, and what is on
    each of all. That takes transient pools (see look.py), so it hangs on a device that hangs; False is quick and safe.
    """
    disks = [_disk(device) for device in _devices(c, libvirt.VIR_CONNECT_LIST_NODE_DEVICES_CAP_STORAGE)]
    if contents:
        remove_leftovers(c)
        disks = _looked_at(c, disks)
    return sorted(disks, key=lambda disk: (disk.drive_type != "disk", len(disk.path), disk.path))


def _looked_at(c: Connection, disks: Iterable[Disk]) -> list[Disk]:
    """A disk is read by its stable link; by the one of its place when the folder of names cannot be read."""
    stable = {disk.stable_path for disk in disks}
    known = {link for disk in disks for link in disk.links}

    def by_id(name: str) -> bool:
        return name.startswith(("dm-name-", "md-name-")) or f"{BY_ID}/{_whole(name)}" in stable

    def by_path(name: str) -> bool:
        link = f"{BY_PATH}/{_whole(name)}"
        return bool(ids.error) or link in stable or link not in known

    ids = look_into(c, BY_ID, by_id)
    seen = [*ids.blocks, *look_into(c, BY_PATH, by_path).blocks]
    return [_with_content(disk, seen, ids.names) for disk in disks] + list(_others(seen, known))


def _with_content(disk: Disk, seen: Iterable[Block], names: Collection[str]) -> Disk:
    """Unchanged when none of its links is among what was seen."""
    whole = next((block for block in seen if block.path in disk.links), None)
    if whole is None:
        return disk
    return replace(
        disk,
        finding=whole.finding,
        partitions=_partitions(whole.path, seen),
        is_multipath=f"dm-uuid-mpath-{disk.serial}" in names,
    )


def _others(seen: Collection[Block], known: Collection[str]) -> Iterator[Disk]:
    """What libvirt has no node device for: mapped devices (LVM, multipath, opened LUKS), RAID, and more."""
    for block in seen:
        name = block.path.rpartition("/")[2]
        if name.startswith("dm-name-"):
            yield _other(block, "/dev/mapper/" + name.removeprefix("dm-name-"), "mapped", seen)
        elif name.startswith("md-name-") and name == _whole(name):
            yield _other(block, block.path, "array", seen)
        elif block.path.startswith(BY_PATH) and block.path not in known and name == _whole(name):
            yield _other(block, block.path, "", seen)


def _other(block: Block, path: str, drive_type: str, seen: Iterable[Block]) -> Disk:
    return Disk(
        path=path,
        stable_path=path,
        links=(block.path,),
        size=block.size,
        drive_type=drive_type,
        values=_disk_values(path),
        partitions=_partitions(block.path, seen),
        finding=block.finding,
    )


def _partitions(link: str, seen: Iterable[Block]) -> tuple[Block, ...]:
    parts = [block for block in seen if block.path != link and _whole(block.path) == link]
    return tuple(sorted(parts, key=lambda block: (len(block.path), block.path)))


_PARTITION = re.compile(r"(.+)-part[0-9]+")


def _whole(link: str) -> str:
    """The link of the disk that has the partition with this link; of a disk its own."""
    match = _PARTITION.fullmatch(link)
    return match.group(1) if match else link


def _disk(device: etree._Element) -> Disk:
    storage = _find(device, "capability[@type='storage']")
    removable = storage.find("capability[@type='removable']")
    path = storage.findtext("block", "")
    links = tuple(
        sorted(filter(_lasts, (node.text or "" for node in device.iterfind("devnode[@type='link']"))))
    )
    stable = _stable(links)
    size = _number(storage, "size") or 0
    if removable is not None:
        size = (_number(removable, "media_size") or 0) if removable.findtext("media_available") == "1" else 0
    return Disk(
        path=path,
        stable_path=stable,
        links=links,
        size=size,
        model=storage.findtext("model", "").strip(),
        vendor=storage.findtext("vendor", "").strip(),
        serial=storage.findtext("serial", "").strip(),
        bus=storage.findtext("bus", ""),
        drive_type=storage.findtext("drive_type", ""),
        removable=removable is not None,
        values=_disk_values(stable or path),
    )


def _lasts(link: str) -> bool:
    """by-diskseq counts the disks since the host booted."""
    return bool(link) and not link.startswith("/dev/disk/by-diskseq/")


def _disk_values(path: str) -> Values:
    return {"device": path, "devices": [path]}


def _stable(links: Iterable[str]) -> str:
    """A link that says which disk it is, in words before numbers; else one that says where it hangs."""
    names = [(link, link.rpartition("/")[2]) for link in links if link.startswith("/dev/disk/by-id/")]
    spoken = [link for link, name in names if not name.startswith(_NUMBERS + _BY_CONTENT)]
    numbered = [link for link, name in names if name.startswith(_NUMBERS)]
    placed = [link for link in links if link.startswith("/dev/disk/by-path/")]
    return next(iter([*spoken, *numbered, *placed]), "")


_NUMBERS = ("wwn-", "nvme-eui.", "nvme-uuid.")
_BY_CONTENT = ("lvm-pv-uuid-", "md-uuid-", "dm-uuid-")


def _devices(c: Connection, capability: int) -> Iterator[etree._Element]:
    """virConnectListAllNodeDevices. A device that goes while we read is left out."""
    with translated():
        devices = c.raw.listAllDevices(capability)
    for device in devices:
        try:
            yield etree.fromstring(device.XMLDesc(0).encode())
        except libvirt.libvirtError as error:
            if translate(error).code in LOST:
                raise translate(error) from error


def _find(parent: etree._Element, path: str) -> etree._Element:
    """An empty element where there is none."""
    found = parent.find(path)
    return etree.Element("none") if found is None else found


def _number(parent: etree._Element, tag: str) -> int | None:
    text = parent.findtext(tag)
    return int(text) if text else None


def _words(parent: etree._Element, *tags: str) -> str:
    return " ".join(filter(None, (parent.findtext(tag, "").strip() for tag in tags)))
