import uuid
from datetime import datetime

from django.db import models
from django.urls import reverse
from django.utils import timezone

from pools.models import Notes, Pool
from storagemgr.access.scopes import ScopedQuerySet
from storagemgr.hosts.models import Host
from storagemgr.jobs.models import Job


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
    # The same text for the same bytes, seen through whatever pool or host (volumes/sync.py).
    identity = models.CharField(max_length=32, blank=True)
    # A link, a socket or the like: seen on this machine only, and never read.
    is_special = models.BooleanField(db_default=False)
    # The name that an ISO image bears inside; None: not read yet.
    label = models.CharField(max_length=32, null=True)  # noqa: DJ001
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
            # The lists of all pools, sorted and filtered.
            models.Index(fields=["capacity"]),
            models.Index(fields=["allocation"]),
            models.Index(fields=["modified"]),
            models.Index(fields=["format"]),
            models.Index(fields=["name"]),
            models.Index(fields=["path"]),
            models.Index(fields=["identity"]),
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


class VolumeNotes(Notes):
    """`not_unused_because`: why the review of unused volumes leaves it out. `quarantined_because`: what the inspection
    of its image found; nobody copies, converts or attaches it from here."""

    volume_name = models.CharField(max_length=255)
    volume = models.OneToOneField(Volume, null=True, on_delete=models.SET_NULL, related_name="notes")
    not_unused_because = models.CharField(max_length=400, blank=True)
    not_unused_by = models.CharField(max_length=150, blank=True)
    quarantined_because = models.TextField(blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["host", "pool_uuid", "volume_name"], name="notes_once_per_volume")
        ]
        # Of many notes the few that say this: every list counts them.
        indexes = [
            models.Index(
                fields=["volume"], name="volume_protected", condition=models.Q(protected_at__isnull=False)
            ),
            models.Index(
                fields=["expires_on"], name="volume_expires", condition=models.Q(expires_on__isnull=False)
            ),
            models.Index(
                fields=["volume"], name="volume_quarantined", condition=models.Q(quarantined_because__gt="")
            ),
        ]
        verbose_name_plural = "volume notes"

    def __str__(self) -> str:
        return f"notes on {self.volume_name}"


class TransferQuerySet(ScopedQuerySet):
    host_field = "job__host_id"
    pool_field = "job__pool_uuid"


class Transfer(models.Model):
    """The bytes of an upload or a download, which the transfer process streams. Sizes in bytes.

    `done`: so many bytes from the start are certain to be in the volume (upload) or were sent once (download).
    `nonce`: what the ticket is signed with; a new one makes older tickets void. `verdict`: why the image was refused.
    """

    class Direction(models.TextChoices):
        UP = "up", "Upload"
        DOWN = "down", "Download"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    job = models.OneToOneField(Job, on_delete=models.CASCADE, related_name="transfer")
    direction = models.CharField(max_length=8, choices=Direction)
    nonce = models.UUIDField(default=uuid.uuid4)
    file_name = models.CharField(max_length=255, blank=True)
    size = models.BigIntegerField()
    done = models.BigIntegerField(default=0)
    is_ready = models.BooleanField(default=False)  # the volume is there: bytes may come
    sha256_wanted = models.CharField(max_length=64, blank=True)
    sha256 = models.CharField(max_length=64, blank=True)
    verdict = models.TextField(blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    moved_at = models.DateTimeField(default=timezone.now)  # when the last byte moved

    objects = TransferQuerySet.as_manager()

    class Meta:
        indexes = [models.Index(fields=["moved_at"])]

    def __str__(self) -> str:
        return f"{self.get_direction_display()} of {self.file_name}"


class WipeRecordQuerySet(ScopedQuerySet):
    pool_field = "pool_uuid"


class WipeRecord(models.Model):
    """Evidence that a volume was wiped, or was not. Written by the job, never changed afterwards; names are text.

    `capacity`, `allocation` and `physical` in bytes, as they were before; `promises_little`: why the bytes may still
    be somewhere, in sentences.
    """

    job_id = models.BigIntegerField(unique=True)
    host_id = models.BigIntegerField()
    host_name = models.CharField(max_length=255)
    libvirt_version = models.CharField(max_length=32, blank=True)
    pool_uuid = models.UUIDField()
    pool_name = models.CharField(max_length=255)
    pool_type = models.CharField(max_length=32)
    pool_source = models.CharField(max_length=1024, blank=True)
    volume_name = models.CharField(max_length=255)
    volume_key = models.CharField(max_length=4200)
    volume_path = models.CharField(max_length=4200)
    volume_type = models.CharField(max_length=16)
    format = models.CharField(max_length=32, blank=True)
    capacity = models.BigIntegerField()
    allocation = models.BigIntegerField()
    physical = models.BigIntegerField(null=True)
    algorithm = models.CharField(max_length=32)
    requested_by = models.CharField(max_length=150)
    reason = models.CharField(max_length=400, blank=True)
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)
    is_done = models.BooleanField(default=False)
    result = models.TextField(blank=True)
    promises_little = models.JSONField(default=list)

    objects = WipeRecordQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["host_id", "pool_uuid", "volume_name"])]

    def __str__(self) -> str:
        return f"wipe of {self.volume_name} with {self.algorithm}"

    def get_absolute_url(self) -> str:
        return reverse("volumes:wipe_record", args=[self.pk])


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
