"""Adapters and disks of hosts that libvirt's test driver describes; those of real hosts: tests/lab."""

from pathlib import Path

from storagemgr.virt.connection import connect
from storagemgr.virt.devices import Adapter, Disk, list_adapters, list_disks

HOST = """<node>
  <device><name>computer</name><capability type='system'>
    <hardware><uuid>11111111-2222-3333-4444-555555555555</uuid></hardware><firmware/></capability></device>
  <device><name>pci_0000_3b_00_1</name><parent>computer</parent><capability type='pci'>
    <class>0x010700</class><domain>0</domain><bus>59</bus><slot>0</slot><function>1</function>
    <product id='0x0097'>SAS3008</product><vendor id='0x1000'>Broadcom</vendor></capability></device>
  <device><name>scsi_host5</name><parent>pci_0000_3b_00_1</parent><capability type='scsi_host'>
    <host>5</host><unique_id>3</unique_id></capability></device>
  <device><name>scsi_host12</name><parent>computer</parent><capability type='scsi_host'>
    <host>12</host></capability></device>
  {luns}
  <device><name>block_sda</name><parent>scsi_5_0_0_0</parent>
    <devnode type='dev'>/dev/sda</devnode>{links}
    <capability type='storage'><block>/dev/sda</block><bus>scsi</bus><drive_type>disk</drive_type>
    <model>PX05 </model><vendor>ACME</vendor><serial>S1</serial><size>1000</size></capability></device>
  <device><name>block_sr0</name><parent>computer</parent><capability type='storage'><block>/dev/sr0</block>
    <drive_type>cdrom</drive_type><capability type='removable'><media_available>{medium}</media_available>
    <media_size>700</media_size></capability></capability></device>
</node>"""

LUN = """<device><name>scsi_5_0_0_{n}</name><parent>scsi_host5</parent><capability type='scsi'>
    <host>5</host><bus>0</bus><target>0</target><lun>{n}</lun><type>{type}</type></capability></device>"""


def describe(tmp_path: Path, links: tuple[str, ...] = (), medium: int = 0) -> str:
    luns = "".join(LUN.format(n=n, type=kind) for n, kind in enumerate(("disk", "disk", "enclosure")))
    nodes = "".join(f"<devnode type='link'>/dev/disk/{link}</devnode>" for link in links)
    path = tmp_path / "host.xml"
    path.write_text(HOST.format(luns=luns, links=nodes, medium=medium))
    return f"test://{path}"


def adapters(uri: str) -> dict[str, Adapter]:
    with connect(uri, keepalive=False) as c:
        return {adapter.name: adapter for adapter in list_adapters(c)}


def disks(uri: str) -> dict[str, Disk]:
    with connect(uri, keepalive=False) as c:
        return {disk.path: disk for disk in list_disks(c, contents=False)}


def test_an_adapter_is_named_by_what_outlives_a_reboot(tmp_path: Path) -> None:
    found = adapters(describe(tmp_path))
    assert list(found) == ["host5", "host12"]
    host5 = found["host5"]
    assert host5.values == {
        "adapter_kind": "scsi_parent",
        "parent_address": "0000:3b:00.1",
        "unique_id": "3",
    }
    assert host5.text == "host5, Broadcom SAS3008, 0000:3b:00.1, 2 disks"
    assert (host5.is_fc, host5.max_vports, host5.parent) == (False, None, "pci_0000_3b_00_1")


def test_an_adapter_without_an_address_keeps_its_name(tmp_path: Path) -> None:
    host12 = adapters(describe(tmp_path))["host12"]
    assert host12.values == {"adapter_kind": "scsi_host", "adapter_name": "host12"}
    assert (host12.address, host12.luns, host12.text) == ("", 0, "host12, 0 disks")


def test_fibre_channel_adapters_come_with_their_wwns() -> None:
    found = adapters("test:///default")
    port = found["host1"]
    assert port.is_fc
    assert (port.wwnn, port.wwpn, port.fabric_wwn) == (
        "2000000012341234",
        "1000000012341234",
        "2000000043214321",
    )
    assert (port.max_vports, port.vports) == (0, 0)
    assert port.values == {
        "adapter_kind": "fc_host",
        "wwnn": "2000000012341234",
        "wwpn": "1000000012341234",
        "parent": "",
    }
    virtual = found["host11"]
    assert (virtual.values["parent"], virtual.max_vports) == ("scsi_host1", None)


def test_a_disk_is_named_by_a_link_that_stays(tmp_path: Path) -> None:
    ids = ("by-id/lvm-pv-uuid-abc", "by-id/wwn-0x5000", "by-id/scsi-SACME_S1", "by-path/pci-0")
    disk = disks(describe(tmp_path, ids))["/dev/sda"]
    assert disk.stable_path == "/dev/disk/by-id/scsi-SACME_S1"
    assert disk.values == {"device": disk.stable_path, "devices": [disk.stable_path]}
    assert (disk.size, disk.model, disk.vendor, disk.serial) == (1000, "PX05", "ACME", "S1")
    assert (disk.partitions, disk.finding) == (None, None)


def test_a_number_is_a_name_too_and_a_place_better_than_none(tmp_path: Path) -> None:
    by_number = describe(tmp_path, ("by-id/lvm-pv-uuid-abc", "by-id/wwn-0x5000", "by-path/pci-0"))
    assert disks(by_number)["/dev/sda"].stable_path == "/dev/disk/by-id/wwn-0x5000"
    by_place = describe(tmp_path, ("by-id/lvm-pv-uuid-abc", "by-path/pci-0"))
    assert disks(by_place)["/dev/sda"].stable_path == "/dev/disk/by-path/pci-0"
    nameless = disks(describe(tmp_path))["/dev/sda"]
    assert (nameless.stable_path, nameless.values["device"]) == ("", "/dev/sda")


def test_an_empty_drive_has_no_size(tmp_path: Path) -> None:
    assert disks(describe(tmp_path, medium=0))["/dev/sr0"].size == 0
    drive = disks(describe(tmp_path, medium=1))["/dev/sr0"]
    assert (drive.size, drive.removable, drive.drive_type) == (700, True, "cdrom")


def test_a_host_without_folders_of_links_still_lists_its_disks(tmp_path: Path) -> None:
    with connect(describe(tmp_path), keepalive=False) as c:
        assert [disk.path for disk in list_disks(c)] == ["/dev/sda", "/dev/sr0"]
        assert c.raw.listAllStoragePools(0) == []
