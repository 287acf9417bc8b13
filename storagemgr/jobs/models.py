import uuid
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.urls import reverse
from django.utils import timezone

from storagemgr.access.scopes import ScopedQuerySet
from storagemgr.hosts.models import Host

SCHEDULE = "the schedule"  # the requester of what nobody asked for; no account can have a space


class Batch(models.Model):
    """Jobs that one person asked for at once, for many pools. They run one after the other, in order of id."""

    title = models.CharField(max_length=600)
    requested_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["-id"]
        verbose_name_plural = "batches"

    def __str__(self) -> str:
        return self.title

    def get_absolute_url(self) -> str:
        return reverse("jobs:batch", args=[self.pk])


class JobQuerySet(ScopedQuerySet):
    pool_field = "pool_uuid"

    def active(self) -> "JobQuerySet":
        return self.filter(state__in=Job.ACTIVE)

    def in_lane(self, host_id: int, pool_uuid: uuid.UUID | None) -> "JobQuerySet":
        """The lane of a pool, or with None that of the jobs about the host alone."""
        return self.filter(host_id=host_id, pool_uuid=pool_uuid)

    def about_volume(self, name: str) -> "JobQuerySet":
        """Those that made, changed or copied a volume of this name."""
        return self.filter(models.Q(volume_name=name) | models.Q(params__source=name))


class Job(models.Model):
    """One operation that was asked for. The row is the truth, the Celery message only rings the bell.

    scheduled -> queued -> running -> succeeded | failed
           |        |        |  `-> interrupted -> succeeded | failed     (settled by looking at the host)
           `--------+        `-> transferring -> queued                   (the transfer process has it meanwhile)
                    `-> cancelled

    Each arrow is a conditional UPDATE that checks its row count, so a message that is delivered twice runs once.
    A running job renews its lease; one that no longer does is interrupted: its worker died, libvirt may go on.
    """

    class State(models.TextChoices):
        SCHEDULED = "scheduled", "Scheduled"
        QUEUED = "queued", "Waiting"
        RUNNING = "running", "Running"
        SUCCEEDED = "succeeded", "Done"
        FAILED = "failed", "Failed"
        CANCELLED = "cancelled", "Cancelled"
        INTERRUPTED = "interrupted", "Interrupted"
        TRANSFERRING = "transferring", "Transferring"

    ACTIVE = (State.QUEUED, State.RUNNING, State.TRANSFERRING, State.INTERRUPTED)
    # These hold their locks. A scheduled job is none of the active ones: it waits for its time, not for its turn.
    HOLDING = (State.SCHEDULED, *ACTIVE)

    operation = models.CharField(max_length=64)
    title = models.CharField(max_length=600)
    host = models.ForeignKey(Host, on_delete=models.CASCADE, related_name="jobs")
    batch = models.ForeignKey(Batch, null=True, on_delete=models.SET_NULL, related_name="jobs")
    # None: the job is about the host alone.
    pool_uuid = models.UUIDField(null=True)
    pool_name = models.CharField(max_length=255, blank=True)
    volume_name = models.CharField(max_length=255, blank=True)
    params = models.JSONField(default=dict)
    # Passwords that the job needs, encrypted; emptied by every transition but the first (see sealed.py).
    sealed = models.TextField(blank=True)
    is_exclusive = models.BooleanField(default=False)
    # Takes no part in the lane: it changes rows of ours alone.
    is_free = models.BooleanField(default=False)
    key = models.UUIDField(unique=True, default=uuid.uuid4)

    requested_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL)
    requester_name = models.CharField(max_length=150)
    created_at = models.DateTimeField(auto_now_add=True)
    due_at = models.DateTimeField(null=True)  # of a scheduled job: when it is queued
    cancel_asked_at = models.DateTimeField(null=True)  # of a running one that can be stopped
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    updated_at = models.DateTimeField(auto_now=True)
    published_at = models.DateTimeField(null=True)

    state = models.CharField(max_length=16, choices=State, default=State.QUEUED, db_index=True)
    step = models.CharField(max_length=255, blank=True)
    step_at = models.DateTimeField(null=True)
    done_bytes = models.BigIntegerField(null=True)
    total_bytes = models.BigIntegerField(null=True)
    progress_at = models.DateTimeField(null=True)
    token = models.UUIDField(null=True)
    lease_until = models.DateTimeField(null=True)
    worker = models.CharField(max_length=128, blank=True)
    daemon = models.CharField(max_length=128, blank=True)
    next_settle_at = models.DateTimeField(null=True)

    error_code = models.CharField(max_length=64, blank=True)
    error_text = models.TextField(blank=True)
    is_recovered = models.BooleanField(default=False)
    finding = models.TextField(blank=True)
    acknowledged_at = models.DateTimeField(null=True)

    objects = JobQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["host", "pool_uuid", "state"]),
            models.Index(fields=["state", "lease_until"]),
            models.Index(
                fields=["finished_at"],
                name="job_of_schedule",
                condition=models.Q(requester_name="the schedule"),
            ),
        ]

    def __str__(self) -> str:
        return self.title

    def get_absolute_url(self) -> str:
        return reverse("jobs:job", args=[self.pk])

    @property
    def is_scheduled(self) -> bool:
        return self.requested_by_id is None and self.requester_name == SCHEDULE

    @property
    def is_active(self) -> bool:
        return self.state in self.ACTIVE

    @property
    def is_pending(self) -> bool:
        """It has not ended: active, or scheduled for later."""
        return self.state in self.HOLDING

    @property
    def percent(self) -> int | None:
        """0 to 99 while it runs, None where libvirt gives no figures."""
        if self.state == self.State.SUCCEEDED:
            return 100
        if self.done_bytes is None or not self.total_bytes:
            return None
        return min(99, self.done_bytes * 100 // self.total_bytes)

    @property
    def elapsed(self) -> timedelta:
        return (self.finished_at or timezone.now()) - (self.started_at or self.created_at)

    @property
    def rate(self) -> int | None:
        """Bytes per second since the step began, None before there are figures, and where pauses would count."""
        began = None if self.state == self.State.TRANSFERRING else self.step_at or self.started_at
        if not (self.done_bytes and began and self.progress_at):
            return None
        seconds = (self.progress_at - began).total_seconds()
        return int(self.done_bytes / seconds) if seconds > 0 else None

    @property
    def seconds_left(self) -> int | None:
        if not (self.rate and self.total_bytes and self.done_bytes is not None):
            return None
        return max(0, (self.total_bytes - self.done_bytes) // self.rate)

    def blockers(self) -> list["Job"]:
        """The jobs before this one that must end first, oldest first."""
        # An interrupted job may wait for its host for days; the rest of the batch does not.
        batch = Q(batch_id=self.batch_id) & ~Q(state=Job.State.INTERRUPTED) if self.batch_id else Q(pk__in=[])
        lane = Q(pk__in=[]) if self.is_free else self._lane()
        earlier = Job.objects.active().filter(lane | batch, id__lt=self.id)
        return list(earlier.distinct().order_by("id"))

    def _lane(self) -> Q:
        """The jobs that do not go together with this one. A copy into another pool is in the lanes of both."""
        locks = list(self.locks.all())
        if not self.is_exclusive:
            opened = [(lock.host_id, lock.pool_uuid) for lock in locks if not lock.is_twin]
            places = {(self.host_id, self.pool_uuid), *opened}
            exclusive = Q(pk__in=[])
            for host_id, pool_uuid in places:
                exclusive |= Q(host_id=host_id, pool_uuid=pool_uuid)
            return exclusive & Q(is_exclusive=True) | Q(locks__in=conflicting(locks))
        here = Q(host_id=self.host_id, pool_uuid=self.pool_uuid)
        touches = Q(locks__host_id=self.host_id, locks__pool_uuid=self.pool_uuid, locks__is_twin=False)
        # Between two pieces of a transfer nothing is open on the host.
        rests = Q(state=Job.State.TRANSFERRING, lease_until__lt=timezone.now())
        return (here | touches) & Q(is_free=False) & ~rests

    def log(self, text: str) -> None:
        self.lines.create(text=text)


class JobLine(models.Model):
    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="lines")
    at = models.DateTimeField(auto_now_add=True)
    text = models.TextField()

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return self.text


class JobLock(models.Model):
    """A volume that the job reads (others may read it too) or changes (nobody else may touch it)."""

    job = models.ForeignKey(Job, on_delete=models.CASCADE, related_name="locks")
    host_id = models.BigIntegerField()
    pool_uuid = models.UUIDField()
    volume_name = models.CharField(max_length=255)
    is_write = models.BooleanField()
    # The same bytes by another pool, which the job itself does not open: it waits for nothing that happens there.
    is_twin = models.BooleanField(default=False)

    class Meta:
        indexes = [models.Index(fields=["host_id", "pool_uuid", "volume_name"])]

    def __str__(self) -> str:
        return f"{'change' if self.is_write else 'read'} {self.volume_name}"


def conflicting(locks: Any) -> models.QuerySet[JobLock]:
    """The locks of jobs that have not ended and that do not go together with `locks`, an iterable of JobLock."""
    clash = Q(pk__in=[])
    for lock in locks:
        same = Q(host_id=lock.host_id, pool_uuid=lock.pool_uuid, volume_name=lock.volume_name)
        clash |= same if lock.is_write else same & Q(is_write=True)
    return JobLock.objects.filter(clash, job__state__in=Job.HOLDING)
