import shutil
from pathlib import Path
from uuid import uuid4

import libvirt
import pytest

from storagemgr.virt import pools
from storagemgr.virt.connection import Connection, connect
from storagemgr.virt.errors import VirtError

NO_UUID = "00000000-0000-0000-0000-000000000001"


def code_of(function, *arguments) -> str:
    with pytest.raises(VirtError) as caught:
        function(*arguments)
    assert caught.value.detail
    return caught.value.code


def test_a_running_pool_has_sizes_and_a_count(c: Connection, pool):
    pool.write("one")
    pools.refresh(c, pool.uuid)
    status = pools.read_pool(c, pool.uuid)
    assert (status.name, status.state, status.persistent, status.autostart) == (
        pool.name,
        "running",
        True,
        False,
    )
    assert status.volume_count == 1
    assert status.capacity >= status.allocation > 0
    assert status.capacity >= status.available > 0
    assert status in pools.list_pools(c)
    assert pool.uuid in pools.list_uuids(c)


def test_a_pool_stops_keeps_its_data_and_starts_again(c: Connection, pool):
    pool.write("one")
    pools.stop(c, pool.uuid)
    status = pools.read_pool(c, pool.uuid)
    assert (status.state, status.volume_count) == ("inactive", None)
    assert (pool.path / "one").exists()
    assert code_of(pools.stop, c, pool.uuid) == "pool_inactive"
    assert code_of(pools.refresh, c, pool.uuid) == "pool_inactive"
    pools.start(c, pool.uuid)
    assert pools.read_pool(c, pool.uuid).volume_count == 1
    assert code_of(pools.start, c, pool.uuid) == "pool_active"


def test_autostart_goes_on_and_off(c: Connection, pool):
    pools.set_autostart(c, pool.uuid, True)
    assert pools.read_pool(c, pool.uuid).autostart
    pools.set_autostart(c, pool.uuid, False)
    assert not pools.read_pool(c, pool.uuid).autostart


def test_a_pool_is_built_and_deleted_and_forgotten(c: Connection, tmp_path: Path):
    path = tmp_path / "new"
    uuid = pools.define(c, pools.dir_pool_xml("built", str(path)))
    assert code_of(pools.start, c, uuid) == "not_found_on_host"
    pools.build(c, uuid)
    assert path.is_dir()
    pools.start(c, uuid)
    for change in (pools.delete, pools.undefine):
        assert code_of(change, c, uuid) == "pool_active"
    pools.stop(c, uuid)
    (path / "file").touch()
    assert code_of(pools.delete, c, uuid) == "not_empty"
    (path / "file").unlink()
    pools.delete(c, uuid)
    assert not path.exists()
    pools.undefine(c, uuid)
    assert code_of(pools.read_pool, c, uuid) == "no_pool"


def test_a_failed_refresh_says_why_and_stops_the_pool(c: Connection, pool):
    shutil.rmtree(pool.path)
    assert code_of(pools.refresh, c, pool.uuid) == "not_found_on_host"
    assert pools.read_pool(c, pool.uuid).state == "inactive"


def test_an_unknown_pool_has_one_code(c: Connection):
    for function in (
        pools.read_pool,
        pools.read_config,
        pools.start,
        pools.stop,
        pools.build,
        pools.undefine,
    ):
        assert code_of(function, c, NO_UUID) == "no_pool"


def test_a_name_that_is_taken_and_a_source_that_is_taken(c: Connection, pool, tmp_path: Path):
    other = pools.dir_pool_xml(pool.name, str(tmp_path / "other"))
    assert code_of(pools.define, c, other) == "name_taken"
    same = pools.dir_pool_xml("same-directory", str(pool.path))
    assert code_of(pools.define, c, same) == "source_conflict"


def test_a_taken_name_is_found_out_in_any_language(c: Connection, pool, tmp_path: Path):
    """libvirt says both in words of the daemon's language, with number 9."""
    said = VirtError("unknown", "Vorgang gescheitert", number=9, domain=18)
    other = pools.dir_pool_xml(pool.name, str(tmp_path))
    assert pools._define_error(c, said, other).code == "name_taken"
    own = other.replace("<name>", f"<uuid>{pool.uuid}</uuid><name>")
    assert pools._define_error(c, said, own).code == "source_conflict"
    free = pools.dir_pool_xml("free", str(pool.path))
    assert pools._define_error(c, said, free).code == "source_conflict"


def test_the_state_of_a_pool_explains_a_refusal_in_any_language(c: Connection, pool):
    raw = c.raw.storagePoolLookupByUUIDString(pool.uuid)
    said = VirtError("invalid", "Vorgang ist nicht zulässig", number=55, domain=18)
    assert pools.explained(said, raw, needs_active=False).code == "pool_active"
    assert pools.explained(said, raw, needs_active=True, else_code="volume_busy").code == "volume_busy"
    raw.destroy()
    assert pools.explained(said, raw, needs_active=True, else_code="volume_busy").code == "pool_inactive"


@pytest.mark.parametrize("xml", ["<pool", "<pool/>", "<pool type='dir'><name>x</name></pool>"])
def test_bad_xml_is_refused(c: Connection, xml: str):
    assert code_of(pools.define, c, xml) == "xml_invalid"


def test_names_are_written_as_xml_not_pasted(c: Connection, tmp_path: Path):
    name = "a&b <c> \"d\" 'e' ü"
    path = tmp_path / name
    path.mkdir()
    uuid = pools.define(c, pools.dir_pool_xml(name, str(path)))
    config = pools.read_config(c, uuid)
    assert (config.name, config.target_path, config.type) == (name, str(path), "dir")
    pools.undefine(c, uuid)


def test_names_that_xml_or_libvirt_cannot_hold(c: Connection):
    assert code_of(pools.dir_pool_xml, "nul\0", "/x") == "bad_name"
    assert code_of(pools.define, c, pools.dir_pool_xml("a/b", "/x")) == "bad_name"
    assert code_of(pools.define, c, pools.dir_pool_xml("a\nb", "/x")) in ("bad_name", "xml_invalid")


def test_a_read_only_connection_is_denied(daemon, pool):
    with Connection(libvirt.openReadOnly(daemon.uri), daemon.uri) as reader:
        assert pools.read_pool(reader, pool.uuid).name == pool.name
        assert code_of(pools.refresh, reader, pool.uuid) == "denied"


def test_a_pending_change_is_what_the_config_shows(c: Connection, pool, tmp_path: Path):
    xml = pools.read_config(c, pool.uuid).xml.replace(str(pool.path), str(tmp_path / "later"))
    assert pools.define(c, xml) == pool.uuid
    assert pools.read_config(c, pool.uuid).target_path == str(tmp_path / "later")


def test_a_transient_pool_is_read_and_gone_when_stopped(c: Connection, tmp_path: Path):
    xml = pools.dir_pool_xml("transient", str(tmp_path))
    uuid = c.raw.storagePoolCreateXML(xml, 0).UUIDString()
    assert not pools.read_pool(c, uuid).persistent
    assert pools.read_config(c, uuid).target_path == str(tmp_path)
    pools.stop(c, uuid)
    assert code_of(pools.read_pool, c, uuid) == "no_pool"


def source(kind: str, inner: str) -> pools.PoolConfig:
    return pools.parse_config(
        f"<pool type='{kind}'><name>n</name><source>{inner}</source><target><path>/t</path></target></pool>"
    )


@pytest.mark.parametrize(
    ("kind", "inner", "text"),
    [
        ("dir", "", "/t"),
        ("mpath", "", ""),
        ("fs", "<device path='/dev/sdb1'/><format type='ext4'/>", "/dev/sdb1"),
        ("netfs", "<host name='nas1'/><dir path='/export/vm'/><format type='nfs'/>", "nas1:/export/vm"),
        ("logical", "<name>vg0</name><format type='lvm2'/>", "vg0"),
        ("logical", "<device path='/dev/sdb'/><name>vg0</name>", "vg0 (/dev/sdb)"),
        ("disk", "<device path='/dev/sdb'/>", "/dev/sdb"),
        ("iscsi", "<host name='san' port='3260'/><device path='iqn.2020:x'/>", "san:3260 iqn.2020:x"),
        (
            "iscsi-direct",
            "<host name='san'/><device path='iqn.x'/><initiator><iqn name='iqn.me'/></initiator>",
            "san iqn.x",
        ),
        ("scsi", "<adapter type='scsi_host' name='scsi_host1'/>", "scsi_host1"),
        ("scsi", "<adapter type='fc_host' wwnn='20000000c9831b4b' wwpn='10000000c9831b4b'/>", None),
        (
            "scsi",
            "<adapter type='scsi_host'><parentaddr unique_id='1'>"
            "<address domain='0x0000' bus='0x00' slot='0x1f' function='0x2'/></parentaddr></adapter>",
            "0000:00:1f.2",
        ),
        ("rbd", "<host name='a'/><host name='b' port='6789'/><name>vms</name>", "a, b:6789 vms"),
        ("gluster", "<host name='g1'/><name>vol</name><dir path='/'/>", "g1:vol"),
        ("gluster", "<host name='g1'/><name>vol</name><dir path='/sub'/>", "g1:vol/sub"),
        ("zfs", "<name>tank/vm</name>", "tank/vm"),
        ("vstorage", "<name>cluster</name>", "cluster"),
    ],
)
def test_the_source_in_one_line(kind: str, inner: str, text: str | None):
    config = source(kind, inner)
    assert config.source_text == (text if text is not None else "20000000c9831b4b:10000000c9831b4b")


def test_every_part_of_a_source_is_read():
    config = source(
        "iscsi-direct",
        "<host name='san' port='3260'/><device path='iqn.x'/><initiator><iqn name='iqn.me'/></initiator>",
    )
    assert config.source_hosts == ("san:3260",)
    assert config.source_devices == ("iqn.x",)
    assert config.initiator == "iqn.me"
    config = source("netfs", "<host name='h'/><dir path='/d'/><format type='nfs'/>")
    assert (config.source_dir, config.source_format, config.target_path) == ("/d", "nfs", "/t")


def fs_pool(tmp_path: Path, file_system: str) -> tuple[str, Path]:
    """libvirt takes a file for a device, as far as mount."""
    device = tmp_path / "device"
    with device.open("wb") as file:
        file.truncate(16 * 1024**2)
    xml = (
        f"<pool type='fs'><name>{uuid4().hex}</name>"
        f"<source><device path='{device}'/><format type='{file_system}'/></source>"
        f"<target><path>{tmp_path}/mnt</path></target></pool>"
    )
    return xml, device


def test_data_on_the_device_is_kept_unless_it_is_to_be_overwritten(c: Connection, tmp_path: Path):
    xml, device = fs_pool(tmp_path, "ext4")
    uuid = pools.define(c, xml)
    pools.build(c, uuid)
    assert (tmp_path / "mnt").is_dir()
    assert not device.read_bytes().strip(b"\0")
    pools.build(c, uuid, "keep")
    made = device.read_bytes()
    assert made[1080:1082] == b"\x53\xef"
    assert code_of(pools.build, c, uuid, "keep") == "already_formatted"
    assert device.read_bytes() == made
    pools.build(c, uuid, "overwrite")
    assert device.read_bytes() != made
    pools.undefine(c, uuid)


def test_the_test_driver_builds_without_flags():
    with connect("test:///default") as connection:
        uuid = pools.define(connection, pools.dir_pool_xml("built", "/srv/built"))
        pools.build(connection, uuid, "keep")
        pools.undefine(connection, uuid)
