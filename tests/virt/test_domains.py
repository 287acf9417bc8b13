from pathlib import Path

import pytest
from daemon import PrivateDaemon

from storagemgr.virt.connection import connect
from storagemgr.virt.domains import DiskUse, list_disk_uses

UUID = "6695eb01-f6a4-8304-79aa-97f2502e1931"

SHUT_OFF = f"""
<domain type='qemu'><name>web&amp;01</name><uuid>{UUID}</uuid><memory>1024</memory>
<os><type arch='x86_64' machine='pc'>hvm</type>
  <loader readonly='yes' type='pflash'>/fw/code.fd</loader><nvram>/fw/vars.fd</nvram>
  <kernel>/boot/vmlinuz</kernel><initrd>/boot/initrd</initrd></os>
<devices><emulator>/bin/true</emulator>
<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='/vm/top.qcow2'/>
  <backingStore type='file'><format type='qcow2'/><source file='/vm/middle.qcow2'/>
    <backingStore type='file'><format type='raw'/><source file='/vm/base.raw'/><backingStore/></backingStore>
  </backingStore><target dev='vda' bus='virtio'/></disk>
<disk type='volume' device='disk'><source pool='fast' volume='data 1'/><target dev='vdb' bus='virtio'/></disk>
<disk type='block' device='disk'><source dev='/dev/vg0/lv'/><target dev='vdc' bus='virtio'/><readonly/></disk>
<disk type='network' device='disk'><source protocol='rbd' name='vms/img'><host name='mon'/></source>
  <target dev='vdd' bus='virtio'/></disk>
<disk type='network' device='disk'><source protocol='nbd' name='exp'><host name='nbd.lan'/></source>
  <target dev='vde' bus='virtio'/></disk>
<disk type='file' device='cdrom'><target dev='hda' bus='ide'/></disk>
<disk type='file' device='cdrom'><source file='/iso/a.iso'/><target dev='hdb' bus='ide'/></disk>
<filesystem type='mount'><source dir='/srv/share'/><target dir='tag'/></filesystem>
</devices></domain>
"""

NODE = f"""
<node>
<domain type='test'><name>runs</name><uuid>{UUID}</uuid><memory>1024</memory><os><type>hvm</type></os>
<devices>
<disk type='file' device='disk'><source file='/vm/top.qcow2'/>
  <backingStore type='file'><format type='raw'/><source file='/vm/base.raw'/><backingStore/></backingStore>
  <mirror type='file' job='copy'><source file='/vm/mirror.raw'/></mirror>
  <target dev='vda' bus='virtio'/></disk>
</devices></domain>
</node>
"""

SNAPSHOT = """
<domainsnapshot><name>before</name><memory snapshot='external' file='/vm/memory'/>
<disks><disk name='vda' snapshot='external' type='file'>
<driver type='qcow2'/><source file='/vm/top.before'/></disk></disks></domainsnapshot>
"""


def seen(uses: list[DiskUse]) -> set[tuple[str, ...]]:
    return {(u.kind, u.target, u.device, u.path, u.pool, u.volume) for u in uses}


@pytest.fixture
def shut_off(tmp_path_factory) -> list[DiskUse]:
    daemon = PrivateDaemon(tmp_path_factory.mktemp("vms"))
    daemon.domain_directory.mkdir(parents=True)
    (daemon.domain_directory / "web&01.xml").write_text(SHUT_OFF)
    with daemon, connect(daemon.uri) as c:
        return list_disk_uses(c)


def test_a_shut_off_vm_names_all_its_storage(shut_off: list[DiskUse]):
    assert seen(shut_off) == {
        ("disk", "vda", "disk", "/vm/top.qcow2", "", ""),
        ("backing", "vda", "disk", "/vm/middle.qcow2", "", ""),
        ("backing", "vda", "disk", "/vm/base.raw", "", ""),
        ("disk", "vdb", "disk", "", "fast", "data 1"),
        ("disk", "vdc", "disk", "/dev/vg0/lv", "", ""),
        ("disk", "vdd", "disk", "vms/img", "", ""),
        ("disk", "vde", "disk", "nbd://nbd.lan/exp", "", ""),
        ("disk", "hdb", "cdrom", "/iso/a.iso", "", ""),
        ("filesystem", "", "", "/srv/share", "", ""),
        ("loader", "", "", "/fw/code.fd", "", ""),
        ("nvram", "", "", "/fw/vars.fd", "", ""),
        ("kernel", "", "", "/boot/vmlinuz", "", ""),
        ("initrd", "", "", "/boot/initrd", "", ""),
    }
    assert {(use.domain_uuid, use.domain_name, use.running) for use in shut_off} == {(UUID, "web&01", False)}
    readonly = {use.path for use in shut_off if use.readonly}
    written = {use.path for use in shut_off if not use.readonly}
    assert {"/dev/vg0/lv", "/iso/a.iso", "/vm/base.raw", "/fw/code.fd", "/boot/vmlinuz"} <= readonly
    assert {"/vm/top.qcow2", "", "vms/img", "/fw/vars.fd", "/srv/share"} <= written


def test_a_running_vm_has_its_chain_and_its_snapshots(tmp_path: Path):
    node = tmp_path / "node.xml"
    node.write_text(NODE)
    with connect(f"test://{node}") as c:
        uses = list_disk_uses(c)
        assert ("disk", "vda", "disk", "/vm/top.qcow2", "", "") in seen(uses)
        assert ("backing", "vda", "disk", "/vm/base.raw", "", "") in seen(uses)
        assert {use.running for use in uses} == {True}
        assert len(uses) == len(set(uses))
        c.raw.lookupByName("runs").snapshotCreateXML(SNAPSHOT, 0)
        assert {
            ("snapshot", "vda", "disk", "/vm/top.before", "", ""),
            ("snapshot", "vda", "disk", "/vm/top.qcow2", "", ""),
            ("snapshot", "", "", "/vm/memory", "", ""),
        } <= seen(list_disk_uses(c))


def test_a_vm_that_changes_at_its_next_start_uses_both(tmp_path: Path):
    node = tmp_path / "node.xml"
    node.write_text(NODE)
    with connect(f"test://{node}") as c:
        later = c.raw.lookupByName("runs").XMLDesc(2).replace("/vm/top.qcow2", "/vm/other.qcow2")
        c.raw.defineXML(later)
        paths = {use.path for use in list_disk_uses(c) if use.kind == "disk"}
    assert paths == {"/vm/top.qcow2", "/vm/other.qcow2"}


def test_a_host_without_vms_has_no_uses(c):
    assert list_disk_uses(c) == []
