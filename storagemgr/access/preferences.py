"""How a person wants pages to look: time zone, units, density, theme. They come with the person, in the same query."""

import zoneinfo
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from allauth.account.auth_backends import AuthenticationBackend
from django import forms
from django.contrib import messages
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from storagemgr.access.models import Preferences

THEMES = {"": "As the system", "light": "Light", "dark": "Dark"}
UNITS = {"": "GiB, TiB: 1024 bytes are 1 KiB", "decimal": "GB, TB: 1000 bytes are 1 kB"}
DENSITIES = {"": "Comfortable", "compact": "Compact"}

# Of the request that is answered now: also where a size is written far from any request.
units: ContextVar[str] = ContextVar("units", default="")


class Backend(AuthenticationBackend):
    def get_user(self, user_id: int) -> User | None:
        found = User.objects.select_related("preferences").filter(pk=user_id).first()
        return found if found and self.user_can_authenticate(found) else None


def preferences_of(user: Any) -> Preferences:
    """Those of nobody, and of who never chose any, are the defaults."""
    if not user.is_authenticated:
        return Preferences()
    return getattr(user, "preferences", None) or Preferences(user=user)


def middleware(answer: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    def apply(request: HttpRequest) -> HttpResponse:
        wanted = preferences_of(request.user)
        before = units.set(wanted.units)
        try:
            with timezone.override(_zone(wanted.time_zone)):
                return answer(request)
        finally:
            units.reset(before)

    return apply


def _zone(name: str) -> zoneinfo.ZoneInfo | Any:
    """The server's for "", and for one that the server's data does not know any more."""
    try:
        return zoneinfo.ZoneInfo(name) if name else timezone.get_default_timezone()
    except (zoneinfo.ZoneInfoNotFoundError, ValueError):
        return timezone.get_default_timezone()


class PreferencesForm(forms.ModelForm):
    time_zone = forms.ChoiceField(
        label="Time zone", required=False, help_text="For every time on the pages and in exports."
    )
    units = forms.ChoiceField(
        label="Units",
        choices=UNITS.items(),
        required=False,
        widget=forms.RadioSelect,
        help_text="For every size that is shown. Sizes that you type keep the unit that stands beside them.",
    )
    density = forms.ChoiceField(
        label="Rows of lists", choices=DENSITIES.items(), required=False, widget=forms.RadioSelect
    )
    theme = forms.ChoiceField(label="Theme", choices=THEMES.items(), required=False, widget=forms.RadioSelect)

    class Meta:
        model = Preferences
        fields = ("time_zone", "units", "density", "theme")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        server = timezone.get_default_timezone_name()
        zones = sorted(zoneinfo.available_timezones())
        self.fields["time_zone"].choices = [("", f"As the server ({server})"), *((z, z) for z in zones)]


@require_http_methods(["GET", "HEAD", "POST"])
def preferences_page(request: HttpRequest) -> HttpResponse:
    form = PreferencesForm(
        request.POST if request.method == "POST" else None, instance=preferences_of(request.user)
    )
    if form.is_valid():
        form.save()
        messages.success(request, "Kept. Every page follows from now on.")
        response = redirect("account_preferences")
        response.status_code = 303
        return response
    page = {"form": form, "errors": [form[name] for name in form.errors], "now": timezone.now()}
    return render(request, "account/preferences.html", page, status=422 if form.errors else 200)
