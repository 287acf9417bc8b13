"""The pools that a person sees, few columns of each however many there are, and which of them are the same storage."""

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple
from uuid import UUID

from django.db.models import QuerySet

from pools.capacity import SHARED, Space, space_of
from pools.models import Pool
from pools.states import SHOWN_AS, state_in_words
from storagemgr.hosts.models import Host
from storagemgr.hosts.states import State
from storagemgr.templatetags.storage import count, printable
from storagemgr.virt.pool_types import PoolType, pool_type

# Every host whose pool names the same source sees the same bytes. A Ceph pool is one, too.
SAME_EVERYWHERE = (*SHARED, "rbd", "sheepdog")
HOSTS_NAMED = 3


class Place(NamedTuple):
    """A pool without its times. Sizes in bytes."""

    pk: int
    uuid: UUID
    name: str
    type: str
    source: str
    host_id: int
    host__name: str
    host__state: str
    state: str
    capacity: int
    allocation: int
    available: int
    promised: int
    volume_allocation: int
    volume_count: int
    has_problem: bool
    owner: str
    shown_as: str  # see pools/states.py

    @property
    def kind(self) -> PoolType:
        return pool_type(self.type)

    @property
    def is_shared(self) -> bool:
        """Other hosts may see the same bytes."""
        return self.type in SAME_EVERYWHERE and bool(self.source)

    @property
    def answers(self) -> bool:
        return self.shown_as != "silent"

    @property
    def is_running(self) -> bool:
        return self.shown_as == "running" and self.state in (Pool.State.RUNNING, Pool.State.DEGRADED)

    @property
    def host_answers(self) -> bool:
        return self.host__state == Host.State.UP

    @property
    def is_active(self) -> bool:
        return self.state != Pool.State.INACTIVE

    @property
    def space(self) -> Space:
        return space_of(self)

    @property
    def look(self) -> State:
        is_unreachable = not self.answers and self.state != Pool.State.INACCESSIBLE
        return state_in_words(self.host__state, self.state, is_unreachable=is_unreachable)


@dataclass(frozen=True)
class Storage:
    """One or several pools that are the same bytes."""

    places: tuple[Place, ...]

    @cached_property
    def best(self) -> Place:
        """The one to speak of: that runs, if any does."""
        return min(self.places, key=lambda place: (not place.is_running, not place.answers, place.host__name))

    @property
    def name(self) -> str:
        return printable(self.best.name)

    @property
    def owner(self) -> str:
        return next((printable(place.owner) for place in self.places if place.owner), "")

    @cached_property
    def hosts(self) -> list[str]:
        return sorted({printable(place.host__name) for place in self.places})

    @property
    def where(self) -> str:
        """ "on hv-fra-01", "on hv-fra-01, hv-fra-02 and hv-fra-03", "on 12 hosts"."""
        hosts = self.hosts
        if len(hosts) > HOSTS_NAMED:
            return f"on {count(len(hosts), 'host')}"
        return "on " + (f"{', '.join(hosts[:-1])} and {hosts[-1]}" if len(hosts) > 1 else hosts[0])

    @property
    def hosts_in_full(self) -> str:
        return ", ".join(self.hosts)


def storage_key(kind: str, source: str, pk: int) -> Hashable:
    """The same for pools that are the same bytes."""
    return (kind, source) if kind in SAME_EVERYWHERE and source else pk


def places_of(pools: QuerySet[Pool]) -> list[Place]:
    """One query."""
    found = pools.order_by("name", "host__name").annotate(shown_as=SHOWN_AS)
    columns = [name for name in Place._fields if name not in ("has_problem", "owner")]
    columns[-1:-1] = ["refresh_error", "notes__owner__name"]
    return [
        Place(*row[:-3], has_problem=bool(row[-3]), owner=row[-2] or "", shown_as=row[-1])
        for row in found.values_list(*columns)
    ]


def storages_of(places: Iterable[Place]) -> list[Storage]:
    """Each once, in the order of `places`."""
    groups: dict[Hashable, list[Place]] = {}
    for place in places:
        groups.setdefault(storage_key(place.type, place.source, place.pk), []).append(place)
    return [Storage(tuple(group)) for group in groups.values()]
