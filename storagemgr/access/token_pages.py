"""The page of one's own tokens."""

from typing import Any

from django import forms
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_http_methods

from storagemgr.access import audit, tokens
from storagemgr.access.recent import require_recent
from storagemgr.templatetags.storage import printable


class TokenForm(forms.Form):
    name = forms.CharField(
        max_length=100,
        label="Name",
        help_text="What will use it, for example: backup of web01.",
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )
    days = forms.IntegerField(
        label="Days",
        min_value=1,
        max_value=tokens.LONGEST_DAYS,
        initial=30,
        help_text="Afterwards it is void.",
    )

    def __init__(self, *args: Any, user: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.user = user

    def clean_name(self) -> str:
        name = str(self.cleaned_data["name"])
        if self.user.tokens.filter(name=name).exists():
            raise ValidationError("You have one of this name already; revoke that or choose another name.")
        return name


@never_cache
@sensitive_variables("secret")
@require_http_methods(["GET", "HEAD", "POST"])
def tokens_page(request: HttpRequest) -> HttpResponse:
    user = request.user
    assert isinstance(user, User)  # noqa: S101
    if revoked := request.POST.get("revoke", ""):
        if revoked.isascii() and revoked.isdigit() and len(revoked) < 19:
            _revoke(request, user, int(revoked))
        response = redirect("account_tokens")
        response.status_code = 303
        return response
    form = TokenForm(request.POST if request.method == "POST" else None, user=user)
    page: dict[str, Any] = {"now": timezone.now(), "secret": ""}
    if form.is_valid():
        require_recent(request, f"Make the token {printable(form.cleaned_data['name'])}")
        token, page["secret"] = tokens.make(user, form.cleaned_data["name"], form.cleaned_data["days"])
        _record(request, user, "token.make", token.name)
        page["made"] = token
        form = TokenForm(user=user)
    page |= {"form": form, "tokens": list(user.tokens.all()), "errors": [form[name] for name in form.errors]}
    return render(request, "account/tokens.html", page, status=422 if form.errors else 200)


def _revoke(request: HttpRequest, user: User, pk: int) -> None:
    """Of one's own alone; another's does not exist."""
    if token := user.tokens.filter(pk=pk).first():
        token.delete()
        _record(request, user, "token.revoke", token.name)


def _record(request: HttpRequest, user: User, action: str, name: str) -> None:
    audit.record(
        action, audit.Outcome.DONE, actor=user, object_text=f"Token {name}", address=audit.address_of(request)
    )
