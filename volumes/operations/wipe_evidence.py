"""The record of a wipe: written before libvirt begins, closed once, with what was read back afterwards. Bytes."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from django.utils import timezone

from storagemgr.jobs.operations import OperationFailed, Run
from storagemgr.messages import message
from storagemgr.virt import volumes as virt_volumes
from storagemgr.virt.connection import Connection
from storagemgr.virt.errors import VirtError
from volumes.models import Volume, WipeRecord
from volumes.promises import FREED, OVERWRITTEN, overwrites, promises_little

UNSEEN = "Nobody saw its end, so it cannot be claimed that the volume is wiped."
NOT_CHECKED = "Read back: not checked."
PLACES, PLACE = 16, 4096  # so many places of so many bytes are read back


@dataclass
class Evidence:
    """What a wipe that ended well leaves for its record, in sentences."""

    seen: list[str] = field(default_factory=list)
    contradiction: str = ""


@contextmanager
def recorded(run: Run, fills: bool) -> Iterator[Evidence]:
    """The evidence: it stands before libvirt begins, and says afterwards how that ended."""
    record, evidence = _record_of(run, fills), Evidence()
    record.save()
    try:
        yield evidence
    except VirtError as error:
        if error.code == "connection_lost":
            # libvirt may go on; settling looks at it and closes the record.
            raise
        code = "scrub_missing" if error.code == "program_missing" else error.code
        close(record, " ".join([f"{message(code).title} {error.detail}".strip(), *evidence.seen]))
        if code == "scrub_missing":
            raise OperationFailed(code, error.detail) from error
        raise
    if evidence.contradiction:
        close(record, " ".join([message("wipe_disproved").title, *evidence.seen]))
        raise OperationFailed("wipe_disproved", evidence.contradiction)
    is_done = overwrites(run.target, record.algorithm, fills=fills)
    close(record, " ".join([OVERWRITTEN if is_done else FREED, *evidence.seen]), is_done=is_done)


def _record_of(run: Run, fills: bool) -> WipeRecord:
    volume, job = run.target, run.job
    pool, host = volume.pool, volume.pool.host
    copied = {name: getattr(volume, name) for name in ("format", "capacity", "allocation", "physical")}
    return WipeRecord(
        job_id=job.pk,
        host_id=host.pk,
        host_name=host.name,
        libvirt_version=host.libvirt_version,
        pool_uuid=pool.uuid,
        pool_name=pool.name,
        pool_type=pool.type,
        pool_source=pool.source,
        volume_name=volume.name,
        volume_key=volume.key,
        volume_path=volume.path,
        volume_type=volume.type,
        algorithm=job.params["algorithm"],
        requested_by=job.requester_name,
        reason=job.params["reason"],
        started_at=timezone.now(),
        promises_little=promises_little(volume, job.params["algorithm"], fills=fills),
        **copied,
    )


def close(record: WipeRecord, result: str, *, is_done: bool = False) -> None:
    """Once: what it says then is never changed."""
    open_one = WipeRecord.objects.filter(pk=record.pk, ended_at=None)
    open_one.update(ended_at=timezone.now(), result=result, is_done=is_done)


def filled(volume: Volume) -> str:
    return f"All its space was taken first; taken before: {volume.allocation} bytes of {volume.capacity}."


def read_back(connection: Connection, volume: Volume, algorithm: str, evidence: Evidence) -> None:
    """Beyond libvirt's word: only zeros can be told from old data."""
    if algorithm != "zero":
        evidence.seen.append(f"{NOT_CHECKED} Only zeros can be told from old data.")
        return
    if reason := volume.pool.kind.why_not("volume.download"):
        evidence.seen.append(f"{NOT_CHECKED} {reason}")
        return
    try:
        places, others = not_zero(connection, volume)
    except VirtError as error:
        evidence.seen.append(f"{NOT_CHECKED} {message(error.code).title}")
        return
    found = f"{len(others)} not zeros, the first at byte {others[0]}" if others else "all zeros"
    evidence.seen.append(f"Read back: {places} places, {found}.")
    evidence.contradiction = f"Read back: {places} places, {found}." if others else ""


def not_zero(connection: Connection, volume: Volume) -> tuple[int, list[int]]:
    """How many places were read, spread evenly from the first byte to the last, and where other bytes stand."""
    pool_uuid = str(volume.pool.uuid)
    info = virt_volumes.read_volume(connection, pool_uuid, volume.name)
    size = info.capacity if info.physical is None or info.type != "file" else info.physical
    places = places_in(size)
    read = {
        place: virt_volumes.read_bytes(connection, pool_uuid, volume.name, place, PLACE) for place in places
    }
    return len(places), [place for place, found in read.items() if found.strip(b"\0")]


def places_in(size: int) -> list[int]:
    last = max(0, size - PLACE)
    return sorted({last * number // (PLACES - 1) for number in range(PLACES)}) if size else []
