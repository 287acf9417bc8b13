"""A volume whose bytes come from elsewhere: made empty, filled, compared and looked into."""

import hashlib
import re
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from django.utils import timezone

from pools import sync as pool_sync
from pools.models import Pool
from storagemgr.hosts.reaching import open_in_time
from storagemgr.jobs.models import Job
from storagemgr.jobs.operations import Finding, Interrupted, OperationFailed, Progress, Run, Step
from storagemgr.templatetags.storage import size as size_words
from storagemgr.virt import pools as virt_pools
from storagemgr.virt import volumes as virt_volumes
from storagemgr.virt.connection import Connection
from storagemgr.virt.errors import VirtError
from storagemgr.virt.streams import Download
from storagemgr.virt.volumes import NewVolume
from volumes import images, sync
from volumes.forms import why_name_is_kept
from volumes.identity import forget_notes
from volumes.models import Volume

Pieces = Iterable[bytes]
TELL_EVERY_S = 0.5
REFRESH_TRIES, REFRESH_AGAIN_S = 20, 0.25
# Beginnings of a job's steps: before anything is made; while it is; after all was compared.
ASK, MAKE, READ_NEW = "Ask ", "Make ", "Read the new volume"
SHA256 = re.compile(r"[0-9a-fA-F]{64}", re.ASCII)


def make_empty(connection: Connection, pool: Pool, name: str, size: int) -> None:
    """Always as raw, with the length of what comes: libvirt shows the real format once it has read the bytes."""
    new = NewVolume(name=name, format="raw" if pool.kind.volume_formats else "", capacity=size)
    virt_volumes.create(connection, str(pool.uuid), new)


def take_name(connection: Connection, pool: Pool, name: str) -> None:
    """Before the first step of a job: what is there afterwards, the job has made. Nobody inherits older notes."""
    if reason := why_name_is_kept(pool, name):
        raise OperationFailed("changed_since", reason)
    try:
        virt_volumes.read_volume(connection, str(pool.uuid), name)
    except VirtError as error:
        if error.code != "no_volume":
            raise
        forget_notes(pool, name)
        return
    raise VirtError("volume_exists", name)


def refuse_too_big(connection: Connection, pool: Pool, needed: int) -> None:
    refresh(connection, pool)
    if pool.kind.numbers == "normal" and needed > pool.available:
        raise OperationFailed("no_room", no_room(pool, needed))


def no_room(pool: Pool, needed: int) -> str:
    return f"It needs {size_words(needed)}; {size_words(pool.available)} is free in {pool}."


def pour(pieces: Pieces, *sinks: Callable[[bytes], Any]) -> Iterator[Progress]:
    done, told_at = 0, time.monotonic()
    for piece in pieces:
        for sink in sinks:
            sink(piece)
        done += len(piece)
        if (now := time.monotonic()) - told_at >= TELL_EVERY_S:
            told_at = now
            yield Progress(done)
    yield Progress(done)


def stored_sha256(
    connection: Connection, pool: Pool, name: str, size: int
) -> Generator[Step | Progress, None, str]:
    """Returns the SHA-256 of the first `size` bytes as libvirt gives them back."""
    yield Step(f"Read {name} back and compare", total=size or None)
    digest = hashlib.sha256()
    if size:
        with Download(connection, str(pool.uuid), name, 0, size) as stream:
            yield from pour(stream, digest.update)
    return digest.hexdigest()


def check_arrival(
    connection: Connection,
    pool: Pool,
    name: str,
    size: int,
    *,
    declared: str,
    wanted: str = "",
    sent: str = "",
) -> Generator[Step | Progress, None, str]:
    """Returns the SHA-256 of what is stored, once that is what was sent and what the person said it is.

    `declared`: the format. OperationFailed copy_differs, checksum_wrong, image_refused or other_format.
    """
    stored = yield from stored_sha256(connection, pool, name, size)
    if sent and stored != sent:
        raise OperationFailed("copy_differs", f"Sent {sent}, stored {stored}.")
    if wanted and stored != wanted.lower():
        raise OperationFailed("checksum_wrong", f"Its SHA-256 is {stored}.")
    yield Step("Look into the image")
    look_into(connection, pool, name, declared)
    return stored


def look_into(connection: Connection, pool: Pool, name: str, declared: str) -> None:
    """OperationFailed image_refused when the image names other files, other_format when it is of another one."""
    volume = read_new(connection, pool, name)
    if volume is not None and (problems := images.problems_of(connection, volume, declared)):
        raise OperationFailed(images.code_of(problems), " ".join(problems))


def read_new(connection: Connection, pool: Pool, name: str) -> Volume | None:
    """The row, with the format that the bytes have now."""
    refresh(connection, pool)
    return sync.read_one(connection, pool, name)


def refresh(connection: Connection, pool: Pool) -> None:
    """libvirt looks at free space and formats only then. It refuses while it makes a volume there."""
    for _ in range(REFRESH_TRIES):
        try:
            virt_pools.refresh(connection, str(pool.uuid))
            break
        except VirtError as error:
            if error.code != "pool_busy":
                raise
            time.sleep(REFRESH_AGAIN_S)
    pool_sync.read_one(connection, pool)


@contextmanager
def taken_back_unless_whole(run: Run, pool: Pool, name: str, needed: int) -> Iterator[None]:
    """Around all that happens after the volume was made: whatever ends it early, nothing of it stays."""
    is_left = True
    try:
        yield
        is_left = False
    except VirtError as error:
        _take_back(run, pool, name)
        is_left = False
        raise _said(error, pool, needed) from error
    finally:
        if is_left:
            _take_back(run, pool, name)


def _said(error: VirtError, pool: Pool, needed: int) -> Exception:
    if error.code == "no_space":
        return OperationFailed("no_room", no_room(pool, needed))
    return OperationFailed("copy_broken", error.detail) if error.code == "connection_lost" else error


def _take_back(run: Run, pool: Pool, name: str) -> None:
    """Over a new connection: the one before may be lost. Interrupted when that is lost too; settling deletes then."""
    mine = Job.objects.filter(pk=run.job.pk, token=run.job.token, state=Job.State.RUNNING)
    if not mine.exists():
        # The sweep took the job back, and settling deletes it.
        return
    try:
        connection = open_in_time(pool.host)
        run.connections.append(connection)
        delete_part(connection, pool, name)
    except VirtError as error:
        raise Interrupted(error.detail or error.code) from error


def delete_part(connection: Connection, pool: Pool, name: str) -> None:
    try:
        virt_volumes.delete(connection, str(pool.uuid), name)
    except VirtError as error:
        if error.code != "no_volume":
            raise
    sync.read_one(connection, pool, name)
    refresh(connection, pool)


def settle(run: Run, pool: Pool | None, name: str) -> Finding:
    """A stream that broke off is never complete: what is there of the volume is deleted."""
    job = run.job
    if pool is None:
        return Finding(Job.State.FAILED, "The pool is gone, and with it what was made.", "target_gone")
    if not job.step or job.step.startswith(ASK):
        return Finding(Job.State.FAILED, "Nothing was made yet.", "nothing_done")
    connection = open_in_time(pool.host)
    run.connections.append(connection)
    if job.step == READ_NEW:
        if read_new(connection, pool, name) is not None:
            return Finding(Job.State.SUCCEEDED, "It was whole; only its row was not read.")
        return Finding(Job.State.FAILED, f"{name} is not there.", "copy_vanished")
    if job.step.startswith(MAKE):
        return _settle_made(connection, pool, name)
    delete_part(connection, pool, name)
    if job.cancel_asked_at:
        return Finding(Job.State.CANCELLED, "What was there of it was deleted.")
    return Finding(Job.State.FAILED, "It broke off; what was there of it was deleted.", "copy_broken")


def _settle_made(connection: Connection, pool: Pool, name: str) -> Finding:
    """Whether this job made it or somebody else did at the same moment cannot be known."""
    volume = read_new(connection, pool, name)
    if volume is None:
        return Finding(Job.State.FAILED, f"{name} is not there; nothing was left behind.", "copy_vanished")
    Volume.objects.filter(pk=volume.pk).update(unverified_since=timezone.now())
    text = f"{name} is there, and nothing was written into it by this job; delete it if nobody needs it."
    return Finding(Job.State.FAILED, text, "unverified")
