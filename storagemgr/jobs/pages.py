"""The page of an operation: what it will do, its form, and what became of the request."""

import time
import uuid
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import get_resolver, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.views.decorators.http import require_http_methods

from storagemgr.access import audit
from storagemgr.access.objects import require
from storagemgr.access.recent import require_recent
from storagemgr.hosts.models import Host
from storagemgr.jobs.models import Job
from storagemgr.jobs.operations import Danger, Operation, OperationForm, place_of
from storagemgr.jobs.submit import Held, KeyUsed, NoRoom, submit
from storagemgr.jobs.words import ShownJob
from storagemgr.messages import message
from storagemgr.templatetags.storage import printable

WAIT_S, LOOK_EVERY_S = 1.0, 0.05
KEY_LOST = "This form had lost its number or was used before, so nothing was started. It has a new one now; ask again."


class TypedName(forms.CharField):
    """The name of what will be destroyed, typed by hand. A name that cannot be typed may be as it is shown."""

    def __init__(self, name: str, noun: str) -> None:
        attrs = {"autocomplete": "off", "spellcheck": "false", "autocapitalize": "off"}
        super().__init__(
            strip=False,
            label=f"Type {noun}",
            help_text="A record of this stays: who, when, what.",
            error_messages={"required": "Type it to go on."},
            widget=forms.TextInput(attrs=attrs),
        )
        self.name = name

    def clean(self, value: Any) -> str:
        typed = str(super().clean(value))
        if typed not in (self.name, printable(self.name)):
            raise forms.ValidationError("This is not it. Upper and lower case count.")
        return typed


@require_http_methods(["GET", "HEAD", "POST"])
def operate(request: HttpRequest, operation: Operation, target: Any, *, cancel_url: str) -> HttpResponse:
    """`target` was fetched through the visible check; `cancel_url` is the page that the person came from."""
    try:
        require_right(request, operation, target)
        response = _answer(request, operation, target, cancel_url)
    except PermissionDenied as error:
        if not request.htmx:
            raise
        response = get_resolver().resolve_error_handler(403)(request, exception=error)
    return for_htmx(request, response)


def review(
    request: HttpRequest, operation: Operation, target: Any, form: OperationForm, *, cancel_url: str
) -> HttpResponse:
    """The page of an operation whose form was filled in on another page: what it would do. Nothing is asked yet."""
    require_right(request, operation, target)
    page = {"operation": operation, "target": target, "form": form, "cancel_url": cancel_url}
    return _page(request, page | {"off": why_off(operation, target)}, 200 if form.is_valid() else 422)


def require_right(request: HttpRequest, operation: Operation, target: Any) -> None:
    place = place_of(target)
    require(
        request,
        operation.right,
        action=operation.name,
        host_id=place.host_id,
        pool_uuid=place.pool_uuid,
        object_text=heading(operation, target),
        volume_name=volume_name_of(target),
    )


def volume_name_of(target: Any) -> str:
    return str(target.name) if target._meta.model_name == "volume" else ""


def for_htmx(request: HttpRequest, response: HttpResponse) -> HttpResponse:
    """What a one-click button gets. When it worked: nothing, the page it stands on polls and shows it in place.

    Else the answer takes the place of that page's content, wherever the button stood.
    """
    if not request.htmx:
        return response
    if response.status_code == 303:
        return HttpResponse(status=204)
    response["HX-Retarget"] = response["HX-Reselect"] = "#main"
    response["HX-Reswap"] = "outerHTML show:top"
    return response


def _answer(request: HttpRequest, operation: Operation, target: Any, cancel_url: str) -> HttpResponse:
    off = why_off(operation, target)
    form = form_of(request, operation, target)
    page = {"operation": operation, "target": target, "form": form, "off": off, "cancel_url": cancel_url}
    if request.method != "POST":
        return _page(request, page, 200)
    if known := _known(request, operation, target, form):
        return _done(request, operation, target, known)
    if off:
        return _page(request, page, 409)
    if not form.is_valid():
        return _page(request, page, 422)
    if operation.danger is Danger.DESTROYS:
        require_recent(request, heading(operation, target))
    try:
        job = submit(
            operation,
            target,
            actor=request.user,
            params=form.params(),
            secrets=form.secrets(),
            key=form.cleaned_data["key"],
            address=audit.address_of(request),
        )
    except Held as held:
        is_seen = Job.objects.visible_to(request.user).filter(pk=held.job.pk).exists()
        said = {"held": ShownJob(held.job), "held_message": message("held"), "is_held_seen": is_seen}
        return _page(request, page | said, 409)
    except NoRoom:
        return _page(request, page, 422)
    except KeyUsed:
        form.data = form.data.copy()
        del form.data["key"]
        return _page(request, page, 422)
    return _done(request, operation, target, job)


def why_off(operation: Operation, target: Any) -> str:
    if not operation.applies(target):
        return "It is so already."
    return operation.why_off(target)


def _known(request: HttpRequest, operation: Operation, target: Any, form: OperationForm) -> Job | None:
    """The job that this very request made before: a double click, a reload, the back button."""
    try:
        key = uuid.UUID(request.POST.get("key", ""))
    except ValueError:
        return None
    job = Job.objects.filter(key=key, requested_by=request.user, operation=operation.name).first()
    is_same = job and operation.label(target, job.params) == job.title and asks_for(form, job.params)
    return job if is_same else None


def asks_for(form: OperationForm, params: dict[str, Any]) -> bool:
    """Field by field: as a whole the form is wrong by now, the name that it asked for is taken."""
    try:
        return all(
            field.clean(form[name].data) == params[name]
            for name, field in form.fields.items()
            if name in params
        )
    except forms.ValidationError:
        return False


def form_of(request: HttpRequest, operation: Operation, target: Any) -> OperationForm:
    data = request.POST if request.method == "POST" else None
    again = _asked_before(request, operation)
    form = operation.form(data, target=target, user=request.user, initial=again)
    if operation.danger is Danger.DESTROYS:
        form.fields["typed_name"] = TypedName(operation.typed_word or str(target), noun_of(operation, target))
    return form


def noun_of(operation: Operation, target: Any) -> str:
    """What the person types, before it stands: "the word", "the name of the pool"."""
    return "the word" if operation.typed_word else f"the name of the {target._meta.verbose_name}"


def _asked_before(request: HttpRequest, operation: Operation) -> dict[str, Any]:
    """What a job had asked for, to try again: `again` in the URL is its id."""
    again = request.GET.get("again", "")
    if not (again.isascii() and again.isdigit() and len(again) < 19):
        return {}
    job = Job.objects.visible_to(request.user).filter(pk=again, operation=operation.name).first()
    return dict(job.params) if job else {}


def _page(request: HttpRequest, page: dict[str, Any], status: int) -> HttpResponse:
    form, operation, target = page["form"], page["operation"], page["target"]
    if form.is_bound:
        form.full_clean()
    params = form.params() if form.is_bound else _offered(form)
    errors = [form[name] for name in form.errors if name in form.fields and name != "key"]
    pool = getattr(target, "pool", target)
    host = pool if isinstance(pool, Host) else pool.host
    checks = operation.checks(target, request.user)
    in_the_way = bool(page["off"]) or not all(check.is_ok for check in checks)
    page |= {
        "heading": heading(operation, target),
        "button": button(operation, target),
        "pool": None if pool is host else pool,
        "host": host,
        "is_pool": pool is target and pool is not host,
        "typed_text": operation.typed_word or str(target),
        "effects": operation.effects(target),
        "checks": checks,
        "virsh": operation.virsh(target, params).split(" "),
        "errors": errors if status == 422 else [],
        "general_errors": _general_errors(form) if status == 422 else [],
        "key": _key_for(form),
        "danger": operation.danger.value,
        "can_ask": not in_the_way or request.method == "POST",
    }
    return render(request, operation.template, page, status=status)


def _offered(form: OperationForm) -> dict[str, Any]:
    """What the form would send if nothing were typed."""
    values = {name: form.get_initial_for_field(field, name) for name, field in form.fields.items()}
    return {name: value for name, value in values.items() if value is not None}


def _general_errors(form: OperationForm) -> list[str]:
    return [KEY_LOST] * ("key" in form.errors) + list(form.non_field_errors())


def _key_for(form: OperationForm) -> uuid.UUID:
    """The key that came with the form, so that sending it twice stays one job; a new one when it was lost."""
    return (form.is_bound and form.cleaned_data.get("key")) or uuid.uuid4()


def _done(request: HttpRequest, operation: Operation, target: Any, job: Job) -> HttpResponse:
    if operation.is_quick:
        job = _wait(job)
    if request.htmx or job.is_pending or not operation.is_quick:
        return see(job.get_absolute_url())
    # It is told here, so that the strip does not tell it once more.
    mine = Job.objects.filter(pk=job.pk, requested_by=request.user, acknowledged_at=None)
    mine.update(acknowledged_at=timezone.now())
    _tell(request, job)
    made = operation.result(job) if job.state == Job.State.SUCCEEDED else None
    if made is not None:
        return see(made.get_absolute_url())
    is_there = type(target).objects.filter(pk=target.pk).exists()
    return see(target.get_absolute_url() if is_there else _page_above(target))


def see(url: str) -> HttpResponse:
    response = redirect(url)
    response.status_code = 303
    return response


def _page_above(target: Any) -> str:
    """Where to go when the row is gone: the pool of a volume, the list of all pools for a pool."""
    if isinstance(target, Host):
        return reverse("hosts:list")
    pool = getattr(target, "pool", None)
    if pool is not None and type(pool).objects.filter(pk=pool.pk).exists():
        return pool.get_absolute_url()
    return reverse("pools:fleet")


def _wait(job: Job) -> Job:
    """Until the job ends, at most a second. Not for one that the broker did not take."""
    deadline = time.monotonic() + WAIT_S
    job.refresh_from_db()
    while (
        job.is_active and job.published_at and time.monotonic() < deadline and not connection.in_atomic_block
    ):
        time.sleep(LOOK_EVERY_S)
        job.refresh_from_db()
    return job


def _tell(request: HttpRequest, job: Job) -> None:
    title = printable(job.title)
    if job.state == Job.State.SUCCEEDED:
        messages.success(request, f"Done: {title}.")
    elif job.state == Job.State.CANCELLED:
        messages.info(request, f"Cancelled before it began: {title}.")
    else:
        said = message(job.error_code or "unknown")
        text = 'Failed: {}. {} {} <a href="{}">What happened</a>'
        messages.error(request, format_html(text, title, said.title, said.hint, job.get_absolute_url()))


def heading(operation: Operation, target: Any) -> str:
    """ "Clone web01.qcow2", "New volume in default", "Upload into default", "Start with the host: default"."""
    name, noun = printable(target), operation.name.partition(".")[0]
    if noun != target._meta.verbose_name:
        return f"{operation.title} {operation.goes} {name}"
    return f"{operation.title}{':' if ' ' in operation.title else ''} {name}"


def button(operation: Operation, target: Any) -> str:
    noun, _, verb = operation.name.partition(".")
    if noun != target._meta.verbose_name:
        return f"{verb.capitalize()} the {noun}"
    if operation.danger is Danger.DESTROYS:
        return heading(operation, target)
    return operation.button or operation.title


def form_url(operation: Operation, target: Any) -> str:
    """Where the page of this operation is: "volumes:operate", but "volumes:create" for one that stands on a pool."""
    noun = operation.name.partition(".")[0]
    if noun != target._meta.model_name:
        return reverse(f"{noun}s:{operation.slug}", args=[target.pk])
    return reverse(f"{noun}s:operate", args=[target.pk, operation.slug])


def many_url(operation: Operation, query: dict[str, Any]) -> str:
    """The page that asks for this operation on many rows at once."""
    noun = operation.name.partition(".")[0]
    return f"{reverse(f'{noun}s:selected', args=[operation.slug])}?{urlencode(query)}"


def again_url(operation: Operation, target: Any, job: Job) -> str:
    return f"{form_url(operation, target)}?{urlencode({'again': job.pk})}"
