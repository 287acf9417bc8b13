from typing import Any

from allauth.account import views
from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.forms import default_token_generator
from allauth.account.utils import user_pk_to_url_str
from allauth.core import context
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY
from django.contrib.auth.models import AnonymousUser, User
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse

from storagemgr.access import single_sign_on, throttle
from storagemgr.access.recent import is_recent, require_recent
from storagemgr.access.scopes import only_looks
from storagemgr.access.sign_in_events import Outcome, record

DIRECTORY = "storagemgr.access.directory.DirectoryBackend"


class AccountAdapter(DefaultAccountAdapter):
    def is_open_for_signup(self, request: HttpRequest) -> bool:
        """Accounts are made by an administrator; nobody signs up."""
        return False

    def get_login_redirect_url(self, request: HttpRequest) -> str:
        """Where nobody wanted another page: who may only look starts at the helpdesk's."""
        if only_looks(request.user):
            return reverse("helpdesk:helpdesk")
        return str(super().get_login_redirect_url(request))

    def pre_authenticate(self, request: HttpRequest, **credentials: Any) -> None:
        name, address = credentials.get("username", ""), self.get_client_ip(request)
        if not throttle.begins(name, address):
            raise self.validation_error("too_many_login_attempts")

    def authenticate(self, request: HttpRequest, **credentials: Any) -> User | None:
        """Nobody who is switched off: they are answered like a wrong password."""
        user = super().authenticate(request, **credentials)
        if user and not user.is_active:
            self.authentication_failed(request, **credentials)
            return None
        return user

    def authentication_failed(self, request: HttpRequest, **credentials: Any) -> None:
        name, address = credentials.get("username", ""), self.get_client_ip(request)
        record("sign-in-failed", Outcome.FAILED, request, None, f"Sign in as {name}")
        if until := throttle.locked_until(name, address):
            record("locked", Outcome.DENIED, request, None, f"Sign in as {name}", until=until.isoformat())

    def reauthenticate(self, user: User, password: str) -> bool:
        is_it = super().reauthenticate(user, password)
        if is_it:
            throttle.lift(user.get_username())
        return is_it

    def is_reauthentication_required(self, *, app: str, **kwargs: Any) -> bool:
        """Of the pages of second factors. allauth asks nothing of people without a password; recent.py does."""
        request = context.request
        if is_recent(request):
            return False
        if not super().get_reauthentication_methods(request.user):
            require_recent(request)
        return True

    def get_reauthentication_methods(self, user: User | AnonymousUser) -> list[dict[str, Any]]:
        words = {
            "reauthenticate": "Use your password",
            "mfa_reauthenticate": "Use a code",
            "mfa_reauthenticate:webauthn": "Use a security key",
        }
        found = super().get_reauthentication_methods(user)
        methods = [method | {"description": words[method["id"]]} for method in found]
        if context.request.session.get(BACKEND_SESSION_KEY) == DIRECTORY:
            url = reverse("account_reauthenticate")
            methods.insert(0, {"id": "reauthenticate", "description": words["reauthenticate"], "url": url})
        if single_sign_on.can_prove(user):
            words_of_it = f"Sign in with {settings.OIDC_NAME} again"
            methods.append({"id": "sso", "description": words_of_it, "url": reverse("account_sso_again")})
        return methods

    def logout(self, request: HttpRequest) -> None:
        user = request.user
        if isinstance(user, User):
            record("sign-out", Outcome.DONE, request, user)
        super().logout(request)

    def respond_user_inactive(self, request: HttpRequest, user: User) -> HttpResponse:
        return render(request, "account/account_inactive.html", status=403)


def set_password(request: HttpRequest) -> HttpResponse:
    """A first password, for who has none: not beside that of the provider or the directory, which may end theirs."""
    if single_sign_on.can_prove(request.user) or request.session.get(BACKEND_SESSION_KEY) == DIRECTORY:
        raise PermissionDenied("Your password is not kept here; change it where you sign in.")
    return views.password_set(request)


def password_path(user: User) -> str:
    """Path of a page that sets this person's password, once; it dies after settings.PASSWORD_RESET_TIMEOUT."""
    key = {"uidb36": user_pk_to_url_str(user), "key": default_token_generator.make_token(user)}
    return reverse("account_reset_password_from_key", kwargs=key)
