from datetime import datetime

from django.db import models
from django.urls import reverse

from pools.models import Pool
from storagemgr.access.scopes import ScopedQuerySet
from storagemgr.hosts.models import Host


class VolumeQuerySet(ScopedQuerySet):
    host_field = "pool__host_id"
    pool_field = "pool__uuid"


class Volume(models.Model):
    """A storage volume as libvirt last reported it. Sizes in bytes."""

    pool = models.ForeignKey(Pool, on_delete=models.CASCADE, related_name="volumes")
    name = models.CharField(max_length=255)
    key = models.CharField(max_length=4200)
    path = models.CharField(max_length=4200)
    type = models.CharField(max_length=16)
    format = models.CharField(max_length=32, blank=True)
    capacity = models.BigIntegerField()
    allocation = models.BigIntegerField()
    physical = models.BigIntegerField(null=True)
    backing_path = models.CharField(max_length=4200, blank=True)
    backing_format = models.CharField(max_length=32, blank=True)
    mode = models.CharField(max_length=8, blank=True)
    owner = models.BigIntegerField(null=True)
    group = models.BigIntegerField(null=True)
    modified = models.DateTimeField(null=True)
    encrypted = models.BooleanField(default=False)
    compat = models.CharField(max_length=8, blank=True)
    cluster_size = models.BigIntegerField(null=True)
    seen_at = models.DateTimeField()
    # The daemon died while this was written: it looks whole and may not be. Set by the job that made it.
    unverified_since = models.DateTimeField(null=True)

    objects = VolumeQuerySet.as_manager()

    class Meta:
        ordering = ["name"]
        constraints = [models.UniqueConstraint(fields=["pool", "name"], name="volume_once_per_pool")]
        indexes = [
            models.Index(fields=["pool", "capacity"]),
            models.Index(fields=["pool", "allocation"]),
            models.Index(fields=["pool", "format"]),
            models.Index(fields=["pool", "modified"]),
            models.Index(fields=["name"]),
            models.Index(fields=["path"]),
            models.Index(fields=["backing_path"]),
            # The few that are: so that counting them reads no others.
            models.Index(
                fields=["pool"], name="volume_unverified", condition=models.Q(unverified_since__isnull=False)
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("volumes:volume", args=[self.pk])

    @property
    def host(self) -> Host:
        return self.pool.host

    @property
    def as_of(self) -> datetime:
        """When libvirt last said this. A reading leaves equal rows alone, so `seen_at` is older."""
        listed_at = None if self.pool.volumes_error else self.pool.volumes_read_at
        return max(self.seen_at, listed_at) if listed_at else self.seen_at

    @property
    def used_percent(self) -> int:
        # A block more than the capacity is possible: metadata counts as allocation.
        return min(100, self.allocation * 100 // self.capacity) if self.capacity else 0


class DiskUseQuerySet(ScopedQuerySet):
    host_field = "host_id"
    pool_field = "volume__pool__uuid"


class DiskUse(models.Model):
    """A VM of the host refers to a path or a volume: as a disk, below a disk (backing), or to boot from."""

    host = models.ForeignKey(Host, on_delete=models.CASCADE, related_name="disk_uses")
    volume = models.ForeignKey(Volume, null=True, on_delete=models.SET_NULL, related_name="uses")
    domain_uuid = models.UUIDField()
    domain_name = models.CharField(max_length=255)
    running = models.BooleanField()
    target = models.CharField(max_length=64, blank=True)
    device = models.CharField(max_length=32, blank=True)
    kind = models.CharField(max_length=16)
    path = models.CharField(max_length=4200, blank=True)
    pool_name = models.CharField(max_length=255, blank=True)
    volume_name = models.CharField(max_length=255, blank=True)
    readonly = models.BooleanField(default=False)

    objects = DiskUseQuerySet.as_manager()

    class Meta:
        ordering = ["domain_name", "target"]
        indexes = [models.Index(fields=["host", "path"]), models.Index(fields=["host", "volume"])]

    def __str__(self) -> str:
        return f"{self.domain_name} {self.target} {self.path or self.volume_name}"
