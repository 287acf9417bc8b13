"""Where each field of a pool stands in its XML: read from there and written there, all else left as it is."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from lxml import etree

from storagemgr.virt.errors import VirtError
from storagemgr.virt.pool_fields import Field, Values, fields_of
from storagemgr.virt.pool_guard import own_secret
from storagemgr.virt.pool_tree import NAMESPACES, Element, insert, need, remove, remove_at, tag_of


def values_at(root: Element) -> dict[str, Any]:
    """All fields of the type, "" or [] for what is not there; `auth_secret` beside `auth_user`, never a password."""
    found: dict[str, Any] = {}
    for field in fields_of(root.get("type", "")):
        if field.kind != "secret":
            found[field.name] = get(root, field)
    if "auth_user" in found:
        found["auth_secret"] = _attribute(root.find("source/auth/secret"), "uuid", "usage")
    return found


def put_values(root: Element, values: Values) -> None:
    """Sets each field that `values` has, where it differs; "" and [] remove it.

    Raises bad_name for characters that XML cannot have.
    """
    now = values_at(root)
    try:
        for field in fields_of(root.get("type", "")):
            if field.name in values and field.name in now and values[field.name] != now[field.name]:
                _put(root, field, values)
        if "auth_user" in now and values.get("auth_secret", now["auth_secret"]) != now["auth_secret"]:
            _put_user(root, values)
    except ValueError as error:
        raise VirtError("bad_name", "Characters that XML cannot have are in what was typed.") from error


def get(root: Element, field: Field) -> Any:
    if field.name in _LINES:
        line = _LINES[field.name]
        return [line.text(element) for element in root.iterfind(line.path, NAMESPACES)]
    if field.name in _ADAPTER:
        adapter = root.find("source/adapter")
        return "" if adapter is None else _ADAPTER[field.name](adapter)
    if field.name == "auth_user":
        return _attribute(root.find("source/auth"), "username")
    path, attribute = _place(field)
    if attribute:
        return _attribute(root.find(path), attribute)
    return root.findtext(path) or ""


def _put(root: Element, field: Field, values: Values) -> None:
    value = values[field.name]
    if field.name in _LINES:
        _put_lines(root, _LINES[field.name], value)
    elif field.name in _ADAPTER:
        _put_adapter(root, values_at(root) | dict(values))
    elif field.name == "auth_user":
        _put_user(root, values)
    else:
        path, attribute = _place(field)
        _put_text(root, path, attribute, value)
        if field.where == "source/name":
            follow_name(root)


def _place(field: Field) -> tuple[str, str]:
    """("source/host", "name") or ("source/name", "")"""
    path, _, last = field.where.rpartition("/")
    return (path, last[1:]) if last.startswith("@") else (field.where, "")


def _attribute(element: Element | None, *names: str) -> str:
    if element is None:
        return ""
    return next((element.get(name, "") for name in names if element.get(name)), "")


def _put_text(root: Element, path: str, attribute: str, value: str) -> None:
    element = root.find(path)
    if not value:
        if element is not None:
            _take_away(element, attribute)
        return
    element = need(root, path) if element is None else element
    if attribute:
        element.set(attribute, value)
    elif len(element):
        raise VirtError("xml_invalid", f"<{element.tag}> has elements where a text belongs.")
    else:
        element.text = value


def _take_away(element: Element, attribute: str) -> None:
    """An element goes once it says nothing more; so do those around it, but not <source> and <target>."""
    if attribute:
        _set(element, attribute, "")
    else:
        element.text = None
    while not element.attrib and not len(element) and not (element.text or "").strip():
        parent = element.getparent()
        if parent is None or element.tag in ("source", "target"):
            return
        remove(element)
        element = parent


def follow_name(root: Element) -> None:
    """libvirt sets the path of two types by the name of the source, whatever stands there."""
    base = {"logical": "/dev/", "zfs": "/dev/zvol/"}.get(root.get("type", ""))
    path = root.find("target/path")
    if base and path is not None:
        path.text = base + (root.findtext("source/name") or root.findtext("name") or "")


# Elements that stand once for each line of a field.


@dataclass(frozen=True)
class _Lines:
    path: str
    text: Callable[[Element], str]
    attributes: Callable[[str], dict[str, str]]


def _by(name: str) -> tuple[Callable[[Element], str], Callable[[str], dict[str, str]]]:
    return (lambda element: element.get(name, "")), (lambda line: {name: line})


def _monitor_text(host: Element) -> str:
    name, port = host.get("name", ""), host.get("port")
    if not port:
        return name
    return f"[{name}]:{port}" if ":" in name else f"{name}:{port}"


def _monitor(line: str) -> dict[str, str]:
    found = re.fullmatch(r"\[([^\]]*)\](?::([0-9]*))?|([^:]*):([0-9]*)", line)
    if not found:
        return {"name": line}
    name, port = found[1] or found[3] or "", found[2] or found[4] or ""
    return {"name": name} | ({"port": port} if port else {})


def _setting(line: str) -> dict[str, str]:
    name, _, value = line.partition("=")
    return {"name": name, "value": value}


_LINES = {
    "devices": _Lines("source/device", *_by("path")),
    "monitors": _Lines("source/host", _monitor_text, _monitor),
    "mount_options": _Lines("fs:mount_opts/fs:option", *_by("name")),
    "settings": _Lines(
        "rbd:config_opts/rbd:option",
        lambda option: f"{option.get('name', '')}={option.get('value', '')}",
        _setting,
    ),
}


def _put_lines(root: Element, lines: _Lines, wanted: list[str]) -> None:
    """An element whose line stays keeps all else that it has."""
    kept: dict[str, list[Element]] = {}
    for element in root.findall(lines.path, NAMESPACES):
        kept.setdefault(lines.text(element), []).append(element)
    before: Element | None = None
    for line in wanted:
        old = kept[line].pop(0) if kept.get(line) else None
        before = _next_line(root, lines, line, old, before)
    for gone in (gone for elements in kept.values() for gone in elements):
        for child in list(gone):
            gone.remove(child)
        for name in list(gone.attrib):
            del gone.attrib[name]
        _take_away(gone, "")


def _next_line(
    root: Element, lines: _Lines, line: str, element: Element | None, before: Element | None
) -> Element:
    """The element of `line`, new if there is none, at its place after `before`."""
    if element is not None and (before is None or _stands_after(element, before)):
        return element
    new = etree.Element(tag_of(lines.path), lines.attributes(line))
    if element is not None:
        for name, value in element.attrib.items():
            new.set(name, value)
        new.text = element.text
        new.extend(list(element))
        remove(element)
    parent = need(root, lines.path.rpartition("/")[0])
    insert(parent, new, None if before is None else parent.index(before) + 1)
    return new


def _stands_after(element: Element, before: Element) -> bool:
    parent = element.getparent()
    return parent is not None and parent.index(element) > parent.index(before)


# The adapter of a SCSI pool.


def _kind(adapter: Element) -> str:
    if adapter.get("type") == "fc_host":
        return "fc_host"
    return "scsi_host" if adapter.find("parentaddr") is None else "scsi_parent"


def _address(adapter: Element) -> str:
    address = adapter.find("parentaddr/address")
    if address is None:
        return ""
    numbers = [address.get(part, "0").removeprefix("0x") for part in ("domain", "bus", "slot", "function")]
    return f"{numbers[0]:0>4}:{numbers[1]:0>2}:{numbers[2]:0>2}.{numbers[3]}"


_ADAPTER: dict[str, Callable[[Element], str]] = {
    "adapter_kind": _kind,
    "adapter_name": lambda adapter: adapter.get("name", ""),
    "parent_address": _address,
    "unique_id": lambda adapter: _attribute(adapter.find("parentaddr"), "unique_id"),
    "wwnn": lambda adapter: adapter.get("wwnn", ""),
    "wwpn": lambda adapter: adapter.get("wwpn", ""),
    "parent": lambda adapter: adapter.get("parent", ""),
    "managed": lambda adapter: adapter.get("managed", ""),
}


def _put_adapter(root: Element, values: Values) -> None:
    """What belongs to another kind than the chosen one goes."""
    kind = values.get("adapter_kind")
    if not kind:
        remove_at(root, "source/adapter")
        return
    new = root.find("source/adapter") is None
    adapter = need(root, "source/adapter")
    if new or _kind(adapter) != kind:
        adapter.set("type", "fc_host" if kind == "fc_host" else "scsi_host")
    _set(adapter, "name", values.get("adapter_name") if kind == "scsi_host" else "")
    for name in ("parent", "managed", "wwnn", "wwpn"):
        _set(adapter, name, values.get(name) if kind == "fc_host" else "")
    if kind != "fc_host":
        for name in ("parent_wwnn", "parent_wwpn", "parent_fabric_wwn"):
            _set(adapter, name, "")
    _put_parent(adapter, values if kind == "scsi_parent" else {})


def _put_parent(adapter: Element, values: Values) -> None:
    if not values:
        remove_at(adapter, "parentaddr")
        return
    parent = need(adapter, "parentaddr")
    _set(parent, "unique_id", values.get("unique_id"))
    numbers = re.fullmatch(r"(?:0x)?([^:]*):([^:]*):([^.]*)\.(.*)", values.get("parent_address") or "")
    if numbers and _address(adapter) != values["parent_address"]:
        address = need(parent, "address")
        for part, number in zip(("domain", "bus", "slot", "function"), numbers.groups(), strict=True):
            address.set(part, f"0x{number}")


def _set(element: Element, name: str, value: str | None) -> None:
    if value:
        element.set(name, value)
    elif name in element.attrib:
        del element.attrib[name]


# User and secret.


def _put_user(root: Element, values: Values) -> None:
    """Without a secret named, it is the one that belongs to the pool."""
    auth = root.find("source/auth")
    user = values.get("auth_user", _attribute(auth, "username"))
    if not user:
        remove_at(root, "source/auth")
        return
    old = _attribute(root.find("source/auth/secret"), "uuid", "usage")
    wanted = values.get("auth_secret") or old or own_secret(root.findtext("uuid") or "")
    if auth is None:
        auth = need(root, "source/auth")
        auth.set("type", "ceph" if root.get("type") == "rbd" else "chap")
    auth.set("username", user)
    if wanted != old:
        secret, name = need(auth, "secret"), "uuid" if _is_uuid(wanted) else "usage"
        _set(secret, "usage" if name == "uuid" else "uuid", "")
        secret.set(name, wanted)


def _is_uuid(text: str) -> bool:
    try:
        return bool(UUID(text))
    except ValueError:
        return False
