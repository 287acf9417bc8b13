import json
import os
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import libvirt
import pytest

from storagemgr.virt import pools, volume_xml, volumes
from storagemgr.virt import volume_copies as copies
from storagemgr.virt.connection import Connection, connect
from storagemgr.virt.errors import VirtError

MIB = 1024**2
ODD_NAMES = [
    "two\nlines",
    "tab\tand\rreturn",
    "ünïcödé – 日本語 🙂",
    '<a href="x">&amp;\'',
    " leading and trailing ",
    "-rf",
    "a" * 255,
]


def code_of(function, *arguments, **named) -> str:
    with pytest.raises(VirtError) as caught:
        function(*arguments, **named)
    return caught.value.code


def create(c: Connection, pool, **wanted) -> volumes.VolumeInfo:
    return volumes.create(c, pool.uuid, volumes.NewVolume(**wanted))


def copy_of(c: Connection, watch: Connection, pool, source: str, name: str) -> Iterator[int]:
    return copies.copy(c, watch, pool.uuid, source, pool.uuid, volumes.NewVolume(name=name))


def image_info(path: Path) -> dict:
    done = subprocess.run(["qemu-img", "info", "--output=json", path], check=True, capture_output=True)
    return json.loads(done.stdout)


def test_everything_about_a_file_is_read(c: Connection, pool):
    path = pool.write("disk.img", 2)
    path.chmod(0o640)
    pools.refresh(c, pool.uuid)
    listing = volumes.list_volumes(c, pool.uuid)
    assert listing.skipped == 0
    [volume] = listing.volumes
    assert volume == volumes.read_volume(c, pool.uuid, "disk.img")
    assert (volume.name, volume.path, volume.key) == ("disk.img", str(path), str(path))
    assert (volume.type, volume.format, volume.mode) == ("file", "raw", "0640")
    assert (volume.capacity, volume.physical) == (2 * MIB, 2 * MIB)
    assert 2 * MIB <= volume.allocation < 3 * MIB
    assert (volume.owner, volume.group) == (os.geteuid(), os.getegid())
    assert volume.modified is not None
    assert timedelta(0) <= datetime.now(UTC) - volume.modified < timedelta(minutes=1)
    assert not volume.encrypted


def test_an_overlay_names_its_backing_file(c: Connection, pool):
    base = pool.write("base.raw")
    overlay = pool.path / "overlay.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", "raw", overlay], check=True)
    (pool.path / "directory").mkdir()
    pools.refresh(c, pool.uuid)
    volume = volumes.read_volume(c, pool.uuid, "overlay.qcow2")
    assert (volume.format, volume.backing_path, volume.backing_format) == ("qcow2", str(base), "raw")
    assert (volume.compat, volume.cluster_size) == ("1.1", 65536)
    assert volumes.read_volume(c, pool.uuid, "directory").type == "dir"


def test_raw_is_sparse_or_allocated(c: Connection, pool):
    sparse = create(c, pool, name="sparse", format="raw", capacity=4 * MIB)
    full = create(c, pool, name="full", format="raw", capacity=4 * MIB, preallocation="falloc")
    some = create(c, pool, name="some", format="raw", capacity=4 * MIB, allocation=MIB)
    assert (sparse.capacity, sparse.allocation) == (4 * MIB, 0)
    assert full.capacity == 4 * MIB <= full.allocation
    assert (some.capacity, MIB <= some.allocation < 2 * MIB) == (4 * MIB, True)
    assert os.stat(sparse.path).st_size == 4 * MIB


@pytest.mark.parametrize(("preallocation", "least"), [("off", 0), ("falloc", 8 * MIB)])
def test_qcow2_has_the_new_version_and_is_preallocated(c: Connection, pool, preallocation: str, least: int):
    volume = create(c, pool, name="q", format="qcow2", capacity=8 * MIB, preallocation=preallocation)
    info = image_info(pool.path / "q")
    assert info["format-specific"]["data"]["compat"] == "1.1"
    assert info["virtual-size"] == volume.capacity == 8 * MIB
    assert least <= volume.allocation < least + MIB


def test_a_volume_is_deleted(c: Connection, pool):
    create(c, pool, name="gone", format="raw", capacity=MIB)
    volumes.delete(c, pool.uuid, "gone")
    assert not (pool.path / "gone").exists()
    assert code_of(volumes.delete, c, pool.uuid, "gone") == "no_volume"
    assert code_of(volumes.read_volume, c, pool.uuid, "gone") == "no_volume"


@pytest.mark.parametrize("name", ODD_NAMES)
def test_odd_names_live_and_die_like_others(c: Connection, watch: Connection, pool, name: str):
    made = create(c, pool, name=name, format="raw", capacity=MIB)
    assert (made.name, made.path) == (name, f"{pool.path}/{name}")
    assert [v.name for v in volumes.list_volumes(c, pool.uuid).volumes] == [name]
    list(copy_of(c, watch, pool, name, "copy of it"))
    list(copy_of(c, watch, pool, "copy of it", name[:200] + "2"))
    assert not volumes.is_building(c, pool.uuid, name)
    assert volumes.read_volume(c, pool.uuid, name) == made
    pools.refresh(c, pool.uuid)
    volumes.delete(c, pool.uuid, name)
    assert {v.name for v in volumes.list_volumes(c, pool.uuid).volumes} == {"copy of it", name[:200] + "2"}


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/", "nul\0", "bell\a", "ü" * 128, "a" * 256])
def test_names_that_cannot_be_are_refused(c: Connection, watch: Connection, pool, name: str):
    assert code_of(create, c, pool, name=name, format="raw", capacity=MIB) == "bad_name"
    pool.write("source")
    pools.refresh(c, pool.uuid)
    assert code_of(list, copy_of(c, watch, pool, "source", name)) == "bad_name"
    assert os.listdir(pool.path) == ["source"]


def test_a_name_that_is_taken(c: Connection, watch: Connection, pool):
    create(c, pool, name="one", format="raw", capacity=MIB)
    for format in ("raw", "qcow2"):
        assert code_of(create, c, pool, name="one", format=format, capacity=1) == "volume_exists"
    steps = copy_of(c, watch, pool, "one", "one")
    assert code_of(list, steps) == "volume_exists"
    pool.write("unseen")
    assert code_of(create, c, pool, name="unseen", format="raw", capacity=1) == "exists_on_host"
    assert (pool.path / "unseen").stat().st_size == MIB


def test_too_big_to_allocate_leaves_nothing(c: Connection, pool):
    big = 4 * 1024**5
    code = code_of(create, c, pool, name="big", format="raw", capacity=big, preallocation="falloc")
    assert code == "no_space"
    assert code_of(volumes.read_volume, c, pool.uuid, "big") == "no_volume"
    assert os.listdir(pool.path) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system")
def test_a_full_file_system_is_no_space(c: Connection, watch: Connection, daemon, new_pool):
    """Mounted outside the daemon's mount namespace, after its start."""
    small = daemon.directory / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "small", small], check=True)
    try:
        pool = new_pool(c, small)
        assert pools.read_pool(c, pool.uuid).capacity == 4 * MIB
        for format in ("raw", "qcow2"):
            code = code_of(create, c, pool, name="x", format=format, capacity=8 * MIB, preallocation="falloc")
            assert code == "no_space"
        pool.write("source", 3)
        pools.refresh(c, pool.uuid)
        assert code_of(list, copy_of(c, watch, pool, "source", "copy")) == "no_space"
        assert os.listdir(small) == ["source"]
        pools.stop(c, pool.uuid)
        pools.undefine(c, pool.uuid)
    finally:
        subprocess.run(["umount", small], check=True)


def test_more_allocation_than_capacity_is_refused(c: Connection, pool):
    """libvirt would silently make the volume bigger."""
    for wrong in (2 * MIB, -1):
        code = code_of(create, c, pool, name="x", format="raw", capacity=MIB, allocation=wrong)
        assert code == "invalid"


def test_a_failing_program_is_quoted(c: Connection, pool):
    with pytest.raises(VirtError) as caught:
        create(c, pool, name="x", format="vhd", capacity=MIB)
    assert caught.value.code == "command_failed"
    assert caught.value.detail.splitlines()[0].startswith("qemu-img: ")
    assert "Child process" in caught.value.detail


def test_an_unknown_format_is_invalid(c: Connection, pool):
    assert code_of(create, c, pool, name="x", format="nope", capacity=MIB) == "invalid"


def test_a_file_that_may_not_be_written(c: Connection, new_pool):
    pool = new_pool(c, Path("/sys/fs"))
    code = code_of(create, c, pool, name="x", format="raw", capacity=MIB)
    assert code == "permission_on_host"
    pools.stop(c, pool.uuid)
    pools.undefine(c, pool.uuid)


def test_an_inactive_pool_has_no_volumes(c: Connection, watch: Connection, pool):
    create(c, pool, name="one", format="raw", capacity=MIB)
    pools.stop(c, pool.uuid)
    assert code_of(volumes.list_volumes, c, pool.uuid) == "pool_inactive"
    assert code_of(volumes.read_volume, c, pool.uuid, "one") == "pool_inactive"
    assert code_of(create, c, pool, name="x", format="raw", capacity=1) == "pool_inactive"
    assert code_of(volumes.is_building, c, pool.uuid, "one") == "pool_inactive"
    assert code_of(list, copy_of(c, watch, pool, "one", "two")) == "pool_inactive"


def test_names_that_are_not_utf_8_are_counted(c: Connection, pool):
    pool.write("fine")
    (pool.path / os.fsdecode(b"bad\xff")).touch()
    pools.refresh(c, pool.uuid)
    listing = volumes.list_volumes(c, pool.uuid)
    assert [volume.name for volume in listing.volumes] == ["fine"]
    assert listing.skipped == 1


def test_a_file_that_vanished_behind_libvirt_is_left_out(c: Connection, pool):
    pool.write("stays")
    pool.write("goes")
    pools.refresh(c, pool.uuid)
    (pool.path / "goes").unlink()
    listing = volumes.list_volumes(c, pool.uuid)
    assert ([volume.name for volume in listing.volumes], listing.skipped) == (["stays"], 0)
    assert code_of(volumes.read_volume, c, pool.uuid, "goes") == "no_volume"
    volumes.delete(c, pool.uuid, "goes")


def test_many_volumes_are_listed_whole(c: Connection, pool):
    """Enough for several chunks in several threads."""
    wanted = [f"v{i:04}" for i in range(2 * volumes._CHUNK + 7)]
    for i, name in enumerate(wanted):
        (pool.path / name).write_bytes(b"x" * i)
    pools.refresh(c, pool.uuid)
    listing = volumes.list_volumes(c, pool.uuid)
    assert listing.skipped == 0
    assert {volume.name: volume.capacity for volume in listing.volumes} == {
        name: i for i, name in enumerate(wanted)
    }


def test_too_many_volumes_are_said_to_be(c: Connection, pool):
    for i in range(volumes.LIST_LIMIT + 1):
        (pool.path / f"v{i}").touch()
    pools.refresh(c, pool.uuid)
    assert code_of(volumes.list_volumes, c, pool.uuid) == "too_many_volumes"
    assert volumes.read_volume(c, pool.uuid, "v7").name == "v7"
    assert pools.read_pool(c, pool.uuid).volume_count == volumes.LIST_LIMIT + 1


def test_a_daemon_that_dies_while_listing_is_a_lost_connection(own_daemon, new_pool, tmp_path):
    with connect(own_daemon.uri) as c:
        pool = new_pool(c, tmp_path / "many")
        for i in range(3 * volumes._CHUNK):
            (pool.path / f"v{i}").touch()
        pools.refresh(c, pool.uuid)
        handles = c.raw.storagePoolLookupByUUIDString(pool.uuid).listAllVolumes(0)
        own_daemon.kill()
        with pytest.raises(libvirt.libvirtError):
            volumes._read(handles)
        assert code_of(volumes.list_volumes, c, pool.uuid) == "connection_lost"


def test_the_test_driver_can_be_listed():
    with connect("test:///default") as c:
        [status] = pools.list_pools(c)
        assert (status.name, status.state, status.volume_count) == ("default-pool", "running", 0)
        assert pools.read_config(c, status.uuid).target_path == "/default-pool"
        made = volumes.create(c, status.uuid, volumes.NewVolume(name="one", format="raw", capacity=MIB))
        assert volumes.list_volumes(c, status.uuid).volumes == [made]


def test_a_network_volume_without_permissions_is_parsed():
    xml = (
        "<volume type='network'><name>img</name><key>vms/img</key><capacity unit='bytes'>10</capacity>"
        "<allocation unit='bytes'>4</allocation><target><path>vms/img</path><format type='raw'/>"
        "<permissions><mode>00</mode><owner>-1</owner><group>-1</group></permissions>"
        "<encryption format='luks'/></target></volume>"
    )
    volume = volume_xml.parse_volume(xml)
    assert (volume.type, volume.path, volume.capacity, volume.allocation) == ("network", "vms/img", 10, 4)
    assert (volume.owner, volume.group, volume.physical, volume.modified) == (None, None, None, None)
    assert volume.encrypted


ENCRYPTED = (
    "<volume type='file'><name>v</name><capacity unit='bytes'>5</capacity><target><format type='qcow2'/>"
    "<encryption format='luks'>{}</encryption></target></volume>"
)


def copy_xml(source: str, *, in_files: bool = True) -> str:
    return volume_xml.copy_xml(source, volumes.NewVolume(name="copy"), in_files=in_files)


def test_a_copy_of_an_encrypted_volume_is_encrypted_with_its_secret():
    secret = "<secret type='passphrase' uuid='9c2eba94-88aa-487e-810e-d3e35a5d2edc'/>"
    copy = copy_xml(ENCRYPTED.format(secret))
    assert secret.replace("'", '"') in copy
    assert volume_xml.parse_volume(copy).encrypted


def test_an_encrypted_volume_without_a_secret_is_not_copied():
    assert code_of(copy_xml, ENCRYPTED.format("")) == "secret_missing"


def test_a_block_volume_has_no_format_and_is_allocated():
    """libvirt makes a snapshot of a logical volume that is not allocated whole."""
    xml = volume_xml.volume_xml(volumes.NewVolume(name="lv", capacity=MIB))
    assert "format" not in xml
    assert "allocation" not in xml
    source = (
        "<volume type='block'><name>lv</name><capacity unit='bytes'>5</capacity>"
        "<allocation unit='bytes'>5</allocation><target><format type='raw'/></target></volume>"
    )
    copy = copy_xml(source, in_files=False)
    assert "allocation" not in copy
    assert volume_xml.parse_volume(copy).capacity == 5
