"""A job as pages show it: state, figures, what it waits for. Reads rows only."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

from django.db.models import Q
from django.utils import timezone

from storagemgr.access.scopes import Actor, scope
from storagemgr.jobs.models import Job, JobLock
from storagemgr.jobs.operations import REGISTRY, Operation
from storagemgr.messages import Message, message
from storagemgr.templatetags.storage import moment_long, size, span

State = Job.State
NBSP = "\N{NO-BREAK SPACE}"
UNITS = (("day", 86400), ("h", 3600), ("min", 60), ("s", 1))
ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")
# state -> class and icon of its badge
LOOKS = {
    State.SCHEDULED: ("", "clock"),
    State.QUEUED: ("", "hourglass-split"),
    State.RUNNING: ("info", "arrow-repeat"),
    State.TRANSFERRING: ("info", "arrow-repeat"),
    State.SUCCEEDED: ("ok", "check-circle"),
    State.FAILED: ("bad", "exclamation-octagon"),
    State.CANCELLED: ("", "dash-circle"),
    State.INTERRUPTED: ("warn", "question-circle"),
}
MOVING = (State.RUNNING, State.TRANSFERRING)
NOT_TAKEN = timedelta(seconds=15)


def duration(value: timedelta | int) -> str:
    """The two largest units: "1 min 39 s", "3 h 5 min", "42 s"."""
    rest = max(0, int(value.total_seconds() if isinstance(value, timedelta) else value))
    parts = []
    for unit, seconds in UNITS:
        number, rest = divmod(rest, seconds)
        if parts or number:
            parts.append(f"{number}{NBSP}{unit}{'s' if unit == 'day' and number > 1 else ''}")
    return " ".join(part for part in parts[:2] if not part.startswith(f"0{NBSP}")) or "less than a second"


def ordinal(number: int) -> str:
    if number <= len(ORDINALS):
        return ORDINALS[number - 1]
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def shown_of(job: Job) -> tuple[object, ...]:
    """All that the chip of a job in a row shows."""
    figures = job.percent if job.percent is not None else span(job.elapsed)
    return job.pk, job.title, job.operation, job.state, figures


@dataclass(frozen=True)
class Ahead:
    """The job that ends last before this one's turn; None to a person who may not see it."""

    job: Job | None
    place: int

    @property
    def place_word(self) -> str:
        return ordinal(self.place)


class Stage(NamedTuple):
    """A line of the list of steps. `look`: "done", "now", "bad", or "" for what is still to come."""

    title: str
    look: str = ""
    detail: str = ""


@dataclass
class ShownJob:
    job: Job
    ahead: Ahead | None = None
    now: datetime = field(default_factory=timezone.now)

    @property
    def operation(self) -> Operation | None:
        """None for a job of an operation that an older version declared."""
        return REGISTRY.get(self.job.operation)

    @property
    def tone(self) -> str:
        return LOOKS[State(self.job.state)][0]

    @property
    def icon(self) -> str:
        return LOOKS[State(self.job.state)][1]

    @property
    def is_working(self) -> bool:
        return self.job.state in (State.RUNNING, State.TRANSFERRING, State.INTERRUPTED)

    @property
    def is_moving(self) -> bool:
        return self.job.state in MOVING

    @property
    def is_copy(self) -> bool:
        return not self.job.step or self.job.step.startswith("Copy")

    @property
    def percent(self) -> int | None:
        return self.job.percent if self.is_moving else None

    @property
    def elapsed(self) -> str:
        return duration(self.job.elapsed)

    @property
    def waited(self) -> str:
        return duration((self.job.started_at or self.job.finished_at or self.now) - self._waits_since)

    @property
    def _waits_since(self) -> datetime:
        """Of one that was scheduled: since its time came."""
        due_at = self.job.due_at
        return due_at if due_at and due_at <= self.now else self.job.created_at

    @property
    def left(self) -> str:
        """How long it still takes, "" where nobody can know."""
        seconds = self.job.seconds_left if self.job.state == State.RUNNING else None
        return duration(seconds) if seconds else ""

    @property
    def done_about(self) -> datetime | None:
        seconds = self.job.seconds_left if self.job.state == State.RUNNING else None
        return self.now + timedelta(seconds=seconds) if seconds else None

    @property
    def error(self) -> Message:
        return message(self.job.error_code or "unknown")

    @property
    def is_host_text(self) -> bool:
        """Whether `error_text` are libvirt's words; those of our own codes are sentences for people."""
        return self.job.error_code not in (
            "changed_since",
            "target_gone",
            "not_permitted_any_more",
            "backing_hidden",
            "too_slow",
            "no_room",
            "copy_differs",
            "image_refused",
            "other_format",
            "url_not_allowed",
            "source_failed",
            "too_big",
            "checksum_wrong",
        )

    @property
    def steps(self) -> list[Stage]:
        job = self.job
        if job.state == State.QUEUED:
            return [Stage("Waits for its turn", "now"), Stage("Check again"), Stage("Do it"), Stage("Done")]
        if job.state == State.SCHEDULED:
            time = moment_long(job.due_at)
            return [
                Stage("Waits for its time", "now", time),
                Stage("Check again"),
                Stage("Do it"),
                Stage("Done"),
            ]
        if job.state == State.CANCELLED and not job.started_at:
            words = "Undone before its time" if self.was_undone else "Cancelled while it waited"
            return [Stage(words, "bad", self.waited)]
        is_checked = bool(job.daemon or job.step)
        steps = [Stage("Waited for its turn", "done", self.waited if job.started_at else "")]
        if not is_checked:
            return [
                *steps,
                Stage("Check again", "bad" if job.state == State.FAILED else "now"),
                *self._to_come(),
            ]
        steps.append(Stage("Checked again", "done", "right, target, state"))
        return [*steps, self._work(), *self._looked(), *self._to_come()]

    def _work(self) -> Stage:
        job, title = self.job, self.job.step or "Do it"
        if self.is_moving:
            rate = f", {size(job.rate)}/s" if job.rate and job.state == State.RUNNING else ""
            return Stage(
                title, "now", f"{self.percent}{NBSP}%{rate}" if self.percent is not None else self.elapsed
            )
        is_done = job.state == State.SUCCEEDED and not job.is_recovered
        return Stage(
            title, "done" if is_done else "bad", "cut off from libvirt" if job.finding else self.elapsed
        )

    def _looked(self) -> list[Stage]:
        if self.job.state == State.INTERRUPTED:
            return [Stage("Look at the host how it ended", "now")]
        return [Stage("Looked at the host how it ended", "done")] if self.job.finding else []

    def _to_come(self) -> list[Stage]:
        if self.job.state == State.FAILED:
            return []
        if self.job.state == State.CANCELLED:
            return [Stage("Cancelled", "bad")]
        return [Stage("Done", "done" if self.job.state == State.SUCCEEDED else "")]

    @property
    def was_undone(self) -> bool:
        """Cancelled before its time came."""
        job = self.job
        is_early = job.due_at is not None and job.finished_at is not None and job.finished_at < job.due_at
        return job.state == State.CANCELLED and is_early

    @property
    def is_not_taken(self) -> bool:
        """Its turn has come, yet no worker took it."""
        return self.ahead is None and self.now - self._waits_since > NOT_TAKEN


def shown(user: Actor, jobs: Sequence[Job]) -> list[ShownJob]:
    """Three queries for all that wait together, however many they are."""
    before = blockers_of([job for job in jobs if job.state == State.QUEUED])
    seen = scope(user, "pool.view")
    found = []
    for job in jobs:
        ahead = None
        if earlier := before.get(job.pk):
            last = earlier[-1]
            is_seen = seen.covers(last.host_id, last.pool_uuid)
            ahead = Ahead(last if is_seen else None, len(earlier) + 1)
        found.append(ShownJob(job, ahead))
    return found


def blockers_of(waiting: Sequence[Job]) -> dict[int, list[Job]]:
    """What Job.blockers() says of each, by the job's id."""
    if not waiting:
        return {}
    lanes = Q(batch_id__in={job.batch_id for job in waiting if job.batch_id})
    mine = JobLock.objects.filter(job__in=waiting).values_list("host_id", "pool_uuid")
    for host_id, pool_uuid in {(job.host_id, job.pool_uuid) for job in waiting} | set(mine):
        lanes |= Q(host_id=host_id, pool_uuid=pool_uuid)
        lanes |= Q(locks__host_id=host_id, locks__pool_uuid=pool_uuid)
    active = list(Job.objects.active().filter(lanes).distinct().prefetch_related("locks").order_by("id"))
    locks = {job.pk: list(job.locks.all()) for job in active}
    return {job.pk: [other for other in active if _is_before(other, job, locks)] for job in waiting}


def _is_before(other: Job, job: Job, locks: dict[int, list[JobLock]]) -> bool:
    if other.pk >= job.pk:
        return False
    if job.batch_id and other.batch_id == job.batch_id and other.state != State.INTERRUPTED:
        return True
    if job.is_free or other.is_free:
        return False
    if job.is_exclusive and (job.host_id, job.pool_uuid) in _places(other, locks):
        return not (other.state == State.TRANSFERRING and other.lease_until < timezone.now())
    if other.is_exclusive and (other.host_id, other.pool_uuid) in _places(job, locks):
        return True
    return any(
        _volume(mine) == _volume(theirs) and (mine.is_write or theirs.is_write)
        for mine in locks.get(job.pk, [])
        for theirs in locks[other.pk]
    )


def _places(job: Job, locks: dict[int, list[JobLock]]) -> set[tuple[object, ...]]:
    return {(job.host_id, job.pool_uuid), *((lock.host_id, lock.pool_uuid) for lock in locks.get(job.pk, []))}


def _volume(lock: JobLock) -> tuple[object, ...]:
    return lock.host_id, lock.pool_uuid, lock.volume_name
