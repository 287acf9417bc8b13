from django.db import models
from django.urls import reverse

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
