"""Pool XML from what a form says: each type, by libvirt's own schema and by libvirt."""

from uuid import uuid4

import pytest

from storagemgr.virt import pool_xml, pools
from storagemgr.virt.connection import Connection, connect
from storagemgr.virt.errors import VirtError
from storagemgr.virt.pool_fields import FIELDS, problems

IQN = "iqn.2026-01.com.example:disks"
SELF = "iqn.2026-01.com.example:host"
SECRET = "9b8f7f3c-51f1-4a5e-8f0e-3a0f2b8a7c11"
PLACE = {"target_path": "/srv/vm", "mode": "0711", "owner": "64055", "group": "109"}
CHAP = {"auth_user": "chapuser", "auth_secret": SECRET}
LUNS = {"target_path": "/dev/disk/by-path"}

FULL = {
    "dir": PLACE | {"cow": "no"},
    "fs": PLACE
    | {"device": "/dev/sdb1", "format": "ext4", "mount_options": ["noatime", "commit=30"], "cow": "yes"},
    "netfs": PLACE
    | {"source_host": "nas1.example.com", "source_dir": "/export/vm", "format": "nfs"}
    | {"protocol_version": "4.2", "mount_options": ["soft", "timeo=50"]},
    "logical": {"source_name": "vg0", "devices": ["/dev/sdb", "/dev/sdc"], "format": "lvm2"},
    "disk": {"device": "/dev/sdb", "format": "gpt", "part_separator": "yes", "target_path": "/dev"},
    "iscsi": CHAP
    | LUNS
    | {"source_host": "192.0.2.1", "source_port": "3261", "target_iqn": IQN, "initiator": SELF},
    "iscsi-direct": CHAP
    | {"source_host": "fd00::1", "source_port": "3261", "target_iqn": IQN, "initiator": SELF},
    "scsi": LUNS | {"adapter_kind": "scsi_parent", "parent_address": "0000:00:1f.2", "unique_id": "1"},
    "mpath": {"target_path": "/dev/mapper"},
    "rbd": {"monitors": ["ceph1", "ceph2:6789", "[fd00::1]:6789", "fd00::2"], "source_name": "libvirt"}
    | {"auth_user": "libvirt", "auth_secret": SECRET, "refresh_allocation": "capacity"}
    | {"settings": ["client_mount_timeout=30", "rados_osd_op_timeout=30"]},
    "gluster": {"source_host": "nas1", "source_port": "24007", "source_name": "vms", "source_dir": "/images"},
    "zfs": {"source_name": "tank/vms", "devices": ["/dev/sdb", "/dev/sdc"]},
    "vstorage": PLACE | {"source_name": "cluster1"},
    "sheepdog": {"source_host": "sheep1", "source_port": "7000", "source_name": "vms"},
}
MINIMAL = {
    "dir": {"target_path": "/srv/vm"},
    "fs": {"device": "/dev/sdb1", "target_path": "/srv/vm"},
    "netfs": {"source_host": "nas1", "source_dir": "/export", "target_path": "/srv/vm"},
    "logical": {"source_name": "vg0"},
    "disk": {"device": "/dev/sdb", "target_path": "/dev"},
    "iscsi": LUNS | {"source_host": "nas1", "target_iqn": IQN},
    "iscsi-direct": {"source_host": "nas1", "target_iqn": IQN, "initiator": SELF},
    "scsi": LUNS | {"adapter_kind": "scsi_host", "adapter_name": "host2"},
    "mpath": {"target_path": "/dev/mapper"},
    "rbd": {"monitors": ["ceph1"], "source_name": "libvirt"},
    "gluster": {"source_host": "nas1", "source_name": "vms"},
    "zfs": {"source_name": "tank"},
    "vstorage": {"source_name": "cluster1", "target_path": "/srv/vm"},
    "sheepdog": {"source_host": "sheep1", "source_name": "vms"},
}
FC = LUNS | {"adapter_kind": "fc_host", "wwnn": "20000000c9831b4b", "wwpn": "10000000c9831b4b"}
CASES = [
    *FULL.items(),
    *MINIMAL.items(),
    ("scsi", FC),
    ("scsi", FULL["scsi"] | {"unique_id": "0"}),
    ("scsi", FC | {"parent": "scsi_host3", "managed": "yes"}),
    ("netfs", MINIMAL["netfs"] | {"format": "cifs", "source_dir": "vm/images"}),
    ("netfs", MINIMAL["netfs"] | {"format": "glusterfs", "source_dir": "/vms"}),
]
# What libvirt adds to a definition.
DEFAULTS = {
    "fs": {"format": "auto"},
    "netfs": {"format": "auto"},
    "logical": {"format": "lvm2"},
    "disk": {"format": "unknown"},
    "gluster": {"source_dir": "/"},
}


def said(xml: str) -> dict:
    return {name: value for name, value in pool_xml.values_of(xml).items() if value}


def test_every_type_is_tried():
    assert FULL.keys() == MINIMAL.keys() == FIELDS.keys()


@pytest.mark.parametrize(("pool_type", "values"), CASES)
def test_what_is_built_reads_back_and_is_valid(pool_type, values):
    xml = pool_xml.build(pool_type, "pool one", str(uuid4()), values)
    assert said(xml) == values
    assert problems(pool_type, values) == {}
    assert pool_xml.schema_problems(xml) == []


@pytest.mark.parametrize(("pool_type", "values"), CASES)
def test_libvirt_takes_what_is_built_and_changes_nothing(pool_type, values):
    xml = pool_xml.build(pool_type, "pool one", str(uuid4()), values)
    with connect("test:///default") as c:
        uuid = pools.define(c, xml)
        config = pools.read_config(c, uuid)
        assert (config.uuid, config.type) == (pools.parse_config(xml).uuid, pool_type)
        # The test driver reads no namespaces.
        lines = dict.fromkeys({"mount_options", "settings"} & pool_xml.values_of(xml).keys(), [])
        assert pool_xml.same(pool_xml.edited(xml, lines), config.xml)


@pytest.mark.parametrize(("pool_type", "values"), CASES)
def test_a_daemon_validates_what_is_built_and_what_it_says_itself(c: Connection, pool_type, values):
    xml = pool_xml.build(pool_type, f"p{uuid4().hex[:8]}", str(uuid4()), values)
    if not c.facts().pool_types[pool_type]:
        with pytest.raises(VirtError) as caught:
            pools.define(c, xml)
        assert "missing backend" in caught.value.detail
        return
    uuid = pools.define(c, xml)
    try:
        says = pools.read_config(c, uuid).xml
        assert pool_xml.same(xml, says), pool_xml.differences(xml, says)
        assert said(says) == DEFAULTS.get(pool_type, {}) | said(xml)
        assert pools.define(c, pool_xml.edited(says, pool_xml.values_of(says))) == uuid
        assert pools.read_config(c, uuid).xml == says
    finally:
        pools.undefine(c, uuid)
