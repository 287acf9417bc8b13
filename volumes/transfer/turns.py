"""Whose turn it is to move the bytes of a transfer, and the signs of life that a moving one gives."""

import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Protocol

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from storagemgr.hosts.models import Host
from storagemgr.jobs.models import Job
from storagemgr.jobs.runner import ring_next
from volumes.models import Transfer
from volumes.transfer.tickets import Refused

State = Job.State
TELL_EVERY_S = 0.5
TELL_EVERY = 64 * 1024**2  # bytes
STALLED_S = 120.0
_slots = threading.BoundedSemaphore(settings.TRANSFERS_AT_ONCE)
_readers: Counter[int] = Counter()
_readers_lock = threading.Lock()


class Reader(Protocol):
    """Who holds a slot and waits for a client to take what it was given last, `moved_at` (monotonic)."""

    moved_at: float

    def close(self) -> None: ...


readers: set[Reader] = set()


def _close_stalled() -> None:
    for reader in list(readers):
        if time.monotonic() - reader.moved_at > STALLED_S:
            reader.close()


@contextmanager
def slot() -> Iterator[None]:
    """One of the TRANSFERS_AT_ONCE streams of this process; when none is free, stalled readers lose theirs."""
    is_mine = _slots.acquire(blocking=False)
    if not is_mine:
        _close_stalled()
        is_mine = _slots.acquire(blocking=False)
    if not is_mine:
        raise Refused(503, "Enough other transfers are under way; try again soon.", again_after_s=5)
    try:
        yield
    finally:
        _slots.release()


class Turn:
    """While it lasts, the pool is not stopped or refreshed by a job, and an upload has no second writer."""

    def __init__(self, transfer: Transfer) -> None:
        self.job = transfer.job
        self.transfer = transfer
        self.name = f"transfer:{uuid.uuid4()}"
        self.is_first = False  # nobody had a turn before, so that nothing was written
        self._told_at, self._told = 0.0, 0

    def tell(self, done: int, *, at_once: bool = False) -> None:
        """Renew the lease and write the progress, seldom enough; Refused when the job was taken away."""
        is_early = time.monotonic() - self._told_at < TELL_EVERY_S and done - self._told < TELL_EVERY
        if is_early and not at_once:
            return
        self._told_at, self._told = time.monotonic(), done
        now = timezone.now()
        rows = self._mine().update(
            lease_until=now + _lease(), done_bytes=done, progress_at=now, updated_at=now
        )
        if not rows:
            raise Refused(410, "The job was stopped, or somebody else sends its bytes now.")
        if self.transfer.direction == Transfer.Direction.DOWN:
            sent = Transfer.objects.filter(pk=self.transfer.pk, done__lt=done)
            sent.update(done=done, moved_at=now)

    def _mine(self) -> QuerySet[Job]:
        rows = Job.objects.filter(pk=self.job.pk, state=State.TRANSFERRING)
        return rows.filter(worker=self.name) if self.transfer.direction == Transfer.Direction.UP else rows


@contextmanager
def turn(transfer: Transfer) -> Iterator[Turn]:
    mine = Turn(transfer)
    _begin(mine)
    with _readers_lock:
        _readers[transfer.job.pk] += 1
    try:
        yield mine
    finally:
        with _readers_lock:
            _readers[transfer.job.pk] -= 1
            is_last = not _readers[transfer.job.pk]
        if is_last and mine._mine().update(lease_until=timezone.now()):
            ring_next(transfer.job)


def _lease() -> timedelta:
    return timedelta(seconds=settings.LEASE)


def _begin(mine: Turn) -> None:
    with transaction.atomic():
        Host.objects.select_for_update().get(pk=mine.job.host_id)
        job, now = Job.objects.get(pk=mine.job.pk), timezone.now()
        if job.state != State.TRANSFERRING:
            raise Refused(423, "The volume is being made; try again at once.", again_after_s=1)
        is_up = mine.transfer.direction == Transfer.Direction.UP
        if is_up and job.worker.startswith("transfer:") and job.lease_until and job.lease_until > now:
            raise Refused(423, "Another connection sends this file now.", again_after_s=2)
        lane = Job.objects.active().in_lane(job.host_id, job.pool_uuid)
        if alone := lane.filter(is_exclusive=True).order_by("id").first():
            raise Refused(
                423, f"The pool is busy: {alone.title}. Try again when that has ended.", again_after_s=3
            )
        fields = {"worker": mine.name} if is_up else {}
        Job.objects.filter(pk=job.pk).update(
            lease_until=now + _lease(), progress_at=job.progress_at or now, **fields
        )
        mine.is_first = job.progress_at is None
