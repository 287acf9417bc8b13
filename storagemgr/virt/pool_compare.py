"""Two XMLs of a pool compared: whether they mean the same, line by line, and in words."""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any, Literal

from lxml import etree

from storagemgr.virt.pool_fields import Field, fields_of
from storagemgr.virt.pool_guard import parse
from storagemgr.virt.pool_places import put_values, values_at

# A leaf: where it stands, and its text.
Leaf = tuple[str, str]

_COUNTED = ("uuid", "capacity", "allocation", "available")
_FORMATS = {"fs": "auto", "netfs": "auto", "logical": "lvm2", "disk": "unknown"}


@dataclass(frozen=True)
class DiffLine:
    mark: Literal[" ", "-", "+"]
    text: str


def diff(old: str, new: str) -> list[DiffLine]:
    """All lines of both."""
    a, b = old.splitlines(), new.splitlines()
    found: list[DiffLine] = []
    # Of long texts the shortest difference is not looked for: that takes minutes where many lines are alike.
    matcher = SequenceMatcher(None, a, b, autojunk=len(a) > 500)
    for tag, a_from, a_to, b_from, b_to in matcher.get_opcodes():
        if tag == "equal":
            found += [DiffLine(" ", line) for line in a[a_from:a_to]]
        else:
            found += [DiffLine("-", line) for line in a[a_from:a_to]]
            found += [DiffLine("+", line) for line in b[b_from:b_to]]
    return found


def same(xml_a: str, xml_b: str) -> bool:
    """Whether libvirt would make the same pool of both: not by format, comments, sizes, UUID or what it adds itself."""
    return bool(_shape(_as_read(xml_a)) == _shape(_as_read(xml_b)))


def _as_read(xml: str) -> etree._Element:
    """As libvirt understands a definition: with what it fills in, without what it counts itself."""
    root = parse(xml)
    for tag in _COUNTED:
        for element in root.findall(tag):
            root.remove(element)
    for device in root.iterfind("source/device"):
        for extent in device.findall("freeExtent"):
            device.remove(extent)
    _fill_in_source(root, root.get("type", ""))
    for target in root.findall("target"):
        for path in target.findall("path"):
            path.text = re.sub("/+", "/", (path.text or "").strip()).rstrip("/") or "/"
            if root.get("type") in ("logical", "zfs"):
                target.remove(path)
    for permissions in root.findall("target/permissions"):
        _read_permissions(permissions)
    return root


def _read_permissions(permissions: etree._Element) -> None:
    for element in permissions.findall("*"):
        text = (element.text or "").strip()
        if element.tag == "mode":
            element.text = text.lstrip("0").rjust(4, "0")
        elif text == "-1":
            permissions.remove(element)


def _fill_in_source(root: etree._Element, pool_type: str) -> None:
    source = root.find("source")
    source = etree.SubElement(root, "source") if source is None else source
    if pool_type in _FORMATS and source.find("format") is None:
        etree.SubElement(source, "format", type=_FORMATS[pool_type])
    if pool_type in ("logical", "zfs", "gluster") and source.find("name") is None:
        etree.SubElement(source, "name").text = root.findtext("name")
    if pool_type == "gluster" and source.find("dir") is None:
        etree.SubElement(source, "dir", path="/")
    for adapter in source.iterfind("adapter"):
        adapter.set("type", adapter.get("type") or "scsi_host")


def _shape(element: etree._Element) -> Any:
    """Comparable: children by name, those of one name in their order; empty elements and comments left out."""
    children = [_shape(child) for child in element if isinstance(child.tag, str)]
    return (
        element.tag,
        sorted(element.attrib.items()),
        (element.text or "").strip() if not children else "",
        sorted((child for child in children if any(child[1:])), key=lambda child: str(child[0])),
    )


def differences(old: str, new: str) -> list[str]:
    """What differs, in words: "Mount options: noatime added." """
    a, b = _as_read(old), _as_read(new)
    found = []
    for label, was, becomes in (
        ("Type", a.get("type", ""), b.get("type", "")),
        ("Name", a.findtext("name", ""), b.findtext("name", "")),
    ):
        if was != becomes:
            found.append(_changed(label, was, becomes))
    if a.get("type") == b.get("type"):
        was_values, values = values_at(a), values_at(b)
        for field in fields_of(b.get("type", "")):
            if field.kind != "secret":
                found += _in_words(field, was_values[field.name], values[field.name])
        if was_values.get("auth_secret") != values.get("auth_secret"):
            found.append("Password: another secret.")
        put_values(a, values)
    return found + (
        _other(a, b) or ([] if found or _shape(a) == _shape(b) else ["The order of its elements."])
    )


def _in_words(field: Field, old: Any, new: Any) -> list[str]:
    if old == new:
        return []
    if not isinstance(old, list):
        words = dict(field.choices)
        return [_changed(field.label, words.get(old, old), words.get(new, new))]
    gone, come = Counter(old) - Counter(new), Counter(new) - Counter(old)
    said = [f"{line} added" for line in come.elements()] + [f"{line} removed" for line in gone.elements()]
    return [f"{field.label}: {', '.join(said) or 'another order'}."]


def _changed(label: str, old: str, new: str) -> str:
    if not old:
        return f"{label}: {new} added."
    return f"{label}: {new} instead of {old}." if new else f"{label}: {old} removed."


def _other(a: etree._Element, b: etree._Element) -> list[str]:
    """What no field is about."""
    if _shape(a) == _shape(b):
        return []
    old, new = Counter(_leaves(a)), Counter(_leaves(b))
    gone, come = dict((old - new).elements()), dict((new - old).elements())
    paths = [path for path in dict.fromkeys((*gone, *come)) if path not in ("name", "@type")]
    return [_changed(path, gone.get(path, ""), come.get(path, "")) for path in paths]


def _leaves(element: etree._Element, above: str = "") -> Iterator[Leaf]:
    for name, value in element.attrib.items():
        yield f"{above}@{_local(name)}", str(value)
    text = (element.text or "").strip()
    children = [child for child in element if isinstance(child.tag, str)]
    if not children and above and (text or not element.attrib):
        yield above.rstrip("/"), text
    for child in children:
        yield from _leaves(child, f"{above}{_local(child.tag)}/")


def _local(name: Any) -> str:
    return etree.QName(name).localname
