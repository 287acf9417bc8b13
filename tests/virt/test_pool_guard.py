"""XML that an expert or an attacker writes: read without harm, and refused with words where it is dangerous."""

import time
from uuid import uuid4

import pytest

from storagemgr.virt import pool_xml
from storagemgr.virt.errors import VirtError
from storagemgr.virt.pool_types import TYPES

UUID = "5c4a0000-0000-4000-8000-000000000001"
DIR = f"<pool type='dir'><name>one</name><uuid>{UUID}</uuid>%s<target><path>/srv/vm</path>%s</target></pool>"
LAUGHS = "".join(f"<!ENTITY l{n} '{f'&l{n - 1};' * 10}'>" for n in range(1, 10))
HARMFUL = {
    "document type": (f"<!DOCTYPE pool>{DIR % ('', '')}", "document type"),
    "external entity": (
        f"<!DOCTYPE pool [<!ENTITY x SYSTEM 'file:///etc/passwd'>]>{DIR % ('<a>&x;</a>', '')}",
        "document type",
    ),
    "parameter entity": (
        f"<?xml version='1.0'?>\n<!DOCTYPE pool [<!ENTITY % x SYSTEM 'http://192.0.2.1/'> %x;]>{DIR % ('', '')}",
        "Line 2: a document type",
    ),
    "entity bomb": (
        f"<!DOCTYPE pool [<!ENTITY l0 'lol'>{LAUGHS}]>{DIR % ('<a>&l9;</a>', '')}",
        "document type",
    ),
    "quadratic bomb": (
        f"<!DOCTYPE pool [<!ENTITY a '{'a' * 60000}'>]><pool>{'&a;' * 60000}</pool>",
        "document type",
    ),
    "document type in another encoding": (
        "<?xml version='1.0' encoding='utf-7'?>+ADwAIQ-DOCTYPE pool+AD4-<pool/>",
        "not XML",
    ),
    "ten megabytes": (DIR % (f"<a>{'x' * 10_000_000}</a>", ""), "a pool may have 1048576"),
    "many elements": (DIR % ("<a/>" * 2_500_000, ""), "a pool may have 1048576"),
    "ten thousand levels": ("<pool>" + "<a>" * 10_000 + "</a>" * 10_000 + "</pool>", "nested too deep"),
    "no XML": ("hello", "Line 1: this is not XML"),
    "nothing": ("", "not XML"),
    "half": ("<pool>\n<name>", "Line 2: this is not XML"),
    "unknown entity": ("<pool>\n\n&nbsp;</pool>", "Line 3: this is not XML"),
    "nul": ("<pool>\0</pool>", "not XML"),
    "half a character": ("<pool>\ud800</pool>", "not XML"),
    "a volume": ("<volume/>", "a pool begins with <pool type=…>"),
    "of another namespace": ("<pool xmlns='urn:x'/>", "a pool begins with"),
    "unbound prefix": ("<pool><fs:mount_opts/></pool>", "Namespace prefix fs"),
}


@pytest.mark.parametrize(("xml", "words"), HARMFUL.values(), ids=HARMFUL)
def test_harmful_xml_is_refused_quickly_and_in_words(xml, words):
    for read in (
        pool_xml.parse,
        pool_xml.values_of,
        pool_xml.check,
        pool_xml.schema_problems,
        lambda xml: pool_xml.edited(xml, {"mode": "0700"}),
        lambda xml: pool_xml.same(xml, DIR % ("", "")),
    ):
        begun = time.process_time()
        with pytest.raises(VirtError) as caught:
            read(xml)
        assert time.process_time() - begun < 0.2
        assert caught.value.code == "xml_invalid"
        assert words in caught.value.detail
        assert len(caught.value.detail) < 300


def test_the_largest_that_is_read_is_checked_quickly():
    for inside in ("<a/>" * 250_000, "<host name='a'/>" * 60_000, f"<a>{'x' * 1_000_000}</a>"):
        xml = f"<pool type='rbd'><name>one</name><source>{inside}</source></pool>"
        for read in (pool_xml.check, pool_xml.schema_problems, pool_xml.values_of):
            begun = time.process_time()
            read(xml)
            assert time.process_time() - begun < 2


def test_an_encoding_that_the_text_claims_does_not_matter():
    xml = "<?xml version='1.0' encoding='latin-1'?>" + DIR.replace("one", "büro") % ("", "")
    assert pool_xml.parse(xml).findtext("name") == "büro"


def test_no_file_is_read_and_nothing_included(tmp_path):
    (tmp_path / "secret").write_text("<secret/>")
    include = f"<x:include xmlns:x='http://www.w3.org/2001/XInclude' href='{tmp_path}/secret'/>"
    assert "<secret" not in pool_xml.edited(DIR % (include, ""), {"mode": "0700"})


def checked(source="", target="", pool_type="dir", **more):
    xml = DIR.replace("'dir'", f"'{pool_type}'") % (f"<source>{source}</source>", target)
    return pool_xml.check(xml, **more)


@pytest.mark.parametrize(
    "path",
    ["/etc", "/etc/libvirt", "/srv/a/../../etc", "//etc", "srv/vm", "", "/proc/self/root/etc", "/srv/./vm"]
    + [
        "/srv",
        "/",
        "/root/.ssh",
        "/dev/shm",
        "/var/lib/libvirt/secrets",
        "/usr/share/x",
        "/srv/vm\t",
        "/etc/",
    ],
)
def test_a_path_that_no_pool_may_have_is_refused(path):
    for pool_type in ("dir", "fs", "netfs", "vstorage"):
        xml = f"<pool type='{pool_type}'><name>one</name><target><path>{path}</path></target></pool>"
        found = pool_xml.check(xml)
        assert len(found) == 1, found
        assert found[0].endswith(".")


def test_a_space_around_the_path_hides_nothing():
    assert pool_xml.check("<pool type='dir'><name>o</name><target><path>\n /etc </path></target></pool>")
    assert pool_xml.check(
        "<pool type='dir'><name>o</name><target><path><!-- x -->/etc</path></target></pool>"
    )
    assert pool_xml.check("<pool type='dir'><name>o</name><target><path>/<x/>etc</path></target></pool>")


def test_a_text_is_read_as_libvirt_reads_it():
    """It takes vg0 -f for the name of the group; the fields of the page would show vg0."""
    xml = "<pool type='logical'><name>o</name><source><name>vg0{} -f</name></source></pool>"
    for inside in ("<!-- x -->", "<?x y?>", "<b/>"):
        assert pool_xml.check(xml.format(inside)) == [
            "<name> has a text with a comment or an element inside."
        ]
    beside = "<pool type='dir'><name>o</name><target><path>/srv/vm</path><!-- y --></target></pool>"
    assert pool_xml.check(beside) == []


def test_a_second_path_is_refused():
    twice = "<target><path>/etc</path></target>"
    for xml in (
        DIR.replace("</target>", "</target>" + twice) % ("", ""),
        DIR % ("", "<path>/etc</path>"),
        DIR % (twice, ""),
        (DIR % ("", "")).replace("</name>", "</name><name>x</name>"),
    ):
        assert pool_xml.check(xml)


def test_pools_stay_below_the_allowed_directories():
    assert checked(allowed_paths=("/srv/vm",)) == []
    assert checked(allowed_paths=("/srv",)) == []
    assert "/srv/vm-1" in checked(allowed_paths=("/srv/vm-1", "/data"))[0]


def test_only_devices_are_devices():
    sdb = "<device path='/dev/sdb'/>"
    assert checked(sdb, pool_type="fs") == []
    for path in ("/etc/shadow", "sdb", "/dev/../etc/shadow", "", "-rf"):
        for pool_type in ("fs", "logical", "disk", "zfs"):
            assert f"“{path}” is not the path of a device" in str(
                checked(f"{sdb}<device path='{path}'/>", pool_type=pool_type)
            )


@pytest.mark.parametrize(
    ("source", "pool_type"),
    [
        ("<device path='/dev/sda'/>", "dir"),
        ("<device path='/dev/sda'/>", "netfs"),
        ("<adapter name='host0'/>", "dir"),
        ("<adapter type='fc_host' wwnn='1' wwpn='2'/>", "disk"),
        ("<auth type='chap' username='u'><secret uuid='x'/></auth>", "gluster"),
    ],
)
def test_a_source_that_the_type_does_not_have_is_refused(source, pool_type):
    assert f"A pool of type {pool_type} has no <" in str(checked(source, pool_type=pool_type))


@pytest.mark.parametrize("mode", ["04777", "2755", "01777", "0888", "rwx", "", "-1", "0o4755", "07_77"])
def test_modes_with_more_than_rights_are_refused(mode):
    assert "up to 0777" in str(checked(target=f"<permissions><mode>{mode}</mode></permissions>"))


def test_names_that_are_not_names_are_refused():
    for name in ("a/b", "a\nb", " a", "a ", "", "a&#9;b", "\u202ea"):
        assert pool_xml.check(DIR.replace("one", name) % ("", "")), name
    assert pool_xml.check(DIR.replace("one", "büro 7 &amp; lager") % ("", "")) == []


def auth(refers):
    return f"<auth type='chap' username='u'><secret {refers}/></auth>"


def test_the_secret_of_another_pool_is_refused():
    own = (f"uuid='{pool_xml.own_secret(UUID)}'", f"usage='storagemgr/{UUID}'")
    for refers in own:
        assert checked(auth(refers), pool_type="iscsi-direct", target="") == [
            "A pool of type iscsi-direct has no directory of its own."
        ]
    foreign = (f"uuid='{uuid4()}'", "usage='libvirtiscsi'", "usage='storagemgr/'", "")
    for refers in foreign:
        found = [said for said in checked(auth(refers), pool_type="iscsi-direct") if "secret" in said]
        assert len(found) == 1


def test_a_pool_without_a_uuid_has_no_secret_of_its_own():
    secret = auth("usage='storagemgr/'")
    xml = f"<pool type='rbd'><name>o</name><source>{secret}</source></pool>"
    assert len(pool_xml.check(xml)) == 1
    assert len(pool_xml.check(xml.replace("storagemgr/", pool_xml.own_secret("")))) == 1


def test_what_was_so_before_is_no_news():
    before = DIR.replace("/srv/vm", "/var/lib/libvirt/images") % ("", "")
    allowed = ("/srv",)
    assert pool_xml.check(before, allowed)
    assert pool_xml.check(before.replace("one", "two"), allowed, was=before) == []
    moved = before.replace("/images", "/other")
    assert pool_xml.check(moved, allowed, was=before) == pool_xml.check(moved, allowed) != []


def test_a_type_that_is_not_known_is_held_to_paths_too():
    assert pool_xml.check("<pool type='new'><name>o</name><target><path>/etc</path></target></pool>")
    assert pool_xml.check("<pool><name>o</name><target><path>/etc</path></target></pool>")


def test_directories_of_devices():
    for pool_type, path in (
        ("disk", "/dev"),
        ("iscsi", "/dev/disk/by-path"),
        ("scsi", "/dev/disk/by-id"),
        ("mpath", "/dev/mapper"),
        ("logical", "/dev/vg0"),
        ("zfs", "/dev/zvol/tank"),
    ):
        xml = f"<pool type='{pool_type}'><name>o</name><target><path>%s</path></target></pool>"
        assert pool_xml.check(xml % path) == []
        assert pool_xml.check(xml % "/etc")
        assert pool_xml.check(xml % "/dev/../etc")
    assert TYPES.keys() >= {"disk", "iscsi", "scsi", "mpath", "logical", "zfs"}


@pytest.mark.parametrize(
    ("xml", "words"),
    [
        (
            DIR % ("", "\n<permissions>\n<mode>rwx</mode></permissions>"),
            ["Line 2: <permissions> is not right."],
        ),
        (DIR % ("\n<surce/>", ""), ["Line 2: libvirt knows no <surce>."]),
        (DIR.replace("target>", "tarjet>") % ("", ""), ["Line 1: libvirt knows no <tarjet>."]),
        (
            DIR.replace("'dir'", "'fs'") % ("\n<source/>", ""),
            ["Line 2: <device> is missing."],
        ),
        (
            DIR.replace("'dir'", "'fs'")
            % ("\n<source><device path='/dev/sdb'/>\n<format type='ntfs'/></source>", ""),
            ["Line 3: <format> is not right."],
        ),
        (DIR.replace("'dir'", "'nothing'") % ("", ""), ["libvirt's schema does not know this as a pool."]),
    ],
)
def test_the_schema_says_what_it_does_not_know(xml, words):
    assert pool_xml.schema_problems(xml) == words
