"""One's own second factors and sessions."""

from typing import Any

from allauth.mfa.base.views import IndexView
from django.contrib import messages
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from storagemgr.access import second_factor, sessions


class SecurityView(IndexView):
    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        page = super().get_context_data(**kwargs)
        user = self.request.user
        assert isinstance(user, User)  # noqa: S101
        page["is_required"] = second_factor.must_have(user) and not second_factor.has(self.request)
        page["session_count"] = len(sessions.sessions_of(user)) or 1
        return page


security_page = never_cache(SecurityView.as_view())


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def sessions_page(request: HttpRequest) -> HttpResponse:
    """POST `session` ends that one, without it all but this one. Another person's does not exist."""
    user = request.user
    assert isinstance(user, User)  # noqa: S101
    found = sessions.sessions_of(user)
    if request.method != "POST":
        return render(
            request, "usersessions/usersession_list.html", {"sessions": found, "session_count": len(found)}
        )
    others = [session for session in found if not session.is_current()]
    if chosen := request.POST.get("session", ""):
        others = [session for session in others if str(session.pk) == chosen]
    sessions.end(user, others, request)
    if others:
        messages.success(request, f"Ended: {len(others)} {'session' if len(others) == 1 else 'sessions'}.")
    response = redirect("usersessions_list")
    response.status_code = 303
    return response
