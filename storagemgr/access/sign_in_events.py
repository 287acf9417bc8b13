"""Writes to the audit who signed in, failed to, and changed how they do."""

from typing import Any

from allauth.account import signals as account
from allauth.account.authentication import get_authentication_records
from allauth.mfa import signals as mfa
from allauth.mfa.models import Authenticator
from django.contrib.auth import user_logged_in
from django.contrib.auth.models import User
from django.http import HttpRequest

from storagemgr.access import audit, sessions, throttle

Outcome = audit.Outcome


def listen() -> None:
    user_logged_in.connect(sessions.begin)
    account.user_logged_in.connect(_signed_in)
    for signal in (account.password_set, account.password_changed, account.password_reset):
        signal.connect(_password)
    mfa.authenticator_added.connect(_factor_added)
    mfa.authenticator_reset.connect(_factor_added)
    mfa.authenticator_removed.connect(_factor_removed)
    mfa.authentication_failed.connect(_code_failed)


def record(
    action: str, outcome: Any, request: HttpRequest, user: User | None, text: str = "", **more: Any
) -> None:
    audit.record(
        f"account.{action}",
        outcome,
        actor=user,
        object_text=text,
        address=audit.address_of(request),
        details=more,
    )


def _signed_in(request: HttpRequest, user: User, **_: Any) -> None:
    throttle.lift(user.get_username())
    methods = [found.get("type") or found["method"] for found in get_authentication_records(request, user)]
    record("sign-in", Outcome.DONE, request, user, by=methods)


def _password(request: HttpRequest, user: User, **_: Any) -> None:
    throttle.lift(user.get_username())
    record("password", Outcome.DONE, request, user, f"Password of {user.get_username()}")


def _factor_added(request: HttpRequest, user: User, authenticator: Authenticator, **_: Any) -> None:
    record("mfa-on", Outcome.DONE, request, user, str(authenticator))
    # They know the password alone.
    here = request.session.session_key
    others = [session for session in sessions.sessions_of(user) if session.session_key != here]
    sessions.end(user, others, request)


def _factor_removed(request: HttpRequest, user: User, authenticator: Authenticator, **_: Any) -> None:
    record("mfa-off", Outcome.DONE, request, user, str(authenticator))


def _code_failed(request: HttpRequest, user: User, **_: Any) -> None:
    record("sign-in-failed", Outcome.FAILED, request, user, "Second factor")
