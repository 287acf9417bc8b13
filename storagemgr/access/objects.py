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
from storagemgr.access.scopes import Actor, ScopedQuerySet, scope, with_rights


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
    """Why this person may not, and who could: "You are Viewer here. Operators can: team Web, olga."."""
    able = [grant for grant in grants_at(host_id, pool_uuid) if right in grant.rights]
    holders = sorted({grant.holder for grant in able})
    role = role_at(user, host_id, pool_uuid)
    mine = f"You are {role.capitalize()} here." if role else "You may not do this here."
    needed = rights.roles_with(right)[0].capitalize()
    if not holders:
        return f"{mine} It takes {needed} or more; an administrator can do it or grant it."
    return (
        f"{mine} {needed} or more can: {', '.join(holders[:5])}{' and others' if len(holders) > 5 else ''}."
    )


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
