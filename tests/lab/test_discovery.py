"""What is found on real hosts: servers, adapters, disks, and what is on a disk."""

import zipfile
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from lab.guests import DISK_SIZE, Guest
from lab.labs import CHAP_TARGET, EXPORTS, PLAIN_TARGET, Lab

from storagemgr.virt import look
from storagemgr.virt.connection import Connection, connect
from storagemgr.virt.content import Content, inspect
from storagemgr.virt.devices import Disk, list_adapters, list_disks
from storagemgr.virt.discovery import Source, find_sources
from storagemgr.virt.errors import VirtError

MIB = 1024**2
CHECKSUM = "sync; sha256sum"
BLANK = "/dev/disk/by-path/platform-uml-blkdev.1"
HEADS = Path(__file__).resolve().parent.parent / "virt" / "device_heads.zip"


@pytest.fixture(scope="module")
def lab1(lab: Lab) -> Guest:
    """Clean once for all: what a test here changes it puts back."""
    lab.one.reset()
    return lab.one


@pytest.fixture(scope="module")
def lab2(lab: Lab) -> Guest:
    lab.two.reset()
    return lab.two


@pytest.fixture
def c(lab2: Guest) -> Iterator[Connection]:
    with connect(lab2.socket_uri) as connection:
        yield connection
        assert looks(connection) == []


@pytest.fixture
def disk(lab2: Guest) -> Iterator[str]:
    """A blank disk, blank again afterwards."""
    yield BLANK
    lab2.run(f"wipefs -q -a -f {BLANK}; dd if=/dev/zero of={BLANK} bs=1M count=2 status=none; udevadm settle")


@pytest.fixture(scope="module")
def lun(lab1: Guest, lab2: Guest) -> Iterator[tuple[str, str]]:
    """A LUN of lab1 that lab2 is logged in to: (its path, the UUID of its pool).

    Logged in to as two initiators, as an earlier test may have left it, multipath would take the LUN.
    """
    lab2.run("iscsiadm -m node -o delete || true; multipath -W")
    xml = (
        f"<pool type='iscsi'><name>luns</name><source><host name='{lab1.address}'/><device path='{PLAIN_TARGET}'/>"
        "</source><target><path>/dev/disk/by-path</path></target></pool>"
    )
    with connect(lab2.socket_uri) as c:
        pool = c.raw.storagePoolCreateXML(xml, 0)
        lab2.run("udevadm settle")
        yield sorted(volume.path() for volume in pool.listAllVolumes(0))[0], pool.UUIDString()
        pool.destroy()


def looks(c: Connection) -> list[str]:
    return [pool.name() for pool in c.raw.listAllStoragePools(0) if pool.name().startswith(look.LOOK_PREFIX)]


def checksum(guest: Guest, path: str) -> str:
    return guest.run(f"{CHECKSUM} {path}").split()[0]


def disks(c: Connection) -> dict[str, Disk]:
    return {disk.path: disk for disk in list_disks(c)}


def exports(guest: Guest, c: Connection) -> list[Source]:
    """Over NFS: a Gluster that another test started shows its volumes too."""
    return [source for source in find_sources(c, "netfs", host=guest.address) if source.format != "glusterfs"]


def test_the_exports_of_a_server(lab1: Guest, c: Connection) -> None:
    found = exports(lab1, c)
    assert {str(one.values["source_dir"]) for one in found} == set(EXPORTS)
    assert {(one.values["source_host"], one.format) for one in found} == {(lab1.address, "nfs")}


def test_a_server_without_nfs(c: Connection) -> None:
    with pytest.raises(VirtError) as caught:
        find_sources(c, "netfs", host="10.99.0.3")
    assert caught.value.code == "command_failed"


def test_a_server_that_exports_nothing(lab1: Guest, c: Connection) -> None:
    """An answer, and no error."""
    lab1.run("exportfs -ua")
    try:
        assert exports(lab1, c) == []
    finally:
        lab1.run("exportfs -ra")


def test_the_targets_of_a_portal(lab1: Guest, c: Connection) -> None:
    found = find_sources(c, "iscsi", host=lab1.address)
    assert {one.text for one in found} == {PLAIN_TARGET, CHAP_TARGET}
    assert found[0].values | {"target_iqn": ""} == {
        "source_host": lab1.address,
        "source_port": "",
        "target_iqn": "",
        "initiator": "",
    }


def test_the_targets_that_an_initiator_sees(lab1: Guest, c: Connection) -> None:
    """A target that lets one initiator in is not shown to others."""
    name = f"iqn.2026-01.lab:{uuid4().hex}"
    first = find_sources(c, "iscsi", host=lab1.address, initiator=name)
    assert "only after a pool was started so" in first[0].detail
    assert first[0].values["initiator"] == name
    xml = (
        f"<pool type='iscsi'><name>asked</name><source><host name='{lab1.address}'/><device path='{PLAIN_TARGET}'/>"
        f"<initiator><iqn name='{name}'/></initiator></source><target><path>/dev/disk/by-path</path></target></pool>"
    )
    c.raw.storagePoolCreateXML(xml, 0).destroy()
    then = find_sources(c, "iscsi", host=lab1.address, initiator=name)
    assert {one.detail for one in then} == {f"on {lab1.address}"}


def test_a_portal_that_refuses(lab1: Guest, c: Connection) -> None:
    with pytest.raises(VirtError) as caught:
        find_sources(c, "iscsi", host=lab1.address, port="3261")
    assert caught.value.code == "command_failed"
    why = caught.value.detail.partition("\n")[0]
    assert why == f"cannot make connection to {lab1.address}: Connection refused"


def test_the_groups_of_a_host(c: Connection) -> None:
    (group,) = find_sources(c, "logical")
    assert group.values == {"source_name": "vg_thin", "devices": ["/dev/ubde"], "format": "lvm2"}


def test_the_adapters_of_a_host(c: Connection) -> None:
    host0, host1 = list_adapters(c)[:2]
    assert (host0.name, host0.luns, host0.is_fc) == ("host0", 2, False)
    assert host1.values == {"adapter_kind": "scsi_host", "adapter_name": "host1"}


def test_the_disks_of_a_host(c: Connection) -> None:
    found = disks(c)
    sda, blank = found["/dev/sda"], found[BLANK]
    assert (sda.model, sda.vendor, sda.size, sda.bus) == ("scsi_debug", "Linux", 32 * MIB, "scsi")
    assert sda.is_multipath
    assert (blank.size, blank.drive_type, blank.partitions) == (DISK_SIZE, "", ())
    assert blank.finding
    assert blank.finding.text == "empty"
    mapped = {disk.path for disk in found.values() if disk.drive_type == "mapped"}
    assert mapped == {
        f"/dev/mapper/{name}" for name in ("mpatha", "mpathb", "vg_thin-thin1", "vg_thin-plain1")
    }
    member = found["/dev/disk/by-path/platform-uml-blkdev.4"]
    assert member.finding
    assert member.finding.text == "LVM physical volume of group vg_thin"


def test_one_disk_that_fails_hides_only_what_it_has_to(lab2: Guest, c: Connection) -> None:
    """libvirt gives a folder up for one device in it that cannot be read."""
    lab2.run("dmsetup create bad --table '0 65536 error'; udevadm settle")
    try:
        found = disks(c)
        assert found["/dev/sda"].finding is None
        assert found[BLANK].finding
        content = inspect(c, "/dev/sda")
        assert content.verdict == "unknown"
        assert any("dm-name-bad" in words for words in content.unseen)
    finally:
        lab2.run("dmsetup remove bad; udevadm settle")


def prepare(guest: Guest, kind: str) -> None:
    if kind in ("luks2", "qcow2"):
        with zipfile.ZipFile(HEADS) as heads:
            guest.put("/tmp/head", heads.read(f"{kind}/head"))
        guest.run(f"dd if=/tmp/head of={BLANK} conv=notrunc status=none; rm /tmp/head")
    elif kind == "ext4":
        guest.run(f"mkfs.ext4 -q -L vmdata {BLANK}")
    elif kind == "lvm2":
        guest.run(f"pvcreate -q {BLANK}")
    elif kind == "random":
        guest.run(f"dd if=/dev/urandom of={BLANK} bs=1M count=1 conv=notrunc status=none")
    guest.run("udevadm settle")


@pytest.mark.parametrize(
    ("kind", "verdict", "text"),
    [
        ("blank", "empty", "empty"),
        ("ext4", "data", "ext4 file system vmdata"),
        ("lvm2", "data", "LVM physical volume"),
        ("luks2", "data", "LUKS2 encryption secrets"),
        ("qcow2", "data", "qcow2 image"),
        ("random", "data", "data of an unknown kind"),
    ],
)
def test_what_is_on_a_whole_disk(
    lab2: Guest, c: Connection, disk: str, kind: str, verdict: str, text: str
) -> None:
    prepare(lab2, kind)
    before = checksum(lab2, disk)
    content = inspect(c, disk)
    assert (content.verdict, content.text, content.unseen) == (verdict, text, ())
    assert content.size == DISK_SIZE
    after, held_open = lab2.run(
        f"{CHECKSUM} {disk}; ls -l /proc/$(pidof libvirtd)/fd | grep -c ubdb || true"
    ).splitlines()
    assert after.split()[0] == before
    assert held_open == "0"


def partition(guest: Guest, path: str) -> None:
    made = "parted -s {0} mklabel gpt mkpart a 1MiB 90MiB mkpart b 100MiB 200MiB && udevadm settle"
    linked = "timeout 20 sh -c 'until [ -e {0}-part1 -a -e {0}-part2 ]; do sleep 0.2; done'"
    filled = "mkfs.ext4 -q -L vmdata {0}-part1 && pvcreate -q {0}-part2 && vgcreate -q vg_lun {0}-part2"
    guest.run(f"{made} && {linked} && {filled} && udevadm settle".format(path))


def forget(guest: Guest, path: str) -> None:
    guest.run(
        f"vgremove -q -f vg_lun; pvremove -q {path}-part2; wipefs -q -a {path}-part1 {path}; udevadm settle"
    )


def test_what_is_on_the_partitions_of_a_lun(lab2: Guest, c: Connection, lun: tuple[str, str]) -> None:
    path, uuid = lun
    partition(lab2, path)
    try:
        before = checksum(lab2, path)
        for content in (inspect(c, path), inspect(c, path, pool_uuids=[uuid])):
            assert_two_partitions(content)
        part = inspect(c, f"{path}-part1")
        assert (part.text, part.groups) == ("ext4 file system vmdata", ())
        (disk,) = (disk for disk in disks(c).values() if path in disk.links)
        assert disk.finding
        assert disk.finding.text == "GPT partition table"
        assert [block.path for block in disk.partitions or ()] == [
            f"{disk.stable_path}-part1",
            f"{disk.stable_path}-part2",
        ]
        assert checksum(lab2, path) == before
    finally:
        forget(lab2, path)


def assert_two_partitions(content: Content) -> None:
    assert (content.verdict, content.table) == ("data", "gpt")
    assert content.text == "GPT partition table, 2 partitions"
    assert content.groups == ("vg_lun",)
    one, two = content.partitions
    assert (one.size, two.size) == (89 * MIB, 100 * MIB)
    assert one.finding
    assert two.finding
    assert (one.finding.text, two.finding.text) == (
        "ext4 file system vmdata",
        "LVM physical volume of group vg_lun",
    )


def test_a_lun_is_read_in_the_pool_that_has_it(c: Connection, lun: tuple[str, str]) -> None:
    path, uuid = lun
    content = inspect(c, path, pool_uuids=[uuid])
    assert content.seen[0] == "It is the volume of pool luns."
    assert "Its first and last 128 KiB were read." not in content.seen
    assert content.finding
    assert (content.size, content.pools) == (256 * MIB, ())


def test_a_disk_pool_shows_its_own_partitions(lab2: Guest, c: Connection, disk: str) -> None:
    lab2.run(
        f"parted -s {disk} mklabel msdos mkpart primary 1MiB 90MiB; udevadm settle; mkswap -q {disk}-part1"
    )
    xml = (
        f"<pool type='disk'><name>parts</name><source><device path='{disk}'/><format type='dos'/></source>"
        "<target><path>/dev</path></target></pool>"
    )
    pool = c.raw.storagePoolCreateXML(xml, 0)
    try:
        alone = inspect(c, disk)
        assert (alone.verdict, alone.pools, alone.partitions) == ("data", ("parts",), ())
        content = inspect(c, disk, pool_uuids=[pool.UUIDString()])
        assert (content.text, content.pools) == ("MBR partition table, 1 partition", ("parts",))
        assert [block.finding and block.finding.text for block in content.partitions] == ["Swap space"]
    finally:
        pool.destroy()


def test_a_path_of_multipath_is_told(c: Connection) -> None:
    content = inspect(c, "/dev/sda")
    assert "Multipath holds it: use the device of multipath in its place." in content.seen


def test_a_logical_volume_by_any_of_its_names(c: Connection) -> None:
    for path in ("/dev/vg_thin/plain1", "/dev/mapper/vg_thin-plain1"):
        content = inspect(c, path)
        assert (content.verdict, content.size) == ("empty", 64 * MIB)


def test_the_look_ends_when_its_reader_fails(lab2: Guest, c: Connection, disk: str) -> None:
    lab2.run(f"parted -s {disk} mklabel gpt; udevadm settle")
    during = []

    def fail() -> None:
        with look.disk_pool(c, disk, "gpt"):
            during.extend(looks(c))
            raise RuntimeError("the reader failed")

    with pytest.raises(RuntimeError, match="the reader failed"):
        fail()
    assert len(during) == 1
    assert looks(c) == []
