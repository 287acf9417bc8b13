"""Bytes from a request into a volume, a checkpoint at a time. Sizes in bytes."""

import queue
import threading
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

from storagemgr.virt.connection import Connection
from storagemgr.virt.streams import PIECE, Upload

READ = PIECE  # at a time from the client: so much must come within IDLE_S
WAITING = 8  # pieces that were read and are not written yet
IDLE_S = 30.0
DRAIN_S = 3.0
HOLE = 1024**2  # shorter runs of zeros are written
DEAR_HOLE = 16 * HOLE  # where each hole ends a stream, after which libvirt refreshes the pool
CHECKPOINT = 64 * 1024**2  # so much is lost at most when a process dies
CHECKPOINT_S = 10.0
_ZEROS = bytes(READ)


class Stalled(Exception):
    """The client sent less than READ in IDLE_S."""


class Body:
    """The `length` bytes of a request, in pieces; fewer when the client goes away.

    A thread reads them: the server itself waits for ever for a client that sends nothing. Iterating yields b"" about
    every second in which nothing came.
    """

    def __init__(self, stream: Any, length: int) -> None:
        self._stream, self._left = stream, length
        self._pieces: queue.Queue[bytes] = queue.Queue(WAITING)
        self._is_left = threading.Event()
        threading.Thread(target=self._read, name="upload-body", daemon=True).start()

    def __iter__(self) -> Iterator[bytes]:
        came_at = time.monotonic()
        while True:
            try:
                piece = self._pieces.get(timeout=1)
            except queue.Empty:
                if time.monotonic() - came_at > IDLE_S:
                    raise Stalled from None
                yield b""
                continue
            if not piece:
                return
            came_at = time.monotonic()
            yield piece

    def drain(self) -> None:
        """A client that is still sending sees an answer only once it is through; most look for none before."""
        until = time.monotonic() + DRAIN_S
        while time.monotonic() < until:
            try:
                if not self._pieces.get(timeout=DRAIN_S):
                    return
            except queue.Empty:
                return

    def leave(self) -> None:
        """Nobody takes the rest."""
        self._is_left.set()

    def _read(self) -> None:
        piece = b"..."
        while piece and not self._is_left.is_set():
            try:
                piece = self._stream.read(min(READ, self._left))
            except (OSError, RuntimeError, ValueError):
                piece = b""
            self._left -= len(piece)
            self._give(piece)

    def _give(self, piece: bytes) -> None:
        while not self._is_left.is_set():
            try:
                self._pieces.put(piece, timeout=1)
                return
            except queue.Full:
                continue


class Writer:
    """Writes from `done` on. Only what checkpoint() returned is certain to be in the volume.

    `is_zero_from`: from there on the volume reads as zeros, so that long runs of zeros can be left out.
    """

    def __init__(
        self, c: Connection, pool_uuid: str, name: str, size: int, done: int, is_zero_from: int
    ) -> None:
        self._place = (c, pool_uuid, name)
        self._size = size
        self._is_zero_from = is_zero_from
        self._stream: Upload | None = None
        self._zeros = 0  # that came and are not written yet
        self.at = self.done = done
        self._proven_at = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        if self._stream is not None:
            self._stream.abort()

    @property
    def is_due(self) -> bool:
        """Whether a checkpoint is worth its refresh of the pool."""
        waited = time.monotonic() - self._proven_at
        return self.at - self.done >= CHECKPOINT or (self.at > self.done and waited > CHECKPOINT_S)

    def write(self, data: bytes) -> None:
        self.at += len(data)
        if self.at - len(data) - self._zeros >= self._is_zero_from and _ZEROS.startswith(data):
            self._zeros += len(data)
            return
        self._pass_zeros(at_end=False, before=len(data))
        self._open(self.at - len(data)).write(data)

    def checkpoint(self) -> int:
        """Waits until the host has all that was written; how far that is."""
        self._pass_zeros(at_end=True, before=0)
        if self._stream is not None:
            self._stream.finish()
            self._stream = None
        self.done, self._proven_at = self.at, time.monotonic()
        return self.done

    def _pass_zeros(self, *, at_end: bool, before: int) -> None:
        zeros, self._zeros = self._zeros, 0
        if not zeros or (at_end and self._stream is None):
            return
        if at_end or zeros >= DEAR_HOLE or (self._stream and self._stream.takes_holes and zeros >= HOLE):
            self._leave_out(zeros, is_more=not at_end)
            return
        stream = self._open(self.at - before - zeros)
        while zeros:
            part = min(zeros, PIECE)
            stream.write(_ZEROS[:part])
            zeros -= part

    def _leave_out(self, zeros: int, *, is_more: bool) -> None:
        if self._stream is None or not is_more:
            return
        if self._stream.takes_holes:
            self._stream.skip(zeros)
        else:
            self._stream.finish()
            self._stream = None

    def _open(self, offset: int) -> Upload:
        if self._stream is None:
            self._stream = Upload(*self._place, offset, self._size - offset)
        return self._stream
