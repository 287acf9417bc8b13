"""Downloads: GET and HEAD of a ticket, the whole or one range of it, until every byte was sent once.

200 or 206, 416 for a range that is not there; 404, 410, 403 as for uploads; 423 the pool is busy and 503 the host or
this process, with Retry-After.
"""

import re
import threading
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from typing import Any
from urllib.parse import quote

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.utils import timezone

from storagemgr.hosts.reaching import open_in_time
from storagemgr.jobs.models import Job
from storagemgr.jobs.runner import end, ring_next
from storagemgr.virt.streams import Download
from volumes.models import Transfer
from volumes.transfer.http import text
from volumes.transfer.records import note_address
from volumes.transfer.tickets import Direction, Refused, redeem, safe_name
from volumes.transfer.turns import TELL_EVERY, Turn, readers, slot, turn

CHUNK = 1024**2  # for the server at once; each handing over makes three threads take turns
RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})", re.ASCII)
# Of each transfer what was sent out of order, as (from, to): download managers fetch parts at once.
_sent: dict[uuid.UUID, set[tuple[int, int]]] = {}


def download(request: HttpRequest, pk: uuid.UUID, signed: str, name: str) -> Any:
    if request.method == "OPTIONS":
        return HttpResponse(status=204)
    if request.method not in ("GET", "HEAD"):
        response = text(405, "A download takes GET and HEAD.")
        response["Allow"] = "GET, HEAD, OPTIONS"
        return response
    transfer = redeem(Direction.DOWN, pk, signed)
    if not transfer.is_ready:
        raise Refused(423, "It is being made ready; try again at once.", again_after_s=1)
    wanted = _range(request, transfer)
    if wanted is None:
        response = text(416, f"It has {transfer.size:,} bytes.")
        response["Content-Range"] = f"bytes */{transfer.size}"
        return response
    start, stop, is_part = wanted
    if request.method == "GET":
        note_address(request, transfer)
    answer = HttpResponse() if request.method == "HEAD" or start == stop else _stream(transfer, start, stop)
    answer.status_code = 206 if is_part else 200
    if is_part:
        answer["Content-Range"] = f"bytes {start}-{stop - 1}/{transfer.size}"
    return _headers(answer, transfer, stop - start)


def etag(transfer: Transfer) -> str:
    return f'"{transfer.pk.hex}"'


def _headers(response: Any, transfer: Transfer, length: int) -> Any:
    response["Content-Type"] = "application/octet-stream"
    response["Content-Length"] = str(length)
    response["Accept-Ranges"] = "bytes"
    response["ETag"] = etag(transfer)
    plain, exact = safe_name(transfer.file_name), quote(transfer.file_name, safe="")
    response["Content-Disposition"] = f"attachment; filename=\"{plain}\"; filename*=UTF-8''{exact}"
    return response


def _range(request: HttpRequest, transfer: Transfer) -> tuple[int, int, bool] | None:
    """From, to and whether it is a part; None for one that is not there. What is no single range is ignored."""
    match = RANGE.fullmatch(request.headers.get("Range", "").replace(" ", ""))
    first, last = match.groups() if match else ("", "")
    is_same = request.headers.get("If-Range", etag(transfer)) == etag(transfer)
    if not (first or last) or not is_same or (first and last and int(first) > int(last)):
        return 0, transfer.size, False
    if not first:
        start, stop = max(0, transfer.size - int(last)), transfer.size
    else:
        start, stop = int(first), min(int(last) + 1, transfer.size) if last else transfer.size
    return (start, stop, True) if start < stop else None


def _stream(transfer: Transfer, start: int, stop: int) -> StreamingHttpResponse:
    """Everything that can be refused is refused before the first byte; what was opened closes with the response."""
    with ExitStack() as stack:
        stack.enter_context(slot())
        mine = stack.enter_context(turn(transfer))
        _take_up(transfer, start, stop)
        job = transfer.job
        connection = stack.enter_context(open_in_time(job.host))
        stream = Download(connection, str(job.pool_uuid), job.volume_name, start, stop - start)
        stack.enter_context(stream)
        pieces = Pieces(transfer, mine, stream, start, stop, stack.pop_all())
    return StreamingHttpResponse(pieces)


def _take_up(transfer: Transfer, start: int, stop: int) -> None:
    """A process that is killed never tells what it sent last; who goes on with the rest has that."""
    is_new_here = transfer.pk not in _sent
    _sent.setdefault(transfer.pk, set())
    untold = start - transfer.done
    if is_new_here and transfer.done and 0 < untold <= TELL_EVERY + CHUNK and stop == transfer.size:
        transfer.done = start
        Transfer.objects.filter(pk=transfer.pk).update(done=start)


class Pieces:
    """The pieces of one answer. The server calls close() at the end, also when the client went away.

    close() also comes from another thread, for a client that takes less than a piece in STALLED_S: when it does go on,
    its answer ends early and it can ask for the rest.
    """

    def __init__(
        self, transfer: Transfer, mine: Turn, stream: Download, start: int, stop: int, opened: ExitStack
    ) -> None:
        self.transfer, self.mine = transfer, mine
        self.start = self.at = start
        self.stop = stop
        self._opened = opened
        self._pieces = joined(stream)
        self._lock, self._is_closed = threading.Lock(), False
        self.moved_at = time.monotonic()
        readers.add(self)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        # Asked for the next one: the one before was sent.
        with self._lock:
            if self.at >= self.stop or self._is_closed:
                raise StopIteration
            piece = next(self._pieces)
            self.at += len(piece)
            known = self.transfer.done
            self.mine.tell(max(self.at, known) if self.start <= known else known)
            self.moved_at = time.monotonic()
            return piece

    def close(self) -> None:
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
            readers.discard(self)
            try:
                note(self.transfer, self.start, self.at)
            finally:
                self._opened.close()
                ring_next(self.transfer.job)


def joined(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """In CHUNKs: libvirt's host follows each piece with one of 24 bytes."""
    parts: list[bytes] = []
    length = 0
    for piece in pieces:
        parts.append(piece)
        length += len(piece)
        if length >= CHUNK:
            yield b"".join(parts)
            parts, length = [], 0
    if parts:
        yield b"".join(parts)


def note(transfer: Transfer, start: int, stop: int) -> None:
    """So much was sent; the job ends when there is no gap any more."""
    parts = _sent.setdefault(transfer.pk, set())
    parts.add((start, stop))
    transfer.refresh_from_db(fields=["done"])
    done = transfer.done
    for first, last in sorted(parts):
        done = max(done, last) if first <= done else done
    rows = Transfer.objects.filter(pk=transfer.pk)
    rows.update(done=done, moved_at=timezone.now())
    if done >= transfer.size:
        _sent.pop(transfer.pk, None)
        end(transfer.job, Job.State.SUCCEEDED, from_state=Job.State.TRANSFERRING, done_bytes=done)
