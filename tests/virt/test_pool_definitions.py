"""Pools are defined and made on a real daemon: what it refuses has a code of its own."""

from pathlib import Path
from uuid import uuid4

import pytest

from storagemgr.virt import pool_xml, pools
from storagemgr.virt.connection import Connection
from storagemgr.virt.errors import VirtError

CORPUS = {path.stem: path.read_text() for path in sorted((Path(__file__).parent / "corpus").glob("*.xml"))}


def code_of(function, *arguments, **more) -> str:
    with pytest.raises(VirtError) as caught:
        function(*arguments, **more)
    assert caught.value.detail
    return caught.value.code


def dir_xml(path: Path | str, name="", uuid="") -> str:
    return pool_xml.build(
        "dir", name or f"p{uuid4().hex[:8]}", uuid or str(uuid4()), {"target_path": str(path)}
    )


@pytest.fixture
def made(c: Connection):
    """UUIDs of pools to take away again."""
    uuids: list[str] = []
    yield uuids
    for uuid in uuids:
        for end in (pools.stop, pools.undefine):
            try:
                end(c, uuid)
            except VirtError as error:
                if error.code not in ("no_pool", "pool_inactive"):
                    raise


def test_the_schema_is_asked_first(c: Connection, tmp_path: Path, made: list[str]):
    wrong = dir_xml(tmp_path).replace("<target>", "<surprise/><target>")
    assert code_of(pools.define, c, wrong) == "xml_invalid"
    made.append(pools.define(c, wrong, validate=False))
    assert "surprise" not in pools.read_running_xml(c, made[0])


def test_names_that_libvirt_refuses(c: Connection, tmp_path: Path):
    for name in ("a/b", "a\nb"):
        assert code_of(pools.define, c, dir_xml(tmp_path, name)) == "bad_name"
    assert code_of(pools.create_transient, c, dir_xml(tmp_path, "a/b")) == "bad_name"


@pytest.mark.parametrize("make", [pools.define, pools.create_transient])
def test_a_name_that_is_taken(c: Connection, pool, make, tmp_path: Path):
    assert code_of(make, c, dir_xml(tmp_path, pool.name)) == "name_taken"


@pytest.mark.parametrize("make", [pools.define, pools.create_transient])
def test_a_source_that_another_pool_has(c: Connection, pool, make):
    with pytest.raises(VirtError) as caught:
        make(c, dir_xml(pool.path))
    assert caught.value.code == "source_conflict"
    assert pool.name in caught.value.detail


def test_a_uuid_that_another_name_has(c: Connection, pool, tmp_path: Path):
    """libvirt gives no pool another name."""
    other = dir_xml(tmp_path, uuid=pool.uuid)
    assert code_of(pools.define, c, other) == code_of(pools.create_transient, c, other) == "name_taken"


def test_a_transient_pool_runs_at_once_and_is_gone_when_it_stops(c: Connection, tmp_path: Path):
    place = tmp_path / "new"
    xml = dir_xml(place)
    assert code_of(pools.create_transient, c, xml) == "not_found_on_host"
    uuid = pools.create_transient(c, xml, build=True)
    assert place.is_dir()
    status = pools.read_pool(c, uuid)
    assert (status.state, status.persistent) == ("running", False)
    assert code_of(pools.create_transient, c, xml) == "pool_active"
    pools.stop(c, uuid)
    assert code_of(pools.read_pool, c, uuid) == "no_pool"
    assert place.is_dir()


def test_a_running_pool_is_as_it_was_until_it_starts_again(c: Connection, pool):
    before = pools.read_running_xml(c, pool.uuid)
    defined = pools.read_config(c, pool.uuid).xml
    pools.define(c, pool_xml.edited(defined, {"mode": "0750"}))
    assert pool_xml.values_of(pools.read_config(c, pool.uuid).xml)["mode"] == "0750"
    running = pools.read_running_xml(c, pool.uuid)
    assert pool_xml.values_of(running)["mode"] == pool_xml.values_of(before)["mode"] != "0750"


def test_a_document_type_does_not_reach_libvirt(c: Connection):
    xml = (
        "<!DOCTYPE pool [<!ENTITY x SYSTEM 'file:///etc/hostname'>]><pool type='dir'><name>&x;</name></pool>"
    )
    assert code_of(pools.define, c, xml) == "xml_invalid"
    with pytest.raises(VirtError):
        pools.parse_config(xml)


SOURCES = {
    "dir-as-libvirt-says": "/srv/images",
    "dir-in-one-line": "/srv/one",
    "dir-with-notes": "/srv/lager",
    "disk-as-libvirt-says": "/dev/sdb",
    "disk-of-multipath": "/dev/mapper/mpatha",
    "disk-with-unknowns": "/dev/nvme0n1",
    "fs-as-libvirt-says": "/dev/disk/by-id/wwn-0x5000c500a1b2c3d4-part1",
    "fs-least": "/dev/vdb",
    "fs-with-another-prefix": "/dev/sdb1",
    "gluster-as-libvirt-says": "gl1:24007:vms",
    "gluster-two-hosts": "gl1, gl2:24007:vms/images/prod",
    "gluster-with-unknowns": "gl1:vms",
    "iscsi-as-libvirt-says": "192.0.2.10:3260 iqn.2026-01.com.example:disks",
    "iscsi-direct-as-libvirt-says": "192.0.2.10:3260 iqn.2026-01.com.example:disks",
    "iscsi-direct-least": "san iqn.2026-01.com.example:disks",
    "iscsi-direct-with-unknowns": "san:3260 iqn.2026-01.com.example:disks",
    "iscsi-two-portals": "[fd00::1]:3261, fd00::2 iqn.2026-01.com.example:disks3",
    "iscsi-with-initiator-and-usage": "san.example.com iqn.2026-01.com.example:disks2",
    "logical-as-libvirt-says": "vg0 (/dev/sdb, /dev/sdc)",
    "logical-with-unknowns": "vg2",
    "logical-without-source-name": "vg1 (/dev/disk/by-id/ata-1, /dev/disk/by-id/ata-2)",
    "mpath-as-libvirt-says": "",
    "mpath-least": "",
    "mpath-with-unknowns": "",
    "netfs-as-libvirt-says": "nas1.example.com:/export/vm",
    "netfs-cifs-with-port": "files.example.com:445:vm/images",
    "netfs-two-hosts-of-gluster": "gl1, gl2:/vms",
    "rbd-as-libvirt-says": "ceph1:6789, ceph2:6789, [fd00::3]:6789 libvirt",
    "rbd-by-usage": "ceph1, ceph2 vms",
    "rbd-with-unknowns": "ceph1 vms",
    "scsi-as-in-old-times": "host0",
    "scsi-as-libvirt-says": "0000:00:1f.2",
    "scsi-of-fibre-channel": "20000000c9831b4b:10000000c9831b4b",
    "sheepdog-as-libvirt-says": "sheep1:7000:vms",
    "sheepdog-least": "sheep1:vms",
    "sheepdog-with-unknowns": "sheep1:7000, sheep2:vms",
    "vstorage-as-libvirt-says": "cluster1",
    "vstorage-least": "cluster1",
    "vstorage-with-unknowns": "cluster1",
    "zfs-as-libvirt-says": "tank/vms",
    "zfs-of-two-devices": "tank2 (/dev/sdb, /dev/sdc)",
    "zfs-with-unknowns": "tank3",
}


def test_every_file_has_its_source_in_one_line():
    assert {name: pools.parse_config(xml).source_text for name, xml in CORPUS.items()} == SOURCES


@pytest.mark.parametrize("name", CORPUS)
def test_configurations_are_read(name):
    config = pools.parse_config(CORPUS[name])
    assert config.name == pool_xml.parse(CORPUS[name]).findtext("name")
    assert name.startswith(config.type)
    assert config.xml == CORPUS[name]
