"""Who gets to the pages of people, teams, roles and grants, and how a refusal reaches them."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.core.exceptions import BadRequest, PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.cache import never_cache

from storagemgr.access import audit
from storagemgr.access.granting import NotGrantable, manages, record, sees_people

View = Callable[..., HttpResponse]
NOT_MANAGING = "You may look at this. To change it takes the right to grant roles; an administrator has it."


def people_page(view: View) -> View:
    """For those who grant roles or read the audit, anywhere; for others it is not there."""

    @never_cache
    @wraps(view)
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if not sees_people(request.user):
            raise Http404
        if any("\0" in value for _, values in request.GET.lists() for value in values):
            # PostgreSQL takes none, and nobody types one.
            raise BadRequest("The address of this page holds a character that no name has.")
        try:
            return view(request, *args, **kwargs)
        except NotGrantable as refused:
            raise PermissionDenied(str(refused)) from refused

    return guarded


def changing_page(action: str) -> Callable[[View], View]:
    """A people_page that changes something: for those alone who grant roles somewhere."""

    def dress(view: View) -> View:
        @wraps(view)
        def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
            require(request, action, "" if manages(request.user) else NOT_MANAGING)
            return view(request, *args, **kwargs)

        return people_page(guarded)

    return dress


def require(request: HttpRequest, action: str, why_not: str, what: str = "") -> None:
    """Refuses with `why_not`, and audits it, unless that is empty."""
    if not why_not:
        return
    refuse(request, action, what, why_not)
    raise PermissionDenied(why_not)


def refuse(request: HttpRequest, action: str, what: str, why: str) -> None:
    """Into the audit, for a page that says why itself."""
    record(request.user, action, what, audit.address_of(request), outcome=audit.Outcome.DENIED, why=why)


def see(url: str) -> HttpResponse:
    response = redirect(url)
    response.status_code = 303
    return response
