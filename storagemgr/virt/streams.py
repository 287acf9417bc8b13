"""The bytes of a volume, up and down, in streams (virStorageVolUpload, virStorageVolDownload). Sizes in bytes.

libvirtd keeps the file of a stream open until it is finished or aborted, or the connection closes: use both classes
as context managers. Nothing in libvirt protects a volume while a stream writes it.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import suppress
from types import TracebackType
from typing import Self

import libvirt

from storagemgr.virt.connection import Connection, translate, translated
from storagemgr.virt.pools import explained

PIECE = 262_120  # what one message of libvirt's carries; it cuts what is longer
WINDOW = 16 * 1024**2
AHEAD = WINDOW // 2  # so much of a window is left when the next one is opened
# A daemon before 10.1.0 can hang when a client sends several holes; sparse downloads hung split daemons before 8.0.0.
_TAKES_HOLES = 10_001_000
_GIVES_HOLES = 8_000_000
_AT_A_HOLE = -3
_ZEROS = bytes(PIECE)


class _Stream(ABC):
    def __init__(self, c: Connection, pool_uuid: str, name: str, offset: int, length: int) -> None:
        self.offset = offset
        self.length = length
        self._is_finished = False
        with translated():
            self._version = c.raw.getLibVersion()
            pool = c.raw.storagePoolLookupByUUIDString(pool_uuid)
        try:
            self._volume = pool.storageVolLookupByName(name)
            self._stream: libvirt.virStream | None = self._open(c.raw.newStream(0))
        except libvirt.libvirtError as error:
            raise explained(translate(error), pool, needs_active=True, else_code="volume_busy") from error

    @abstractmethod
    def _open(self, stream: libvirt.virStream) -> libvirt.virStream:
        """`stream`, now that of the volume, from `offset` on for `length` bytes."""

    @property
    def _raw(self) -> libvirt.virStream:
        if self._stream is None:
            raise ValueError("the stream has ended")
        return self._stream

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.abort()

    def finish(self) -> None:
        """virStreamFinish: waits until the daemon is done with all of it, or raises what went wrong."""
        if self._is_finished:
            return
        stream, self._stream = self._raw, None
        try:
            with translated():
                stream.finish()
            self._is_finished = True
        finally:
            if not self._is_finished:
                with suppress(libvirt.libvirtError):
                    stream.abort()

    def abort(self) -> None:
        """Nothing to do for a stream that has ended or whose connection is lost."""
        stream, self._stream = self._stream, None
        if stream is not None:
            with suppress(libvirt.libvirtError):
                stream.abort()


class Upload(_Stream):
    """Writes at most `length` bytes into a volume from `offset` on; libvirt refuses more with no_space.

    Only finish() confirms what was written: an error may come with a later write, or with finish(). Each finish and
    abort makes libvirt refresh the whole pool, soon after.
    """

    def _open(self, stream: libvirt.virStream) -> libvirt.virStream:
        self._volume.upload(stream, self.offset, self.length, self._flags)
        return stream

    @property
    def _flags(self) -> int:
        return libvirt.VIR_STORAGE_VOL_UPLOAD_SPARSE_STREAM if self.takes_holes else 0

    @property
    def takes_holes(self) -> bool:
        """Whether skip() goes on in the same stream; else it costs a finish."""
        return bool(self._version >= _TAKES_HOLES)

    def write(self, data: bytes | memoryview) -> None:
        rest = memoryview(data)
        with translated():
            while rest:
                sent = self._raw.send(bytes(rest[:PIECE]))
                self.offset += sent
                self.length -= sent
                rest = rest[sent:]

    def skip(self, length: int) -> None:
        """Leave the next bytes as they are: zeros in a volume that nobody wrote before."""
        if self.takes_holes:
            with translated():
                self._raw.sendHole(length)
        else:
            self.finish()
        self.offset += length
        self.length -= length
        # A length of 0 would mean: without end.
        if self._stream is None and self.length:
            with translated():
                self._stream = self._open(self._volume.connect().newStream(0))
                self._is_finished = False


class Download(_Stream):
    """Iterates over `length` bytes of a volume from `offset` on, in pieces; fewer bytes where the volume ends.

    It finishes by itself at its end. Holes come as zeros, though the host does not send them. A stream of libvirt's is
    opened for each WINDOW: its library takes in all that the host sends, however slowly the pieces are wanted. The
    next one is opened in the middle of the one before, so that there is no pause between them.
    """

    def __init__(self, c: Connection, pool_uuid: str, name: str, offset: int, length: int) -> None:
        self._until, self._end = offset, offset + length
        self._next: libvirt.virStream | None = None
        super().__init__(c, pool_uuid, name, offset, length)

    def _open(self, stream: libvirt.virStream) -> libvirt.virStream:
        gives_holes = self._version >= _GIVES_HOLES
        flags = libvirt.VIR_STORAGE_VOL_DOWNLOAD_SPARSE_STREAM if gives_holes else 0
        start, self._until = self._until, min(self._until + WINDOW, self._end)
        self._volume.download(stream, start, self._until - start, flags)
        return stream

    def _open_next(self) -> None:
        with translated():
            self._next = self._open(self._volume.connect().newStream(0))

    def abort(self) -> None:
        super().abort()
        self._stream, self._next = self._next, None
        super().abort()

    def __iter__(self) -> Iterator[bytes]:
        while True:
            until = self._until
            yield from self._pieces(until)
            self.finish()
            if self.offset < until or until == self._end:
                return
            self._stream, self._next = self._next, None
            self._is_finished = False

    def _pieces(self, until: int) -> Iterator[bytes]:
        """Of the window that ends there."""
        while True:
            if self._next is None and self._until < self._end and until - self.offset <= AHEAD:
                self._open_next()
            hole, data = self._receive()
            while hole:
                part = min(hole, PIECE)
                hole -= part
                self.offset += part
                yield _ZEROS[:part]
            if data:
                self.offset += len(data)
                yield data
            elif data is not None:
                return

    def _receive(self) -> tuple[int, bytes | None]:
        """The length of a hole and None, else 0 and data; b"" at the end."""
        with translated():
            if self._version < _GIVES_HOLES:
                return 0, self._raw.recv(PIECE)
            data = self._raw.recvFlags(PIECE, libvirt.VIR_STREAM_RECV_STOP_AT_HOLE)
            return (self._raw.recvHole(), None) if data == _AT_A_HOLE else (0, data)
