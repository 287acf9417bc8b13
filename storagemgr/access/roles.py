"""Roles: the built-in ones (access.rights), and those that an administrator made of the same rights."""

from typing import NamedTuple

from storagemgr.access import rights
from storagemgr.access.models import Role


class RoleFacts(NamedTuple):
    name: str
    title: str
    rights: frozenset[str]
    needs_mfa: bool
    is_built_in: bool


def all_roles() -> dict[str, RoleFacts]:
    """By name: the built-in ones, least powerful first, then the others by title. One query."""
    rows = {row.name: row for row in Role.objects.all()}
    found = {}
    for name, held in rights.ROLES.items():
        row = rows.pop(name, None)
        found[name] = RoleFacts(name, name.capitalize(), held, bool(row and row.needs_mfa), is_built_in=True)
    for row in sorted(rows.values(), key=lambda row: row.title.lower()):
        held = frozenset(row.rights) & rights.RIGHTS.keys()
        found[row.name] = RoleFacts(row.name, row.title, held, row.needs_mfa, is_built_in=False)
    return found


def title_of(name: str) -> str:
    if name in rights.ROLES:
        return name.capitalize()
    return Role.objects.filter(name=name).values_list("title", flat=True).first() or name
