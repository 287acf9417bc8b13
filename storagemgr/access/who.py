"""Who can do what at a place, and why: for the card on the pages of hosts, pools and volumes."""

import uuid
from collections.abc import Iterable
from datetime import datetime
from typing import Any, NamedTuple

from django.contrib.auth.models import User
from django.db.models import Count

from storagemgr.access import rights
from storagemgr.access.models import Grant
from storagemgr.access.objects import grants_at
from storagemgr.access.roles import all_roles


class Holder(NamedTuple):
    name: str  # "team Web", "olga"
    why: str
    until: datetime | None


class Able(NamedTuple):
    """A role that somebody holds there."""

    title: str
    holders: list[Holder]
    words: list[str]  # its rights, for people


def who_can(host_id: int, pool_uuid: uuid.UUID | None = None) -> list[Able]:
    """The most powerful role first. Of a host without a pool: what holds on the host and all its pools."""
    roles = all_roles()
    held: dict[str, list[Holder]] = {}
    if above := User.objects.filter(is_superuser=True, is_active=True).order_by("username"):
        held["administrator"] = [
            Holder(user.username, "this account is above all grants", None) for user in above
        ]
    grants = grants_at(host_id, pool_uuid)
    people = _people_in(grants)
    for grant in grants:
        if grant.role in roles:
            held.setdefault(grant.role, []).append(_holder(grant, people))
    found = [Able(roles[name].title, held[name], words_of(roles[name].rights)) for name in held]
    return sorted(found, key=lambda able: -len(able.words))


def words_of(held: Iterable[str]) -> list[str]:
    names = set(held)
    return [words for name, words in rights.RIGHTS.items() if name in names]


def _people_in(grants: Iterable[Grant]) -> dict[int, int]:
    """How many open accounts each team has."""
    teams = {grant.group_id for grant in grants if grant.group_id}
    if not teams:
        return {}
    rows: Any = User.objects.filter(groups__in=teams, is_active=True).values("groups").annotate(n=Count("pk"))
    return {row["groups"]: row["n"] for row in rows if row["groups"] in teams}


def _holder(grant: Grant, people: dict[int, int]) -> Holder:
    where = "this pool" if grant.pool_uuid else ("this host" if grant.host_id else "everything")
    why = f"granted on {where}"
    if grant.made_by:
        why += f" by {grant.made_by}"
    if grant.group_id is None:
        why += "" if grant.user.is_active else "; the account is closed"
        return Holder(str(grant.user), why, grant.expires_at)
    number = people.get(grant.group_id, 0)
    members = "nobody is in it" if not number else f"{number} {'person' if number == 1 else 'people'}"
    return Holder(f"team {grant.group}", f"{why}; {members}", grant.expires_at)
