"""The door to every object: a view gets it through here or not at all.

What a person may not see does not exist for them (404, the same page as for a thing that is not there); what they
may see but not do is refused with the reason, and the refusal is audited.
"""

import uuid
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db.models import Q
from django.http import Http404, HttpRequest

from storagemgr.access import audit, rights
from storagemgr.access.models import Grant
from storagemgr.access.roles import title_of
from storagemgr.access.scopes import Actor, ScopedQuerySet, scope, with_rights

NAMED = 5


def visible_or_404(request: HttpRequest, rows: ScopedQuerySet, **lookup: Any) -> Any:
    found = rows.visible_to(request.user).filter(**lookup).first()
    if found is None:
        raise Http404
    return found


def may(user: Actor, right: str, host_id: int, pool_uuid: uuid.UUID | None) -> bool:
    return scope(user, right).covers(host_id, pool_uuid)


def require(
    request: HttpRequest,
    right: str,
    *,
    action: str,
    host_id: int,
    pool_uuid: uuid.UUID | None,
    object_text: str,
    volume_name: str = "",
) -> None:
    if may(request.user, right, host_id, pool_uuid):
        return
    audit.record(
        action,
        audit.Outcome.DENIED,
        actor=request.user,
        right=right,
        object_text=object_text,
        host_id=host_id,
        pool_uuid=pool_uuid,
        volume_name=volume_name,
        address=audit.address_of(request),
    )
    raise PermissionDenied(who_may(request.user, right, host_id, pool_uuid))


def who_may(user: Actor, right: str, host_id: int, pool_uuid: uuid.UUID | None) -> str:
    """Why this person may not, and who could: "You are Viewer here. These can: olga (Operator)."."""
    able = [grant for grant in grants_at(host_id, pool_uuid) if right in grant.rights]
    holders = {grant.holder: grant.role for grant in able}
    role = role_at(user, host_id, pool_uuid)
    mine = f"You are {role.capitalize()} here." if role else "You may not do this here."
    if not holders:
        needed = title_of(rights.roles_with(right)[0])
        return f"{mine} Nobody has a role for it here; an administrator can do it or make you {needed}."
    named = [f"{holder} ({title_of(holders[holder])})" for holder in sorted(holders)[:NAMED]]
    return f"{mine} These can: {', '.join(named)}{' and others' if len(holders) > NAMED else ''}."


def grants_at(host_id: int, pool_uuid: uuid.UUID | None) -> list[Any]:
    """Those in force that say something about a pool, or with None about a host, each with its `rights`."""
    here = Q(host_id=host_id, pool_uuid=None) | Q(host_id=None, pool_uuid=None)
    if pool_uuid:
        here |= Q(pool_uuid=pool_uuid, host_id=host_id) | Q(pool_uuid=pool_uuid, host_id=None)
    return with_rights(Grant.objects.in_force().filter(here).select_related("user", "group"))


def role_at(user: Actor, host_id: int, pool_uuid: uuid.UUID | None) -> str:
    """The most powerful role the person holds there, "" for none."""
    held = [
        name for name, verbs in rights.ROLES.items() if all(may(user, v, host_id, pool_uuid) for v in verbs)
    ]
    return held[-1] if held else ""
