"""Sessions: they end when nobody uses them, after a working day, and when their owner or an administrator says so."""

import time
from collections.abc import Callable, Iterable
from typing import Any

from allauth.usersessions.models import UserSession
from django.conf import settings
from django.contrib.auth import logout
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from storagemgr.access import audit

BEGAN, SEEN = "began", "seen"  # in the session, seconds since 1970
NOTED_EVERY = 60


class Middleware:
    """Stands before all that asks who the person is. What a page fetches by itself keeps no session awake."""

    def __init__(self, answer: Callable[[HttpRequest], HttpResponse]) -> None:
        self.answer = answer

    def __call__(self, request: HttpRequest) -> HttpResponse:
        user = request.user
        if isinstance(user, User):
            now = time.time()
            if why := why_over(request, now):
                _record(user, user, request, why)
                _rows(user).filter(session_key=request.session.session_key).delete()
                logout(request)
            elif not _is_poll(request) and now - request.session.get(SEEN, 0) > NOTED_EVERY:
                request.session[SEEN] = now
                _rows(user).filter(session_key=request.session.session_key).update(
                    last_seen_at=timezone.now()
                )
        return self.answer(request)


def begin(request: HttpRequest, **_: Any) -> None:
    """When a person has signed in."""
    request.session[BEGAN] = request.session[SEEN] = time.time()


def why_over(request: HttpRequest, now: float) -> str:
    seen, began = (request.session.get(key, now) for key in (SEEN, BEGAN))
    if settings.SESSION_IDLE and now - seen > settings.SESSION_IDLE:
        return "not used"
    return "too old" if now - began > settings.SESSION_ABSOLUTE else ""


def _is_poll(request: HttpRequest) -> bool:
    return request.method in ("GET", "HEAD") and bool(request.headers.get("HX-Request"))


def sessions_of(user: User) -> list[UserSession]:
    """Those that are in force, the latest first."""
    found = UserSession.objects.purge_and_list(user)
    return sorted(found, key=lambda session: session.last_seen_at, reverse=True)


def end(by: User, sessions: Iterable[UserSession], request: HttpRequest) -> None:
    for session in sessions:
        session.end()
        _record(by, session.user, request, "ended", browser=session.user_agent, from_address=session.ip)


def _rows(user: User) -> Any:
    return UserSession.objects.filter(user=user)


def _record(by: User, of: User, request: HttpRequest, why: str, **details: Any) -> None:
    audit.record(
        "account.session-ended",
        audit.Outcome.DONE,
        actor=by,
        object_text=f"Session of {of.get_username()}",
        address=audit.address_of(request),
        details={"why": why} | details,
    )
