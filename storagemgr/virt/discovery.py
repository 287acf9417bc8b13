"""Finds what pools can be made of: sources of a server or of the host (virConnectFindStoragePoolSources)."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from lxml import etree

from storagemgr.virt.connection import Connection, translated
from storagemgr.virt.errors import VirtError

Values = dict[str, str | list[str]]

# Of what the daemon writes, which got it from a server: no entities, no network, nothing huge.
_PARSER = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)

NEEDS_HOST = ("netfs", "gluster", "iscsi")


@dataclass(frozen=True)
class Source:
    """`values`: the fields of the pool that it fills, by the names of the form. `text`: one line for people.

    `format`: libvirt's, nfs, glusterfs or lvm2; "" where the type has none. `detail`: what else is known.
    """

    values: Values
    text: str
    format: str = ""
    detail: str = ""


def find_sources(
    c: Connection, pool_type: str, *, host: str = "", port: str = "", initiator: str = ""
) -> list[Source]:
    """What libvirt finds from its host: [] when the server answers and has nothing.

    netfs: NFS exports and Gluster volumes of `host`; gluster: its Gluster volumes; iscsi: the targets
    of its portal that `initiator` may see; logical: the volume groups of the libvirt host itself.
    Raises command_failed when the server did not answer, program_missing, no_support for other types.
    """
    if pool_type not in _READERS:
        raise VirtError("no_support", _WHY_NOT.get(pool_type, "libvirt cannot find sources of this type."))
    if pool_type in NEEDS_HOST and (not host or host.startswith("-")):
        # libvirt hands it to showmount, gluster or iscsiadm as it is: they would take it for an option.
        raise VirtError("invalid", "The name or address of the server is missing or begins with a dash.")
    request = None if pool_type == "logical" else _request(pool_type, host, port, initiator)
    detail = ""
    try:
        xml = _find(c, pool_type, request)
    except VirtError as error:
        if pool_type != "iscsi" or not initiator or error.number != _FAILED:
            raise _explained(error, pool_type, host) from error
        # libvirt makes the interface for a new initiator when a pool starts, and its search wants one.
        xml = _find(c, pool_type, _request(pool_type, host, port, ""))
        detail = (
            f"as the host itself sees it: libvirt can ask as {initiator} only after a pool was started so"
        )
    read = _READERS[pool_type]
    sources = [read(element, host, port, initiator) for element in source_elements(xml)]
    return [replace(source, detail=f"{source.detail}, {detail}") if detail else source for source in sources]


def _find(c: Connection, pool_type: str, request: str | None) -> str:
    with translated():
        return str(c.raw.findStoragePoolSources(pool_type, request, 0))


_WHY_NOT = {
    "iscsi-direct": "libvirt's search for iSCSI direct is unsafe: a portal with more than one target damages the "
    "memory of its daemon. Search with the type iSCSI and take the name of the target from there.",
}


def _request(pool_type: str, host: str, port: str, initiator: str) -> str:
    """The search of netfs with format auto asks for NFS and for Gluster."""
    source = etree.Element("source")
    try:
        element = etree.SubElement(source, "host", name=host)
        if port:
            element.set("port", port)
        if initiator and pool_type == "iscsi":
            etree.SubElement(etree.SubElement(source, "initiator"), "iqn", name=initiator)
    except ValueError as error:
        raise VirtError("invalid", f"{host!r}, {port!r} or {initiator!r} cannot be written as XML") from error
    return etree.tostring(source, encoding="unicode")


def source_elements(xml: str) -> list[etree._Element]:
    try:
        root = etree.fromstring(xml.encode(), _PARSER)
    except etree.XMLSyntaxError as error:
        raise VirtError("unknown", f"libvirt's answer cannot be read: {error}") from error
    return list(root.iterfind("source"))


def _explained(error: VirtError, pool_type: str, host: str) -> VirtError:
    """libvirt passes on what iscsiadm or pvs said; of showmount and gluster it says number 9 for all that fails."""
    code, text = error.code, error.detail
    if error.number == _FAILED and pool_type in _SILENT:
        code, text = "command_failed", f"{_SILENT[pool_type].format(host=host)}\n{text}"
    elif pool_type == "iscsi" and (why := re.search(r"iscsiadm: (cannot .+)", text)):
        # It ends with a time-out of the protocol, whatever the reason was.
        text = f"{why.group(1)}\n{text}"
    elif pool_type == "gluster" and "tool not found" in text:
        code = "program_missing"
    return VirtError(code, text, number=error.number, domain=error.domain)


_SILENT = {
    "netfs": "{host} named no NFS export and no Gluster volume. It does not answer, has neither service, or keeps its "
    "list to itself (it is asked with showmount; servers of NFS 4 alone do not answer that), or the libvirt host "
    "has no showmount. The path can be typed instead.",
    "gluster": "{host} named no Gluster volume: it does not answer, or it has none.",
}


_FAILED = 9


def _netfs(element: etree._Element, host: str, _port: str, _initiator: str) -> Source:
    kind = _attribute(element, "format", "type") or "nfs"
    server, path = _attribute(element, "host", "name") or host, _attribute(element, "dir", "path")
    if kind == "glusterfs":
        path = element.findtext("name") or path
    values: Values = {"source_host": server, "source_dir": path, "format": kind}
    what = "Gluster volume" if kind == "glusterfs" else "NFS export"
    return Source(values, f"{server}:{path}", kind, what)


def _gluster(element: etree._Element, host: str, port: str, _initiator: str) -> Source:
    server, name = _attribute(element, "host", "name") or host, element.findtext("name", "")
    folder = _attribute(element, "dir", "path") or "/"
    values: Values = {"source_host": server, "source_port": port, "source_name": name, "source_dir": folder}
    return Source(values, f"{server}:{name}", "", "Gluster volume")


def _iscsi(element: etree._Element, host: str, port: str, initiator: str) -> Source:
    """The server as it was asked for: libvirt's answer names the same."""
    server, target = _attribute(element, "host", "name") or host, _attribute(element, "device", "path")
    values: Values = {
        "source_host": server,
        "source_port": port,
        "target_iqn": target,
        "initiator": initiator,
    }
    return Source(values, target, "", f"on {server}")


def _logical(element: etree._Element, _host: str, _port: str, _initiator: str) -> Source:
    name, kind = element.findtext("name", ""), _attribute(element, "format", "type") or "lvm2"
    devices = [device.get("path", "") for device in element.iterfind("device")]
    values: Values = {"source_name": name, "devices": devices, "format": kind}
    return Source(values, f"{name} ({', '.join(devices)})" if devices else name, kind, "LVM group")


def _attribute(parent: etree._Element, path: str, name: str) -> str:
    element = parent.find(path)
    return "" if element is None else element.get(name, "")


_READERS: dict[str, Callable[[etree._Element, str, str, str], Source]] = {
    "netfs": _netfs,
    "gluster": _gluster,
    "iscsi": _iscsi,
    "logical": _logical,
}
