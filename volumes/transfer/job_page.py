"""What the page of an upload or a download shows while the bytes are on their way."""

from datetime import timedelta

from django.conf import settings
from django.http import HttpRequest
from django.utils import timezone

from storagemgr.jobs.models import Job
from storagemgr.jobs.operations import Part
from volumes.models import Transfer
from volumes.transfer import tickets

SILENT = timedelta(seconds=15)  # longer than the pauses of a client that sends


def receiving(request: HttpRequest, job: Job) -> Part | None:
    """The ticket is for the person who asked alone; all others see how far it is."""
    transfer = Transfer.objects.filter(job=job).first()
    is_mine = job.requested_by_id == request.user.pk
    context = {"transfer": transfer, "is_mine": is_mine}
    if transfer:
        context |= _waiting(transfer, job)
        if is_mine and transfer.is_ready:
            context["url"] = tickets.upload_url(request, transfer)
    if not is_mine:
        return Part("volumes/_receiving.html", context)
    scripts = ("vendor/tus.min.js", "upload.js")
    return Part("volumes/_receiving.html", context, scripts, tickets.allow)


def sending(request: HttpRequest, job: Job) -> Part | None:
    transfer = Transfer.objects.filter(job=job).first()
    is_mine = job.requested_by_id == request.user.pk
    context = {"transfer": transfer, "is_mine": is_mine}
    if transfer:
        context |= _waiting(transfer, job)
        if is_mine and transfer.is_ready:
            context["url"] = tickets.download_url(request, transfer)
    return Part("volumes/_sending.html", context, ("download.js",) if is_mine else ())


def _waiting(transfer: Transfer, job: Job) -> dict[str, object]:
    """`so_far`: bytes that came, of which transfer.done are certain to be in the volume."""
    moved_at = max(transfer.moved_at, job.progress_at or transfer.moved_at)
    return {
        "so_far": max(transfer.done, job.done_bytes or 0),
        "moved_at": moved_at,
        "is_silent": timezone.now() - moved_at > SILENT,
        "kept_until": moved_at + timedelta(seconds=settings.TRANSFER_KEPT),
    }
