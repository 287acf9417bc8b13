"""The strip on every page: what runs and waits, and what of mine ended."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from django.db.models import BigIntegerField, Case, Count, F, IntegerField, Q, Value, When
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.functional import SimpleLazyObject

from storagemgr.access.scopes import Actor
from storagemgr.jobs.models import Job
from storagemgr.jobs.words import ShownJob, shown

State = Job.State
JOBS_SHOWN = 20
NOTICES_SHOWN = 3
NOTICE_FOR = timedelta(seconds=15)
WORDS = (
    (State.RUNNING, "running"),
    (State.TRANSFERRING, "transferring"),
    (State.QUEUED, "waiting"),
    (State.INTERRUPTED, "interrupted"),
)
RUNNING_FIRST = Case(
    When(state=State.RUNNING, then=Value(0)),
    When(state=State.TRANSFERRING, then=Value(1)),
    When(state=State.INTERRUPTED, then=Value(2)),
    default=Value(3),
    output_field=IntegerField(),
)
# Of those that run the newest first, of those that wait the one whose turn comes first.
BY_TURN = Case(When(state=State.QUEUED, then=F("id")), default=-F("id"), output_field=BigIntegerField())


@dataclass(frozen=True)
class Strip:
    summary: str
    jobs: list[ShownJob]
    hidden: int
    notices: list[ShownJob]
    has_more_notices: bool

    @property
    def first(self) -> ShownJob | None:
        return self.jobs[0] if self.jobs else None


def running_jobs(request: HttpRequest) -> dict[str, Any]:
    """Asks the database only where the strip is shown: fragments have none."""
    return {"strip": SimpleLazyObject(lambda: strip_of(request.user, _here(request)))}


def _here(request: HttpRequest) -> str:
    """The path of the page on which the strip stands."""
    if not request.htmx:
        return request.path
    try:
        return urlsplit(request.htmx.current_url or "").path
    except ValueError:
        return ""


def strip_of(user: Actor, here: str = "") -> Strip:
    """`here`: the page of a job or of its batch tells itself how the job ended, so it has no notice of it."""
    visible = Job.objects.visible_to(user)
    told = notice_of(user)
    # Nearly always none: then this is the only query.
    counts = dict(
        visible.filter(Q(state__in=Job.ACTIVE) | told).order_by().values_list("state").annotate(Count("pk"))
    )
    total = sum(counts.get(state, 0) for state in Job.ACTIVE)
    jobs = visible.active().select_related("host").order_by(RUNNING_FIRST, BY_TURN) if total else []
    ended = visible.filter(told).order_by("-finished_at") if len(counts.keys() - Job.ACTIVE) else []
    notices = [job for job in ended[: NOTICES_SHOWN + 2] if here not in _pages_of(job)]
    return Strip(
        summary=", ".join(f"{counts[state]} {word}" for state, word in WORDS if counts.get(state)),
        jobs=shown(user, list(jobs[:JOBS_SHOWN])),
        hidden=max(0, total - JOBS_SHOWN),
        notices=shown(user, notices[:NOTICES_SHOWN]),
        has_more_notices=len(notices) > NOTICES_SHOWN,
    )


def _pages_of(job: Job) -> list[str]:
    batch = [reverse("jobs:batch", args=[job.batch_id])] if job.batch_id else []
    return [job.get_absolute_url(), *batch]


def notice_of(user: Actor) -> Q:
    """Jobs of this person that ended a moment ago, or that failed and were not acknowledged. Of a batch only those."""
    if not user.is_authenticated:
        return Q(pk__in=[])
    lately = Q(state=State.SUCCEEDED, finished_at__gte=timezone.now() - NOTICE_FOR, batch=None)
    return Q(requested_by=user.pk, acknowledged_at=None) & (lately | Q(state=State.FAILED))
