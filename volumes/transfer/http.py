"""What all answers of the transfer process share: refusals as text, the headers of tus, and other sites kept out."""

import logging
import re
from collections.abc import Callable
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.http.request import split_domain_port, validate_host

from storagemgr.messages import message
from storagemgr.virt.errors import VirtError
from volumes.transfer.tickets import Refused

logger = logging.getLogger(__name__)
TUS = "1.0.0"
METHODS = "GET, HEAD, POST, PATCH, DELETE, OPTIONS"
ASKED_WITH = (
    "Authorization, Content-Type, Range, If-Range, Tus-Resumable, Upload-Checksum, Upload-Length, Upload-Metadata,"
    " Upload-Offset, X-HTTP-Method-Override, X-Requested-With"
)
SHOWN = (
    "Content-Disposition, Content-Range, ETag, Location, Retry-After, Tus-Checksum-Algorithm, Tus-Extension,"
    " Tus-Max-Size, Tus-Resumable, Tus-Version, Upload-Expires, Upload-Length, Upload-Offset"
)
NUMBER = re.compile(r"[0-9]{1,19}", re.ASCII)
Answer = Callable[[HttpRequest], HttpResponse]


def text(status: int, words: str) -> HttpResponse:
    return HttpResponse(
        f"{words}\n" if words else "", status=status, content_type="text/plain; charset=utf-8"
    )


def number(request: HttpRequest, header: str) -> int:
    """Refused 400 unless it is a whole number that libvirt can count."""
    value = request.headers.get(header, "")
    if not NUMBER.fullmatch(value) or int(value) >= 2**63:
        raise Refused(400, f"{header} must be a number of bytes, from 0 to 2^63 - 1.")
    return int(value)


class Middleware:
    def __init__(self, answer: Answer) -> None:
        self.answer = answer

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.answer(request)
        response.setdefault("Cache-Control", "no-store")
        response.setdefault("Referrer-Policy", "no-referrer")
        response["Content-Security-Policy"] = "default-src 'none'; frame-ancestors 'none'; sandbox"
        response["Tus-Resumable"] = TUS
        response["Vary"] = "Origin"
        if origin := own_origin(request):
            response["Access-Control-Allow-Origin"] = origin
            response["Access-Control-Expose-Headers"] = SHOWN
            if request.method == "OPTIONS":
                response["Access-Control-Allow-Methods"] = METHODS
                response["Access-Control-Allow-Headers"] = ASKED_WITH
                response["Access-Control-Max-Age"] = "600"
        return response

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        if isinstance(error, Refused):
            response = text(error.status, error.text)
            if error.again_after_s is not None:
                response["Retry-After"] = str(error.again_after_s)
            return response
        if isinstance(error, VirtError):
            logger.warning("%s %s: %s", request.method, request.path.split("/")[2:4], error)
            response = text(503, f"{message(error.code).title} {message(error.code).hint}")
            response["Retry-After"] = "3"
            return response
        if isinstance(error, PermissionDenied):
            return text(403, str(error))
        return text(404, "There is no such thing here.") if isinstance(error, Http404) else None


def own_origin(request: HttpRequest) -> str:
    """The Origin of the request if it is one of our pages, "" otherwise."""
    origin = request.headers.get("Origin", "")
    try:
        parts = urlsplit(origin)
    except ValueError:
        return ""
    if (
        parts.scheme not in ("http", "https")
        or not parts.hostname
        or (request.is_secure() and parts.scheme == "http")
    ):
        return ""
    pages = [name for name in settings.ALLOWED_HOSTS if name != "*"]
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    is_same = host == split_domain_port(request.get_host())[0]
    return origin if is_same or validate_host(host, pages) else ""
