from typing import Any, Self

from django.conf import settings
from django.contrib.auth.models import Group
from django.db import models
from django.db.models import Q
from django.utils import timezone


class Role(models.Model):
    """A role that an administrator made of rights, or what was said of a built-in one, whose rights are the code's."""

    name = models.SlugField(max_length=32, unique=True)
    title = models.CharField(max_length=64)
    rights = models.JSONField(default=list)
    needs_mfa = models.BooleanField(default=False)

    class Meta:
        ordering = ["title"]

    def __str__(self) -> str:
        return self.title


class GrantQuerySet(models.QuerySet[Any]):
    def in_force(self) -> Self:
        return self.filter(Q(expires_at=None) | Q(expires_at__gt=timezone.now()))


class Grant(models.Model):
    """A role for a person or a team on everything, on one host, or on one pool.

    By the pool's UUID, so that a pool made anew under an old name inherits nobody. `role` is a name of access.roles;
    a grant of a role that is gone gives nothing.
    """

    user = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.CASCADE)
    group = models.ForeignKey(Group, null=True, blank=True, on_delete=models.CASCADE)
    role = models.CharField(max_length=32)
    host = models.ForeignKey("hosts.Host", null=True, blank=True, on_delete=models.CASCADE)
    pool_uuid = models.UUIDField(null=True, blank=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    made_by = models.CharField(max_length=150, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = GrantQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="grant_to_a_person_or_a_team",
                condition=Q(user__isnull=False, group__isnull=True)
                | Q(user__isnull=True, group__isnull=False),
            )
        ]

    def __str__(self) -> str:
        return f"{self.role.capitalize()} for {self.holder} on {self.where}"

    @property
    def holder(self) -> str:
        return f"team {self.group}" if self.group_id else str(self.user)

    @property
    def where(self) -> str:
        if self.pool_uuid:
            return f"pool {self.pool_uuid}"
        return str(self.host) if self.host_id else "everything"


class Team(models.Model):
    """What is known of a team beside its name and its members, which the group has."""

    group = models.OneToOneField(Group, primary_key=True, on_delete=models.CASCADE, related_name="team")
    note = models.TextField(blank=True)
    # The group at the identity provider whose people are members at each sign-in; "" when members are chosen here.
    outside_name = models.CharField(max_length=200, blank=True, db_index=True)

    def __str__(self) -> str:
        return str(self.group)


class Preferences(models.Model):
    """How a person wants pages to look. "" is the default: the server's time zone, GiB, as the system's theme."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, primary_key=True, on_delete=models.CASCADE, related_name="preferences"
    )
    time_zone = models.CharField(max_length=64, blank=True)
    units = models.CharField(max_length=8, blank=True)
    density = models.CharField(max_length=16, blank=True)
    theme = models.CharField(max_length=16, blank=True)

    class Meta:
        verbose_name_plural = "preferences"

    def __str__(self) -> str:
        return f"preferences of {self.user}"


class FailedSignIn(models.Model):
    """A wrong password for a name, from an address. Old rows go; those that are left make the throttle."""

    name = models.CharField(max_length=150, db_index=True)
    address = models.GenericIPAddressField(null=True, db_index=True)
    at = models.DateTimeField(auto_now_add=True, db_index=True)

    def __str__(self) -> str:
        return f"{self.name} from {self.address} at {self.at:%Y-%m-%d %H:%M:%S}"


class Token(models.Model):
    """Lets a program act as a person: for the transfer process. Only its hash is kept."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="tokens")
    name = models.CharField(max_length=100)
    digest = models.CharField(max_length=64, unique=True)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField()
    used_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.name} of {self.user}"


class AuditEventQuerySet(models.QuerySet[Any]):
    """Rows are added and read. Sealing and retention have ways of their own, and so has the deletion of an account."""

    def update(self, **values: Any) -> int:
        raise ValueError("an audit event is written once")

    def bulk_update(self, *args: Any, **kwargs: Any) -> int:
        raise ValueError("an audit event is written once")

    def delete(self) -> tuple[int, dict[str, int]]:
        raise ValueError("an audit event is never deleted")


class AuditEvent(models.Model):
    """Who did what, or was refused. Written once; names are kept as text so that the entry outlives them."""

    class Outcome(models.TextChoices):
        ASKED = "asked", "Asked for"
        DONE = "done", "Done"
        FAILED = "failed", "Failed"
        DENIED = "denied", "Refused"

    at = models.DateTimeField(auto_now_add=True, db_index=True)
    actor = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL)
    actor_name = models.CharField(max_length=150)
    action = models.CharField(max_length=64, db_index=True)
    right = models.CharField(max_length=64, blank=True)
    outcome = models.CharField(max_length=16, choices=Outcome)
    object_text = models.CharField(max_length=600, blank=True)
    host_id = models.BigIntegerField(null=True)
    pool_uuid = models.UUIDField(null=True, db_index=True)
    volume_name = models.CharField(max_length=255, blank=True)
    job_id = models.BigIntegerField(null=True, db_index=True)
    address = models.GenericIPAddressField(null=True)
    details = models.JSONField(default=dict)
    # Its place in the chain and its seal, given a moment after it was written; None and "" until then.
    number = models.BigIntegerField(null=True, unique=True)
    seal = models.CharField(max_length=64, blank=True)

    objects = AuditEventQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["host_id", "pool_uuid", "volume_name", "-id"])]

    def __str__(self) -> str:
        return (
            f"{self.at:%Y-%m-%d %H:%M:%S} {self.actor_name} {self.action} {self.outcome} {self.object_text}"
        )

    def save(self, *args: Any, **kwargs: Any) -> None:
        if self.pk:
            raise ValueError("an audit event is written once")
        super().save(*args, **kwargs)

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        raise ValueError("an audit event is never deleted")
