"""The start of a qcow2 file, of which whoever writes the disk can make anything."""

import struct
from dataclasses import dataclass

START = 80  # bytes, up to the incompatible features of version 3
MAGIC = b"QFI\xfb"
NAME_LIMIT = 1023
_EXTERNAL_DATA = 4


@dataclass(frozen=True)
class Header:
    """`backing`: where in the file the name of the backing file stands, (offset, length), or None."""

    version: int
    backing: tuple[int, int] | None
    has_data_file: bool


def parse(start: bytes) -> Header | None:
    """None for what is no qcow or qcow2."""
    if len(start) < START or not start.startswith(MAGIC):
        return None
    version, offset, length = struct.unpack_from(">IQI", start, 4)
    features = struct.unpack_from(">Q", start, 72)[0] if version >= 3 else 0
    backing = (offset, min(length, NAME_LIMIT)) if offset else None
    return Header(version, backing, bool(features & _EXTERNAL_DATA))
