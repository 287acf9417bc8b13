"""A forgotten password: a link by mail, and the same answer whether somebody has the address or not."""

import logging
import threading
from smtplib import SMTPException

from allauth.account.adapter import get_adapter
from allauth.core import ratelimit
from allauth.socialaccount.models import SocialAccount
from django import forms
from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.models import User
from django.core.mail import EmailMessage
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from storagemgr.access.accounts import password_path
from storagemgr.access.sign_in_events import Outcome, record

logger = logging.getLogger(__name__)


class ForgottenForm(forms.Form):
    email = forms.EmailField(
        label="Mail address",
        widget=forms.EmailInput(attrs={"autocomplete": "email"}),
        error_messages={"required": "Type your mail address."},
    )


@login_not_required
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def forgotten(request: HttpRequest) -> HttpResponse:
    if not settings.MAIL_IS_SET:
        raise Http404
    form = ForgottenForm(request.POST if request.method == "POST" else None)
    if not form.is_valid():
        return render(
            request, "account/password_reset.html", {"form": form}, status=422 if form.errors else 200
        )
    address = form.cleaned_data["email"]
    if ratelimit.consume(request, action="reset_password", key=address.lower()):
        for user in people_of(address):
            _send_link(request, user)
    return render(request, "account/password_reset_done.html", {"address": address})


def people_of(address: str) -> list[User]:
    """Whose password is ours: not that of people who sign in at the provider or against the directory."""
    elsewhere = SocialAccount.objects.values("user")
    found = User.objects.filter(email__iexact=address, is_active=True)
    return [user for user in found.exclude(pk__in=elsewhere) if user.has_usable_password()]


def _send_link(request: HttpRequest, user: User) -> None:
    """In a thread, as a mail server that takes its time would tell who has an account."""
    page = {"user": user, "link": request.build_absolute_uri(password_path(user)), "host": request.get_host()}
    page["address"] = get_adapter(request).get_client_ip(request)
    text = render_to_string("account/email/password_reset.txt", page)
    message = EmailMessage(f"Your password for {request.get_host()}", text, to=[user.email])
    record("password-link", Outcome.DONE, request, None, f"Password link by mail for {user.get_username()}")
    threading.Thread(target=_send, args=[message], daemon=True).start()


def _send(message: EmailMessage) -> None:
    try:
        message.send()
    except (OSError, SMTPException) as error:
        logger.error("a mail with a password link was not sent: %s", error)
