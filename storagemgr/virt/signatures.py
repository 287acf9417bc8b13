"""Recognises what the start and the end of a device say about its content. Imports no libvirt.

Whoever writes the device can make anything of these bytes, so every length in them is checked.
"""

import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from uuid import UUID

HEAD = 128 * 1024
TAIL = 128 * 1024

_LABEL_LIMIT = 128


@dataclass(frozen=True)
class Signature:
    """`kind`: table (of partitions), filesystem, member (of something bigger), encrypted, swap or image.

    `name`: gpt, dos, ext4, lvm2...; `label`: the name that it bears itself, of an LVM member its volume group.
    """

    kind: str
    name: str
    text: str
    label: str = ""
    uuid: str = ""


@dataclass(frozen=True)
class _Magic:
    kind: str
    name: str
    title: str
    offset: int
    magic: bytes


_MAGICS = (
    _Magic("filesystem", "xfs", "XFS file system", 0, b"XFSB"),
    _Magic("filesystem", "btrfs", "Btrfs file system", 0x10040, b"_BHRfS_M"),
    _Magic("filesystem", "ntfs", "NTFS file system", 3, b"NTFS    "),
    _Magic("filesystem", "exfat", "exFAT file system", 3, b"EXFAT   "),
    _Magic("filesystem", "fat", "FAT file system", 54, b"FAT1"),
    _Magic("filesystem", "fat", "FAT file system", 82, b"FAT32   "),
    _Magic("filesystem", "iso9660", "ISO 9660 image (CD or DVD)", 0x8001, b"CD001"),
    _Magic("filesystem", "udf", "UDF file system", 0x8001, b"BEA01"),
    _Magic("filesystem", "squashfs", "SquashFS file system", 0, b"hsqs"),
    _Magic("filesystem", "f2fs", "F2FS file system", 1024, b"\x10\x20\xf5\xf2"),
    _Magic("filesystem", "gfs2", "GFS2 file system", 0x10000, b"\x01\x16\x19\x70"),
    _Magic("filesystem", "ocfs2", "OCFS2 file system", 2 * 4096, b"OCFSV2"),
    _Magic("filesystem", "hfsplus", "HFS+ file system", 1024, b"H+\x00\x04"),
    _Magic("filesystem", "reiserfs", "ReiserFS file system", 0x10034, b"ReIsEr"),
    _Magic("filesystem", "apfs", "APFS container", 32, b"NXSB"),
    _Magic("member", "bcache", "bcache device", 4096 + 24, bytes.fromhex("c68573f64e1a45ca8265f57f48ba6d81")),
    _Magic("member", "bluestore", "Ceph BlueStore device (OSD)", 0, b"bluestore block device\n"),
    _Magic("member", "stratis", "Stratis pool member", 516, b"!Stra0tis\x86\xff\x02^\x41rh"),
    _Magic("member", "vdo", "VDO device", 0, b"dmvdo001"),
    _Magic("encrypted", "bitlocker", "BitLocker encryption", 3, b"-FVE-FS-"),
    _Magic("image", "qcow2", "qcow2 image", 0, b"QFI\xfb"),
    _Magic("image", "vmdk", "VMDK image", 0, b"KDMV"),
)


def recognise(head: bytes, tail: bytes = b"") -> list[Signature]:
    """What `head`, the first HEAD bytes of a device, and `tail`, its last TAIL bytes, bear witness to."""
    found = [signature for find in _FINDERS for signature in find(head, tail)]
    if any(signature.name == "gpt" for signature in found):
        # Every GPT has an MBR before it that keeps older programs away.
        found = [signature for signature in found if signature.name != "dos"]
    return list(dict.fromkeys(found))


def is_blank(part: bytes) -> bool:
    return not part.strip(b"\0")


@dataclass(frozen=True)
class Finding:
    """`blank`: nothing but zeros where things of that kind begin and end. `text`: one line for people."""

    blank: bool
    signatures: tuple[Signature, ...]
    text: str


def examine(head: bytes, tail: bytes = b"") -> Finding:
    found = tuple(recognise(head, tail))
    blank = is_blank(head) and is_blank(tail)
    known = "; ".join(signature.text for signature in found)
    return Finding(blank, found, known or ("empty" if blank else "data of an unknown kind"))


def _simple(head: bytes, _tail: bytes) -> Iterator[Signature]:
    for entry in _MAGICS:
        if head.startswith(entry.magic, entry.offset):
            label = _label(head, entry.name)
            yield Signature(entry.kind, entry.name, _titled(entry.title, label), label)


def _label(head: bytes, name: str) -> str:
    fields = {"xfs": (108, 12), "btrfs": (0x1012B, 128), "iso9660": (0x8028, 32)}
    offset, length = fields.get(name, (0, 0))
    return _words(head[offset : offset + length])


def _ext(head: bytes, _tail: bytes) -> Iterator[Signature]:
    block = head[1024:2048]
    if len(block) < 256 or block[56:58] != b"\x53\xef":
        return
    compatible, incompatible = struct.unpack_from("<II", block, 0x5C)
    journal, newer = compatible & 0x4, incompatible & 0x2C0
    name = "ext4" if newer else "ext3" if journal else "ext2"
    label = _words(block[0x78:0x88])
    yield Signature("filesystem", name, _titled(f"{name} file system", label), label, _uuid(block[0x68:0x78]))


def _luks(head: bytes, _tail: bytes) -> Iterator[Signature]:
    if not head.startswith(b"LUKS\xba\xbe") or len(head) < 512:
        return
    version = struct.unpack_from(">H", head, 6)[0]
    label = _words(head[24:72]) if version == 2 else ""
    yield Signature(
        "encrypted", "luks", _titled(f"LUKS{version} encryption", label), label, _words(head[168:208])
    )


_GROUP = re.compile(rb'([A-Za-z0-9+_.][A-Za-z0-9+_.-]{0,126}) \{\nid = "[^"]{38}"\nseqno = ')


def _lvm(head: bytes, _tail: bytes) -> Iterator[Signature]:
    for sector in range(0, 2048, 512):
        if head.startswith(b"LABELONE", sector) and head.startswith(b"LVM2 001", sector + 24):
            # The text of the group, kept in a ring: the newest one need not be the last in it.
            names = {match.group(1).decode() for match in _GROUP.finditer(head)}
            label = names.pop() if len(names) == 1 else ""
            text = f"LVM physical volume of group {label}" if label else "LVM physical volume"
            yield Signature("member", "lvm2", text, label)
            return


def _swap(head: bytes, _tail: bytes) -> Iterator[Signature]:
    for page in (4096, 8192, 16384, 65536):
        magic = head[page - 10 : page]
        if magic in (b"SWAPSPACE2", b"SWAP-SPACE"):
            label = _words(head[1052:1068])
            yield Signature("swap", "swap", _titled("Swap space", label), label, _uuid(head[1036:1052]))
        elif magic.startswith((b"S1SUSPEND", b"S2SUSPEND", b"ULSUSPEND")):
            yield Signature("swap", "hibernation", "Swap space with a hibernated system in it")


def _zfs(head: bytes, _tail: bytes) -> Iterator[Signature]:
    """The list of names and values (XDR) in the first label."""
    pairs = head[16 * 1024 :]
    if b"pool_guid" not in pairs[:4096]:
        return
    at = pairs.find(b"\0\0\0\x04name")
    label = ""
    if at >= 0 and len(pairs) >= at + 20:
        length = struct.unpack_from(">I", pairs, at + 16)[0]
        label = _words(pairs[at + 20 : at + 20 + min(length, _LABEL_LIMIT)])
    yield Signature(
        "member", "zfs", f"Member of ZFS pool {label}" if label else "Member of a ZFS pool", label
    )


_MD = b"\xfc\x4e\x2b\xa9"


def _md(head: bytes, tail: bytes) -> Iterator[Signature]:
    """Linux software RAID: 1.1 and 1.2 at the start, 1.0 and 0.90 near the end, in blocks counted from there."""
    for offset in (0, 4096):
        if head.startswith(_MD + b"\x01\0\0\0", offset):
            yield _array(head[offset:])
            return
    for offset in range(len(tail) % 512, len(tail), 512):
        if tail.startswith((_MD + b"\x01\0\0\0", _MD + b"\0\0\0\0"), offset):
            yield _array(tail[offset:])
            return


def _array(block: bytes) -> Signature:
    if block[4:5] != b"\x01":
        return Signature("member", "md", "Member of a RAID array")
    label = _words(block[32:64])
    text = f"Member of RAID array {label}" if label else "Member of a RAID array"
    return Signature("member", "md", text, label, _uuid(block[16:32]))


def _gpt(head: bytes, tail: bytes) -> Iterator[Signature]:
    """The second copy, in the last sector, outlives a disk whose start was overwritten."""
    if any(head.startswith(b"EFI PART", sector) for sector in (512, 4096)):
        yield Signature("table", "gpt", "GPT partition table")
    elif any(tail.startswith(b"EFI PART", max(0, len(tail) - sector)) for sector in (512, 4096)):
        yield Signature("table", "gpt", "GPT partition table, of which only the copy at the end is left")


def _dos(head: bytes, _tail: bytes) -> Iterator[Signature]:
    """Boot sectors of FAT and NTFS end with the same mark and hold code where the entries would be."""
    if len(head) < 512 or head[510:512] != b"\x55\xaa":
        return
    if any(
        head.startswith(m.magic, m.offset) for m in _MAGICS if m.name in ("ntfs", "exfat", "fat", "bitlocker")
    ):
        return
    entries = [head[at : at + 16] for at in range(446, 510, 16)]
    if all(entry[0] in (0, 0x80) for entry in entries):
        used = sum(entry[4] != 0 for entry in entries)
        yield Signature("table", "dos", "MBR partition table" + ("" if used else ", without partitions"))


_FINDERS: tuple[Callable[[bytes, bytes], Iterator[Signature]], ...] = (
    _gpt,
    _dos,
    _simple,
    _ext,
    _luks,
    _lvm,
    _swap,
    _zfs,
    _md,
)


def _words(field: bytes) -> str:
    text = field.partition(b"\0")[0].decode(errors="replace").strip()
    return "".join(c if c.isprintable() else "\ufffd" for c in text)[:_LABEL_LIMIT]


def _titled(title: str, label: str) -> str:
    return f"{title} {label}" if label else title


def _uuid(field: bytes) -> str:
    return str(UUID(bytes=field)) if len(field) == 16 and not is_blank(field) else ""
