"""The one place that writes the audit."""

import uuid
from typing import Any

from allauth.account.adapter import get_adapter
from django.db.models import QuerySet
from django.http import HttpRequest

from storagemgr.access.models import AuditEvent
from storagemgr.access.scopes import Actor, scope

Outcome = AuditEvent.Outcome


def record(
    action: str,
    outcome: AuditEvent.Outcome,
    *,
    actor: Actor | None,
    right: str = "",
    object_text: str = "",
    host_id: int | None = None,
    pool_uuid: uuid.UUID | None = None,
    volume_name: str = "",
    job_id: int | None = None,
    address: str | None = None,
    details: dict[str, Any] | None = None,
) -> AuditEvent:
    """`actor` None is the program itself (a schedule, a settled job), or with an address somebody unknown."""
    known = actor if actor is not None and actor.is_authenticated else None
    nobody = "storagemgr" if address is None else "not signed in"
    return AuditEvent.objects.create(
        action=action,
        outcome=outcome,
        actor=known,
        actor_name=known.get_username() if known else nobody,
        right=right,
        object_text=_fitting(object_text, "object_text"),
        host_id=host_id,
        pool_uuid=pool_uuid,
        volume_name=_fitting(volume_name, "volume_name"),
        job_id=job_id,
        address=address,
        details=details or {},
    )


def _fitting(text: str, column: str) -> str:
    """PostgreSQL takes no longer one, nor NUL. What a person can lengthen shall not keep the event out."""
    return text.replace("\0", "\ufffd")[: AuditEvent._meta.get_field(column).max_length]


def readable_by(user: Actor) -> QuerySet[AuditEvent]:
    """Those about the hosts and pools whose audit the person may read; with everything all of them."""
    return AuditEvent.objects.filter(scope(user, "audit.read").filter("host_id", "pool_uuid"))


def address_of(request: HttpRequest) -> str | None:
    return get_adapter(request).get_client_ip(request)
