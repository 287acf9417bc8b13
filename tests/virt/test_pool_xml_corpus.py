"""Edits of pool XML by form keep all that no field knows: over the files in corpus/."""

from collections import Counter
from pathlib import Path

import pytest
from lxml import etree

from storagemgr.virt import pool_xml, pools
from storagemgr.virt.pool_fields import FIELDS, fields_of

CORPUS = {path.stem: path.read_text() for path in sorted((Path(__file__).parent / "corpus").glob("*.xml"))}
EACH = pytest.mark.parametrize("name", CORPUS)

FS = "{http://libvirt.org/schemas/storagepool/fs/1.0}"
RBD = "{http://libvirt.org/schemas/storagepool/rbd/1.0}"
PLACES = {
    "mount_options": (f"{FS}mount_opts",),
    "settings": (f"{RBD}config_opts",),
    "monitors": ("source/host",),
    "devices": ("source/device",),
    "auth_user": ("source/auth",),
    "source_name": ("source/name", "target/path"),
}
ADAPTER = ("source/adapter",)
OTHER_WORDS = {
    "source_dir": "/other",
    "device": "/dev/other",
    "target_iqn": "iqn.2026-02.com.example:other",
    "initiator": "iqn.2026-02.com.example:me",
    "target_path": "/dev/disk/by-other",
    "source_port": "1234",
    "mode": "0755",
    "owner": "1",
    "group": "2",
    "protocol_version": "3",
    "parent_address": "0001:02:03.4",
    "unique_id": "7",
    "monitors": ["first", "second:1"],
    "settings": ["a=1", "b=2"],
}


def canonical(xml: str) -> str:
    return etree.tostring(etree.fromstring(xml.encode()), method="c14n", with_comments=True).decode()


def leaves(xml: str) -> Counter:
    """Everything that a document says: texts, attributes, empty elements and comments, with their place."""
    found: Counter = Counter()

    def walk(element, above):
        if not isinstance(element.tag, str):
            found[above, str(element.text)] += 1
            return
        here = f"{above}/{element.tag}".lstrip("/")
        for attribute, value in element.attrib.items():
            found[f"{here}/@{attribute}", value] += 1
        found[here, (element.text or "").strip()] += 1
        for child in element:
            walk(child, here)

    for child in etree.fromstring(xml.encode()):
        walk(child, "")
    return found


def changed_places(before: str, after: str) -> set[str]:
    a, b = leaves(before), leaves(after)
    return {place for place, _ in ((a - b) + (b - a))}


def other(field, now):
    """A value that is right and is not `now`, nor what libvirt takes for nothing."""
    if field.kind == "choice":
        return next(value for value, _ in reversed(field.choices) if value not in ("", now))
    return OTHER_WORDS.get(field.name, ["other1", "other2"] if field.kind == "lines" else "other")


def fields_to_change():
    for name, xml in CORPUS.items():
        for field in fields_of(pools.parse_config(xml).type):
            if field.kind != "secret" and len(field.choices) != 1:
                yield pytest.param(xml, field, id=f"{name}-{field.name}")


def allowed(field) -> tuple[str, ...]:
    if field.name in ("wwnn", "wwpn", "parent", "managed", "unique_id") or field.name.startswith(
        ("adapter", "parent_a")
    ):
        return ADAPTER
    return PLACES.get(field.name, (field.where,))


def belongs(place: str, field) -> bool:
    """A place of the field, or one of the elements around it, which come and go with it."""
    return any(place.startswith(own) or own.startswith(place + "/") for own in allowed(field))


def test_there_are_three_or_more_of_each_type():
    counts = Counter(pools.parse_config(xml).type for xml in CORPUS.values())
    assert counts.keys() == FIELDS.keys()
    assert min(counts.values()) >= 3


@EACH
def test_an_edit_that_changes_nothing_changes_nothing(name):
    xml = CORPUS[name]
    after = pool_xml.edited(xml, pool_xml.values_of(xml))
    assert canonical(after) == canonical(xml)
    assert [c.text for c in etree.fromstring(after.encode()).getroottree().xpath("/comment()")] == [
        c.text for c in etree.fromstring(xml.encode()).getroottree().xpath("/comment()")
    ]
    assert pool_xml.differences(xml, after) == []
    assert pool_xml.same(xml, after)


@pytest.mark.parametrize(("xml", "field"), list(fields_to_change()))
def test_a_changed_field_changes_its_place_only(xml, field):
    values = pool_xml.values_of(xml)
    new = other(field, values[field.name])
    after = pool_xml.edited(xml, values | {field.name: new})
    now = pool_xml.values_of(after)
    if allowed(field) != ADAPTER:
        secret = {"auth_secret"} if field.name == "auth_user" else set()
        changed = {key for key in now if now[key] != values[key]} - secret
        assert (changed, now[field.name]) == ({field.name}, new)
    assert {place for place in changed_places(xml, after) if not belongs(place, field)} == set()
    assert not pool_xml.same(xml, after) or now == values


@pytest.mark.parametrize(("xml", "field"), list(fields_to_change()))
def test_a_removed_field_takes_its_element_only(xml, field):
    values = pool_xml.values_of(xml)
    after = pool_xml.edited(xml, values | {field.name: [] if field.kind == "lines" else ""})
    if xml.count("<host") == 1 or field.name != "source_host":
        assert not pool_xml.values_of(after)[field.name] or allowed(field) == ADAPTER
    assert {place for place in changed_places(xml, after) if not belongs(place, field)} == set()
    if not values[field.name]:
        assert canonical(after) == canonical(xml)


@pytest.mark.parametrize(("xml", "field"), list(fields_to_change()))
def test_a_change_taken_back_leaves_the_document_as_it_was(xml, field):
    """Where the field had a value: a first value may come with elements around it."""
    values = pool_xml.values_of(xml)
    if not values[field.name] or field.kind == "lines" or field.name == "adapter_kind":
        return
    there = pool_xml.edited(xml, {field.name: other(field, values[field.name])})
    back = pool_xml.edited(there, {field.name: values[field.name]})
    assert canonical(back) == canonical(xml)


def test_source_and_target_stay_when_they_are_empty():
    assert "<target/>" in pool_xml.edited(CORPUS["mpath-least"], {"target_path": ""})
    assert "<source/>" in pool_xml.edited(CORPUS["vstorage-least"], {"source_name": ""})


def test_the_path_of_a_group_follows_its_name():
    for name, path in (("logical-as-libvirt-says", "/dev/vg9"), ("zfs-as-libvirt-says", "/dev/zvol/vg9")):
        after = pool_xml.edited(CORPUS[name], {"source_name": "vg9"})
        assert pools.parse_config(after).target_path == path
    without = pool_xml.edited(CORPUS["zfs-of-two-devices"], {"source_name": "vg9"})
    assert pools.parse_config(without).target_path == ""


def attributes(xml: str, path: str) -> list[dict]:
    return [dict(element.attrib) for element in pool_xml.parse(xml).iterfind(path)]


def test_a_line_that_stays_keeps_what_else_its_element_has():
    n = "{https://example.com/notes/1.0}"
    rbd = pool_xml.edited(CORPUS["rbd-with-unknowns"], {"monitors": ["first", "ceph1", "last:1"]})
    assert attributes(rbd, "source/host") == [
        {"name": "first"},
        {"name": "ceph1", f"{n}rack": "7"},
        {"name": "last", "port": "1"},
    ]
    one, two = "/dev/disk/by-id/ata-1", "/dev/disk/by-id/ata-2"
    swapped = pool_xml.edited(CORPUS["logical-without-source-name"], {"devices": [two, "/dev/sdx", one]})
    assert attributes(swapped, "source/device") == [
        {"path": two, "part_separator": "no"},
        {"path": "/dev/sdx"},
        {"path": one},
    ]
    assert swapped.count("<!-- bay 1 -->") == 1
    less = pool_xml.edited(CORPUS["logical-without-source-name"], {"devices": [two]})
    assert attributes(less, "source/device") == [{"path": two, "part_separator": "no"}]


def test_lines_that_are_added_stand_in_lines_of_their_own():
    xml = pool_xml.edited(CORPUS["netfs-as-libvirt-says"], {"mount_options": ["soft", "noatime"]})
    assert '\n    <fs:option name="soft"/>\n    <fs:option name="noatime"/>\n  </fs:mount_opts>\n' in xml
    xml = pool_xml.edited(CORPUS["netfs-cifs-with-port"], {"mount_options": ["ro"], "mode": "0700"})
    assert "\n  <fs:mount_opts" in xml
    assert '>\n    <fs:option name="ro"/>\n  </fs:mount_opts>\n</pool>' in xml
    assert "\n    <permissions>\n      <mode>0700</mode>\n    </permissions>\n  </target>" in xml


def test_a_secret_is_named_by_uuid_or_by_usage():
    xml, uuid = CORPUS["iscsi-as-libvirt-says"], "00000000-0000-4000-8000-000000000001"
    by_usage = pool_xml.edited(xml, {"auth_secret": "some usage"})
    assert attributes(by_usage, "source/auth/secret") == [{"usage": "some usage"}]
    by_uuid = pool_xml.edited(by_usage, {"auth_secret": uuid})
    assert attributes(by_uuid, "source/auth/secret") == [{"uuid": uuid}]
    other_user = pool_xml.edited(by_uuid, {"auth_user": "u"})
    assert attributes(other_user, "source/auth/secret") == [{"uuid": uuid}]
    first = pool_xml.edited(CORPUS["iscsi-two-portals"], {"auth_user": "u"})
    own = pool_xml.own_secret(pools.parse_config(first).uuid)
    assert attributes(first, "source/auth") == [{"type": "chap", "username": "u"}]
    assert attributes(first, "source/auth/secret") == [{"uuid": own}]
