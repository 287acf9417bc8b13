"""What may be typed: the checks of each field, and that text stays text in the XML."""

from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from storagemgr.virt import pool_xml
from storagemgr.virt.errors import VirtError
from storagemgr.virt.field_checks import CHECKS
from storagemgr.virt.pool_fields import FIELDS, fields_of, problems

UUID = str(uuid4())
NASTY = st.sampled_from(
    [
        "</name><target><path>/etc",
        "' onmouseover='x",
        '"/><adapter name="host0"/><x y="',
        "<!DOCTYPE x [<!ENTITY e SYSTEM 'file:///etc/passwd'>]>&e;",
        "]]><![CDATA[",
        "<!-- -->",
        "&lt;&#0;&#x3c;",
        "host:/x,soft",
        "-oProxyCommand=x",
        "a\nb",
        "nul\0",
        "\ud800",
        "\ufffe",
        "/dev/../etc/shadow",
        "{{7*7}}",
    ]
)
LIKELY = st.text(alphabet="abcfh019./:-_=[]%@+, 'ä\"<&>#", max_size=24)
ADDRESSES = st.ip_addresses().map(str) | st.ip_addresses(v=6).map("[{}]:6789".format)
RIGHT_ONES = st.sampled_from(
    [
        "/srv/vm images/ä",
        "/dev/disk/by-id/wwn-0x5",
        "iqn.2026-01.com.example:a:b",
        "nas-1.example.com",
        "eui.0011",
    ]
    + ["vers=3.0", "a_b=c d", "0000:00:1f.2", "host12", "scsi_host3", "0755", "4.2", "tank/a b", "user ü"]
)
TEXT = NASTY | LIKELY | ADDRESSES | RIGHT_ONES | st.text()
WRITTEN = [
    (pool_type, field) for pool_type in FIELDS for field in fields_of(pool_type) if field.kind != "secret"
]
EACH_FIELD = pytest.mark.parametrize(
    ("pool_type", "field"), WRITTEN, ids=[f"{pool_type}-{field.name}" for pool_type, field in WRITTEN]
)


def values_with(pool_type, field, value):
    """All that a pool needs, with one value of it replaced."""
    values = {f.name: f.initial or RIGHT[f.takes] for f in fields_of(pool_type) if f.required}
    for name in ("monitors",):
        if name in values:
            values[name] = [values[name]]
    if pool_type == "scsi":
        values |= KINDS.get(field.name, {"adapter_name": "host1"})
    if field.name == "auth_user":
        values["auth_secret"] = UUID
    return values | {field.name: [value] if field.kind == "lines" else value}


KINDS = {
    "parent_address": {"adapter_kind": "scsi_parent", "unique_id": "1"},
    "unique_id": {"adapter_kind": "scsi_parent", "parent_address": "0000:00:1f.2"},
} | {
    name: {"adapter_kind": "fc_host", "wwnn": "20000000c9831b4b", "wwpn": "10000000c9831b4b"}
    for name in ("wwnn", "wwpn", "parent", "managed")
}
USUAL = {"parent_address": "0000:00:00.0"}
RIGHT = {
    "name": "one",
    "dataset": "tank",
    "host": "nas1",
    "monitor": "ceph1",
    "path": "/srv/vm",
    "device_dir": "/dev",
    "device": "/dev/sdb",
    "export": "/export",
    "share": "/export",
    "iqn": "iqn.2026-01.com.example:disks",
}


def shape(xml):
    return [element.tag for element in etree.fromstring(xml.encode()).iter()]


@EACH_FIELD
@settings(max_examples=50, deadline=None)
@given(value=TEXT)
def test_any_text_is_refused_or_stays_text(pool_type, field, value):
    values = values_with(pool_type, field, value)
    try:
        xml = pool_xml.build(pool_type, "one", UUID, values)
    except VirtError:
        assert field.name in problems(pool_type, values)
        return
    if value and not problems(pool_type, values):
        assert pool_xml.values_of(xml)[field.name] in (values[field.name], [value.strip("[]")])
        assert shape(xml) == shape(
            pool_xml.build(pool_type, "one", UUID, values_with(pool_type, field, USUAL.get(field.name, "x")))
        )
        assert pool_xml.schema_problems(xml) == []
        assert pool_xml.check(xml) == [] or field.name == "auth_user"
    pool_xml.edited(xml, {field.name: values[field.name]})


@settings(max_examples=200, deadline=None)
@given(name=st.text() | NASTY, uuid=st.text() | NASTY)
def test_name_and_uuid_stay_text(name, uuid):
    try:
        xml = pool_xml.build("dir", name, uuid, {"target_path": "/srv/vm"})
    except VirtError:
        assert not (name + uuid).isprintable()
        return
    root = etree.fromstring(xml.encode())
    assert (root.findtext("name"), root.findtext("uuid") or "") == (name, uuid)
    assert len(shape(xml)) == 4 + bool(uuid)


REFUSED = {
    "host": [
        "",
        "-oProxyCommand=x",
        "a b",
        "a;b",
        "a_b",
        "good@evil",
        "[fd00::1]",
        "fe80::1%eth0",
        "::g",
        "a" * 64,
    ]
    + ["nas1:/export", "host:/x,soft", "..", "a..b", "ä"],
    "port": ["0", "00", "65536", "99999", "-1", "1e3", "１", "3260 "],
    "monitor": [
        "ceph1:",
        "ceph1:0",
        "ceph1:99999",
        "[ceph1]:1",
        "[fd00::1]x",
        "[]:1",
        ":6789",
        "a b",
        "[fd00::1",
    ],
    "device": ["sda", "/srv/x", "/dev/../etc/passwd", "/dev//sda", "/dev", "/dev/", "-rf", "/dev/./sda"],
    "export": ["export", "-o", ""],
    "version": ["1", "5", "4.3", "4.2,soft", "4.", "v4"],
    "option": ["-o", "a b", "noatime,suid", "a;b", "", "ro'", "x" * 300]
    + ["suid", "dev", "exec", "bind", "remount", "user", "helper=evil", "X-mount.mkdir"],
    "setting": ["a", "=b", "a b=c", "a="]
    + ["log_file=/etc/cron.d/x", "plugin_dir=/srv/vm", "admin_socket=/run/x", "keyring=/etc/shadow"]
    + ["rbd_plugins=pwl_cache", "erasure_code_dir=/srv/vm", "rbd_persistent_cache_path=/etc", "chdir=/srv"],
    "iqn": [
        "iqn.2026-13.com.example:x",
        "iqn.26-01.com.example",
        "eui.0123456789abcdef",
        "iqn.2026-01.com.example:a b",
    ]
    + ["iqn.2026-01.com.example:a;b", "iqn.2026-01.com.example:", "x" * 300],
    "scsi_host": ["host", "hostx", "../host1", "host1/x", "host123456"],
    "pci": ["0000:00:1f", "00:1f.8", "0000:00:1f.2; rm", "12345:00:1f.2"],
    "number": ["-1", "1.5", "0x1", "1234567890"],
    "wwn": ["20000000c9831b4", "20:00:00:00:c9:83:1b:4b", "g" * 16],
    "mode": ["4755", "1777", "888", "0o755", "7", "07777"],
    "user": ["", "x" * 300],
    "password": ["x" * 1025, "a\nb", "nul\0"],
    "dataset": ["-r", "tank/", "/tank", "tank//a", "tank/../x", "tank/-x", "1tank", "tank@snap"],
    "name": ["", "-rf", "a/b", "a b", "ä", "x" * 129, ".hidden"],
}
TAKEN = {
    "host": [
        "nas1",
        "nas-1.example.com",
        "nas1.example.com.",
        "192.0.2.1",
        "fd00::1",
        "::ffff:192.0.2.1",
        "10",
    ],
    "port": ["1", "3260", "65535"],
    "monitor": ["ceph1", "ceph1:6789", "fd00::1", "[fd00::1]", "[fd00::1]:6789"],
    "device": ["/dev/sdb", "/dev/disk/by-id/wwn-0x5000c500a1b2c3d4-part1", "/dev/mapper/vg0-lv 0"],
    "version": ["3", "4", "4.0", "4.1", "4.2"],
    "option": ["ro", "vers=3.0", "rsize=1048576", "sec=krb5p", "addr=fd00::1", "user=vm", "nosuid", "nodev"],
    "setting": ["client_mount_timeout=30", "a=b=c", "rbd_default_data_pool=x", "rados_osd_op_timeout=30"],
    "iqn": [
        "iqn.2026-01.com.example",
        "iqn.2003-01.org.linux-iscsi.x:sn.1234",
        "iqn.1993-08.org.debian:01:AB_cd",
    ],
    "pci": ["0000:00:1f.2", "0000:0a:00.0"],
    "mode": ["0711", "711", "0777"],
    "dataset": ["tank", "tank/vms", "tank-1/a.b:c/d_e"],
}


@pytest.mark.parametrize(("takes", "value"), [(t, v) for t, values in REFUSED.items() for v in values])
def test_a_wrong_value_gets_a_sentence(takes, value):
    said = CHECKS[takes](value)
    assert said.endswith(".")
    assert said[0].isupper() or said[0] == "“"


@pytest.mark.parametrize(("takes", "value"), [(t, v) for t, values in TAKEN.items() for v in values])
def test_a_right_value_is_taken(takes, value):
    assert CHECKS[takes](value) == ""


@given(address=st.ip_addresses())
@settings(deadline=None)
def test_every_address_that_is_taken_is_one_for_libvirt(address):
    values = {"source_host": str(address), "source_name": "vms"}
    assert problems("gluster", values) == {}
    assert pool_xml.schema_problems(pool_xml.build("gluster", "one", UUID, values)) == []


def test_what_is_missing_is_said_beside_its_field():
    for pool_type in FIELDS:
        missing = problems(pool_type, {})
        assert missing.keys() == {field.name for field in fields_of(pool_type) if field.required}
        assert all(sentence.endswith(" is missing.") for sentence in missing.values())


def test_fields_that_need_each_other():
    iscsi = {
        "source_host": "nas1",
        "target_iqn": RIGHT["iqn"],
        "target_path": "/dev/disk/by-path",
    }
    assert problems("iscsi", iscsi | {"auth_user": "u"}) == {"auth_password": "A user needs a password."}
    assert "auth_user" in problems("iscsi", iscsi | {"auth_password": "p"})
    assert problems("iscsi", iscsi | {"auth_user": "u", "auth_password": "p"}) == {}
    assert problems("iscsi", iscsi | {"auth_user": "u", "auth_secret": UUID}) == {}
    luns = {"target_path": "/dev/disk/by-path"}
    for kind, needs in {
        "scsi_host": {"adapter_name"},
        "scsi_parent": {"parent_address", "unique_id"},
        "fc_host": {"wwnn", "wwpn"},
    }.items():
        assert problems("scsi", luns | {"adapter_kind": kind}).keys() == needs
    netfs = {"source_host": "nas1", "target_path": "/srv/vm"}
    assert problems("netfs", netfs | {"source_dir": "vm", "format": "cifs"}) == {}
    for values, field in (
        ({"source_dir": "/vm", "source_host": "fd00::1"}, "source_host"),
        ({"source_dir": "vm", "format": "nfs"}, "source_dir"),
        ({"source_dir": "vm"}, "source_dir"),
        ({"source_dir": "/vm", "format": "cifs"}, "source_dir"),
        ({"source_dir": "vm", "format": "cifs", "protocol_version": "4"}, "protocol_version"),
    ):
        assert problems("netfs", netfs | values).keys() == {field}


def test_a_choice_is_one_of_its_choices():
    said = problems("fs", {"device": "/dev/sdb", "target_path": "/srv/vm", "format": "ntfs"})
    assert said["format"].startswith("“ntfs” is none of: auto, ext4")
