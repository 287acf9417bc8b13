"""Uploads, by the protocol tus 1.0: core, creation, termination, checksum, expiration.

POST /transfer/uploads/ with a token makes a job and answers 201 with its ticket as Location; a page has made the job
itself and shows tickets.upload_url. At the ticket:

HEAD    200, Upload-Offset: so many bytes are certain, Upload-Length, Upload-Expires. Also after the job went well.
PATCH   204 with the new Upload-Offset. 400 a header is wrong, 409 the offset is another, 411 no length, 413 too much,
        415 wrong type, 460 the checksum is wrong, 408 nothing came for long. 422 the image is refused and 507 the pool
        is full: the job fails. 423 the volume is not made yet, somebody else sends, or the pool is busy; 503 the host
        or this process: both with Retry-After.
DELETE  204, the job is cancelled and the part deleted.
All     404 no such ticket, 410 the job has ended, 403 no right any more.

Nothing is kept on this machine: each piece goes on to libvirt, and only what libvirt confirmed is told as offset. A
process that dies loses a checkpoint at most.
"""

import base64
import binascii
import hashlib
import time
import uuid
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.http import http_date

from pools.operations import find as find_pool
from storagemgr.access import audit
from storagemgr.hosts.reaching import open_in_time
from storagemgr.jobs.cancelling import cancel
from storagemgr.jobs.lease import move
from storagemgr.jobs.models import Job
from storagemgr.jobs.submit import ring
from storagemgr.virt.connection import Connection
from storagemgr.virt.errors import VirtError
from storagemgr.virt.images import HEAD
from volumes import images
from volumes.models import Transfer, Volume
from volumes.transfer import arrival
from volumes.transfer.http import TUS, number, text
from volumes.transfer.records import note_address
from volumes.transfer.tickets import Direction, Refused, redeem
from volumes.transfer.turns import Turn, slot, turn
from volumes.transfer.writing import CHECKPOINT, Body, Stalled, Writer

ALGORITHMS = ("sha256", "sha1", "md5")
EXTENSIONS = "creation,termination,checksum,expiration"
READY_S = 5.0
# What their first MiB tells is final; the others say the rest at their end.
TOLD_EARLY = ("raw", "iso", "qcow2", "vdi")
# Where a transfer ended cleanly: nothing was written behind it. Of other processes nothing is known.
_clean: dict[uuid.UUID, int] = {}


def options() -> HttpResponse:
    response = HttpResponse(status=204)
    response["Tus-Version"] = TUS
    response["Tus-Extension"] = EXTENSIONS
    response["Tus-Max-Size"] = str(settings.UPLOAD_LIMIT)
    response["Tus-Checksum-Algorithm"] = ",".join(ALGORITHMS)
    return response


def method_of(request: HttpRequest) -> str:
    method = str(request.method)
    return request.headers.get("X-HTTP-Method-Override", method).upper() if method == "POST" else method


def check_version(request: HttpRequest) -> HttpResponse | None:
    if request.headers.get("Tus-Resumable") == TUS:
        return None
    response = text(412, f"This speaks version {TUS} of tus: send Tus-Resumable: {TUS}.")
    response["Tus-Version"] = TUS
    return response


def upload(request: HttpRequest, pk: uuid.UUID, signed: str) -> HttpResponse:
    method = method_of(request)
    if method == "OPTIONS":
        return options()
    if method not in _METHODS:
        response = text(405, "A ticket takes HEAD, PATCH and DELETE.")
        response["Allow"] = "HEAD, PATCH, DELETE, OPTIONS"
        return response
    if wrong := check_version(request):
        return wrong
    transfer = redeem(Direction.UP, pk, signed, also_done=method == "HEAD")
    return _METHODS[method](request, transfer)


def _head(request: HttpRequest, transfer: Transfer) -> HttpResponse:
    response = _offset(HttpResponse(), transfer)
    response["Upload-Length"] = str(transfer.size)
    return response


def _offset(response: HttpResponse, transfer: Transfer) -> HttpResponse:
    response["Upload-Offset"] = str(transfer.done)
    response["Upload-Expires"] = http_date(time.time() + settings.TRANSFER_KEPT)
    return response


def _delete(request: HttpRequest, transfer: Transfer) -> HttpResponse:
    if not cancel(transfer.job, transfer.job.requested_by, audit.address_of(request)):
        raise Refused(410, "The job has ended.")
    return HttpResponse(status=204)


def _patch(request: HttpRequest, transfer: Transfer) -> HttpResponse:
    if request.content_type != "application/offset+octet-stream":
        raise Refused(415, "Send the bytes as Content-Type: application/offset+octet-stream.")
    offset, checksum = number(request, "Upload-Offset"), _checksum(request)
    if "Content-Length" not in request.headers:
        raise Refused(411, "Send Content-Length: how many bytes come.")
    length = number(request, "Content-Length")
    if checksum and length > CHECKPOINT:
        raise Refused(413, f"With a checksum at most {CHECKPOINT:,} bytes at a time.")
    _wait_until_ready(transfer)
    if offset + length > transfer.size:
        raise Refused(413, f"It was said to have {transfer.size:,} bytes, and these would be more.")
    note_address(request, transfer)
    with slot(), turn(transfer) as mine:
        # Another process may have written until the turn began.
        transfer.refresh_from_db(fields=["done"])
        if offset != transfer.done:
            raise Refused(409, f"The next byte is number {transfer.done}, not {offset}.")
        body = Body(request, length)
        try:
            return _receive(transfer, mine, body, checksum)
        except (Refused, VirtError):
            body.drain()
            raise
        finally:
            body.leave()


def _checksum(request: HttpRequest) -> tuple[Any, bytes] | None:
    """A digest to feed, and what it must come to."""
    value = request.headers.get("Upload-Checksum")
    if value is None:
        return None
    algorithm, _, digest = value.partition(" ")
    if algorithm not in ALGORITHMS:
        raise Refused(400, f"Upload-Checksum: one of {', '.join(ALGORITHMS)}, then the digest in base64.")
    found = hashlib.new(algorithm, usedforsecurity=False)
    try:
        wanted = base64.b64decode(digest, validate=True)
    except binascii.Error:
        wanted = b""
    if len(wanted) != found.digest_size:
        raise Refused(400, f"Upload-Checksum: this is no {algorithm} in base64.")
    return found, wanted


def _wait_until_ready(transfer: Transfer) -> None:
    """A moment: tus clients send at once, and the worker makes the volume first."""
    deadline = time.monotonic() + READY_S
    while not transfer.is_ready and time.monotonic() < deadline and transfer.job.is_active:
        time.sleep(0.1)
        transfer.refresh_from_db()
        transfer.job.refresh_from_db()
    if not transfer.job.is_active:
        raise Refused(
            410, f"The job has ended: {transfer.job.error_text or transfer.job.get_state_display()}"
        )


def _receive(transfer: Transfer, mine: Turn, body: Body, checksum: Any) -> HttpResponse:
    is_zero_from = _zero_from(transfer, mine)
    pool = find_pool(transfer.job)
    try:
        with (
            open_in_time(pool.host) as connection,
            Writer(
                connection,
                str(pool.uuid),
                transfer.job.volume_name,
                size=transfer.size,
                done=transfer.done,
                is_zero_from=is_zero_from,
            ) as writer,
        ):
            return _pour(connection, transfer, mine, body, writer, checksum)
    except VirtError as error:
        _end_if_hopeless(transfer, pool, error)
        raise


def _zero_from(transfer: Transfer, mine: Turn) -> int:
    """From where on the volume reads as zeros: a new file does, a new logical volume does not."""
    done, is_clean = transfer.done, _clean.pop(transfer.pk, None) == transfer.done
    if not find_pool(transfer.job).kind.volume_formats:
        return transfer.size
    return done if mine.is_first or is_clean else done + CHECKPOINT


def _pour(
    connection: Connection, transfer: Transfer, mine: Turn, body: Body, writer: Writer, checksum: Any
) -> HttpResponse:
    response = HttpResponse(status=204)
    try:
        for piece in body:
            if checksum:
                checksum[0].update(piece)
            writer.write(piece)
            mine.tell(writer.at)
            if not checksum and (writer.is_due or writer.done < _head_of(transfer) <= writer.at):
                _prove(connection, transfer, mine, writer)
    except Stalled:
        response = text(408, "Less than 256 KiB came in half a minute.")
        response["Connection"] = "close"
    if checksum and checksum[0].digest() != checksum[1]:
        return text(460, "These bytes have another checksum; send them again.")
    _prove(connection, transfer, mine, writer)
    _clean[transfer.pk] = transfer.done
    if transfer.done == transfer.size:
        _hand_back(transfer.job)
    return _offset(response, transfer)


def _prove(connection: Connection, transfer: Transfer, mine: Turn, writer: Writer) -> None:
    before, transfer.done = transfer.done, writer.checkpoint()
    if transfer.done > before:
        Transfer.objects.filter(pk=transfer.pk).update(done=transfer.done, moved_at=timezone.now())
        mine.tell(transfer.done, at_once=True)
    if before < _head_of(transfer) <= transfer.done:
        _look_early(connection, transfer)


def _head_of(transfer: Transfer) -> int:
    return min(HEAD, transfer.size)


def _look_early(connection: Connection, transfer: Transfer) -> None:
    """What is refused at the end anyway need not come as a whole."""
    job = transfer.job
    volume = Volume.objects.filter(pool=find_pool(job), name=job.volume_name).first()
    if volume is None or job.params["format"] not in TOLD_EARLY:
        return
    if problems := images.problems_of(connection, volume, job.params["format"]):
        refuse(transfer, images.code_of(problems), " ".join(problems))
        raise Refused(422, " ".join(problems))


def _end_if_hopeless(transfer: Transfer, pool: Any, error: VirtError) -> None:
    if error.code == "no_space":
        left = transfer.size - transfer.done
        refuse(transfer, "no_room", arrival.no_room(pool, left))
        raise Refused(507, arrival.no_room(pool, left)) from error
    if error.code in ("no_volume", "no_pool"):
        refuse(transfer, "target_gone", error.detail)
        raise Refused(410, "The volume that was being filled is gone.") from error


def refuse(transfer: Transfer, code: str, reason: str) -> None:
    """The job's next run deletes what came and fails with this."""
    Transfer.objects.filter(pk=transfer.pk).update(verdict=f"{code} {reason}")
    _hand_back(transfer.job)


def _hand_back(job: Job) -> None:
    if move(job, from_state=Job.State.TRANSFERRING, to_state=Job.State.QUEUED):
        ring(job)


_METHODS = {"HEAD": _head, "PATCH": _patch, "DELETE": _delete}
