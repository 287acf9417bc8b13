"""Making, changing and leaving teams. Whoever joins one gets what it was given: so that takes what a grant takes."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from django.contrib.auth.models import Group, User

from storagemgr.access.granting import (
    NEVER,
    RIGHT,
    NotGrantable,
    attempt,
    holds,
    manages,
    record,
    why_not_rights,
)
from storagemgr.access.models import Grant, Team
from storagemgr.access.scopes import Actor, with_rights

FIELDS = ("name", "note", "outside_name")


def why_not(by: Actor | None, group: Group | None, *, for_more: bool = False) -> str:
    """Why `by` may not change who is in the team; "" when they may. `for_more`: somebody comes in."""
    if by is not None and not manages(by):
        return "You may not make or change teams: that takes the right to grant roles."
    held = with_rights(Grant.objects.in_force().filter(group=group)) if group else []
    return _why_not_held(by, held, for_more=for_more)


def _why_not_held(by: Actor | None, held: Iterable[Any], *, for_more: bool) -> str:
    for one in held:
        if why_not_rights(by, one.rights, one.role, one.host_id, one.pool_uuid):
            return "This team holds roles that you may not grant. Ask somebody who may."
        wanted, until = {RIGHT, *one.rights}, one.expires_at or NEVER
        if for_more and not holds(by, wanted, one.host_id, one.pool_uuid, until):
            return "This team holds a role for longer than you do yourself. Ask somebody who may grant it so long."
    return ""


def open_to(by: Actor) -> list[Group]:
    """The teams that `by` may take somebody into. Three queries at most, however many there are."""
    if not manages(by):
        return []
    held: dict[int, list[Any]] = defaultdict(list)
    for one in with_rights(Grant.objects.in_force().filter(group__isnull=False)):
        held[one.group_id].append(one)
    groups = Group.objects.order_by("name")
    return [group for group in groups if not _why_not_held(by, held[group.pk], for_more=True)]


def _check(by: Actor | None, group: Group | None, *, for_more: bool = False) -> None:
    if why := why_not(by, group, for_more=for_more):
        raise NotGrantable(why)


def join(by: Actor | None, group: Group, user: User, address: str | None = None) -> None:
    """Raises NotGrantable, as all of these."""
    with attempt(by, "team.join", f"{user} in team {group}", address):
        _check(by, group, for_more=True)
        user.groups.add(group)
        _forget(user)
        record(by, "team.join", f"{user} in team {group}", address, before={}, after=_member(group, user))


def leave(by: Actor | None, group: Group, user: User, address: str | None = None) -> None:
    with attempt(by, "team.leave", f"{user} in team {group}", address):
        _check(by, group)
        user.groups.remove(group)
        _forget(user)
        record(by, "team.leave", f"{user} in team {group}", address, before=_member(group, user), after={})


def _member(group: Group, user: User) -> dict[str, str]:
    return {"team": group.name, "member": user.username}


def _forget(user: User) -> None:
    """What was read of their grants in this request."""
    vars(user).pop("_grants", None)


def make(
    by: Actor | None, name: str, *, note: str = "", outside_name: str = "", address: str | None = None
) -> Group:
    with attempt(by, "team.create", f"Team {name}", address):
        _check(by, None)
        group = Group.objects.create(name=name)
        Team.objects.create(group=group, note=note, outside_name=outside_name)
        record(by, "team.create", f"Team {name}", address, before={}, after=facts_of(group))
    return group


def change(by: Actor | None, group: Group, values: dict[str, str], address: str | None = None) -> None:
    """`values` of FIELDS."""
    team, _ = Team.objects.get_or_create(group=group)
    before = facts_of(group)
    if (after := before | values) == before:
        return
    with attempt(by, "team.change", f"Team {group}", address):
        _check(by, group, for_more=after["outside_name"] != before["outside_name"])
        group.name = after["name"]
        group.save(update_fields=["name"])
        team.note, team.outside_name = after["note"], after["outside_name"]
        team.save()
        record(by, "team.change", f"Team {before['name']}", address, before=before, after=after)


def delete(by: Actor | None, group: Group, address: str | None = None, **goes: Any) -> None:
    """`goes`: what else of the team the audit shall keep."""
    with attempt(by, "team.delete", f"Team {group}", address):
        _check(by, group)
        before = facts_of(group) | {"members": [user.username for user in group.user_set.all()]} | goes
        record(by, "team.delete", f"Team {group}", address, before=before, after={})
        Group.objects.filter(pk=group.pk).delete()


def facts_of(group: Group) -> dict[str, Any]:
    team = Team.objects.filter(group=group).first() or Team(group=group)
    return {"name": group.name, "note": team.note, "outside_name": team.outside_name}
