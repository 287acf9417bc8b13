"""Whether the person at the screen proved a moment ago who they are, and what they asked for waits until they did."""

import secrets
import time
from typing import Any

from allauth.account.adapter import get_adapter
from allauth.account.authentication import get_authentication_records
from allauth.core.exceptions import ImmediateHttpResponse
from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect
from django.urls import resolve, reverse
from django.utils.http import urlencode
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from storagemgr.access import preview, second_factor

WAITING, GONE_ON = "waiting", "gone_on"  # in the session: what waits, and what was answered last
NO_WAY = "This is asked only of people who signed in a moment ago. Sign out, sign in again, and ask for it once more."


def is_recent(request: HttpRequest) -> bool:
    if not settings.REAUTHENTICATE_AFTER:
        return True
    records = get_authentication_records(request, request.user)
    return bool(records) and time.time() - records[-1]["at"] < settings.REAUTHENTICATE_AFTER


def require_recent(request: HttpRequest, words: str = "") -> None:
    """Unless it was a moment ago, ends the view: the person proves who they are, then the request is made again.

    `words` say what waits. Call it when the request would succeed, outside of a transaction.
    """
    if not is_recent(request):
        raise ImmediateHttpResponse(_proof(request, _next_url(request, words)))


def _next_url(request: HttpRequest, words: str) -> str:
    if request.method != "POST":
        return request.get_full_path()
    data = request.POST.copy()
    data.pop("csrfmiddlewaretoken", None)
    key = secrets.token_urlsafe(16)
    request.session[WAITING] = {
        "key": key,
        "at": time.time(),
        "path": request.path,
        "query": request.GET.urlencode(),
        "data": data.urlencode(),
        "words": words,
    }
    return reverse("account_go_on", args=[key])


def _proof(request: HttpRequest, next_url: str) -> HttpResponse:
    """To the page where the person proves who they are; a button of htmx leads the whole page there."""
    methods = get_adapter(request).get_reauthentication_methods(request.user)
    if not methods:
        raise PermissionDenied(NO_WAY)
    url = f"{methods[0]['url']}?{urlencode({'next': next_url})}"
    if request.headers.get("HX-Request"):
        return HttpResponse(status=204, headers={"HX-Redirect": url})
    response = redirect(url)
    response.status_code = 303
    return response


@never_cache
@require_http_methods(["GET", "POST"])
def go_on(request: HttpRequest, key: str) -> HttpResponse:
    """What waited, as if it were posted now: once, and only to whom it was told to wait.

    A page that answers has the address of this one, and so its forms come here: they are sent on to where they belong.
    """
    if request.method == "POST":
        return _sent_on(request, key)
    waiting: dict[str, Any] = request.session.get(WAITING) or {}
    is_it = secrets.compare_digest(key, str(waiting.get("key", "")))
    if not is_it or time.time() - waiting["at"] > settings.REAUTHENTICATE_AFTER:
        return redirect(settings.LOGIN_REDIRECT_URL)
    if not is_recent(request):
        return _proof(request, request.path)
    del request.session[WAITING]
    query = f"?{waiting['query']}" if waiting["query"] else ""
    request.session[GONE_ON] = {"key": key, "url": waiting["path"] + query}
    request.method = "POST"
    request.path = request.path_info = waiting["path"]
    request.META |= {"REQUEST_METHOD": "POST", "QUERY_STRING": waiting["query"]}
    for name, text in {"GET": waiting["query"], "POST": waiting["data"]}.items():
        setattr(request, name, QueryDict(text))
    request.resolver_match = found = resolve(request.path)
    # What stands before each view saw the address of this one alone.
    preview.refuse_changes(request)
    return second_factor.leads_away(request) or found.func(request, *found.args, **found.kwargs)


def _sent_on(request: HttpRequest, key: str) -> HttpResponse:
    """307: the browser sends the same form there."""
    gone_on = request.session.get(GONE_ON) or {}
    if not secrets.compare_digest(key, str(gone_on.get("key", ""))):
        return redirect(settings.LOGIN_REDIRECT_URL)
    response = redirect(gone_on["url"])
    response.status_code = 307
    return response
