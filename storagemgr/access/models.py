from typing import Any

from django.conf import settings
from django.contrib.auth.models import Group
from django.db import models
from django.db.models import Q

from storagemgr.access import rights

ROLE_CHOICES = [(name, name.capitalize()) for name in rights.ROLES]


class Grant(models.Model):
    """A role for a person or a team on everything, on one host, or on one pool.

    By the pool's UUID, so that a pool made anew under an old name inherits nobody.
    """

    user = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.CASCADE)
    group = models.ForeignKey(Group, null=True, blank=True, on_delete=models.CASCADE)
    role = models.CharField(max_length=32, choices=ROLE_CHOICES)
    host = models.ForeignKey("hosts.Host", null=True, blank=True, on_delete=models.CASCADE)
    pool_uuid = models.UUIDField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="grant_to_a_person_or_a_team",
                condition=Q(user__isnull=False, group__isnull=True)
                | Q(user__isnull=True, group__isnull=False),
            )
        ]

    def __str__(self) -> str:
        return f"{self.get_role_display()} for {self.holder} on {self.where}"

    @property
    def holder(self) -> str:
        return f"team {self.group}" if self.group_id else str(self.user)

    @property
    def where(self) -> str:
        if self.pool_uuid:
            return f"pool {self.pool_uuid}"
        return str(self.host) if self.host_id else "everything"


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

    class Meta:
        ordering = ["-id"]

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
