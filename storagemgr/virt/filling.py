"""Writing the whole of a volume that was just made."""

from types import TracebackType
from typing import Self

from storagemgr.virt.connection import Connection
from storagemgr.virt.streams import PIECE, Upload

HOLE = 1024**2  # shorter runs of zeros are written
DEAR_HOLE = 16 * HOLE  # where each hole ends a stream, after which libvirt refreshes the pool
_ZEROS = bytes(HOLE)


class Filling:
    """Takes the `size` bytes of a volume from its start on, in pieces of at most HOLE.

    `is_zero`: it reads as zeros already, as a new file does and a new logical volume does not; long runs of zeros are
    then left out, and the file keeps its holes. finish() alone confirms that all was written.
    """

    def __init__(self, c: Connection, pool_uuid: str, name: str, size: int, *, is_zero: bool) -> None:
        self._upload = Upload(c, pool_uuid, name, 0, size)
        self._hole = (HOLE if self._upload.takes_holes else DEAR_HOLE) if is_zero else 0
        self._zeros = 0  # that came and are not written yet

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._upload.abort()

    def write(self, data: bytes) -> None:
        if self._hole and _ZEROS.startswith(data):
            self._zeros += len(data)
            return
        if self._zeros >= self._hole > 0:
            self._upload.skip(self._zeros)
            self._zeros = 0
        while self._zeros:
            part = min(self._zeros, PIECE)
            self._upload.write(_ZEROS[:part])
            self._zeros -= part
        self._upload.write(data)

    def finish(self) -> None:
        if self._zeros and self._hole and self._upload.takes_holes:
            # libvirt cuts a file off after each hole that it is told of; without one at the end it stays too short.
            self._upload.skip(self._zeros)
        self._upload.finish()
