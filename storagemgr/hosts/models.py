from django.db import models
from django.urls import reverse

from storagemgr.access.scopes import ScopedQuerySet
from storagemgr.virt.addresses import local_uri


class HostQuerySet(ScopedQuerySet):
    host_field = "id"


class Host(models.Model):
    """A libvirt host and what was last heard of it.

    unknown -> up <-> down (it refused: nothing listens, no rights)
                  <-> silent (no answer within the time limit)
    """

    class State(models.TextChoices):
        UNKNOWN = "unknown", "Not read yet"
        UP = "up", "Up"
        DOWN = "down", "Down"
        SILENT = "silent", "Not answering"

    name = models.CharField(max_length=128, unique=True)
    transport = models.CharField(max_length=16, default="local")
    mode = models.CharField(max_length=16, default="system")
    socket = models.CharField(max_length=255, blank=True)
    is_embedded = models.BooleanField(default=False)
    examples_made_at = models.DateTimeField(null=True)

    state = models.CharField(max_length=16, choices=State, default=State.UNKNOWN)
    state_since = models.DateTimeField(auto_now_add=True)
    seen_at = models.DateTimeField(null=True)
    error_code = models.CharField(max_length=64, blank=True)
    error_text = models.TextField(blank=True)

    hostname = models.CharField(max_length=255, blank=True)
    libvirt_version = models.CharField(max_length=32, blank=True)
    hypervisor = models.CharField(max_length=64, blank=True)
    hypervisor_version = models.CharField(max_length=32, blank=True)
    pool_types = models.JSONField(default=dict)

    # One reader per host at a time, so that a host that hangs holds one worker child and no more.
    reading_since = models.DateTimeField(null=True)
    next_read_at = models.DateTimeField(null=True)
    facts_read_at = models.DateTimeField(null=True)
    uses_read_at = models.DateTimeField(null=True)
    failures = models.PositiveIntegerField(default=0)
    # A listing hung while the host answered: pools are asked one by one, by UUID, until all answer.
    is_careful = models.BooleanField(default=False)
    list_failures = models.PositiveIntegerField(default=0)
    next_list_at = models.DateTimeField(null=True)

    objects = HostQuerySet.as_manager()

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        return reverse("hosts:host", args=[self.pk])

    @property
    def uri(self) -> str:
        return local_uri(self.mode, self.socket)

    @property
    def answers(self) -> bool:
        return self.state == self.State.UP
