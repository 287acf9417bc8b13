"""Making and changing roles of one's own. A role is the same everywhere, so this takes the rights on everything."""

from collections.abc import Iterable

from django.utils.text import slugify

from storagemgr.access import rights
from storagemgr.access.granting import NEVER, RIGHT, NotGrantable, attempt, held_until, record
from storagemgr.access.models import Grant, Role
from storagemgr.access.roles import RoleFacts, all_roles
from storagemgr.access.scopes import Actor

LONGEST_NAME = 32


def why_not(by: Actor | None, changed: Iterable[str] = ()) -> str:
    """Why `by` may not put these rights into a role, or out of one; "" when they may."""
    if held_until(by, RIGHT, None, None) != NEVER:
        return "Roles are made by whoever may grant roles on everything, without an end."
    lacking = [
        rights.RIGHTS[r] for r in rights.RIGHTS if r in changed and held_until(by, r, None, None) != NEVER
    ]
    if not lacking:
        return ""
    return f"You do not hold this on everything yourself: {', '.join(lacking)}."


def _check(by: Actor | None, changed: Iterable[str]) -> None:
    if why := why_not(by, changed):
        raise NotGrantable(why)


def make(
    by: Actor | None, title: str, wanted: frozenset[str], needs_mfa: bool, address: str | None = None
) -> Role:
    """Raises NotGrantable, as all of these."""
    with attempt(by, "role.create", f"Role {title}", address):
        _check(by, wanted)
        role = Role.objects.create(
            name=_free_name(title), title=title, rights=_in_order(wanted), needs_mfa=needs_mfa
        )
        record(by, "role.create", f"Role {title}", address, before={}, after=_said(title, wanted, needs_mfa))
    return role


def change(
    by: Actor | None,
    role: RoleFacts,
    title: str,
    wanted: frozenset[str],
    needs_mfa: bool,
    address: str | None = None,
) -> None:
    """Of a built-in role only `needs_mfa` changes: for who holds all of it too, as it guards them."""
    if role.is_built_in:
        title, wanted = role.title, role.rights
    before, after = (
        _said(role.title, role.rights, role.needs_mfa),
        _said(title, wanted, needs_mfa),
    )
    if before == after:
        return
    with attempt(by, "role.change", f"Role {role.title}", address):
        _check(by, wanted | role.rights)
        values = {"title": title, "rights": _in_order(wanted), "needs_mfa": needs_mfa}
        Role.objects.update_or_create(name=role.name, defaults=values)
        record(by, "role.change", f"Role {role.title}", address, before=before, after=after)


def delete(by: Actor | None, role: RoleFacts, address: str | None = None) -> None:
    """One that nobody holds; grants of it that are over go with it."""
    with attempt(by, "role.delete", f"Role {role.title}", address):
        _check(by, role.rights)
        if role.is_built_in:
            raise NotGrantable("The built-in roles stay.")
        if Grant.objects.in_force().filter(role=role.name).exists():
            raise NotGrantable("People or teams hold this role. Take it away from them first.")
        Grant.objects.filter(role=role.name).delete()
        Role.objects.filter(name=role.name).delete()
        before = _said(role.title, role.rights, role.needs_mfa)
        record(by, "role.delete", f"Role {role.title}", address, before=before, after={})


def _free_name(title: str) -> str:
    """A name that no role has, nor any grant of a role that is gone: nobody shall get it back unasked."""
    taken = {"new", *all_roles(), *Grant.objects.values_list("role", flat=True).distinct()}
    base = slugify(title)[: LONGEST_NAME - 4] or "role"
    names = [base, *(f"{base}-{number}" for number in range(2, 1000))]
    return next(name for name in names if name not in taken)


def _in_order(wanted: Iterable[str]) -> list[str]:
    return [right for right in rights.RIGHTS if right in wanted]


def _said(title: str, wanted: Iterable[str], needs_mfa: bool) -> dict[str, object]:
    return {"title": title, "rights": _in_order(wanted), "needs_mfa": needs_mfa}
