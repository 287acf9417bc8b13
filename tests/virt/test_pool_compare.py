"""Two XMLs of a pool: the same or not, line by line, and in words."""

from pathlib import Path

import pytest
from lxml import etree

from storagemgr.virt import pool_xml, pools
from storagemgr.virt.connection import connect
from storagemgr.virt.pool_compare import DiffLine

CORPUS = {path.stem: path.read_text() for path in sorted((Path(__file__).parent / "corpus").glob("*.xml"))}
# The test driver reads no namespaces, and no libvirt what is not libvirt's.
PLAIN = [name for name, xml in CORPUS.items() if "xmlns" not in xml and not pool_xml.schema_problems(xml)]
NETFS = CORPUS["netfs-as-libvirt-says"]
RBD = CORPUS["rbd-as-libvirt-says"]
SCSI = CORPUS["scsi-as-libvirt-says"]


def edited(xml, **values):
    return pool_xml.edited(xml, values)


@pytest.mark.parametrize("name", CORPUS)
def test_layout_comments_and_what_libvirt_counts_make_no_difference(name):
    root = etree.fromstring(CORPUS[name].encode())
    for comment in root.xpath("//comment()"):
        comment.tail, tail = None, comment.tail
        before, parent = comment.getprevious(), comment.getparent()
        if parent is None:
            continue
        if tail and before is not None:
            before.tail = (before.tail or "") + tail
        parent.remove(comment)
    for tag in ("uuid", "capacity", "allocation", "available"):
        for element in root.findall(tag):
            root.remove(element)
    etree.indent(root, "\t")
    bare = etree.tostring(root, encoding="unicode")
    assert pool_xml.same(CORPUS[name], bare)
    assert pool_xml.differences(CORPUS[name], bare) == []


@pytest.mark.parametrize("name", PLAIN)
def test_what_libvirt_makes_of_a_definition_is_the_same(name):
    xml = CORPUS[name]
    with connect("test:///default") as c:
        says = pools.read_config(c, pools.define(c, xml)).xml
    assert pool_xml.same(xml, says), pool_xml.differences(xml, says)
    assert pool_xml.differences(xml, says) == []


@pytest.mark.parametrize(
    ("a", "b", "alike"),
    [
        ("<target><path>/srv/vm</path></target>", "<target><path>/srv//vm/</path></target>", True),
        ("<target><path>/srv/vm</path></target>", "<target><path>/srv/vm2</path></target>", False),
        ("<source/>", "", True),
        ("<features><cow state='no'/></features>", "", False),
        ("<target><path>/a</path><permissions/></target>", "<target><path>/a</path></target>", True),
        (
            "<target><path>/a</path><permissions><mode>0755</mode></permissions></target>",
            "<target><path>/a</path><permissions><mode>755</mode></permissions></target>",
            True,
        ),
    ],
)
def test_same(a, b, alike):
    first, second = (f"<pool type='dir'><name>o</name>{part}</pool>" for part in (a, b))
    assert pool_xml.same(first, second) is alike
    assert (pool_xml.differences(first, second) == []) is alike


def test_the_order_of_monitors_and_devices_matters():
    swapped = edited(RBD, monitors=list(reversed(pool_xml.values_of(RBD)["monitors"])))
    assert not pool_xml.same(RBD, swapped)
    assert pool_xml.differences(RBD, swapped) == ["Monitors: another order."]


@pytest.mark.parametrize(
    ("old", "values", "words"),
    [
        (
            NETFS,
            {"mount_options": ["soft", "timeo=50", "soft", "noatime"]},
            ["Mount options: noatime added."],
        ),
        (NETFS, {"mount_options": ["timeo=50"]}, ["Mount options: soft removed, soft removed."]),
        (
            NETFS,
            {"source_host": "nas2", "protocol_version": ""},
            ["Server: nas2 instead of nas1.example.com.", "Version of NFS: 4.2 removed."],
        ),
        (NETFS, {"format": "auto"}, ["Protocol: Found out by mount instead of NFS."]),
        (NETFS, {"mode": "0755", "owner": ""}, ["Mode: 0755 instead of 0711.", "Owner: 64055 removed."]),
        (RBD, {"auth_secret": "storagemgr/x"}, ["Password: another secret."]),
        (RBD, {"auth_user": ""}, ["Ceph user: libvirt removed.", "Password: another secret."]),
        (
            RBD,
            {"refresh_allocation": "", "settings": []},
            [
                "Settings of librados: client_mount_timeout=30 removed, key=a=b=c removed.",
                "Sizes of the images: As libvirt does instead of Not counted, each taken as full.",
            ],
        ),
        (
            SCSI,
            {"adapter_kind": "scsi_host", "adapter_name": "host2"},
            [
                "Adapter: A SCSI host, by its name instead of A SCSI host, by its PCI address.",
                "SCSI host: host2 added.",
                "PCI address: 0000:00:1f.2 removed.",
                "Number of the port: 1 removed.",
            ],
        ),
    ],
)
def test_differences_are_said_in_the_words_of_the_form(old, values, words):
    new = edited(old, **values)
    assert pool_xml.differences(old, new) == words
    assert len(pool_xml.differences(new, old)) == len(words)


def test_what_no_field_knows_is_said_by_its_place():
    other = NETFS.replace("<vendor name='ACME'/>", "<vendor name='NADIR'/><product name='x'/>").replace(
        "virt_image_t", "svirt_t"
    )
    assert sorted(pool_xml.differences(NETFS, other)) == [
        "source/product/@name: x added.",
        "source/vendor/@name: NADIR instead of ACME.",
        "target/permissions/label: system_u:object_r:svirt_t:s0 instead of system_u:object_r:virt_image_t:s0.",
    ]
    gone = NETFS.replace("<vendor name='ACME'/>", "")
    assert pool_xml.differences(NETFS, gone) == ["source/vendor/@name: ACME removed."]
    two = NETFS.replace("<dir ", "<host name='nas2'/><dir ")
    assert pool_xml.differences(NETFS, two) == ["source/host/@name: nas2 added."]


def test_no_difference_is_left_unsaid():
    hosts = ["<host name='a' port='1'/>", "<host name='b'/>"]
    xml = "<pool type='iscsi'><name>o</name><source><x>%s%s</x></source></pool>"
    assert pool_xml.differences(xml % (hosts[0], hosts[1]), xml % (hosts[1], hosts[0])) == [
        "The order of its elements."
    ]


def test_another_name_and_type_are_said():
    a, b = "<pool type='dir'><name>a</name></pool>", "<pool type='fs'><name>b</name></pool>"
    assert pool_xml.differences(a, b)[:2] == ["Type: fs instead of dir.", "Name: b instead of a."]


def test_a_diff_has_all_lines_of_both():
    new = edited(NETFS, source_host="nas2")
    lines = pool_xml.diff(NETFS, new)
    assert [line.text for line in lines if line.mark != "+"] == NETFS.splitlines()
    assert [line.text for line in lines if line.mark != "-"] == new.splitlines()
    assert DiffLine("+", '    <host name="nas2"/>') in lines
    assert pool_xml.diff(new, new) == [DiffLine(" ", line) for line in new.splitlines()]
