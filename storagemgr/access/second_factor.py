"""The second factor: how its secrets are kept, that a code works once, and who must have one."""

import base64
import hashlib
import time
from collections.abc import Callable
from typing import Any

from allauth.account.adapter import get_adapter as get_account_adapter
from allauth.account.authentication import get_authentication_records
from allauth.core import context
from allauth.mfa import app_settings
from allauth.mfa.adapter import DefaultMFAAdapter, get_adapter
from allauth.mfa.base.forms import AuthenticateForm, ReauthenticateForm
from allauth.mfa.models import Authenticator
from allauth.mfa.utils import is_mfa_enabled
from allauth.socialaccount.models import SocialAccount
from cryptography.fernet import Fernet, MultiFernet
from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect

from storagemgr.access import audit, throttle
from storagemgr.access.models import Role
from storagemgr.access.roles import all_roles
from storagemgr.access.scopes import grants_of

FACTORS = [Authenticator.Type.TOTP, Authenticator.Type.WEBAUTHN]
# What a person who must set one up may open before.
ALLOWED = {
    "mfa_index",
    "mfa_activate_totp",
    "mfa_add_webauthn",
    "account_reauthenticate",
    "account_logout",
    "account_go_on",
    "theme",
}


class MFAAdapter(DefaultMFAAdapter):
    def encrypt(self, text: str) -> str:
        return _box().encrypt(text.encode()).decode()

    def decrypt(self, encrypted_text: str) -> str:
        return _box().decrypt(encrypted_text.encode()).decode()

    def generate_authenticator_name(self, user: User, type: str) -> str:
        return f"Key {Authenticator.objects.filter(user=user, type=type).count() + 1}"


def _box() -> MultiFernet:
    keys = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    digests = [hashlib.blake2b(key.encode(), person=b"factor", digest_size=32).digest() for key in keys]
    return MultiFernet([Fernet(base64.urlsafe_b64encode(digest)) for digest in digests])


class _OnceMixin:
    """A wrong code counts like a wrong password; a code of the app works once.

    In each process: allauth notes both in the memory of one.
    """

    def clean_code(self) -> str:
        user, address = self.user, audit.address_of(context.request)  # type: ignore[attr-defined]
        if not throttle.begins(user.get_username(), address):
            raise get_account_adapter().validation_error("too_many_login_attempts")
        code: str = super().clean_code()  # type: ignore[misc]
        found: Any = self.authenticator  # type: ignore[attr-defined]
        if found.type == Authenticator.Type.TOTP and not _use(found, "".join(code.split())):
            raise get_adapter().validation_error("incorrect_code")
        throttle.lift(user.get_username())
        return code


def _use(found: Authenticator, code: str) -> bool:
    """False when it was used before, as long as it would hold."""
    now = int(time.time())
    lasts = app_settings.TOTP_PERIOD * (2 * app_settings.TOTP_TOLERANCE + 1)
    with transaction.atomic():
        row = Authenticator.objects.select_for_update().get(pk=found.pk)
        used = {old: at for old, at in row.data.get("used", {}).items() if now - at < lasts}
        if code in used:
            return False
        row.data["used"] = used | {code: now}
        row.save(update_fields=["data"])
    found.data = row.data
    return True


class CodeForm(_OnceMixin, AuthenticateForm):
    pass


class CodeAgainForm(_OnceMixin, ReauthenticateForm):
    pass


def must_have(user: User) -> bool:
    """Whether what the person holds now asks for a second factor: a role that does, or one with all that it gives."""
    names = set(Role.objects.filter(needs_mfa=True).values_list("name", flat=True))
    if not names:
        return False
    asking = [role for name, role in all_roles().items() if name in names]
    return user.is_superuser or any(
        grant.role == role.name or (role.rights and role.rights <= grant.rights)
        for role in asking
        for grant in grants_of(user)
    )


def could_have(user: User) -> bool:
    """For a token, which stands for sessions of any kind."""
    if is_mfa_enabled(user, FACTORS):
        return True
    return settings.OIDC_HAS_MFA and SocialAccount.objects.filter(user=user).exists()


def has(request: HttpRequest) -> bool:
    if is_mfa_enabled(request.user, FACTORS):
        return True
    records = get_authentication_records(request, request.user)
    return settings.OIDC_HAS_MFA and any(record["method"] == "socialaccount" for record in records)


class Middleware:
    """Leads a person who must have a second factor and has none to where one is set up, and nowhere else."""

    def __init__(self, answer: Callable[[HttpRequest], HttpResponse]) -> None:
        self.answer = answer

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.answer(request)

    def process_view(self, request: HttpRequest, *_: Any) -> HttpResponse | None:
        return leads_away(request)


def leads_away(request: HttpRequest) -> HttpResponse | None:
    user = request.user
    name = request.resolver_match.url_name if request.resolver_match else ""
    if not isinstance(user, User) or name in ALLOWED:
        return None
    if not must_have(user) or has(request):
        return None
    if request.headers.get("HX-Request"):
        return HttpResponse(status=204, headers={"HX-Refresh": "true"})
    return redirect("mfa_index")
