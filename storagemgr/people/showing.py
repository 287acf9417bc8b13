"""Grants and roles in words, for lists and pages."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any, NamedTuple
from uuid import UUID

from django.db.models import QuerySet
from django.urls import reverse
from django.utils import timezone

from pools.models import Pool
from storagemgr.access import granting, rights
from storagemgr.access.models import Grant
from storagemgr.access.roles import RoleFacts, all_roles
from storagemgr.access.scopes import Actor

# How long a page of a team or a person tells what is over.
SHOWN_AFTER_END = timedelta(days=30)
GROUPS = {"pool": "Pools", "volume": "Volumes", "": "Administration"}


class Place(NamedTuple):
    text: str
    url: str = ""


class Shown(NamedTuple):
    """A grant as a row. `why_not`: why the person who looks may not take it away."""

    pk: int
    role: str
    role_name: str
    words: str
    holder: str
    holder_url: str
    place: Place
    made_by: str
    made_at: Any
    ends: Any
    is_over: bool
    why_not: str


def shown(grants: Iterable[Any], user: Actor) -> list[Shown]:
    """Of rows with user, group and host read along. Two queries more: roles and pools."""
    grants = list(grants)
    roles, places = all_roles(), places_of(grants)
    return [_shown(grant, roles, places[grant.pk], user) for grant in grants]


def _shown(grant: Any, roles: Mapping[str, RoleFacts], place: Place, user: Actor) -> Shown:
    role = roles.get(grant.role)
    held = role.rights if role else frozenset()
    return Shown(
        pk=grant.pk,
        role=role.title if role else f"{grant.role} (a role that is gone)",
        role_name=role.name if role else "",
        words=sentence_of(role, roles) if role else "",
        holder=grant.holder,
        holder_url=holder_url(grant),
        place=place,
        made_by=grant.made_by,
        made_at=grant.created_at,
        ends=grant.expires_at,
        is_over=grant.expires_at is not None and grant.expires_at <= timezone.now(),
        why_not=granting.why_not_rights(
            user, held, role.title if role else "", grant.host_id, grant.pool_uuid
        ),
    )


def recent(grants: QuerySet[Any]) -> QuerySet[Any]:
    """Without what is over for long."""
    over = grants.filter(expires_at__lte=timezone.now() - SHOWN_AFTER_END)
    return grants.exclude(pk__in=over.values("pk")).select_related("user", "group", "host")


def holder_url(grant: Grant) -> str:
    if grant.group_id:
        return reverse("people:team", args=[grant.group_id])
    return reverse("people:person", args=[grant.user_id])


def places_of(grants: Iterable[Any]) -> dict[int, Place]:
    """By the grant's id."""
    grants = list(grants)
    uuids = {grant.pool_uuid for grant in grants if grant.pool_uuid}
    pools: dict[UUID, list[Pool]] = defaultdict(list)
    for pool in Pool.objects.filter(uuid__in=uuids).select_related("host") if uuids else ():
        pools[pool.uuid].append(pool)
    return {grant.pk: _place(grant, pools[grant.pool_uuid] if grant.pool_uuid else []) for grant in grants}


def _place(grant: Any, pools: list[Pool]) -> Place:
    if grant.pool_uuid is None:
        host = grant.host
        return Place(f"host {host}", host.get_absolute_url()) if host else Place("everything")
    there = [pool for pool in pools if grant.host_id in (None, pool.host_id)]
    if not there:
        return Place(f"pool {grant.pool_uuid}, which is not there now")
    if grant.host_id is None:
        return Place(f"{there[0].name} on every host that has it", there[0].get_absolute_url())
    return Place(f"{there[0].name} on {there[0].host}", there[0].get_absolute_url())


def sentence_of(role: RoleFacts, roles: Mapping[str, RoleFacts]) -> str:
    """What it may, by the largest built-in role in it: "all that Operator can, and: build; define"."""
    parts = [one for one in roles.values() if one.is_built_in and one.rights < role.rights]
    part = max(parts, key=lambda one: len(one.rights), default=None)
    more = [words for right, words in rights.RIGHTS.items() if right in role.rights]
    if part is None or len(part.rights) < 2:
        return "; ".join(more) or "nothing"
    beyond = [rights.RIGHTS[r] for r in rights.RIGHTS if r in role.rights - part.rights]
    return f"all that {part.title} can, and: {'; '.join(beyond)}"


def grouped_rights() -> list[tuple[str, list[tuple[str, str]]]]:
    """(heading, [(right, words)...]) as the matrix shows them."""
    found: dict[str, list[tuple[str, str]]] = {key: [] for key in GROUPS}
    for right, words in rights.RIGHTS.items():
        area = right.partition(".")[0]
        found[area if area in found else ""].append((right, words))
    return [(GROUPS[key], held) for key, held in found.items()]
