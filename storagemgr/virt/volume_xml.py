"""Volume XML, read and written. Sizes in bytes."""

import json
import posixpath
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from lxml import etree

from storagemgr.virt.errors import VirtError
from storagemgr.virt.sizes import counted


@dataclass(frozen=True)
class VolumeInfo:
    """`type`: file, block, dir, network, netdir or ploop. `mode`: octal, as "0600".

    `allocation` may exceed `capacity` by a block. Of a file whose header libvirt did not read again
    since the pool's refresh, `format` and `backing_*` date from then.
    """

    name: str
    key: str
    path: str
    type: str
    format: str
    capacity: int
    allocation: int
    physical: int | None
    backing_path: str
    backing_format: str
    mode: str
    owner: int | None
    group: int | None
    modified: datetime | None
    encrypted: bool
    compat: str
    cluster_size: int | None


def parse_volume(xml: str) -> VolumeInfo:
    return _volume(etree.fromstring(_bytes(xml)))


def parse_volumes(xmls: Iterable[str]) -> list[VolumeInfo]:
    """Parsed as one document, which takes half the time of one by one."""
    document = etree.fromstring(_bytes("".join(["<volumes>", *xmls, "</volumes>"])))
    return [_volume(element) for element in document]


def _bytes(xml: str) -> bytes:
    """libvirt writes a carriage return in a name as it is, and a parser would read a line feed."""
    return xml.replace("\r", "&#13;").encode()


def _volume(root: etree._Element) -> VolumeInfo:
    top = {child.tag: child for child in root}
    target = {child.tag: child for child in top.get("target", ())}
    permissions = {child.tag: child.text for child in target.get("permissions", ())}
    backing = {child.tag: child for child in top.get("backingStore", ())}
    return VolumeInfo(
        name=_text(top, "name"),
        key=_text(top, "key"),
        path=_text(target, "path"),
        type=root.get("type", "file"),
        format=_type(target),
        capacity=_number(top, "capacity") or 0,
        allocation=_number(top, "allocation") or 0,
        physical=_number(top, "physical"),
        backing_path=backing_file(_text(backing, "path")),
        backing_format=_type(backing),
        mode=permissions.get("mode") or "",
        owner=_id(permissions.get("owner")),
        group=_id(permissions.get("group")),
        modified=_modified(target),
        encrypted="encryption" in target,
        compat=_text(target, "compat"),
        cluster_size=_number(target, "clusterSize"),
    )


_Elements = dict[str, etree._Element]


def _text(elements: _Elements, tag: str) -> str:
    element = elements.get(tag)
    return "" if element is None else element.text or ""


def _number(elements: _Elements, tag: str) -> int | None:
    """libvirt reports sizes in bytes only, whatever unit they were written in."""
    element = elements.get(tag)
    return None if element is None or not element.text else counted(int(element.text))


def _type(elements: _Elements) -> str:
    element = elements.get("format")
    return "" if element is None else element.get("type", "")


def _id(text: str | None) -> int | None:
    """-1 is libvirt's "as it comes"."""
    return None if not text or text.startswith("-") else int(text)


def _modified(target: _Elements) -> datetime | None:
    timestamps = target.get("timestamps")
    text = None if timestamps is None else timestamps.findtext("mtime")
    return datetime.fromtimestamp(float(text), UTC) if text else None


def backing_file(text: str) -> str:
    """The backing file as volumes write their path: libvirt repeats "/a/./b", "file:" and "json:" as they stand."""
    path = _json_file(text) if text.startswith("json:") else text.removeprefix("file:")
    return clean_path(path) if path.startswith("/") else text


def clean_path(path: str) -> str:
    return "/" + posixpath.normpath(path).lstrip("/")


def _json_file(text: str) -> str:
    try:
        node = json.loads(text.removeprefix("json:"))
        while isinstance(node.get("file"), dict):
            node = node["file"]
        return str(node.get("filename") or node.get("file.filename") or "")
    except (ValueError, AttributeError, RecursionError):
        return ""


def volume_xml(name: str, *, capacity: int, allocation: int | None, format: str) -> str:
    """`allocation` None leaves it to libvirt (all of it); `format` "" is for pools without formats."""
    volume = etree.Element("volume")
    _add(volume, "name", name)
    _add(volume, "capacity", str(capacity), unit="bytes")
    if allocation is not None:
        _add(volume, "allocation", str(allocation), unit="bytes")
    target = etree.SubElement(volume, "target")
    if format:
        etree.SubElement(target, "format", type=format)
    if format == "qcow2":
        # libvirt before 10.2 makes version 0.10 of the format when nothing is said.
        _add(target, "compat", "1.1")
    return etree.tostring(volume, encoding="unicode")


def clone_xml(source_xml: str, name: str) -> str:
    """A copy like its source. A file starts empty, so that its allocation shows how far the copy is."""
    source = etree.fromstring(_bytes(source_xml))
    if source.find("target/encryption") is not None and source.find("target/encryption/secret") is None:
        raise VirtError("secret_missing", "no libvirt secret belongs to this encrypted volume")
    volume = etree.Element("volume")
    _add(volume, "name", name)
    _add(volume, "capacity", source.findtext("capacity", "0"), unit="bytes")
    if source.get("type") == "file":
        _add(volume, "allocation", "0", unit="bytes")
    target = etree.SubElement(volume, "target")
    for tag in ("format", "compat", "clusterSize", "features", "encryption"):
        target.extend(source.iterfind(f"target/{tag}"))
    return etree.tostring(volume, encoding="unicode")


def _add(parent: etree._Element, tag: str, text: str, **attributes: str) -> None:
    try:
        etree.SubElement(parent, tag, attributes).text = text
    except ValueError as error:
        raise VirtError("bad_name", f"{text!r} cannot be written as XML") from error
