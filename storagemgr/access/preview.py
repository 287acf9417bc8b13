"""The pages as another role sees them. It only takes rights away, and nothing can be changed meanwhile."""

from collections.abc import Callable
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from storagemgr.access import audit
from storagemgr.access.roles import RoleFacts, all_roles
from storagemgr.access.who import words_of

_KEY = "preview"
_SAFE = ("GET", "HEAD", "OPTIONS")
_ALLOWED = ("account_preview", "account_logout", "theme")


class Middleware:
    def __init__(self, answer: Callable[[HttpRequest], HttpResponse]) -> None:
        self.answer = answer

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if role := _chosen(request):
            request.preview = role  # type: ignore[attr-defined]
            request.user.previewed = role.rights  # type: ignore[union-attr]
        return self.answer(request)

    def process_view(self, request: HttpRequest, *_: Any) -> None:
        refuse_changes(request)


def refuse_changes(request: HttpRequest) -> None:
    role: RoleFacts | None = getattr(request, "preview", None)
    name = request.resolver_match.url_name if request.resolver_match else ""
    if role is None or request.method in _SAFE or name in _ALLOWED:
        return
    _record(request, f"{request.path} as {role.title}", audit.Outcome.DENIED)
    raise PermissionDenied(
        f"You are looking at the pages as {role.title}. To change something, end that at the top of the page."
    )


def _chosen(request: HttpRequest) -> RoleFacts | None:
    name = request.session.get(_KEY) if request.user.is_authenticated else None
    return all_roles().get(name) if name else None


@require_http_methods(["GET", "HEAD", "POST"])
def preview_page(request: HttpRequest) -> HttpResponse:
    """GET lists the roles; POST `role` begins, without one it ends."""
    roles = all_roles()
    if request.method != "POST":
        listed = [(role, words_of(role.rights)) for role in roles.values()]
        return render(request, "account/preview.html", {"roles": listed})
    role = roles.get(request.POST.get("role", ""))
    if role:
        request.session[_KEY] = role.name
    else:
        request.session.pop(_KEY, None)
    _record(request, f"pages as {role.title}" if role else "own pages again", audit.Outcome.DONE)
    return redirect("pools:fleet" if role else "account_preview")


def _record(request: HttpRequest, text: str, outcome: audit.Outcome) -> None:
    audit.record(
        "account.preview", outcome, actor=request.user, object_text=text, address=audit.address_of(request)
    )
