"""One operation for many chosen rows: what will happen to each, and one job for each that it is possible for."""

import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from django import forms
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_http_methods

from storagemgr.access import audit
from storagemgr.access.objects import may, who_may
from storagemgr.access.recent import require_recent
from storagemgr.access.scopes import Actor, Scope, scope
from storagemgr.hosts.models import Host
from storagemgr.jobs.models import Batch, Job, JobLock
from storagemgr.jobs.operations import (
    Danger,
    Operation,
    OperationForm,
    by_slug,
    operations_for_many,
    place_of,
)
from storagemgr.jobs.pages import (
    KEY_LOST,
    TypedName,
    asks_for,
    heading,
    see,
    volume_name_of,
    why_off,
)
from storagemgr.jobs.submit import Held, KeyUsed, submit
from storagemgr.listing import ID_LIMIT

HELD_UNSEEN = "A job in a pool that you do not see has the same data."
LIMIT = 200  # all in one transaction: 500 held SQLite for 5 s, longer than a lease likes


@dataclass(frozen=True)
class Many:
    """The rows that can be chosen together. `rows`: those the person sees, with all that the page shows of them;
    `of_jobs`: of those, the ones that these jobs were about.
    """

    noun: str  # "pool": the field of the boxes, and what operations are named after
    list_view: str
    rows: Callable[[Actor], QuerySet[Any]]
    of_jobs: Callable[[QuerySet[Any], Sequence[Job]], Iterable[Any]]


@dataclass(frozen=True)
class Chosen:
    """`off`: why the row is left out, "" when it is not. `is_locked`: for want of the right."""

    target: Any
    off: str = ""
    is_locked: bool = False


class Group(NamedTuple):
    """Rows to which the same happens."""

    title: str
    targets: list[Any]
    effects: tuple[str, ...]


class NoForm(OperationForm):
    """Where nothing can be asked for."""


def offered_to(user: Actor, noun: str) -> list[Operation]:
    """Those for many rows that the person has the right to, on some pool at least; what destroys last."""
    found = [o for o in operations_for_many(noun) if scope(user, o.right) != Scope()]
    return sorted(found, key=lambda operation: operation.danger is Danger.DESTROYS)


@require_http_methods(["GET", "HEAD", "POST"])
def selected(request: HttpRequest, slug: str, many: Many) -> HttpResponse:
    operation = by_slug(many.noun, slug)
    if operation is None or not operation.is_for_many:
        raise Http404
    targets = _targets(request, operation, many)
    is_too_many = len(targets) > LIMIT
    chosen = [] if is_too_many else _choices(request, operation, targets)
    possible = [one.target for one in chosen if not one.off]
    form = _form(request, operation, many, possible)
    page = {"operation": operation, "many": many, "chosen": chosen, "possible": possible, "form": form}
    page["too_many"] = LIMIT if is_too_many else 0
    if request.method != "POST":
        return _page(request, page, 200)
    if known := _known(request, operation, form, targets):
        return see(known.get_absolute_url())
    _audit_refusals(request, operation, chosen)
    if len(possible) < len(targets) or not targets:
        return _page(request, page | {"has_changed": True}, 409)
    filled = _filled(request, operation, form, possible)
    if not form.is_valid():
        return _page(request, page, 422)
    if operation.danger is Danger.DESTROYS:
        require_recent(request, _title(operation, many, len(possible)))
    try:
        batch = _submit(request, operation, many, filled, form.cleaned_data["key"])
    except KeyUsed:
        form.add_error("key", KEY_LOST)
        return _page(request, page, 422)
    except Held:
        page |= {"chosen": (chosen := _choices(request, operation, targets)), "has_changed": True}
        return _page(request, page | {"possible": [one.target for one in chosen if not one.off]}, 409)
    return see(batch.get_absolute_url())


def _targets(request: HttpRequest, operation: Operation, many: Many) -> list[Any]:
    """Those that were chosen and that the person sees; with `again`, those for which that batch failed."""
    rows = many.rows(request.user)
    again = _ids(request.GET.getlist("again")) if request.method != "POST" else []
    if again:
        jobs = Job.objects.visible_to(request.user).filter(batch_id=again[0], operation=operation.name)
        return list(many.of_jobs(rows, list(jobs.filter(state=Job.State.FAILED))))
    asked = request.POST if request.method == "POST" else request.GET
    return list(rows.filter(pk__in=_ids(asked.getlist(many.noun))[: LIMIT + 1]))


def _ids(values: Iterable[str]) -> list[int]:
    numbers = [int(value) for value in values if value.isascii() and value.isdigit() and len(value) < 20]
    return [number for number in dict.fromkeys(numbers) if number <= ID_LIMIT]


def _choices(request: HttpRequest, operation: Operation, targets: Sequence[Any]) -> list[Chosen]:
    chosen = [_choice(request, operation, target) for target in targets]
    held = _held(request.user, operation, [one.target for one in chosen if not one.off])
    return [one if one.off else replace(one, off=held.get(one.target.pk, "")) for one in chosen]


def _choice(request: HttpRequest, operation: Operation, target: Any) -> Chosen:
    right, place = operation.right, place_of(target)
    if not may(request.user, right, place.host_id, place.pool_uuid):
        return Chosen(target, who_may(request.user, right, place.host_id, place.pool_uuid), is_locked=True)
    return Chosen(target, why_off(operation, target))


def _held(user: Actor, operation: Operation, targets: Sequence[Any]) -> dict[int, str]:
    """The jobs that have what this operation needs, by the id of the row, in one query for all."""
    needed = {target.pk: operation.locks(target, {}) for target in targets}
    names = {lock.volume_name for locks in needed.values() for lock in locks}
    if not names:
        return {}
    held: dict[tuple[int, uuid.UUID, str], list[JobLock]] = defaultdict(list)
    rows = JobLock.objects.filter(volume_name__in=names, job__state__in=Job.HOLDING)
    for lock in rows.select_related("job").order_by("job_id"):
        held[lock.host_id, lock.pool_uuid, lock.volume_name].append(lock)
    found = {}
    seen = scope(user, "pool.view")
    for pk, locks in needed.items():
        for lock in locks:
            for other in held[lock.host_id, lock.pool_uuid, lock.volume_name]:
                if lock.is_write or other.is_write:
                    is_seen = seen.covers(other.job.host_id, other.job.pool_uuid)
                    found[pk] = _held_words(other.job) if is_seen else HELD_UNSEEN
    return found


def _held_words(job: Job) -> str:
    return f"A job has it: {job.title}, asked by {job.requester_name}."


def _audit_refusals(request: HttpRequest, operation: Operation, chosen: Sequence[Chosen]) -> None:
    refused = [one for one in chosen if one.is_locked]
    for one in refused:
        place = place_of(one.target)
        audit.record(
            operation.name,
            audit.Outcome.DENIED,
            actor=request.user,
            right=operation.right,
            object_text=heading(operation, one.target),
            host_id=place.host_id,
            pool_uuid=place.pool_uuid,
            volume_name=volume_name_of(one.target),
            address=audit.address_of(request),
        )
    if refused and len(refused) == len(chosen):
        raise PermissionDenied(refused[0].off)


def _form(request: HttpRequest, operation: Operation, many: Many, possible: Sequence[Any]) -> OperationForm:
    """One form for all, made for the first. What that one alone has now is not offered for the others."""
    data = request.POST if request.method == "POST" else None
    form_class = operation.form if possible else NoForm
    form = form_class(data, target=possible[0] if possible else None, user=request.user)
    if len(possible) > 1:
        form.initial = {}
    if operation.danger is Danger.DESTROYS:
        form.fields["typed_name"] = TypedName(_words(operation, many, len(possible)), "the words")
    return form


def _filled(
    request: HttpRequest, operation: Operation, form: OperationForm, possible: Sequence[Any]
) -> list[tuple[Any, OperationForm]]:
    """The form as each row takes it; what one of them refuses is told at the shown form."""
    filled = [(possible[0], form)]
    for target in possible[1:]:
        own = operation.form(request.POST, target=target, user=request.user)
        filled.append((target, own))
        if form.is_valid() and not own.is_valid():
            said = next(iter(own.errors.values()))
            form.add_error(None, f"{target}: {' '.join(map(str, said))}")
    return filled


def _words(operation: Operation, many: Many, number: int) -> str:
    """To be typed: "delete 3 pools". Without the no-break space of the pages."""
    return f"{operation.title.split()[0].lower()} {_count(many, number)}"


def _title(operation: Operation, many: Many, number: int) -> str:
    colon = ":" if " " in operation.title else ""
    return f"{operation.title}{colon} {_count(many, number)}"


def _count(many: Many, number: int) -> str:
    return f"{number} {many.noun}{'' if number == 1 else 's'}"


def _job_key(key: uuid.UUID, target: Any) -> uuid.UUID:
    return uuid.uuid5(key, str(target.pk))


def _known(
    request: HttpRequest, operation: Operation, form: forms.Form, targets: Sequence[Any]
) -> Batch | None:
    """What this very request made before: a double click, a reload, the back button."""
    form.full_clean()
    key = form.cleaned_data.get("key")
    keys = [_job_key(key, target) for target in targets] if key else []
    mine = Job.objects.filter(key__in=keys, requested_by=request.user, operation=operation.name)
    job = mine.select_related("batch").exclude(batch=None).first()
    return job.batch if job and asks_for(form, job.params) else None


@transaction.atomic
def _submit(
    request: HttpRequest,
    operation: Operation,
    many: Many,
    filled: Sequence[tuple[Any, OperationForm]],
    key: uuid.UUID,
) -> Batch:
    """All jobs or none. Of two that come with one key at once, the second waits here and finds the first's."""
    user = User.objects.select_for_update().get(pk=request.user.pk)
    # In one order, as two batches of different people may meet.
    hosts = {place_of(target).host_id for target, _ in filled}
    list(Host.objects.select_for_update().filter(pk__in=hosts).order_by("pk"))
    keys = [_job_key(key, target) for target, _ in filled]
    known = Job.objects.filter(key__in=keys, requested_by=user).select_related("batch").first()
    if known and known.batch and asks_for(filled[0][1], known.params):
        return known.batch
    batch = Batch.objects.create(title=_title(operation, many, len(filled)), requested_by=user)
    address = audit.address_of(request)
    for (target, form), job_key in zip(filled, keys, strict=True):
        asked = {"params": form.params(), "secrets": form.secrets(), "key": job_key}
        submit(operation, target, actor=user, batch=batch, address=address, **asked)
    return batch


def _page(request: HttpRequest, page: dict[str, Any], status: int) -> HttpResponse:
    operation, form, possible, many = (page[name] for name in ("operation", "form", "possible", "many"))
    is_wrong = status == 422
    groups = _groups(operation, possible)
    general = [KEY_LOST] if is_wrong and "key" in form.errors else []
    page |= {
        "title": _title(operation, many, len(possible) or len(page["chosen"])),
        "groups": [group for group in groups if len(group.targets) > 1],
        "singles": [group for group in groups if len(group.targets) == 1],
        "left_out": [one for one in page["chosen"] if one.off],
        "danger": operation.danger.value,
        "typed_text": _words(operation, many, len(possible)),
        "errors": [form[name] for name in form.errors if is_wrong and name in form.fields and name != "key"],
        "general_errors": general + (list(form.non_field_errors()) if is_wrong else []),
        "key": (form.is_bound and form.cleaned_data.get("key")) or uuid.uuid4(),
        "virsh": _virsh(operation, form, possible),
    }
    return render(request, "jobs/bulk.html", page, status=status)


def _virsh(operation: Operation, form: OperationForm, possible: Sequence[Any]) -> list[str]:
    if form.is_bound and form.is_valid():
        params = form.params()
    else:
        fields = {name: form.get_initial_for_field(field, name) for name, field in form.fields.items()}
        params = {name: value for name, value in fields.items() if value is not None}
    return [line for line in (operation.virsh(target, params) for target in possible) if line]


def _groups(operation: Operation, targets: Sequence[Any]) -> list[Group]:
    """By what happens to them; mostly a volume's effects name it, and so it stands alone."""
    found: dict[tuple[str, ...], Group] = {}
    for target in targets:
        effects, title = tuple(operation.effects(target)), _kind_of(target)
        found.setdefault((title, *effects), Group(title, [], effects)).targets.append(target)
    return list(found.values())


def _kind_of(target: Any) -> str:
    return str(getattr(target, "pool", target).kind.title)
