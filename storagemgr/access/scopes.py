"""Where a person holds a right. Every list and every object of a page is reached through this file."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self
from uuid import UUID

from django.contrib.auth.models import AnonymousUser, User
from django.db import models
from django.db.models import Q

from storagemgr.access import rights
from storagemgr.access.models import Grant
from storagemgr.access.roles import all_roles

Actor = User | AnonymousUser


@dataclass(frozen=True)
class Scope:
    """`everything`, else whole hosts by id, and single pools by (host id or None for any host, UUID)."""

    everything: bool = False
    hosts: frozenset[int] = frozenset()
    pools: frozenset[tuple[int | None, UUID]] = frozenset()

    def __bool__(self) -> bool:
        return self.everything or bool(self.hosts or self.pools)

    def covers(self, host_id: int, pool_uuid: UUID | None = None) -> bool:
        if self.everything or host_id in self.hosts:
            return True
        return pool_uuid is not None and bool({(host_id, pool_uuid), (None, pool_uuid)} & self.pools)

    def filter(self, host: str, pool: str | None) -> Q:
        """The condition on columns `host` (an id) and `pool` (a UUID)."""
        if self.everything:
            return Q()
        found = Q(**{f"{host}__in": self.hosts})
        if pool is None:
            return found | Q(**{f"{host}__in": {host_id for host_id, _ in self.pools if host_id}})
        for host_id, uuid in self.pools:
            found |= Q(**{pool: uuid}) if host_id is None else Q(**{pool: uuid, host: host_id})
        return found


def scope(user: Actor, right: str) -> Scope:
    """Reads the person's grants once per request: they are kept on the user object.

    `user.previewed`, a set of rights, is the most that a person sees who looks at the pages as another role does.
    """
    if not user.is_authenticated or not user.is_active:
        return Scope()
    if right not in getattr(user, "previewed", rights.RIGHTS):
        return Scope()
    if user.is_superuser:
        return Scope(everything=True)
    grants = [grant for grant in grants_of(user) if right in grant.rights]
    return Scope(
        everything=any(g.host_id is None and g.pool_uuid is None for g in grants),
        hosts=frozenset(g.host_id for g in grants if g.host_id is not None and g.pool_uuid is None),
        pools=frozenset((g.host_id, g.pool_uuid) for g in grants if g.pool_uuid is not None),
    )


def only_looks(user: Actor) -> bool:
    """Holds the right to see, somewhere, and no other anywhere."""
    if not user.is_authenticated or not user.is_active or user.is_superuser:
        return False
    held = frozenset().union(*(grant.rights for grant in grants_of(user)))
    return held & getattr(user, "previewed", held) == {"pool.view"}


def grants_of(user: User) -> list[Any]:
    """Those in force, each with the `rights` of its role."""
    if not hasattr(user, "_grants"):
        groups = user.groups.values("id")
        held = Grant.objects.in_force().filter(Q(user=user) | Q(group__in=groups))
        user._grants = with_rights(held)
    return user._grants


def with_rights(grants: Iterable[Grant]) -> list[Any]:
    found: list[Any] = list(grants)
    is_built_in = all(grant.role in rights.ROLES for grant in found)
    held = rights.ROLES if is_built_in else {name: role.rights for name, role in all_roles().items()}
    for grant in found:
        grant.rights = held.get(grant.role, frozenset())
    return found


class ScopedQuerySet(models.QuerySet[Any]):
    """A table whose rows belong to a host and perhaps a pool; subclasses name the columns."""

    host_field = "host_id"
    pool_field: str | None = None

    def visible_to(self, user: Actor, right: str = "pool.view") -> Self:
        return self.filter(scope(user, right).filter(self.host_field, self.pool_field))
