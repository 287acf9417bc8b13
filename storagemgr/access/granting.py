"""Giving roles and taking them away.

Nobody gives or takes what they do not hold there themselves, nor gives it for longer, and somebody who can do
everything is always left.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, time
from typing import Any
from uuid import UUID

from django.contrib.auth.models import Group, User
from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from storagemgr.access import audit, rights
from storagemgr.access.models import Grant
from storagemgr.access.roles import all_roles
from storagemgr.access.scopes import Actor, grants_of, scope

RIGHT = "access.manage"
UNUSABLE = r"^(!.*)?$"
NEVER = datetime.max.replace(tzinfo=UTC)
LAST = "Nobody would be left who can {what}. Make somebody else an administrator of everything, without an end, first."
LEFT = {
    frozenset(rights.RIGHTS): LAST.format(what="do everything here"),
    frozenset({RIGHT}): LAST.format(what="grant roles on everything"),
}


def end_of(day: date) -> datetime:
    """The last second of the day, in the time zone of the person, or of the server for a command."""
    return timezone.make_aware(datetime.combine(day, time(23, 59, 59)))


class NotGrantable(Exception):
    """Its text says why, to the person who asked."""


def manages(user: Actor) -> bool:
    """Whether they grant roles anywhere at all."""
    held = scope(user, RIGHT)
    return bool(held.everything or held.hosts or held.pools)


def sees_people(user: Actor) -> bool:
    held = scope(user, "audit.read")
    return manages(user) or bool(held.everything or held.hosts or held.pools)


def visible_grants(user: Actor) -> QuerySet[Any]:
    """Those on the places whose access they manage or whose audit they read, also the ones that are over."""
    rows = Grant.objects.all()
    if sees_all_grants(user):
        return rows
    places = [scope(user, right).filter("host_id", "pool_uuid") for right in (RIGHT, "audit.read")]
    return rows.filter(places[0] | places[1])


def sees_all_grants(user: Actor) -> bool:
    return scope(user, RIGHT).everything or scope(user, "audit.read").everything


def held_until(by: Actor | None, right: str, host_id: int | None, pool_uuid: UUID | None) -> datetime | None:
    """NEVER where it has no end, None where they do not hold it. `by` None is the program itself, which holds all.

    No host and no pool: on everything; a pool without a host: on every host that has it.
    """
    if by is None:
        return NEVER
    held = scope(by, right)
    if not held.everything and host_id not in held.hosts and not held.pools & _keys(host_id, pool_uuid):
        return None
    if by.is_superuser:
        return NEVER
    return max(
        grant.expires_at or NEVER
        for grant in grants_of(by)
        if right in grant.rights and _reaches(grant, host_id, pool_uuid)
    )


def _keys(host_id: int | None, pool_uuid: UUID | None) -> set[tuple[int | None, UUID]]:
    return {(host_id, pool_uuid), (None, pool_uuid)} if pool_uuid else set()


def _reaches(grant: Grant, host_id: int | None, pool_uuid: UUID | None) -> bool:
    if grant.pool_uuid is None:
        return grant.host_id in (None, host_id)
    return (grant.host_id, grant.pool_uuid) in _keys(host_id, pool_uuid)


def why_not(by: Actor | None, role: str, host_id: int | None, pool_uuid: UUID | None) -> str:
    """Why `by` may not give or take away this role there; "" when they may."""
    known = all_roles().get(role)
    if known is None:
        return "There is no such role."
    return why_not_rights(by, known.rights, known.title, host_id, pool_uuid)


def why_not_rights(
    by: Actor | None, wanted: Iterable[str], title: str, host_id: int | None, pool_uuid: UUID | None
) -> str:
    if held_until(by, RIGHT, host_id, pool_uuid) is None:
        return "You may not grant roles there."
    lacking = [
        rights.RIGHTS[right]
        for right in rights.RIGHTS
        if right in wanted and not held_until(by, right, host_id, pool_uuid)
    ]
    if not lacking:
        return ""
    more = f", and {len(lacking) - 3} more" if len(lacking) > 3 else ""
    return (
        f"{title} can do more there than you can yourself: {', '.join(lacking[:3])}{more}."
        " Nobody gives or takes away what they do not hold."
    )


def holds(
    by: Actor | None, wanted: Iterable[str], host_id: int | None, pool_uuid: UUID | None, until: datetime
) -> bool:
    """Whether they hold all of it there, at least `until` then (NEVER: without an end)."""
    ends = [held_until(by, right, host_id, pool_uuid) for right in wanted]
    return all(end is not None and end >= until for end in ends)


def why_not_so_long(by: Actor | None, grant: Grant) -> str:
    """Why `by` may not give this role until then; "" when they may. They hold it there, see why_not."""
    wanted = all_roles()[grant.role].rights | {RIGHT}
    end = min(held_until(by, right, grant.host_id, grant.pool_uuid) or NEVER for right in wanted)
    if (grant.expires_at or NEVER) <= end:
        return ""
    last = timezone.localtime(end)
    return f"You hold this only until {last:%Y-%m-%d %H:%M} yourself. Choose an end that is not later."


def grant(
    by: Actor | None,
    *,
    role: str,
    user: User | None = None,
    group: Group | None = None,
    host: Any = None,
    pool_uuid: UUID | None = None,
    expires_at: datetime | None = None,
    where: str = "",
    address: str | None = None,
) -> Grant:
    """One that is there already takes the new end. `where` names the place in the audit, where a UUID says little.

    Raises NotGrantable.
    """
    by_name = by.get_username() if by else "storagemgr"
    wanted = Grant(
        role=role,
        user=user,
        group=group,
        host=host,
        pool_uuid=pool_uuid,
        expires_at=expires_at,
        made_by=by_name,
    )
    with attempt(by, "access.grant", facts := facts_of(wanted, where), address, wanted):
        if why := why_not(by, role, wanted.host_id, pool_uuid) or why_not_so_long(by, wanted):
            raise NotGrantable(why)
        if expires_at and expires_at <= timezone.now():
            raise NotGrantable("The end lies in the past.")
        known = Grant.objects.filter(
            user=user, group=group, role=role, host=host, pool_uuid=pool_uuid
        ).first()
        before = facts_of(known, where) if known else {}
        made = known or wanted
        made.expires_at, made.made_by = expires_at, by_name
        made.save()
        record(by, "access.grant", facts, address, made, before=before, after=facts)
    return made


def revoke(by: Actor | None, taken: Grant, address: str | None = None, where: str = "") -> None:
    """Raises NotGrantable."""
    facts = facts_of(taken, where)
    with attempt(by, "access.revoke", facts, address, taken):
        known = all_roles().get(taken.role)
        wanted, title = (known.rights, known.title) if known else (frozenset(), taken.role)
        if why := why_not_rights(by, wanted, title, taken.host_id, taken.pool_uuid):
            raise NotGrantable(why)
        record(by, "access.revoke", facts, address, taken, before=facts, after={})
        Grant.objects.filter(pk=taken.pk).delete()


def facts_of(one: Grant, where: str = "") -> dict[str, str]:
    roles = all_roles()
    return {
        "role": roles[one.role].title if one.role in roles else one.role,
        "holder": one.holder,
        "where": where or one.where,
        "until": one.expires_at.isoformat() if one.expires_at else "",
    }


@contextmanager
def attempt(
    by: Actor | None, action: str, what: Any, address: str | None, place: Grant | None = None
) -> Iterator[None]:
    """All of it or nothing; a refusal is audited."""
    try:
        with keeping_an_administrator():
            _read_anew(by)
            yield
    except NotGrantable as refused:
        record(by, action, what, address, place, outcome=audit.Outcome.DENIED, why=str(refused))
        raise


def _read_anew(by: Actor | None) -> None:
    """What they held when the request began may have been taken away while this waited for its turn."""
    if isinstance(by, User):
        by.refresh_from_db(fields=["is_active", "is_superuser"])
        if hasattr(by, "_grants"):
            del by._grants


def record(
    by: Actor | None,
    action: str,
    what: Any,
    address: str | None,
    place: Grant | None = None,
    *,
    outcome: audit.Outcome = audit.Outcome.DONE,
    **details: Any,
) -> None:
    """`what` is a text, or the facts of a grant."""
    text = what if isinstance(what, str) else "{role} for {holder} on {where}".format(**what)
    audit.record(
        action,
        outcome,
        actor=by,
        right=RIGHT,
        object_text=text,
        host_id=place.host_id if place else None,
        pool_uuid=place.pool_uuid if place else None,
        address=address,
        details=details,
    )


@contextmanager
def keeping_an_administrator() -> Iterator[None]:
    """A transaction that raises NotGrantable, and so changes nothing, when it would take away the last one."""
    with transaction.atomic():
        # Two people who take each other away at the same moment wait for one another here.
        list(Grant.objects.select_for_update().filter(host=None, pool_uuid=None).order_by("pk"))
        list(User.objects.select_for_update().filter(is_superuser=True).order_by("pk"))
        had = [wanted for wanted in LEFT if administrators(wanted).exists()]
        yield
        for wanted in had:
            if not administrators(wanted).exists():
                raise NotGrantable(LEFT[wanted])


def keeps_an_administrator() -> bool:
    return administrators().exists()


def administrators(wanted: frozenset[str] = frozenset({RIGHT})) -> QuerySet[User]:
    """Who can sign in and holds the `wanted` rights on everything, without an end.

    Who never signed in and has no password yet was only invited; who did without one comes by a directory.
    """
    names = [role.name for role in all_roles().values() if wanted <= role.rights]
    lasting = Grant.objects.filter(host=None, pool_uuid=None, expires_at=None, role__in=names)
    invited = Q(last_login=None, password__regex=UNUSABLE)
    holding = Q(is_superuser=True) | Q(pk__in=lasting.filter(group=None).values("user"))
    holding |= Q(groups__in=lasting.filter(user=None).values("group"))
    return User.objects.filter(holding, ~invited, is_active=True).distinct()
