"""Adding, changing and removing hosts, and confirming their keys. Rows only; the readers do the rest."""

from typing import Any

from django import forms
from django.conf import settings
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import models, transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from storagemgr.access import audit
from storagemgr.access.objects import visible_or_404, who_may
from storagemgr.access.recent import require_recent
from storagemgr.access.scopes import Actor, scope
from storagemgr.hosts.forms import FIELDS, TCP_OFF, WORDS, HostForm
from storagemgr.hosts.identity import pki_directory, ssh_identity
from storagemgr.hosts.models import Host
from storagemgr.templatetags.storage import printable
from storagemgr.virt import tls

RIGHT = "host.manage"
EVERYWHERE = 0  # the id of no host: only who holds the right on everything has it there
WAY = ("transport", "address", "port", "username", "mode", "socket")
MANAGED = ("name", "note", *WAY)
# What was heard of a machine, and is not true of another one.
HEARD: dict[str, Any] = {
    "state": Host.State.UNKNOWN,
    "error_code": "",
    "error_text": "",
    "failures": 0,
    "next_read_at": None,
    "facts_read_at": None,
}
KEY_FIELDS: dict[str, Any] = {
    "confirmed_key": "",
    "confirmed_at": None,
    "confirmed_by": "",
    "shown_key": "",
    "shown_key_at": None,
}


def may_manage(user: Actor) -> bool:
    return scope(user, RIGHT).everything


def require_manage(request: HttpRequest, action: str, host: Host | None = None) -> None:
    if may_manage(request.user):
        return
    _record(request, action, audit.Outcome.DENIED, host)
    raise PermissionDenied(who_may(request.user, RIGHT, EVERYWHERE, None))


def _record(request: HttpRequest, action: str, outcome: Any, host: Host | None, **details: Any) -> None:
    audit.record(
        action,
        outcome,
        actor=request.user,
        right=RIGHT,
        object_text=host.name if host else "",
        host_id=host.pk if host else None,
        address=audit.address_of(request),
        details=details,
    )


@require_http_methods(["GET", "HEAD", "POST"])
def new(request: HttpRequest) -> HttpResponse:
    require_manage(request, "host.add")
    form = HostForm(request.POST if request.method == "POST" else None)
    if not form.is_bound:
        return _form_page(request, form, None)
    if not form.is_valid():
        return _form_page(request, form, None, status=422)
    require_recent(request, "Add a host")
    with transaction.atomic():
        host = Host.objects.create(**{name: form.cleaned_data[name] for name in MANAGED})
        _record(request, "host.add", audit.Outcome.DONE, host, uri=host.uri)
    return _see(host.get_absolute_url())


@require_http_methods(["GET", "HEAD", "POST"])
def edit(request: HttpRequest, pk: int) -> HttpResponse:
    host = visible_or_404(request, Host.objects.all(), pk=pk)
    require_manage(request, "host.edit", host)
    known = {name: getattr(host, name) for name in MANAGED}
    form = HostForm(request.POST if request.method == "POST" else None, host=host, initial=known)
    if not form.is_bound:
        return _form_page(request, form, host)
    if not form.is_valid():
        return _form_page(request, form, host, status=422)
    require_recent(request, f"Change how {printable(host.name)} is reached")
    changed = {name: value for name, value in form.cleaned_data.items() if value != known[name]}
    with transaction.atomic():
        # A job that is asked for at this moment waits for the same row.
        get_object_or_404(Host.objects.select_for_update(), pk=host.pk)
        if changed.keys() & set(WAY) and active_jobs(host):
            form.add_error(
                None, "Jobs run on this host. How it is reached can be changed when they have ended."
            )
            return _form_page(request, form, host, status=409)
        if changed:
            _change(request, host, changed)
    return _see(host.get_absolute_url())


def _change(request: HttpRequest, host: Host, changed: dict[str, Any]) -> None:
    values = dict(changed)
    if changed.keys() & set(WAY):
        values |= HEARD | {"state_since": timezone.now()}
    if changed.keys() & {"transport", "address", "port"}:
        values |= KEY_FIELDS
    before = {name: getattr(host, name) for name in changed}
    Host.objects.filter(pk=host.pk).update(**values)
    _record(request, "host.edit", audit.Outcome.DONE, host, before=before, after=changed)


def _form_page(request: HttpRequest, form: HostForm, host: Host | None, *, status: int = 200) -> HttpResponse:
    identity, pki = ssh_identity(), pki_directory()
    context = {
        "host": host,
        "form": form,
        "errors": [form[name] for name in form.errors if name in form.fields],
        "general_errors": form.non_field_errors() if form.is_bound else [],
        "choices": [(radio, WORDS[Host.Transport(radio.data["value"])]) for radio in form["transport"]]
        if "transport" in form.fields
        else [],
        "needed_by": {
            name: " ".join(kind for kind, fields in FIELDS.items() if name in fields)
            for name in ("address", "port", "username", "mode", "socket")
        },
        "public_key": identity.public_key,
        "authorized_key": identity.authorized_key(host.mode if host else Host.Mode.SYSTEM),
        "cert_missing": tls.missing(pki),
        "certificate": tls.read(pki / "clientcert.pem"),
        "tcp_off": "" if settings.ALLOW_TCP else TCP_OFF,
        "cancel_url": host.get_absolute_url() if host else reverse("hosts:list"),
    }
    return render(request, "hosts/form.html", context, status=status)


class KeyForm(forms.Form):
    """`fingerprint` is the one that was compared: another one may be shown by now."""

    fingerprint = forms.CharField(widget=forms.HiddenInput)
    is_known_why = forms.BooleanField(
        label="I know why the key changed",
        error_messages={"required": "Find out why first, then tick this."},
    )

    def __init__(self, *args: Any, host: Host, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not host.confirmed_key:
            del self.fields["is_known_why"]


@require_http_methods(["GET", "HEAD", "POST"])
def key(request: HttpRequest, pk: int) -> HttpResponse:
    """Where a person compares the key that an SSH host shows with what the host itself says, and confirms it."""
    host = visible_or_404(request, Host.objects.all(), pk=pk)
    require_manage(request, "host.confirm_key", host)
    form = KeyForm(request.POST if request.method == "POST" else None, host=host)
    shown = host.key_shown
    if not form.is_bound or shown is None or host.transport != Host.Transport.SSH:
        return _key_page(request, host, form)
    if not form.is_valid():
        return _key_page(request, host, form, status=422)
    require_recent(request, f"Confirm the key of {printable(host.name)}")
    if form.cleaned_data["fingerprint"] != shown.fingerprint or not _confirm(request, host):
        host.refresh_from_db()
        return _key_page(request, host, form, is_other=True, status=409)
    return _see(host.get_absolute_url())


def _confirm(request: HttpRequest, host: Host) -> bool:
    """False when the host shows another key by now, or its address was changed."""
    same = Host.objects.filter(
        pk=host.pk, shown_key=host.shown_key, transport=host.transport, address=host.address, port=host.port
    )
    values = HEARD | {
        "confirmed_key": host.shown_key,
        "confirmed_at": timezone.now(),
        "confirmed_by": request.user.get_username(),
        "state_since": timezone.now(),
    }
    with transaction.atomic():
        if not same.update(**values):
            return False
        before = host.key.fingerprint if host.key else ""
        after = host.key_shown.fingerprint if host.key_shown else ""
        _record(request, "host.confirm_key", audit.Outcome.DONE, host, before=before, after=after)
    return True


def _key_page(
    request: HttpRequest, host: Host, form: KeyForm, *, is_other: bool = False, status: int = 200
) -> HttpResponse:
    context = {"host": host, "form": form, "is_other": is_other, "is_same": host.key == host.key_shown}
    return render(request, "hosts/key.html", context, status=status)


class RemoveForm(forms.Form):
    typed_name = forms.CharField(
        strip=False,
        label="Type the name of the host",
        help_text="A record of this stays: who, when, what.",
        error_messages={"required": "Type it to go on."},
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false", "autocapitalize": "off"}),
    )

    def __init__(self, *args: Any, host: Host, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.host = host

    def clean_typed_name(self) -> str:
        typed = self.cleaned_data["typed_name"]
        if typed not in (self.host.name, printable(self.host.name)):
            raise forms.ValidationError("This is not it. Upper and lower case count.")
        return typed


@require_http_methods(["GET", "HEAD", "POST"])
def remove(request: HttpRequest, pk: int) -> HttpResponse:
    host = visible_or_404(request, Host.objects.all(), pk=pk)
    require_manage(request, "host.remove", host)
    form = RemoveForm(request.POST if request.method == "POST" else None, host=host)
    goes = rows_of(host)
    context = {"host": host, "form": form, "goes": goes, "off": why_not_removed(host)}
    if context["off"]:
        return render(request, "hosts/remove.html", context, status=409 if form.is_bound else 200)
    if not form.is_valid():
        return render(request, "hosts/remove.html", context, status=422 if form.is_bound else 200)
    require_recent(request, f"Remove {printable(host.name)}")
    with transaction.atomic():
        # A job that is asked for at this moment waits for the same row.
        get_object_or_404(Host.objects.select_for_update(), pk=host.pk)
        if off := why_not_removed(host):
            return render(request, "hosts/remove.html", context | {"off": off}, status=409)
        _record(request, "host.remove", audit.Outcome.DONE, host, uri=host.uri, rows=goes)
        host.delete()
    messages.success(request, f"{printable(host.name)} was removed here. Nothing changed on the host itself.")
    return _see(reverse("hosts:list"))


def why_not_removed(host: Host) -> str:
    if host.is_embedded and settings.EMBEDDED_HOST:
        return (
            "The program runs on this machine and lists it at each start. EMBEDDED_HOST=0 in its settings ends that;"
            " then the host can be removed."
        )
    if count := active_jobs(host):
        return f"{count} {'job is' if count == 1 else 'jobs are'} not over yet. Wait for the end or cancel what waits."
    return ""


def active_jobs(host: Host) -> int:
    return host.jobs.active().count()


def rows_of(host: Host) -> dict[str, int]:
    """What goes with the host: rows of this program, and nothing on the host."""
    volumes = host.pools.aggregate(count=models.Count("volumes"))["count"]
    return {
        "pool": host.pools.count(),
        "volume": volumes,
        "job": host.jobs.count(),
        "grant": host.grant_set.count(),
    }


def _see(url: str) -> HttpResponse:
    response = redirect(url)
    response.status_code = 303
    return response
