"""Sign-in at an identity provider (OpenID Connect), or against a directory, and the teams that follow from it."""

import logging
from collections.abc import Iterable
from typing import Any

from allauth.account import signals as account
from allauth.account.authentication import AUTHENTICATION_METHODS_SESSION_KEY
from allauth.account.internal.flows.login import record_authentication
from allauth.core.exceptions import ImmediateHttpResponse
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter, get_adapter
from allauth.socialaccount.models import SocialAccount, SocialLogin
from allauth.socialaccount.providers.base import AuthError
from allauth.socialaccount.providers.openid_connect import views as openid
from allauth.utils import get_request_param
from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.models import Group, User
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render, resolve_url
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from requests import RequestException

from storagemgr.access import audit, teams
from storagemgr.access.granting import NotGrantable

logger = logging.getLogger(__name__)

PROVIDER = "oidc"
AGAIN = "redirect"  # allauth's name of a trip to the provider that signs nobody in


class SocialAdapter(DefaultSocialAccountAdapter):
    def pre_social_login(self, request: HttpRequest, sociallogin: SocialLogin) -> None:
        """A stranger is linked to the account of their mail address, turned away, or welcome."""
        request.proved_at = claims_of(sociallogin.account).get("auth_time")  # type: ignore[attr-defined]
        if sociallogin.state.get("process") == AGAIN:
            if request.user.is_authenticated and sociallogin.user == request.user:
                record_authentication(request, sociallogin.user, "socialaccount", reauthenticated=True)
            return
        if sociallogin.is_existing:
            return
        namesakes = _namesakes(sociallogin)
        if len(namesakes) == 1 and settings.OIDC_LINK_BY_MAIL and _is_mail_verified(sociallogin):
            sociallogin.connect(request, namesakes[0])
            _record(request, "account.linked", audit.Outcome.DONE, namesakes[0], sociallogin)
        elif namesakes or not settings.OIDC_CREATE:
            _record(request, "account.sign-in-failed", audit.Outcome.DENIED, None, sociallogin)
            page = {"name": settings.OIDC_NAME, "is_mail_taken": bool(namesakes)}
            raise ImmediateHttpResponse(render(request, "socialaccount/unknown.html", page, status=403))

    def on_authentication_error(
        self, request: HttpRequest, provider: Any, error: Any = None, exception: Any = None, **_: Any
    ) -> None:
        is_cancelled = error == AuthError.CANCELLED or request.GET.get("error") == "access_denied"
        logger.warning("sign-in at %s: %s %s", settings.OIDC_NAME, error, exception or "")
        page = {"name": settings.OIDC_NAME, "is_cancelled": is_cancelled}
        raise ImmediateHttpResponse(
            render(request, "socialaccount/authentication_error.html", page, status=401)
        )

    def is_open_for_signup(self, request: HttpRequest, sociallogin: SocialLogin) -> bool:
        return bool(settings.OIDC_CREATE)


def listen() -> None:
    account.authentication_step_completed.connect(_proved)
    account.user_logged_in.connect(_signed_in)


def _proved(request: HttpRequest, method: str, **_: Any) -> None:
    """The provider may know the person since this morning: that is no proof of now."""
    at = getattr(request, "proved_at", None)
    records = request.session.get(AUTHENTICATION_METHODS_SESSION_KEY)
    if method == "socialaccount" and isinstance(at, int | float) and records:
        records[-1]["at"] = min(records[-1]["at"], at)
        request.session[AUTHENTICATION_METHODS_SESSION_KEY] = records


def _signed_in(request: HttpRequest, user: User, sociallogin: SocialLogin | None = None, **_: Any) -> None:
    if sociallogin and settings.OIDC_GROUPS_CLAIM:
        groups = claims_of(sociallogin.account).get(settings.OIDC_GROUPS_CLAIM) or []
        names = {groups} if isinstance(groups, str) else {name for name in groups if isinstance(name, str)}
        be_in_teams(user, names, audit.address_of(request))


def be_in_teams(user: User, outside_names: Iterable[str], address: str | None) -> None:
    """Of the teams that have a name outside, exactly those. The others are nobody's business but ours."""
    outside = Group.objects.exclude(team__outside_name="").exclude(team=None)
    wanted = set(outside.filter(team__outside_name__in=outside_names))
    held = set(outside.filter(user=user))
    for group in sorted(wanted - held, key=str):
        teams.join(None, group, user, address)
    for group in sorted(held - wanted, key=str):
        try:
            teams.leave(None, group, user, address)
        except NotGrantable:
            continue  # the last administrator, whose refusal is in the audit


def claims_of(known: SocialAccount) -> dict[str, Any]:
    """What the provider says of the person: of the token, and of its page about them, which says more."""
    said = known.extra_data
    return {**(said.get("id_token") or {}), **(said.get("userinfo") or {})}


def _namesakes(sociallogin: SocialLogin) -> list[User]:
    mail = sociallogin.user.email
    return list(User.objects.filter(email__iexact=mail)) if mail else []


def _is_mail_verified(sociallogin: SocialLogin) -> bool:
    said = claims_of(sociallogin.account)
    return said.get("email_verified") is True and bool(said.get("email"))


def _record(request: HttpRequest, action: str, outcome: Any, user: User | None, login: SocialLogin) -> None:
    audit.record(
        action,
        outcome,
        actor=user,
        object_text=f"{login.user.username or login.account.uid} at {settings.OIDC_NAME}",
        address=audit.address_of(request),
        details={"subject": login.account.uid, "email": login.user.email},
    )


@login_not_required
@never_cache
@require_safe
def start(request: HttpRequest) -> HttpResponse:
    """Leads to the provider. `again`: to prove it is still the same person, whose session goes on."""
    if not settings.OIDC_ISSUER:
        raise Http404
    provider = get_adapter().get_provider(request, PROVIDER)
    wanted = get_request_param(request, "next")
    is_ours = wanted and url_has_allowed_host_and_scheme(wanted, {request.get_host()}, request.is_secure())
    again = "again" in request.GET and request.user.is_authenticated
    how: dict[str, Any] = {"next_url": wanted if is_ours else resolve_url(settings.LOGIN_REDIRECT_URL)}
    if again:
        how["auth_params"] = {"prompt": "login", "max_age": "0"}
    try:
        return provider.redirect(request, AGAIN if again else "login", **how)
    except RequestException:
        page = {"name": settings.OIDC_NAME, "is_silent": True}
        return render(request, "socialaccount/authentication_error.html", page, status=503)


@login_not_required
@never_cache
def callback(request: HttpRequest, provider_id: str) -> HttpResponse:
    if not settings.OIDC_ISSUER:
        raise Http404
    return openid.callback(request, provider_id)


@never_cache
@require_safe
def again_page(request: HttpRequest) -> HttpResponse:
    """A page between the form and the provider: no form of ours may end at another server."""
    page = {"name": settings.OIDC_NAME, "next": get_request_param(request, "next")}
    return render(request, "socialaccount/again.html", page)


def can_prove(user: User) -> bool:
    return bool(settings.OIDC_ISSUER) and SocialAccount.objects.filter(user=user, provider=PROVIDER).exists()
