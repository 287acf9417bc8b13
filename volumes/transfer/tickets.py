"""Tickets: the addresses under which the transfer process gives and takes the bytes of one job.

A ticket is a capability: whoever has it needs no cookie. It names the transfer and is signed with its nonce, so that a
new nonce makes it void; the rights of the person who asked are looked at again with each request.

For pages: `upload_url(request, transfer)` once `transfer.is_ready`, `download_url(request, transfer)`, and
`allow(request, response)`, without which the page's own policy forbids scripts to connect there. What the addresses
answer is described in volumes/transfer/uploads.py and downloads.py.
"""

import hmac
import uuid
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.crypto import salted_hmac

from storagemgr.access.objects import may
from storagemgr.jobs.models import Job
from storagemgr.jobs.operations import REGISTRY
from volumes.models import Transfer

URLS = "volumes.transfer.urls"
Direction = Transfer.Direction


class Refused(Exception):
    """What the transfer process answers instead: a status of HTTP, and a sentence that says what and why."""

    def __init__(self, status: int, text: str, *, again_after_s: int | None = None) -> None:
        super().__init__(text)
        self.status, self.text, self.again_after_s = status, text, again_after_s


def transfer_of(job: Job) -> Transfer:
    """The transfer of a job of volume.upload or volume.download; made by whoever needs it first."""
    params = job.params
    fields = {
        "direction": Direction.UP if job.operation == "volume.upload" else Direction.DOWN,
        "file_name": params.get("file_name") or job.volume_name,
        "size": params.get("size", 0),
        "sha256_wanted": params.get("sha256", ""),
    }
    return Transfer.objects.select_related("job").get_or_create(job=job, defaults=fields)[0]


def signature(transfer: Transfer) -> str:
    text = f"{transfer.direction} {transfer.pk} {transfer.nonce}"
    return salted_hmac("storagemgr.transfer", text, algorithm="sha256").hexdigest()


def upload_url(request: HttpRequest, transfer: Transfer) -> str:
    """Where the bytes of an upload go, by the tus protocol: HEAD tells the offset, PATCH takes bytes from there on."""
    path = reverse("upload", URLS, args=[transfer.pk, signature(transfer)])
    return base_url(request) + path


def download_url(request: HttpRequest, transfer: Transfer) -> str:
    """GET it, as often and in as many parts as one likes, until all of it was fetched once."""
    name = safe_name(transfer.file_name)
    path = reverse("download", URLS, args=[transfer.pk, signature(transfer), name])
    return base_url(request) + path


def safe_name(name: str) -> str:
    """A file name that no browser and no shell takes for anything else."""
    kept = "".join(
        letter if letter.isascii() and (letter.isalnum() or letter in "._+-@") else "_" for letter in name
    )
    return kept.lstrip(".-") or "volume"


def base_url(request: HttpRequest) -> str:
    """Of the transfer process, as this browser reaches it, without a slash at its end."""
    if settings.TRANSFER_URL:
        return request.build_absolute_uri(settings.TRANSFER_URL).rstrip("/")
    host = urlsplit(f"//{request.get_host()}").hostname or ""
    host = f"[{host}]" if ":" in host else host
    return f"{request.scheme}://{host}:{settings.TRANSFER_PORT}"


def allow(request: HttpRequest, response: HttpResponse) -> HttpResponse:
    """Let the scripts of this page connect to the transfer process."""
    parts = urlsplit(base_url(request))
    response._csp_update = {"connect-src": [f"{parts.scheme}://{parts.netloc}"]}  # type: ignore[attr-defined]
    return response


def redeem(direction: str, pk: uuid.UUID, signed: str, *, also_done: bool = False) -> Transfer:
    """The transfer, if this ticket is good for it now, or `also_done` and its job went well; else Refused."""
    rows = Transfer.objects.select_related("job__host", "job__requested_by")
    transfer = rows.filter(pk=pk, direction=direction).first()
    if transfer is None or not hmac.compare_digest(signature(transfer).encode(), signed.encode()):
        raise Refused(404, "There is no such ticket.")
    job = transfer.job
    is_well = also_done and job.state == Job.State.SUCCEEDED
    if not is_well and (not job.is_active or job.cancel_asked_at or transfer.verdict):
        raise Refused(410, f"The job has ended: {job.get_state_display()}. {job.error_text}".strip())
    if not _may(job.requested_by, job):
        raise Refused(403, "Who asked for it may not do it any more.")
    return transfer


def _may(user: User | None, job: Job) -> bool:
    needed = (REGISTRY[job.operation].right, "pool.view")
    return user is not None and all(may(user, right, job.host_id, job.pool_uuid) for right in needed)
