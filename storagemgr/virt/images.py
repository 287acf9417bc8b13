"""What the bytes of a disk image are, and what in them would make QEMU open something else. Sizes in bytes.

Whoever writes the image can make anything of these bytes: no more than HEAD and a few further reads are looked at,
and each format is judged by its own inspector (oslo.utils), whatever the file's name says.
"""

import logging
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from oslo_utils.imageutils import format_inspector

from storagemgr.virt import qcow2

Read = Callable[[int, int], bytes]

HEAD = 1024**2 + 4096  # a VMDK descriptor ends before
TAIL = 1536  # the footer of a streamed VMDK
_UNIT = 512  # no image ends before the sector in which it begins

# What libvirt and QEMU recognize at the start, whether or not the rest fits.
_STARTS = (
    (b"QFI\xfb", "qcow2"),
    (b"QED\0", "qed"),
    (b"KDMV", "vmdk"),
    (b"conectix", "vpc"),
    (b"vhdxfile", "vhdx"),
    (b"LUKS\xba\xbe", "luks"),
    (b"OOOM", "cow"),
    (b"Bochs Virtual HD Image", "bochs"),
    (b"#!/bin/sh\n#V2.0 Format", "cloop"),
    (b"WithoutFreeSpace", "ploop"),
    (b"WithouFreSpacExt", "ploop"),
)
_IMAGES = frozenset({"qcow", "qcow2", "qed", "vmdk", "vpc", "vdi", "vhdx", "cow", "bochs", "cloop", "ploop"})
_JUDGES = {"qcow2": "qcow2", "vmdk": "vmdk", "vpc": "vhd", "vdi": "vdi"}
_BROKEN = (
    *(format_inspector.ImageFormatError, struct.error, ValueError, TypeError, LookupError),
    *(AttributeError, RuntimeError, OverflowError),
)

_DECLARED = "It is declared as "

# It logs what it finds, which is what a stranger wrote.
logging.getLogger(format_inspector.__name__).setLevel(logging.CRITICAL)


@dataclass(frozen=True)
class Image:
    """`format` in libvirt's words. `backing`: the backing file as the header names it, "" for none.

    `flaws`: what is never right, in sentences; `problems` has the backing file among them. `backing_format`: ""
    where the header leaves it to be guessed.
    """

    format: str
    virtual_size: int
    backing: str
    flaws: tuple[str, ...]
    backing_format: str = ""

    @property
    def problems(self) -> tuple[str, ...]:
        if not self.backing:
            return self.flaws
        return (
            *self.flaws,
            f"It is built on another file, {shown(self.backing)}, which would be opened with it.",
        )


def shown(text: str) -> str:
    """A stranger's words, short and in one line."""
    text = "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)
    return text if len(text) <= 120 else text[:119] + "…"


def inspect(read: Read, size: int, limit: int, declared: str = "") -> Image:
    """`read(offset, length)` gives fewer bytes where the image ends; `size` is how many it has.

    `limit`: the largest virtual size. `declared`: the format that it is said to have, "" for not said.
    """
    head = read(0, min(HEAD, size))
    found = list(dict.fromkeys(_formats(head, declared, lambda: _tail(read, size))))
    kind = found[0] if found else "raw"
    looked = _LOOKS[kind](read, head, size) if kind in _LOOKS else Image("", size, "", ())
    flaws = list(_flaws_of_size(kind, head, looked.virtual_size, limit))
    if len(found) > 1:
        flaws.append(f"Its content is of several formats at once: {', '.join(found)}.")
    flaws += looked.flaws
    if kind in _IMAGES and kind not in _LOOKS:
        flaws.append(f"It is {_named(kind)}: what such an image opens is not looked into here.")
    if declared and (reason := _why_not(kind, declared)):
        flaws.append(reason)
    return replace(looked, format=kind, flaws=tuple(flaws))


def _tail(read: Read, size: int) -> bytes:
    return read(max(0, size - TAIL), min(TAIL, size))


def _formats(head: bytes, declared: str, tail: Callable[[], bytes]) -> Iterator[str]:
    for magic, name in _STARTS:
        if head.startswith(magic):
            yield "qcow" if name == "qcow2" and head[4:8] == b"\0\0\0\1" else name
    if b"# disk descriptorfile" in head[:4096].lower():
        yield "vmdk"
    if head[0x40:0x44] == b"\x7f\x10\xda\xbe":
        yield "vdi"
    if head[0x8001:0x8006] in (b"CD001", b"BEA01", b"NSR02", b"NSR03"):
        yield "iso"
    if declared == "vpc" and not head.startswith(b"conectix") and tail()[-512:].startswith(b"conectix"):
        yield "vpc"


def _why_not(kind: str, declared: str) -> str:
    """Why the content is not what was declared. Whatever is no image is raw, also a partition table."""
    if declared == kind:
        return ""
    if declared == "iso":
        return f"{_DECLARED}an ISO image, and its content is {_named(kind)}."
    if declared in _IMAGES:
        return f"{_DECLARED}{declared}, and its content is {_named(kind)}."
    if kind in _IMAGES:
        return f"{_DECLARED}raw, and its content is {_named(kind)}: whoever opens it by guessing sees that."
    return ""


def is_only_another_format(problems: Sequence[str]) -> bool:
    """An honest mistake, as far as can be seen: nothing else is wrong with the image."""
    return len(problems) == 1 and problems[0].startswith(_DECLARED)


def _named(kind: str) -> str:
    return {"raw": "of no known format", "iso": "an ISO image", "luks": "encrypted with LUKS"}.get(
        kind, f"a {kind} image"
    )


def _flaws_of_size(kind: str, head: bytes, virtual_size: int, limit: int) -> Iterator[str]:
    if kind == "vmdk" and not head.startswith(b"KDMV"):
        return
    if kind in _IMAGES and len(head) < _UNIT:
        yield f"It begins as {_named(kind)} and ends before its header does."
    elif virtual_size == 0:
        yield "The disk in it has the size 0." if kind in _IMAGES else "It is empty."
    elif virtual_size < 0:
        yield "The disk in it has a negative size."
    elif virtual_size > limit:
        yield f"The disk in it has {virtual_size:,} bytes, and more than {limit:,} are not allowed."


def _look_qcow(read: Read, head: bytes, size: int) -> Image:
    header = qcow2.parse(head)
    if header is None:
        return Image("", 0, "", ())
    (virtual_size,) = struct.unpack_from(">q", head, 24)
    flaws = list(_judged("qcow2", read, head, size)) if header.version != 1 else []
    if header.version == 2:
        # It has no features: other things stand there, which the inspector takes for them.
        flaws = [flaw for flaw in flaws if flaw != _WORDS["data_file"]]
    backing = read(*header.backing).decode(errors="surrogateescape") if header.backing else ""
    if header.backing and not backing.strip("\0"):
        flaws.append("It says that it is built on another file, and names none.")
    return Image("", virtual_size, backing, tuple(flaws), header.backing_format if backing else "")


def _look_qed(read: Read, head: bytes, size: int) -> Image:
    if len(head) < 64:
        return Image("", 0, "", ())
    features, virtual_size, offset, length = struct.unpack_from("<Q24xqII", head, 16)
    backing = (
        read(offset, min(length, qcow2.NAME_LIMIT)).decode(errors="surrogateescape") if features & 1 else ""
    )
    flaws = ("It has features that are not known.",) if features & ~7 else ()
    if features & 1 and not backing.strip("\0"):
        flaws = (*flaws, "It says that it is built on another file, and names none.")
    return Image("", virtual_size, backing, flaws, "raw" if features & 4 else "")


def _look_vmdk(read: Read, head: bytes, size: int) -> Image:
    if not head.startswith(b"KDMV"):
        return Image(
            "", -1, "", ("It is a VMDK descriptor: a text that names the files in which the disk is.",)
        )
    if len(head) < _UNIT:
        return Image("", 0, "", ())
    sectors, start, length = struct.unpack_from("<q8xQQ", head, 12)
    words = head[start * 512 : (start + length) * 512].partition(b"\0")[0].lower()
    flaws = list(_judged("vmdk", read, head, size))
    if b"parentfilenamehint" in words:
        # QEMU opens that file, and the inspector lets the line pass.
        flaws.append("Its VMDK descriptor names a parent, which would be opened with it.")
    extents = [line for line in words.splitlines() if line.split(b" ")[0] in (b"rw", b"rdonly", b"noaccess")]
    if len(extents) > 1 or words.count(b"createtype") > 1:
        flaws.append("Its VMDK descriptor names more than one file.")
    return Image("", sectors * 512, "", tuple(flaws))


def _look_vpc(read: Read, head: bytes, size: int) -> Image:
    footer = head[:512] if head.startswith(b"conectix") else _tail(read, size)[-512:]
    if len(footer) < 512:
        return Image("", 0, "", ())
    (virtual_size, kind) = struct.unpack_from(">q4xI", footer, 48)
    flaws = ("It holds only what differs from another file, its parent.",) if kind == 4 else ()
    return Image("", virtual_size, "", flaws)


def _look_vdi(read: Read, head: bytes, size: int) -> Image:
    if len(head) < _UNIT:
        return Image("", 0, "", ())
    (kind,) = struct.unpack_from("<I", head, 0x4C)
    (virtual_size,) = struct.unpack_from("<q", head, 0x170)
    flaws = () if kind in (1, 2) else ("It holds only what differs from another file, its parent.",)
    return Image("", virtual_size, "", flaws)


_LOOKS: dict[str, Callable[[Read, bytes, int], Image]] = {
    "qcow": _look_qcow,
    "qcow2": _look_qcow,
    "qed": _look_qed,
    "vmdk": _look_vmdk,
    "vpc": _look_vpc,
    "vdi": _look_vdi,
}

_WORDS = {
    "backing_file": "",  # said with its name
    "data_file": "Its data is in another file, which would be opened with it.",
    "unknown_features": "It has features that are not known.",
    "descriptor": "Its VMDK descriptor is not one of a disk that is whole in this file.",
    "footer": "The footer of the VMDK image does not fit its header.",
}


def _judged(kind: str, read: Read, head: bytes, size: int) -> Iterator[str]:
    """What the library's inspector of that format says against it."""
    broken = f"Its header is not one of {_named(kind)}."
    try:
        judge = format_inspector.ALL_FORMATS[_JUDGES[kind]]()
        judge.eat_chunk(head)
        if size > len(head):
            judge.eat_chunk(_tail(read, size))
        judge.finish()
        judge.safety_check()
    except format_inspector.SafetyCheckFailed as error:
        yield from filter(None, (_WORDS.get(name, broken) for name in error.failures))
    except _BROKEN:
        yield broken
