"""Light or dark: what a person chose, and a cookie for the pages before they sign in. No script is needed."""

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest, HttpResponseRedirect
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST

from storagemgr.access.models import Preferences
from storagemgr.access.preferences import preferences_of

THEMES = {"system": "As the system", "light": "Light", "dark": "Dark"}
YEAR = 365 * 24 * 3600


def chosen(request: HttpRequest) -> str:
    wanted = preferences_of(request.user) if hasattr(request, "user") else Preferences()
    theme = request.COOKIES.get("theme", "") if wanted._state.adding else wanted.theme
    return theme if theme in THEMES else "system"


@login_not_required
@require_POST
def choose(request: HttpRequest) -> HttpResponse:
    theme = request.POST.get("theme", "")
    if theme not in THEMES:
        return HttpResponseBadRequest("No such theme.")
    back = request.POST.get("next", "")
    if not url_has_allowed_host_and_scheme(back, {request.get_host()}, require_https=request.is_secure()):
        back = reverse("pools:fleet")
    if request.user.is_authenticated:
        wanted = preferences_of(request.user)
        wanted.theme = "" if theme == "system" else theme
        wanted.save()
    return remember(request, HttpResponseRedirect(back), theme)


def remember(request: HttpRequest, response: HttpResponse, theme: str) -> HttpResponse:
    response.set_cookie(
        "theme", theme, max_age=YEAR, samesite="Lax", secure=request.is_secure(), httponly=True
    )
    return response
