import uuid
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth.models import Group
from django.db import models
from django.urls import reverse
from django.utils import timezone

from storagemgr.access.scopes import ScopedQuerySet
from storagemgr.hosts.models import Host
from storagemgr.virt.pool_types import PoolType, pool_type


class PoolQuerySet(ScopedQuerySet):
    pool_field = "uuid"


class Pool(models.Model):
    """A storage pool as libvirt last reported it. Sizes in bytes.

    capacity, allocation and available date from the pool's last refresh in libvirt, not from `seen_at`; of an
    inactive pool they are what was last known while it ran.
    """

    class State(models.TextChoices):
        INACTIVE = "inactive", "Stopped"
        BUILDING = "building", "Building"
        RUNNING = "running", "Running"
        DEGRADED = "degraded", "Degraded"
        INACCESSIBLE = "inaccessible", "Inaccessible"

    host = models.ForeignKey(Host, on_delete=models.CASCADE, related_name="pools")
    uuid = models.UUIDField()
    name = models.CharField(max_length=255)
    type = models.CharField(max_length=32)
    state = models.CharField(max_length=16, choices=State)
    state_since = models.DateTimeField()
    persistent = models.BooleanField(default=True)
    autostart = models.BooleanField(default=False)
    capacity = models.BigIntegerField(default=0)
    allocation = models.BigIntegerField(default=0)
    available = models.BigIntegerField(default=0)
    # What the volumes may grow to, together: sum of max(capacity, allocation).
    promised = models.BigIntegerField(default=0)
    # What the volumes take now, together. The rest of the pool's allocation is not theirs.
    volume_allocation = models.BigIntegerField(default=0)
    volume_count = models.PositiveIntegerField(default=0)
    skipped_volumes = models.PositiveIntegerField(default=0)

    source = models.CharField(max_length=1024, blank=True)
    target_path = models.CharField(max_length=4096, blank=True)
    xml = models.TextField(blank=True)
    # How it runs now, where that differs from `xml`, which it gets at its next start; "" when it does not.
    running_xml = models.TextField(blank=True)

    seen_at = models.DateTimeField()
    unreachable_since = models.DateTimeField(null=True)
    failures = models.PositiveIntegerField(default=0)
    next_try_at = models.DateTimeField(null=True)
    config_read_at = models.DateTimeField(null=True)
    volumes_read_at = models.DateTimeField(null=True)
    volumes_error = models.CharField(max_length=64, blank=True)
    # "is changed": the cheap reading differs from the last one, so the volumes are read at once.
    is_changed = models.BooleanField(default=True)
    refreshed_at = models.DateTimeField(null=True)
    next_refresh_at = models.DateTimeField(null=True)
    refresh_error = models.TextField(blank=True)

    objects = PoolQuerySet.as_manager()

    class Meta:
        ordering = ["host__name", "name"]
        constraints = [models.UniqueConstraint(fields=["host", "uuid"], name="pool_once_per_host")]

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("pools:pool", args=[self.pk])

    @property
    def kind(self) -> PoolType:
        return pool_type(self.type)

    @property
    def is_active(self) -> bool:
        return self.state != self.State.INACTIVE

    @property
    def answers(self) -> bool:
        return self.host.answers and self.unreachable_since is None

    @property
    def used_percent(self) -> int:
        return min(100, self.allocation * 100 // self.capacity) if self.capacity else 0


class UsageSample(models.Model):
    """How full a pool was. Sizes in bytes, as in Pool. Samples get rarer with age (pools.samples)."""

    pool = models.ForeignKey(Pool, on_delete=models.CASCADE, related_name="samples")
    at = models.DateTimeField()
    capacity = models.BigIntegerField()
    allocation = models.BigIntegerField()
    promised = models.BigIntegerField()

    class Meta:
        ordering = ["at"]
        constraints = [models.UniqueConstraint(fields=["pool", "at"], name="one_sample_at_a_time")]

    def __str__(self) -> str:
        return f"{self.pool} at {self.at:%Y-%m-%d %H:%M}"


class Notes(models.Model):
    """What people know of a pool or a volume and libvirt does not. By host, UUID and name and not by the row, which
    goes when a mount is missing for a moment.

    `protected_*`: nobody deletes, wipes or shrinks it before `protected_until`, or ever where that is None.
    """

    host = models.ForeignKey(Host, on_delete=models.CASCADE, related_name="+")
    pool_uuid = models.UUIDField()
    owner = models.ForeignKey(Group, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    note = models.TextField(blank=True)
    ticket = models.CharField(max_length=200, blank=True)
    expires_on = models.DateField(null=True, blank=True)
    protected_because = models.CharField(max_length=400, blank=True)
    protected_until = models.DateField(null=True, blank=True)
    protected_by = models.CharField(max_length=150, blank=True)
    protected_at = models.DateTimeField(null=True)

    class Meta:
        abstract = True

    @property
    def is_protected(self) -> bool:
        over = self.protected_until and self.protected_until < timezone.localdate()
        return bool(self.protected_at) and not over

    @property
    def ticket_url(self) -> str:
        """The ticket, where it is an address that a link may lead to."""
        return self.ticket if self.ticket.lower().startswith(("https://", "http://")) else ""

    @property
    def is_expired(self) -> bool:
        return self.expires_on is not None and self.expires_on < timezone.localdate()


class PoolNotes(Notes):
    pool = models.OneToOneField(Pool, null=True, on_delete=models.SET_NULL, related_name="notes")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["host", "pool_uuid"], name="notes_once_per_pool")]
        verbose_name_plural = "pool notes"

    def __str__(self) -> str:
        return f"notes on {self.pool_uuid}"


class PoolConfiguration(models.Model):
    """A definition that a pool had, oldest first. By host and UUID, so that it outlives the pool's row.

    `made_by` is the person who changed it here; "" when the change was seen from outside, by virsh for example.
    """

    host = models.ForeignKey(Host, on_delete=models.CASCADE, related_name="+")
    pool_uuid = models.UUIDField()
    xml = models.TextField()
    at = models.DateTimeField(default=timezone.now)
    made_by = models.CharField(max_length=150, blank=True)
    job_id = models.BigIntegerField(null=True)

    class Meta:
        ordering = ["id"]
        indexes = [models.Index(fields=["host", "pool_uuid", "id"])]

    def __str__(self) -> str:
        return f"{self.pool_uuid} at {self.at:%Y-%m-%d %H:%M}"


class PoolDraft(models.Model):
    """A pool that somebody is making: what was filled in so far. Nothing of it is on a host before it is created.

    `values`: by the names of virt.pool_fields; `options`: what else to do (build, start...); `sealed`: passwords,
    encrypted (jobs.sealed), emptied when the pools are made.
    """

    KEPT = timedelta(days=30)

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    name = models.CharField(max_length=255, blank=True)
    type = models.CharField(max_length=32, blank=True)
    values = models.JSONField(default=dict)
    options = models.JSONField(default=dict)
    sealed = models.TextField(blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["-updated_at"]

    def __str__(self) -> str:
        return self.name or "New pool"


class NewPoolQuerySet(ScopedQuerySet):
    pool_field = "uuid"


class NewPool(models.Model):
    """The pool of a draft on one host, and what was learned there. Its UUID is the one that the pool will have.

    `found`, `tested`: what the last discovery and the last test said, None before there was one; `done`: the steps
    of its creation that libvirt did, in their order, so that they can be undone.
    """

    draft = models.ForeignKey(PoolDraft, null=True, on_delete=models.SET_NULL, related_name="pools")
    host = models.ForeignKey(Host, on_delete=models.CASCADE, related_name="+")
    uuid = models.UUIDField(default=uuid.uuid4, unique=True)
    name = models.CharField(max_length=255, blank=True)
    found: Any = models.JSONField(null=True)
    found_at = models.DateTimeField(null=True)
    tested: Any = models.JSONField(null=True)
    tested_at = models.DateTimeField(null=True)
    done = models.JSONField(default=list)

    objects = NewPoolQuerySet.as_manager()

    class Meta:
        ordering = ["host__name"]
        verbose_name = "pool"

    def __str__(self) -> str:
        return self.name or "new pool"

    def get_absolute_url(self) -> str:
        """That of the draft; of the list of all drafts when it was thrown away."""
        return reverse("pools:draft", args=[self.draft_id]) if self.draft_id else reverse("pools:drafts")


class Look(models.Model):
    """What was on a device of a host when somebody looked last, before it is overwritten.

    `content`: virt.content.Content in JSON types.
    """

    host = models.ForeignKey(Host, on_delete=models.CASCADE, related_name="+")
    path = models.CharField(max_length=4096)
    content = models.JSONField(default=dict)
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["host", "path"], name="one_look_per_device")]

    def __str__(self) -> str:
        return f"{self.path} at {self.at:%Y-%m-%d %H:%M}"
