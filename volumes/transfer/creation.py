"""Making an upload without a page: POST with a token, as tus clients do."""

import base64
import binascii
import time
import uuid

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.urls import reverse

from pools.models import Pool
from storagemgr.access import audit
from storagemgr.access.objects import visible_or_404
from storagemgr.access.tokens import user_of
from storagemgr.jobs.models import Job
from storagemgr.jobs.operations import OperationForm
from storagemgr.jobs.pages import require_right
from storagemgr.jobs.submit import Held, NoRoom, submit
from storagemgr.messages import message
from volumes.models import Transfer
from volumes.operations.uploading import UPLOAD, format_of
from volumes.transfer import uploads
from volumes.transfer.http import number, text
from volumes.transfer.tickets import Refused, signature, transfer_of, upload_url

MADE_S = 10.0
NEEDED = "Upload-Metadata needs pool (its number, as in the address of its page) and name; format, sha256, filename"


def collection(request: HttpRequest) -> HttpResponse:
    method = uploads.method_of(request)
    if method == "OPTIONS":
        return uploads.options()
    if method != "POST":
        response = text(405, "POST makes an upload; its ticket takes the bytes.")
        response["Allow"] = "POST, OPTIONS"
        return response
    return uploads.check_version(request) or _create(request)


def _create(request: HttpRequest) -> HttpResponse:
    user = user_of(request.headers.get("Authorization", ""))
    if user is None:
        response = text(401, "Send Authorization: Bearer TOKEN, with a token from your account's page.")
        response["WWW-Authenticate"] = 'Bearer realm="storagemgr"'
        return response
    request.user = user
    if "Upload-Defer-Length" in request.headers:
        raise Refused(400, "How many bytes come must be said at the start: Upload-Length.")
    values = _metadata(request) | {"size": str(number(request, "Upload-Length"))}
    pool = _pool(request, values.pop("pool", ""))
    require_right(request, UPLOAD, pool)
    if reason := UPLOAD.why_off(pool):
        raise Refused(409, reason)
    transfer = transfer_of(_submit(request, pool, values))
    _wait_until_made(transfer)
    response = HttpResponse(status=201)
    path = reverse("upload", args=[transfer.pk, signature(transfer)])
    response["Location"] = (
        upload_url(request, transfer) if settings.TRANSFER_URL else request.build_absolute_uri(path)
    )
    return response


def _metadata(request: HttpRequest) -> dict[str, str]:
    found = {}
    for pair in filter(None, request.headers.get("Upload-Metadata", "").split(",")):
        name, _, value = pair.strip().partition(" ")
        try:
            found[name] = base64.b64decode(value, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError) as error:
            raise Refused(
                400, f"Upload-Metadata: the value of {name[:40]!r} is no text in base64."
            ) from error
    found["file_name"] = found.pop("filename", "")
    found.setdefault("name", found["file_name"])
    found.setdefault("format", format_of(found["file_name"] or found["name"]))
    return found


def _pool(request: HttpRequest, number_: str) -> Pool:
    if not (number_.isascii() and number_.isdigit() and len(number_) < 19):
        raise Refused(400, f"{NEEDED}.")
    return visible_or_404(request, Pool.objects.select_related("host"), pk=number_)  # type: ignore[no-any-return]


def _submit(request: HttpRequest, pool: Pool, values: dict[str, str]) -> Job:
    form: OperationForm = UPLOAD.form(values | {"key": str(uuid.uuid4())}, target=pool, user=request.user)
    if not form.is_valid():
        wrong = [f"{name}: {' '.join(map(str, errors))}" for name, errors in form.errors.items()]
        raise Refused(422, "\n".join(wrong))
    try:
        return submit(
            UPLOAD,
            pool,
            actor=request.user,  # type: ignore[arg-type]
            params=form.params(),
            key=form.cleaned_data["key"],
            address=audit.address_of(request),
        )
    except NoRoom as error:
        raise Refused(422, f"size: {error}") from error
    except Held as held:
        is_seen = Job.objects.visible_to(request.user).filter(pk=held.job.pk).exists()
        which = f" {held.job.title}, by {held.job.requester_name}." if is_seen else ""
        raise Refused(409, f"{message('held').title}{which}") from held


def _wait_until_made(transfer: Transfer) -> None:
    """A client that sends at once finds the volume; what cannot be made is told here."""
    deadline = time.monotonic() + MADE_S
    while not transfer.is_ready and time.monotonic() < deadline:
        time.sleep(0.1)
        transfer.refresh_from_db()
        transfer.job.refresh_from_db()
        if not transfer.job.is_active:
            said = message(transfer.job.error_code or "unknown")
            raise Refused(409, f"{said.title} {transfer.job.error_text}".strip())
