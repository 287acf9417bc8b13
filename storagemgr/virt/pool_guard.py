"""XML of pools that people write: read without harm, checked by libvirt's schema and by what is dangerous.

Imports no libvirt.
"""

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from threading import Lock
from uuid import NAMESPACE_URL, uuid5

from lxml import etree

from storagemgr.virt import path_policy
from storagemgr.virt.errors import VirtError
from storagemgr.virt.field_checks import CHECKS

LIMIT = 1024 * 1024
SCHEMA = Path("/usr/share/libvirt/schemas/storagepool.rng")
USAGE_PREFIX = "storagemgr/"

_lock = Lock()


def parse(text: str) -> etree._Element:
    """The <pool>. Raises xml_invalid, with the line. No document type, so no entities; nothing is fetched."""
    data = text.encode(errors="surrogatepass")
    if len(data) > LIMIT:
        raise VirtError("xml_invalid", f"The XML has {len(data)} bytes; a pool may have {LIMIT}.")
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise VirtError("xml_invalid", f"Line {_line_of(text, '<!')}: a document type is not allowed here.")
    # The encoding is ours to say: what the text says of itself could hide a document type from the line above.
    parser = etree.XMLParser(
        encoding="utf-8", resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False
    )
    try:
        root = etree.fromstring(data, parser)
    except etree.XMLSyntaxError as error:
        raise VirtError("xml_invalid", _syntax(error)) from error
    if root.getroottree().docinfo.internalDTD is not None:
        raise VirtError("xml_invalid", "A document type is not allowed here.")
    if root.tag != "pool":
        raise VirtError("xml_invalid", f"Line 1: this is a <{root.tag}>; a pool begins with <pool type=…>.")
    return root


def _line_of(text: str, mark: str) -> int:
    found = min(at for name in ("DOCTYPE", "ENTITY") if (at := text.find(mark + name)) >= 0)
    return text.count("\n", 0, found) + 1


def _syntax(error: etree.XMLSyntaxError) -> str:
    said = str(error.msg or "it is empty").partition(", line ")[0]
    if said.startswith("Excessive depth"):
        said = "the elements are nested too deep"
    return f"Line {error.lineno or 1}: this is not XML: {said}."


def own_secret(pool_uuid: str) -> str:
    """The UUID of the secret that belongs to this pool, the same on each host."""
    return str(uuid5(NAMESPACE_URL, USAGE_PREFIX + pool_uuid.lower()))


def schema_problems(xml: str) -> list[str]:
    """What libvirt's own schema on this machine does not know, with lines; [] too where it is not installed."""
    root, schema = parse(xml), _schema()
    if schema is None:
        return []
    for element, attribute in _wrongly_refused(root):
        if attribute:
            element.set(attribute, "1")
        elif (parent := element.getparent()) is not None:
            parent.remove(element)
    with _lock:
        if schema.validate(root):
            return []
        said = [(entry.line, entry.message) for entry in schema.error_log]
    unknown = [
        element for element in root.iter("*") if etree.QName(element).localname not in _known_elements()
    ]
    if unknown:
        return [f"Line {e.sourceline}: libvirt knows no <{etree.QName(e).localname}>." for e in unknown[:20]]
    return _telling(root, said) or ["libvirt's schema does not know this as a pool."]


def _telling(root: etree._Element, said: list[tuple[int, str]]) -> list[str]:
    """Without what only repeats that something inside is wrong, and with the line where it was left out."""
    found = []
    for line, message in said:
        if message.startswith("Invalid sequence") or message.endswith("failed to validate content"):
            continue
        place = str(line)
        if missing := re.fullmatch(r"Expecting an element (\S*), got nothing", message):
            message = f"<{missing[1]}> is missing"
        if extra := re.fullmatch(r"Extra element (\S+) in interleave", message):
            message = f"<{extra[1]}> is not right"
            place = next((f"{element.sourceline}" for element in root.iter(extra[1])), place)
        found.append(f"Line {place}: {message}.")
    return list(dict.fromkeys(found))


@cache
def _known_elements() -> frozenset[str]:
    files = [SCHEMA, *(SCHEMA.with_name(f"{name}.rng") for name in ("storagecommon", "basictypes"))]
    found = [etree.parse(file).iterfind(".//{*}element[@name]") for file in files if file.exists()]
    return frozenset(element.get("name", "") for elements in found for element in elements)


def schema_is_wrong(xml: str) -> bool:
    """Whether libvirt takes something here that its own schema refuses; a definition is then better not validated."""
    return bool(_wrongly_refused(parse(xml)))


def _wrongly_refused(root: etree._Element) -> list[tuple[etree._Element, str]]:
    """Port 0 of an adapter; a second device of a ZFS pool. Seen in 9.0."""
    ports = [] if root.get("type") != "scsi" else root.findall("source/adapter/parentaddr[@unique_id='0']")
    devices = [] if root.get("type") != "zfs" else root.findall("source/device")[1:]
    return [*((port, "unique_id") for port in ports), *((device, "") for device in devices)]


@cache
def _schema() -> etree.RelaxNG | None:
    return etree.RelaxNG(etree.parse(SCHEMA)) if SCHEMA.exists() else None


def check(xml: str, allowed_paths: tuple[str, ...] = (), *, was: str = "") -> list[str]:
    """Why this may not be asked of libvirt, as sentences; [] when it may. What is already so in `was` is no news."""
    known = set(_dangers(parse(was), allowed_paths)) if was else set()
    return [danger for danger in _dangers(parse(xml), allowed_paths) if danger not in known]


_BY_DEVICES = ("disk", "iscsi", "scsi", "mpath")
_WITHOUT_PATH = ("logical", "zfs", "rbd", "gluster", "iscsi-direct", "sheepdog")
_DEVICES = ("fs", "logical", "disk", "zfs")
_USERS_OF = {
    "device": (*_DEVICES, "iscsi", "iscsi-direct"),
    "adapter": ("scsi",),
    "auth": ("iscsi", "iscsi-direct", "rbd"),
}


def _dangers(root: etree._Element, allowed: tuple[str, ...]) -> Iterator[str]:
    pool_type = root.get("type", "")
    yield from _split_texts(root)
    yield from _name_dangers(root)
    for path in root.iterfind("target/path"):
        if wrong := _path_danger(pool_type, _string(path), allowed):
            yield wrong
    for tag, types in _USERS_OF.items():
        if root.find(f"source/{tag}") is not None and pool_type not in types:
            yield f"A pool of type {pool_type} has no <{tag}>."
    if pool_type in _DEVICES:
        for device in root.iterfind("source/device"):
            if wrong := CHECKS["device"](device.get("path", "")):
                yield wrong
    for mode in root.iterfind("target/permissions/mode"):
        if not re.fullmatch("0?[0-7]{1,3}", _string(mode), re.ASCII):
            yield f"Mode {_string(mode)}: only the rights of owner, group and others may be set, up to 0777."
    yield from _foreign_secrets(root)


def _split_texts(root: etree._Element) -> Iterator[str]:
    """libvirt reads all of such a text; who looks at its first part alone reads another one."""
    for element in root.iter("*"):
        texts = (element.text, *(child.tail for child in element))
        if len(element) and any(text and text.strip() for text in texts):
            yield f"<{element.tag}> has a text with a comment or an element inside."


def _name_dangers(root: etree._Element) -> Iterator[str]:
    name = "".join(_string(element) for element in root.iterfind("name"))
    if not name:
        yield "The name is missing."
    if "/" in name or not name.isprintable() or name.strip() != name:
        yield "The name may not have / or characters that cannot be printed, and no space at its ends."
    if len(root.findall("name")) > 1 or len(root.findall("target")) > 1 or len(root.findall("source")) > 1:
        yield "A pool has one <name>, one <source> and one <target>."


def _path_danger(pool_type: str, path: str, allowed: tuple[str, ...]) -> str:
    if pool_type in _BY_DEVICES:
        return path_policy.why_not_of_devices(path)
    if pool_type in _WITHOUT_PATH:
        in_dev = path.startswith("/dev/") and not path_policy.why_not_a_path(path)
        return "" if in_dev else f"A pool of type {pool_type} has no directory of its own."
    return path_policy.why_not_here(path, allowed)


def _string(element: etree._Element) -> str:
    """As libvirt reads a text: with that of elements inside, without comments."""
    return str(element.xpath("string()"))


def _foreign_secrets(root: etree._Element) -> Iterator[str]:
    own = (root.findtext("uuid") or "").strip().lower()
    for secret in root.iterfind("source/auth/secret"):
        refers = secret.get("uuid") or secret.get("usage") or ""
        if not own or refers.lower() not in (own_secret(own), USAGE_PREFIX + own):
            yield (
                f"The secret {refers} was not made for this pool. Leave <auth> out and "
                "fill in user and password; the pool then gets a secret of its own."
            )
