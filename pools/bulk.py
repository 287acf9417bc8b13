"""One operation for many chosen pools: what will happen to each, and one job for each that it is possible for."""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from django import forms
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_http_methods

from pools.models import Pool
from storagemgr.access import audit
from storagemgr.access.objects import may, who_may
from storagemgr.access.scopes import Actor, Scope, scope
from storagemgr.hosts.models import Host
from storagemgr.jobs.models import Batch, Job
from storagemgr.jobs.operations import Danger, Operation, by_slug, operations_for_many
from storagemgr.jobs.pages import KEY_LOST, TypedName, heading, see, why_off
from storagemgr.jobs.submit import KeyUsed, submit
from storagemgr.listing import ID_LIMIT

LIMIT = 200  # all in one transaction: 500 held SQLite for 5 s, longer than a lease likes


@dataclass(frozen=True)
class Chosen:
    """`off`: why the pool is left out, "" when it is not. `is_locked`: for want of the right."""

    pool: Pool
    off: str = ""
    is_locked: bool = False


class Group(NamedTuple):
    """Pools to which the same happens."""

    pools: list[Pool]
    effects: tuple[str, ...]


class BulkForm(forms.Form):
    key = forms.UUIDField(widget=forms.HiddenInput)


def offered_to(user: Actor) -> list[Operation]:
    """Those for many pools that the person has the right to, on some pool at least."""
    return [o for o in operations_for_many("pool") if scope(user, o.right) != Scope()]


@require_http_methods(["GET", "HEAD", "POST"])
def selected(request: HttpRequest, slug: str) -> HttpResponse:
    operation = by_slug("pool", slug)
    if operation is None or not operation.is_for_many:
        raise Http404
    pools = _pools(request, operation)
    is_too_many = len(pools) > LIMIT
    chosen = [] if is_too_many else [_choice(request, operation, pool) for pool in pools]
    possible = [one.pool for one in chosen if not one.off]
    form = _form(request, operation, len(possible))
    page = {"operation": operation, "chosen": chosen, "possible": possible, "form": form}
    page["too_many"] = LIMIT if is_too_many else 0
    if request.method != "POST":
        return _page(request, page, 200)
    if known := _known(request, operation, form, pools):
        return see(known.get_absolute_url())
    _audit_refusals(request, operation, chosen)
    if len(possible) < len(pools) or not pools:
        return _page(request, page | {"has_changed": True}, 409)
    if not form.is_valid():
        return _page(request, page, 422)
    try:
        batch = _submit(request, operation, possible, form.cleaned_data["key"])
    except KeyUsed:
        form.add_error("key", KEY_LOST)
        return _page(request, page, 422)
    return see(batch.get_absolute_url())


def _pools(request: HttpRequest, operation: Operation) -> list[Pool]:
    """Those that were chosen and that the person sees; with `again`, those for which that batch failed."""
    rows = Pool.objects.visible_to(request.user).select_related("host").order_by("host__name", "name", "pk")
    again = _ids(request.GET.getlist("again")) if request.method != "POST" else []
    if again:
        jobs = Job.objects.visible_to(request.user).filter(batch_id=again[0], operation=operation.name)
        failed = set(jobs.filter(state=Job.State.FAILED).values_list("host_id", "pool_uuid"))
        found = rows.filter(uuid__in={uuid for _, uuid in failed})
        return [pool for pool in found if (pool.host_id, pool.uuid) in failed]
    asked = request.POST if request.method == "POST" else request.GET
    return list(rows.filter(pk__in=_ids(asked.getlist("pool"))[: LIMIT + 1]))


def _ids(values: Iterable[str]) -> list[int]:
    numbers = [int(value) for value in values if value.isascii() and value.isdigit() and len(value) < 20]
    return [number for number in dict.fromkeys(numbers) if number <= ID_LIMIT]


def _choice(request: HttpRequest, operation: Operation, pool: Pool) -> Chosen:
    right = operation.right
    if not may(request.user, right, pool.host_id, pool.uuid):
        return Chosen(pool, who_may(request.user, right, pool.host_id, pool.uuid), is_locked=True)
    return Chosen(pool, why_off(operation, pool))


def _audit_refusals(request: HttpRequest, operation: Operation, chosen: Sequence[Chosen]) -> None:
    refused = [one for one in chosen if one.is_locked]
    for one in refused:
        audit.record(
            operation.name,
            audit.Outcome.DENIED,
            actor=request.user,
            right=operation.right,
            object_text=heading(operation, one.pool),
            host_id=one.pool.host_id,
            pool_uuid=one.pool.uuid,
            address=audit.address_of(request),
        )
    if refused and len(refused) == len(chosen):
        raise PermissionDenied(refused[0].off)


def _form(request: HttpRequest, operation: Operation, number: int) -> BulkForm:
    form = BulkForm(request.POST if request.method == "POST" else None)
    if operation.danger is Danger.DESTROYS:
        form.fields["typed_name"] = TypedName(_words(operation, number), "the words")
    return form


def _words(operation: Operation, number: int) -> str:
    """To be typed: "delete 3 pools". Without the no-break space of the pages."""
    return f"{operation.title.split()[0].lower()} {number} pool{'' if number == 1 else 's'}"


def _title(operation: Operation, number: int) -> str:
    colon = ":" if " " in operation.title else ""
    return f"{operation.title}{colon} {number} pool{'' if number == 1 else 's'}"


def _job_key(key: uuid.UUID, pool: Pool) -> uuid.UUID:
    return uuid.uuid5(key, str(pool.pk))


def _known(request: HttpRequest, operation: Operation, form: BulkForm, pools: Sequence[Pool]) -> Batch | None:
    """What this very request made before: a double click, a reload, the back button."""
    form.full_clean()
    key = form.cleaned_data.get("key")
    keys = [_job_key(key, pool) for pool in pools] if key else []
    mine = Job.objects.filter(key__in=keys, requested_by=request.user, operation=operation.name)
    job = mine.select_related("batch").exclude(batch=None).first()
    return job.batch if job else None


@transaction.atomic
def _submit(request: HttpRequest, operation: Operation, pools: Sequence[Pool], key: uuid.UUID) -> Batch:
    """All jobs or none. Of two that come with one key at once, the second waits here and finds the first's."""
    user = User.objects.select_for_update().get(pk=request.user.pk)
    # In one order, as two batches of different people may meet.
    list(Host.objects.select_for_update().filter(pk__in={pool.host_id for pool in pools}).order_by("pk"))
    keys = [_job_key(key, pool) for pool in pools]
    known = Job.objects.filter(key__in=keys, requested_by=user).select_related("batch").first()
    if known and known.batch:
        return known.batch
    batch = Batch.objects.create(title=_title(operation, len(pools)), requested_by=user)
    address = audit.address_of(request)
    for pool, job_key in zip(pools, keys, strict=True):
        submit(operation, pool, actor=user, params={}, key=job_key, batch=batch, address=address)
    return batch


def _page(request: HttpRequest, page: dict[str, Any], status: int) -> HttpResponse:
    operation, form, possible = page["operation"], page["form"], page["possible"]
    is_wrong = status == 422
    page |= {
        "title": _title(operation, len(possible) or len(page["chosen"])),
        "groups": _groups(operation, possible),
        "left_out": [one for one in page["chosen"] if one.off],
        "danger": operation.danger.value,
        "typed_text": _words(operation, len(possible)),
        "errors": [form[name] for name in form.errors if is_wrong and name != "key"],
        "general_errors": [KEY_LOST] if is_wrong and "key" in form.errors else [],
        "key": (form.is_bound and form.cleaned_data.get("key")) or uuid.uuid4(),
        "virsh": [operation.virsh(pool, {}) for pool in possible],
    }
    return render(request, "pools/bulk.html", page, status=status)


def _groups(operation: Operation, pools: Sequence[Pool]) -> list[Group]:
    found: dict[tuple[str, ...], Group] = {}
    for pool in pools:
        effects = tuple(operation.effects(pool))
        found.setdefault((pool.type, *effects), Group([], effects)).pools.append(pool)
    return list(found.values())
