"""Finding people, teams, hosts and pools by a part of their name, for a form that chooses some of them."""

from collections.abc import Iterable
from typing import Any, NamedTuple
from uuid import UUID

from django.contrib.auth.models import Group, User
from django.db.models import Count, Q, QuerySet
from django.forms import BoundField

from pools.models import Pool
from storagemgr.access.granting import RIGHT, held_until
from storagemgr.access.scopes import Actor, scope
from storagemgr.hosts.models import Host
from storagemgr.listing import ID_LIMIT
from storagemgr.people.showing import Place

LIMIT = 8
Q_LIMIT = 200
EVERYTHING = "everything"


class Option(NamedTuple):
    value: str
    title: str
    note: str = ""


class Finder(NamedTuple):
    """What the template shows. `chosen` stand first and stay, whatever is typed."""

    field: BoundField
    kind: str
    text: str
    options: list[Option]
    chosen: list[str]
    is_more: bool

    @property
    def text_name(self) -> str:
        return f"{self.field.html_name}_q"


class Where(NamedTuple):
    """A place that a role is given on; no host and no pool: everything; a pool without a host: on all that have it."""

    host: Host | None
    pool_uuid: UUID | None
    place: Place

    @property
    def host_id(self) -> int | None:
        return self.host.pk if self.host else None


def finder(
    field: BoundField, data: Any, kind: str, known: Iterable[Option], found: Iterable[Option]
) -> Finder:
    """`found` may hold one more than is shown, as a sign that there are more."""
    known = list(known)
    chosen = [option.value for option in known]
    others = [option for option in found if option.value not in chosen]
    text = data.get(f"{field.html_name}_q", "")[:Q_LIMIT]
    return Finder(field, kind, text, [*known, *others[:LIMIT]], chosen, len(others) > LIMIT)


def typed(data: Any, name: str) -> str:
    return str(data.get(f"{name}_q", "")).replace("\0", "").strip()[:Q_LIMIT]


def _id(value: str, kind: str) -> int:
    """The number in "kind:number", 0 for anything else."""
    head, _, number = value.partition(":")
    is_number = head == kind and number.isascii() and number.isdigit() and len(number) < 20
    return min(int(number), ID_LIMIT) if is_number else 0


def people_like(text: str) -> QuerySet[User]:
    rows = User.objects.order_by("username")
    if not text:
        return rows
    by_name = Q(username__icontains=text) | Q(first_name__icontains=text) | Q(last_name__icontains=text)
    return rows.filter(by_name | Q(email__icontains=text))


def _person(user: User) -> Option:
    note = user.get_full_name() or user.email
    return Option(f"user:{user.pk}", user.username, note if user.is_active else f"{note} closed".strip())


def _team(group: Any) -> Option:
    return Option(f"team:{group.pk}", f"team {group.name}", f"{group.members} in it")


def _teams() -> QuerySet[Any]:
    return Group.objects.annotate(members=Count("user")).order_by("name")


def find_people(text: str) -> list[Option]:
    return [_person(user) for user in people_like(text)[: LIMIT + 10]]


def find_holders(text: str) -> list[Option]:
    teams = _teams().filter(name__icontains=text) if text else _teams()
    return [*(_team(group) for group in teams[:LIMIT]), *find_people(text)]


def person(value: str) -> User | None:
    return User.objects.filter(pk=_id(value, "user")).first()


def holder(value: str) -> User | Group | None:
    return person(value) or _teams().filter(pk=_id(value, "team")).first()


def option_of(found: Any) -> Option:
    return _person(found) if isinstance(found, User) else _team(found)


def find_places(by: Actor, text: str) -> list[Option]:
    """Where this person may grant at all."""
    held = scope(by, RIGHT)
    found = [Option(EVERYTHING, "Everything", "all hosts and pools, also those to come")]
    hosts = Host.objects.all() if held.everything else Host.objects.filter(pk__in=held.hosts)
    pools = Pool.objects.visible_to(by, RIGHT).select_related("host")
    if text:
        hosts = hosts.filter(name__icontains=text)
        pools = pools.filter(Q(name__icontains=text) | Q(host__name__icontains=text))
    options = found if held.everything and text.lower() in EVERYTHING else []
    options += [_host(host) for host in hosts.order_by("name")[:LIMIT]]
    rows = list(pools.order_by("name", "host__name")[: LIMIT + 1])
    shared = _shared(by, rows)
    for pool in rows:
        if pool.uuid in shared:
            options.append(_every_host(pool, shared.pop(pool.uuid)))
        options.append(_pool(pool))
    return options


def _shared(by: Actor, rows: Iterable[Pool]) -> dict[UUID, int]:
    """On how many hosts each pool is that several have, where the person may grant on all of them."""
    uuids = {pool.uuid for pool in rows if held_until(by, RIGHT, None, pool.uuid)}
    counts = Pool.objects.filter(uuid__in=uuids).order_by().values("uuid").annotate(n=Count("pk"))
    return {row["uuid"]: row["n"] for row in counts if row["n"] > 1}


def _host(host: Host) -> Option:
    return Option(f"host:{host.pk}", f"Host {host}", "the host and all its pools")


def _pool(pool: Pool) -> Option:
    return Option(f"pool:{pool.pk}", f"{pool.name} on {pool.host}", pool.kind.title)


def _every_host(pool: Pool, count: int) -> Option:
    return Option(
        f"shared:{pool.pk}", f"{pool.name} on every host that has it", f"{count} hosts, one storage"
    )


def where(by: Actor, value: str) -> Where | None:
    """The place of an option, None for one that is not there for this person."""
    held = scope(by, RIGHT)
    if value == EVERYTHING:
        return Where(None, None, Place("everything")) if held.everything else None
    if host := Host.objects.filter(pk=_id(value, "host")).first():
        return Where(host, None, Place(f"host {host}")) if held.covers(host.pk) else None
    pools = Pool.objects.visible_to(by, RIGHT).select_related("host")
    pool = pools.filter(pk=_id(value, "pool") or _id(value, "shared")).first()
    if pool is None:
        return None
    if _id(value, "pool"):
        return Where(pool.host, pool.uuid, Place(f"{pool.name} on {pool.host}"))
    return Where(None, pool.uuid, Place(f"{pool.name} on every host that has it"))


def place_option(by: Actor, value: str) -> list[Option]:
    """The option of a value that was chosen before, to keep it in sight."""
    found = where(by, value)
    if found is None:
        return []
    if found.pool_uuid is None:
        return [
            _host(found.host)
            if found.host
            else Option(EVERYTHING, "Everything", "all hosts and pools, also those to come")
        ]
    pool = Pool.objects.select_related("host").get(pk=_id(value, "pool") or _id(value, "shared"))
    if found.host:
        return [_pool(pool)]
    return [_every_host(pool, Pool.objects.filter(uuid=pool.uuid).count())]
