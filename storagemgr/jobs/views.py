"""Pages of jobs: rows only, libvirt is never asked here."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Q
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import get_resolver, reverse
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from storagemgr.access import audit
from storagemgr.access.objects import may, require, visible_or_404, who_may
from storagemgr.access.scopes import Actor
from storagemgr.hosts.models import Host
from storagemgr.jobs import cancelling, filters
from storagemgr.jobs.cancelling import can_be_cancelled, cancel_right
from storagemgr.jobs.lease import move
from storagemgr.jobs.models import Batch, Job
from storagemgr.jobs.operations import REGISTRY, by_slug
from storagemgr.jobs.pages import again_url, for_htmx, many_url, operate, see
from storagemgr.jobs.runner import ring_next
from storagemgr.jobs.undoing import undoable
from storagemgr.jobs.words import ShownJob, blockers_of, shown
from storagemgr.listing import is_filtered, kept, ordered, page_of, sort_key, take_pinned
from storagemgr.live import live_page

State = Job.State
COPY_RUNS = "libvirt cannot stop a copy once it runs. Delete the copy when it is done if you do not want it."
JOB_RUNS = "libvirt cannot stop this once it runs."


@require_safe
def job_list(request: HttpRequest) -> HttpResponse:
    pinned = take_pinned(request)
    visible = filters.with_pool(Job.objects.visible_to(request.user))
    chosen = filters.JobFilter(request.GET, queryset=visible, request=request).qs
    chips = filters.state_chips(request, chosen)
    state = next(chip for chip in chips if chip.is_on)
    sort = sort_key(request, filters.SORTS, filters.DEFAULT_SORT)
    matching = ordered(chosen.filter(state=state.value) if state.value else chosen, sort, filters.SORTS)
    page = page_of(request, matching, state.count)
    shown_now = kept(page, pinned, visible)
    rows = shown_now.rows[: len(shown_now.rows) - shown_now.came] or list(page)
    pool_name = next((row.pool_name for row in rows), "") if request.GET.get("pool") else ""
    context = {
        "rows": shown(request.user, rows),
        "newer": matching.filter(pk__gt=max(pinned)).count() if pinned and page.number == 1 else 0,
        "page": page,
        "sort": sort,
        "chips": chips,
        "menus": filters.menus(request),
        "q": request.GET.get("q", ""),
        "is_filtered": is_filtered(request),
        "is_mine": request.GET.get("mine") == "1",
        "pool_name": pool_name,
        "row_ids": "-".join(str(row.pk) for row in rows),
    }
    return live_page(request, "jobs/list.html", context)


@require_safe
def job_page(request: HttpRequest, pk: int) -> HttpResponse:
    job = visible_or_404(request, filters.with_pool(Job.objects.all()), pk=pk)
    return _job_page(request, job)


def _job_page(request: HttpRequest, job: Any, *, refused: str = "") -> HttpResponse:
    [row] = shown(request.user, [job])
    operation = REGISTRY.get(job.operation)
    target = operation.find(job) if operation else None
    made = operation.result(job) if operation and job.state == State.SUCCEEDED else None
    part = operation.part(request, job) if operation and job.is_active else None
    context = {
        "row": row,
        "job": job,
        "target": target,
        "made": made,
        "refused": refused,
        "part": part,
        "cancel": cancel_of(request, job),
        "may_give_up": job.state == State.INTERRUPTED
        and may(request.user, cancel_right(job), job.host_id, job.pool_uuid),
        "done": operation.done(job) if operation and job.state == State.FAILED else [],
        "next_step": operation.next_step(job) if operation and not job.is_active else None,
        "again_url": again_url(operation, target, job) if _may_try_again(request, job, target) else "",
        "asked": asked(job, request.user),
        "lines": list(job.lines.all()),
        "locks": list(job.locks.all()) if job.is_pending else [],
        "behind": _behind(job) if job.is_active else [],
    }
    if refused:
        response = render(request, "jobs/job.html", context, status=409)
    else:
        response = live_page(request, "jobs/job.html", context)
    return part.allow(request, response) if part else response


@dataclass(frozen=True)
class Cancel:
    """`off`: why it cannot be pressed, "" when it can."""

    off: str = ""
    is_locked: bool = False


def cancel_of(request: HttpRequest, job: Job) -> Cancel | None:
    if can_be_cancelled(job):
        right = cancel_right(job)
        if job.requested_by_id == request.user.pk or may(request.user, right, job.host_id, job.pool_uuid):
            return Cancel()
        return Cancel(who_may(request.user, right, job.host_id, job.pool_uuid), is_locked=True)
    if job.state in (State.RUNNING, State.INTERRUPTED):
        return Cancel(COPY_RUNS if job.total_bytes else JOB_RUNS)
    return None


def _may_try_again(request: HttpRequest, job: Job, target: Any) -> bool:
    has_ended_badly = job.state in (State.FAILED, State.CANCELLED)
    return (
        has_ended_badly and bool(target) and may(request.user, cancel_right(job), job.host_id, job.pool_uuid)
    )


def asked(job: Job, user: Actor) -> list[tuple[str, str]]:
    """The fields of the operation's form as they were sent, with the labels and words of the form.

    A field that names an object says in `words` what this person may know of it.
    """
    operation = REGISTRY.get(job.operation)
    fields = operation.form.base_fields if operation else {}
    found = []
    for name, field in fields.items():
        if job.params.get(name, "") != "" and not field.widget.is_hidden:
            value = job.params[name]
            if hasattr(field, "words"):
                found.append((str(field.label or name), field.words(value, user)))
                continue
            choices = dict(getattr(field, "choices", []))
            shown = choices.get(value, field.prepare_value(value))
            words = ("yes" if shown else "no") if isinstance(shown, bool) else str(shown)
            found.append((str(field.label or name), words))
    return found


def _behind(job: Job) -> list[Job]:
    """The jobs that wait for this one."""
    lane = Job.objects.in_lane(job.host_id, job.pool_uuid)
    waiting = list(lane.filter(state=State.QUEUED, id__gt=job.pk).order_by("id"))
    before = blockers_of(waiting)
    return [other for other in waiting if any(blocker.pk == job.pk for blocker in before[other.pk])]


@require_POST
def cancel(request: HttpRequest, pk: int) -> HttpResponse:
    job = visible_or_404(request, filters.with_pool(Job.objects.all()), pk=pk)
    try:
        _require_cancel(request, job)
    except PermissionDenied as error:
        if not request.htmx:
            raise
        return for_htmx(request, get_resolver().resolve_error_handler(403)(request, exception=error))
    if job.state == State.CANCELLED or cancelling.cancel(job, request.user, audit.address_of(request)):
        return for_htmx(request, see(job.get_absolute_url()))
    job.refresh_from_db()
    refused = "It was too late to cancel it: it has ended." if not job.is_pending else ""
    refused = refused or f"It began already. {_why_no_cancel(request, job)}"
    return for_htmx(request, _job_page(request, job, refused=refused))


def _why_no_cancel(request: HttpRequest, job: Job) -> str:
    now = cancel_of(request, job)
    return now.off if now else "It is being stopped."


def _require_cancel(request: HttpRequest, job: Job) -> None:
    if job.requested_by_id == request.user.pk:
        return
    require(
        request,
        cancel_right(job),
        action="job.cancel",
        host_id=job.host_id,
        pool_uuid=job.pool_uuid,
        object_text=job.title,
    )


@require_POST
def give_up(request: HttpRequest, pk: int) -> HttpResponse:
    """Stop looking how an interrupted job ended, because its host is gone for good: its locks are free again."""
    job = visible_or_404(request, filters.with_pool(Job.objects.all()), pk=pk)
    place = {"host_id": job.host_id, "pool_uuid": job.pool_uuid}
    require(request, cancel_right(job), action="job.give_up", object_text=job.title, **place)
    with transaction.atomic():
        text = f"{request.user.get_username()} gave up looking how it ended."
        ended = {"error_code": "end_unknown", "finding": f"{job.finding} {text}".strip()}
        if not move(job, from_state=State.INTERRUPTED, to_state=State.FAILED, **ended):
            refused = "Nobody looks for its end any more: it is not interrupted."
            return for_htmx(request, _job_page(request, job, refused=refused))
        job.log(text)
        audit.record(
            "job.give_up",
            audit.Outcome.DONE,
            actor=request.user,
            right=cancel_right(job),
            object_text=job.title,
            job_id=job.pk,
            address=audit.address_of(request),
            **place,
        )
        transaction.on_commit(lambda: ring_next(job))
    return for_htmx(request, see(job.get_absolute_url()))


@require_POST
def acknowledge(request: HttpRequest, pk: int) -> HttpResponse:
    """The person has seen how the job ended, so its notice goes, and those of its batch.

    That of somebody else's job is not theirs.
    """
    job = visible_or_404(request, Job.objects.all(), pk=pk)
    told = Q(batch=job.batch_id) if job.batch_id else Q(pk=job.pk)
    mine = Job.objects.filter(told, requested_by=request.user, acknowledged_at=None)
    mine.exclude(state__in=Job.ACTIVE).update(acknowledged_at=timezone.now())
    back = request.POST.get("next", "")
    if not url_has_allowed_host_and_scheme(back, {request.get_host()}, require_https=request.is_secure()):
        back = reverse("jobs:list")
    return HttpResponse() if request.htmx else see(back)


@require_safe
def strip(request: HttpRequest) -> HttpResponse:
    response = render(request, "jobs/_strip.html")
    response["Cache-Control"] = "private, no-cache"
    return response


@require_safe
def batch(request: HttpRequest, pk: int) -> HttpResponse:
    """What became of each of the pools that were chosen together; of those that the person may see."""
    sort = sort_key(request, filters.SORTS, "asked")
    jobs = filters.with_pool(Job.objects.visible_to(request.user)).filter(batch_id=pk)
    jobs = list(ordered(jobs, sort, filters.SORTS))
    if not jobs:
        raise Http404
    rows = shown(request.user, jobs)
    context = {
        "batch": Batch.objects.get(pk=pk),
        "sort": sort,
        "rows": rows,
        "counts": dict(Counter(job.get_state_display() for job in jobs)),
        "is_active": any(job.is_active for job in jobs),
        "failed": [row for row in rows if row.job.state == State.FAILED],
        "undoable": len(undoable(request.user, jobs)),
    }
    context["again_url"] = _again_of_batch(context["batch"], context["failed"])
    return live_page(request, "jobs/batch.html", context)


def _again_of_batch(batch: Batch, failed: Sequence[ShownJob]) -> str:
    """Where all that failed can be asked for once more together, "" where that cannot be."""
    operations = {row.operation for row in failed}
    operation = operations.pop() if len(operations) == 1 else None
    return many_url(operation, {"again": batch.pk}) if operation and operation.is_for_many else ""


@require_http_methods(["GET", "HEAD", "POST"])
def operate_host(request: HttpRequest, pk: int, slug: str) -> HttpResponse:
    host = visible_or_404(request, Host.objects.all(), pk=pk)
    operation = by_slug("host", slug)
    if operation is None:
        raise Http404
    return operate(request, operation, host, cancel_url=host.get_absolute_url())
