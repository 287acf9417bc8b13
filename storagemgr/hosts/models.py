from django.db import models
from django.urls import reverse
from django.utils import timezone

from storagemgr.access.scopes import ScopedQuerySet
from storagemgr.virt.addresses import PORTS, local_uri, remote_uri
from storagemgr.virt.ssh import HostKey, host_key

OLDEST_LIBVIRT = (7, 7)


class HostQuerySet(ScopedQuerySet):
    host_field = "id"


class ChangeQuerySet(ScopedQuerySet):
    pool_field = "pool_uuid"


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

    class Transport(models.TextChoices):
        SSH = "ssh", "SSH"
        TLS = "tls", "TLS"
        TCP = "tcp", "Plain TCP"
        LOCAL = "local", "This machine"

    class Mode(models.TextChoices):
        SYSTEM = "system", "The system's libvirt"
        SESSION = "session", "The account's own libvirt"

    name = models.CharField(max_length=128, unique=True)
    note = models.TextField(blank=True)
    transport = models.CharField(max_length=16, choices=Transport, default=Transport.LOCAL)
    address = models.CharField(max_length=253, blank=True)
    port = models.PositiveIntegerField(null=True)
    username = models.CharField(max_length=32, blank=True)
    mode = models.CharField(max_length=16, choices=Mode, default=Mode.SYSTEM)
    socket = models.CharField(max_length=255, blank=True)
    # The SSH key that a person compared and confirmed, and the one that the host showed when last looked at.
    confirmed_key = models.TextField(blank=True)
    confirmed_at = models.DateTimeField(null=True)
    confirmed_by = models.CharField(max_length=150, blank=True)
    shown_key = models.TextField(blank=True)
    shown_key_at = models.DateTimeField(null=True)
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
        """As a person may give it to virsh. What we connect with says in addition how (see reaching.py)."""
        if self.transport == self.Transport.LOCAL:
            return local_uri(self.mode, self.socket)
        return remote_uri(
            self.transport, self.address, port=self.port, username=self.username, mode=self.mode
        )

    @property
    def port_number(self) -> int:
        return self.port or PORTS[self.transport]

    @property
    def key(self) -> HostKey | None:
        return host_key(self.confirmed_key)

    @property
    def key_shown(self) -> HostKey | None:
        return host_key(self.shown_key)

    @property
    def needs_key(self) -> bool:
        """Not connected to until a person has confirmed its key."""
        return self.transport == self.Transport.SSH and not self.confirmed_key

    @property
    def has_other_key(self) -> bool:
        return bool(self.confirmed_key and self.error_code == "host_key_changed")

    @property
    def is_too_old(self) -> bool:
        parts = self.libvirt_version.split(".")[:2]
        return bool(self.libvirt_version) and tuple(int(part) for part in parts) < OLDEST_LIBVIRT

    @property
    def answers(self) -> bool:
        return self.state == self.State.UP


class Change(models.Model):
    """Something that happened to a host, a pool or a volume and that no job of ours did.

    `kind`: "came", "went", "grew", "state"...; `text` is for people: "grew from 20 GiB to 40 GiB". `pool_uuid` None:
    the host's own; `volume_name` "": the pool's own.
    """

    host = models.ForeignKey(Host, on_delete=models.CASCADE, related_name="+")
    pool_uuid = models.UUIDField(null=True)
    volume_name = models.CharField(max_length=255, blank=True)
    kind = models.CharField(max_length=32)
    text = models.CharField(max_length=600)
    at = models.DateTimeField(default=timezone.now)

    objects = ChangeQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["host", "pool_uuid", "volume_name", "-id"])]

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M} {self.text}"
