"""What happened to a host, a pool or a volume: our jobs, what was seen from outside, who was given a role there.

Each source is asked for its newest rows alone, by an index, so that a page that is polled stays cheap.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from django.db.models import F, Q, QuerySet
from django.db.models.functions import Coalesce
from django.urls import NoReverseMatch, reverse

from storagemgr.access.models import AuditEvent
from storagemgr.access.objects import may
from storagemgr.access.scopes import Actor
from storagemgr.hosts.models import Change
from storagemgr.jobs.models import SCHEDULE, Job
from storagemgr.jobs.operations import REGISTRY
from storagemgr.jobs.words import LOOKS

State = Job.State
SHOWN = 8
LIMIT = 1000  # so far back the page of a timeline goes
KINDS = {
    "job": "Jobs",
    "notes": "Notes and protection",
    "seen": "Seen from outside",
    "access": "Roles",
    "host": "The host’s settings",
}
ENDED = (State.SUCCEEDED, State.FAILED, State.CANCELLED)
GRANTS = ("access.grant", "access.revoke")
SETTINGS = {
    "host.add": "Added as a host",
    "host.edit": "Its settings were changed",
    "host.confirm_key": "Its key was confirmed",
}
_TROUBLE = ("went", "shrank", "silent", "state")
_READ = (
    *("title", "state", "operation", "requester_name", "created_at", "finished_at"),
    *("host_id", "pool_uuid", "requested_by_id"),
)


class Place(NamedTuple):
    """A host; one of its pools; a volume in that."""

    host_id: int
    pool_uuid: UUID | None = None
    volume_name: str = ""


class Entry(NamedTuple):
    """`words`: who and how, after the text."""

    key: str
    kind: str
    at: datetime
    text: str
    url: str
    words: str
    icon: str
    tone: str


@dataclass(frozen=True)
class Source:
    """Rows, newest first, and what each is on the page."""

    rows: QuerySet[Any]
    at: Any
    entry: Callable[[Any], Entry]


def newest(user: Actor, place: Place) -> list[Entry]:
    """For the card on the page of the place."""
    found = [s.entry(row) for s in sources(user, place, KINDS) for row in s.rows[:SHOWN]]
    return sorted(found, key=lambda entry: entry.at, reverse=True)[:SHOWN]


def kinds_at(place: Place) -> list[str]:
    """Those that the place can have."""
    return [kind for kind in KINDS if kind != "host" or place.pool_uuid is None]


def sources(user: Actor, place: Place, kinds: Iterable[str]) -> Iterator[Source]:
    kinds = set(kinds)
    if kinds & {"job", "notes"}:
        jobs = _jobs(user, place, kinds)
        # One state at a time the index of a pool's jobs is in their order; a host's is for all.
        each = [jobs.filter(state=state) for state in ENDED] if place.pool_uuid else [jobs]
        yield from (Source(rows, Coalesce("finished_at", "created_at"), _of_job) for rows in each)
    if "seen" in kinds:
        yield Source(_changes(user, place), F("at"), _of_change)
    if "access" in kinds and _sees_access(user, place):
        yield Source(_grants(place), F("at"), _of_grant(_reads_audit(user, place)))
    if "host" in kinds and place.pool_uuid is None:
        yield Source(_few(SETTINGS).filter(its_host=place.host_id), F("at"), _of_setting)


def _jobs(user: Actor, place: Place, kinds: set[str]) -> QuerySet[Any]:
    """Those that have ended. Of what the schedule did by itself only what went wrong is news."""
    rows = Job.objects.visible_to(user).filter(host_id=place.host_id)
    if place.pool_uuid:
        rows = rows.in_lane(place.host_id, place.pool_uuid)
    if place.volume_name:
        rows = rows.about_volume(place.volume_name)
    rows = rows.filter(state__in=ENDED).exclude(requester_name=SCHEDULE, state=State.SUCCEEDED)
    if kinds & {"job", "notes"} != {"job", "notes"}:
        is_notes = Q(operation__in=notes_operations())
        rows = rows.filter(is_notes if "notes" in kinds else ~is_notes)
    return rows.only(*_READ).order_by("-id")


def notes_operations() -> list[str]:
    """Those that change rows of ours alone."""
    return [name for name, operation in REGISTRY.items() if operation.is_free]


def _changes(user: Actor, place: Place) -> QuerySet[Any]:
    rows = Change.objects.visible_to(user).filter(host_id=place.host_id)
    if place.pool_uuid is None:
        # Of the volumes each pool tells.
        return rows.filter(volume_name="").order_by("-id")
    rows = rows.filter(pool_uuid=place.pool_uuid)
    return (rows.filter(volume_name=place.volume_name) if place.volume_name else rows).order_by("-id")


def _sees_access(user: Actor, place: Place) -> bool:
    return any(may(user, right, place.host_id, place.pool_uuid) for right in ("access.manage", "audit.read"))


def _reads_audit(user: Actor, place: Place) -> bool:
    return may(user, "audit.read", place.host_id, place.pool_uuid)


def _grants(place: Place) -> QuerySet[Any]:
    rows = _few(GRANTS).filter(its_pool=place.pool_uuid)
    here = Q(its_host=place.host_id)
    # A role on a pool, wherever it is.
    return rows.filter(here | Q(its_host=None) if place.pool_uuid else here)


def _few(actions: Iterable[str]) -> QuerySet[Any]:
    """Events of actions that are rare. By the index of the action: a host or a pool may have many thousand others."""
    rows = AuditEvent.objects.filter(action__in=actions, outcome="done").order_by("-id")
    # An expression has no index that the database could take instead.
    return rows.alias(its_host=Coalesce("host_id", "host_id"), its_pool=Coalesce("pool_uuid", "pool_uuid"))


def _of_job(job: Job) -> Entry:
    tone, icon = LOOKS[State(job.state)]
    is_notes = job.operation in REGISTRY and REGISTRY[job.operation].is_free
    if job.state == State.SUCCEEDED and is_notes:
        icon = "bookmark"
    return Entry(
        key=f"job-{job.pk}",
        kind="notes" if is_notes else "job",
        at=job.finished_at or job.created_at,
        text=job.title,
        url=job.get_absolute_url(),
        words=f"{job.get_state_display().lower()}, by {job.requester_name}",
        icon=icon,
        tone=tone or "muted",
    )


def _of_change(change: Change) -> Entry:
    icon, tone = ("exclamation-triangle", "warn") if change.kind in _TROUBLE else ("info-circle", "info")
    return Entry(f"seen-{change.pk}", "seen", change.at, change.text, "", "seen from outside", icon, tone)


def _of_grant(is_reader: bool) -> Callable[[AuditEvent], Entry]:
    def entry(event: AuditEvent) -> Entry:
        verb = "Granted" if event.action == "access.grant" else "Taken away"
        return Entry(
            key=f"access-{event.pk}",
            kind="access",
            at=event.at,
            text=f"{verb}: {event.object_text}",
            url=_event_url(event.pk) if is_reader else "",
            words=f"by {event.actor_name}",
            icon="people",
            tone="muted",
        )

    return entry


def _event_url(pk: int) -> str:
    try:
        return reverse("people:audit_event", args=[pk])
    except NoReverseMatch:
        return ""


def _of_setting(event: AuditEvent) -> Entry:
    text, words = SETTINGS[event.action], f"by {event.actor_name}"
    return Entry(f"host-{event.pk}", "host", event.at, text, "", words, "pencil", "muted")


class Merged(Sequence[Entry]):
    """The newest LIMIT entries of all sources in the order of their time; a slice reads the rows that it shows."""

    def __init__(self, found: Iterable[Source]) -> None:
        self.sources = list(found)
        keys = []
        for number, source in enumerate(self.sources):
            times = source.rows.annotate(time=source.at)
            keys += [(at, number, pk) for pk, at in times.values_list("pk", "time")[:LIMIT]]
        self.keys = sorted(keys, reverse=True)[:LIMIT]
        self.is_all = len(keys) < LIMIT

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, place: Any) -> Any:
        keys = self.keys[place] if isinstance(place, slice) else [self.keys[place]]
        entries: dict[tuple[int, int], Entry] = {}
        for number, source in enumerate(self.sources):
            pks = [pk for _, its, pk in keys if its == number]
            entries |= (
                {(number, row.pk): source.entry(row) for row in source.rows.filter(pk__in=pks)} if pks else {}
            )
        found = [entries[number, pk] for _, number, pk in keys if (number, pk) in entries]
        return found if isinstance(place, slice) else found[0]
