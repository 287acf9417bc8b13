"""The start of a qcow2 file, of which whoever writes the disk can make anything."""

import struct
from dataclasses import dataclass

START = 80  # bytes, up to the incompatible features of version 3
MAGIC = b"QFI\xfb"
NAME_LIMIT = 1023
_EXTERNAL_DATA = 4
_BACKING_FORMAT = 0xE2792ACA
_EXTENSIONS = 64  # more than QEMU knows of


@dataclass(frozen=True)
class Header:
    """`backing`: where in the file the name of the backing file stands, (offset, length), or None.

    `backing_format`: "" where the header leaves it to whoever opens the image to guess.
    """

    version: int
    backing: tuple[int, int] | None
    backing_format: str
    has_data_file: bool


def parse(start: bytes) -> Header | None:
    """None for what is no qcow or qcow2."""
    if len(start) < START or not start.startswith(MAGIC):
        return None
    version, offset, length = struct.unpack_from(">IQI", start, 4)
    features = struct.unpack_from(">Q", start, 72)[0] if version >= 3 else 0
    backing = (offset, min(length, NAME_LIMIT)) if offset else None
    return Header(version, backing, _backing_format(start, version), bool(features & _EXTERNAL_DATA))


def _backing_format(start: bytes, version: int) -> str:
    if version < 2 or len(start) < 104:
        return ""
    place = struct.unpack_from(">I", start, 100)[0] if version >= 3 else 72
    for _ in range(_EXTENSIONS):
        if place + 8 > len(start):
            return ""
        kind, length = struct.unpack_from(">II", start, place)
        if kind == _BACKING_FORMAT:
            return start[place + 8 : place + 8 + min(length, 16)].decode(errors="replace")
        if kind == 0:
            return ""
        place += 8 + (length + 7 & ~7)
    return ""
