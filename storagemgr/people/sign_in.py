"""How a person signs in, as an administrator sees it: sessions, second factors, and what is locked.

Where from and with what somebody signs in is shown to those alone who manage all access, or read all of the audit.
"""

from typing import Any

from allauth.mfa.models import Authenticator
from django.contrib import messages
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from storagemgr.access import audit, persons, sessions, throttle
from storagemgr.access.granting import manages, sees_all_grants
from storagemgr.access.recent import require_recent
from storagemgr.access.sign_in_events import Outcome, record
from storagemgr.listing import ID_LIMIT
from storagemgr.people.guard import people_page, require, see
from storagemgr.templatetags.storage import printable

NOT_YOURS = "Locks are lifted by those who grant roles on everything."


@require_http_methods(["GET", "HEAD", "POST"])
@people_page
def sign_in(request: HttpRequest, pk: int) -> HttpResponse:
    """POST `session` ends one, `do` is "end", "factors" or "lift"."""
    found = get_object_or_404(User, pk=min(pk, ID_LIMIT))
    why_not = persons.why_not(request.user, found)
    if request.method != "POST":
        page: dict[str, Any] = {"person": found, "why_not": why_not}
        if not why_not or sees_all_grants(request.user):
            page |= {
                "is_shown": True,
                "sessions": sessions.sessions_of(found),
                "factors": list(Authenticator.objects.filter(user=found)),
                "locked_until": throttle.locked_until(found.username),
            }
        return render(request, "people/sign_in.html", page)
    require(request, "account.sign-in", why_not, found.username)
    if said := _change(request, found):
        messages.success(request, said)
    return see(reverse("people:sign_in", args=[found.pk]))


def _change(request: HttpRequest, found: User) -> str:
    name, asked = printable(found), request.POST.get("do", "")
    if asked == "factors":
        require_recent(request, f"Remove the second factors of {name}")
        gone = Authenticator.objects.filter(user=found)
        kinds = ", ".join(sorted({one.get_type_display() for one in gone}))
        gone.delete()
        sessions.end(request.user, sessions.sessions_of(found), request)
        record("mfa-off", Outcome.DONE, request, request.user, f"{found.username}: {kinds}")
        return f"The second factors of {name} are removed, and their sessions ended."
    if asked == "lift":
        _lift(request, "name", found.username)
        return f"{name} can try to sign in again."
    chosen = request.POST.get("session", "")
    ended = [one for one in sessions.sessions_of(found) if asked == "end" or str(one.pk) == chosen]
    sessions.end(request.user, ended, request)
    return f"Ended: {len(ended)} {'session' if len(ended) == 1 else 'sessions'}." if ended else ""


@require_http_methods(["GET", "HEAD", "POST"])
@people_page
def locks(request: HttpRequest) -> HttpResponse:
    """What is locked because of wrong passwords. POST `kind` and `what` lift one lock."""
    may_lift = manages(request.user) and persons.may_make(request.user)
    if request.method != "POST":
        is_shown = sees_all_grants(request.user)
        page = {"locks": throttle.locks() if is_shown else [], "may_lift": may_lift, "is_shown": is_shown}
        return render(request, "people/locks.html", page)
    require(request, "account.lift", "" if may_lift else NOT_YOURS)
    kind, what = request.POST.get("kind", ""), request.POST.get("what", "")
    if any((lock.kind, lock.what) == (kind, what) for lock in throttle.locks()):
        _lift(request, kind, what)
        messages.success(request, f"{printable(what)} is not locked any more.")
    return see(reverse("people:locks"))


def _lift(request: HttpRequest, kind: str, what: str) -> None:
    throttle.lift(**{kind: what})
    audit.record(
        "account.lift",
        Outcome.DONE,
        actor=request.user,
        object_text=f"Sign in {'as' if kind == 'name' else 'from'} {what}",
        address=audit.address_of(request),
    )
