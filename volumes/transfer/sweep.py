"""Ends what nobody goes on with: uploads to which nothing came for long, downloads that nobody fetches."""

from datetime import datetime, timedelta

from django.conf import settings

from storagemgr.jobs.lease import move
from storagemgr.jobs.models import Job
from storagemgr.jobs.runner import end, ring_next
from storagemgr.jobs.submit import ring
from storagemgr.templatetags.storage import size, span
from volumes.models import Transfer
from volumes.operations.leftovers import delete_leftovers

State, Direction = Job.State, Transfer.Direction
DOWNLOAD_KEPT = timedelta(minutes=10)
EXPIRED = "upload_expired"


def sweep(now: datetime) -> None:
    waiting = Transfer.objects.select_related("job").filter(job__state=State.TRANSFERRING)
    kept = timedelta(seconds=settings.TRANSFER_KEPT)
    resting = waiting.filter(job__lease_until__lt=now)
    for transfer in resting.filter(direction=Direction.UP, moved_at__lt=now - kept):
        reason = f"{EXPIRED} Nothing came for {span(kept)}; {_so_far(transfer)} had come."
        if not transfer.verdict:
            Transfer.objects.filter(pk=transfer.pk).update(verdict=reason)
        _run_again(transfer.job)
    # The person cancelled it just before it was handed over; or the process died between two of its writes.
    for transfer in resting.filter(direction=Direction.UP):
        if transfer.job.cancel_asked_at or transfer.verdict or transfer.done == transfer.size:
            _run_again(transfer.job)
    for transfer in resting.filter(direction=Direction.DOWN, moved_at__lt=now - DOWNLOAD_KEPT):
        _end_download(transfer)
    delete_leftovers(now)


def _run_again(job: Job) -> None:
    if move(job, from_state=State.TRANSFERRING, to_state=State.QUEUED):
        ring(job)


def _end_download(transfer: Transfer) -> None:
    is_whole = transfer.done >= transfer.size
    text = "" if is_whole else f"{_so_far(transfer)} were fetched."
    state = State.SUCCEEDED if is_whole else State.CANCELLED
    end(transfer.job, state, text=text, from_state=State.TRANSFERRING)
    ring_next(transfer.job)


def _so_far(transfer: Transfer) -> str:
    return f"{size(transfer.done)} of {size(transfer.size)}"
