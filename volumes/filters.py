"""The filters of the volume lists. What the URL says and makes no sense is ignored."""

from collections.abc import Callable, Iterable
from functools import cached_property
from hashlib import blake2b
from typing import Any, NamedTuple, cast

from django.core.cache import cache
from django.core.exceptions import EmptyResultSet
from django.db.models import CharField, Exists, OuterRef, Q, QuerySet, Value
from django.db.models.lookups import In
from django.http import QueryDict
from django.utils import timezone

from pools.filters import Q_LIMIT
from pools.models import Pool
from storagemgr.hosts.models import Host
from storagemgr.jobs.models import Job
from volumes.among import InNoIndex, among
from volumes.kinds import KINDS, base_ids, is_kind
from volumes.models import DiskUse, Volume, VolumeNotes
from volumes.quarantined import all_quarantined
from volumes.usage import Usage

UNVERIFIED = Q(unverified_since__isnull=False)
MANY = 20_000  # of so many it is not counted unasked how many are in use
FEW = 2_000  # of so few each is looked at by itself
COUNTED_FOR = 15  # seconds
_UNKNOWN = "unknown"
NOBODY = "none"  # the owner of what has none


class State(NamedTuple):
    value: str
    title: str
    is_quiet: bool  # without a chip while it has no volumes


STATES = (
    State("", "All", False),
    State("used", "In use", False),
    State("unused", "No VM uses it", False),
    State("unverified", "Unverified", True),
    State("protected", "Protected", True),
    State("expired", "Expired", True),
    State("deleting", "To be deleted", True),
    State("quarantined", "Quarantined", True),
)


class VolumeFilter:
    """What the URL asks for: `q` (a name, a VM, a note, a ticket) and what is ticked. `volumes` is of all states."""

    def __init__(self, data: QueryDict, volumes: QuerySet[Volume]) -> None:
        self.text = search_text(data)
        self.ticked = {name: _ticked(data, name) for name in ("host", "pool", "kind", "format", "owner")}
        self.usage = Usage()
        self.is_narrowed = bool(self.text or any(self.ticked.values()))
        found = volumes.filter(_matching(self.text)) if self.text else volumes
        for condition in self._conditions():
            found = found.filter(condition)
        formats = self.ticked["format"]
        by_index = found.filter(format__in=formats) if formats else found
        self._ids = self._few_of(by_index) if self.is_narrowed else None
        if self._ids is not None:
            # What took a search through all of them is not searched for again.
            self.volumes = Volume.objects.filter(among("pk", self._ids))
        else:
            self.volumes = found.filter(In(InNoIndex("format"), formats)) if formats else found

    def _few_of(self, found: QuerySet[Volume]) -> list[int] | None:
        """Their ids, None for more than FEW."""

        def look(rows: QuerySet[Volume]) -> list[int] | None:
            ids = list(rows.values_list("pk", flat=True)[: FEW + 1])
            return None if len(ids) > FEW else ids

        return cast("list[int] | None", remembered("few", found, look, keeps=lambda ids: ids is None))

    def _conditions(self) -> Iterable[Q]:
        hosts, pools = self.ticked["host"], self.ticked["pool"]
        if hosts:
            yield Q(pool__in=list(_pools_of(Q(host__in=Host.objects.filter(name__in=hosts)))))
        if pools:
            yield Q(pool__in=list(_pools_of(Q(name__in=pools))))
        if kinds := self.ticked["kind"] & KINDS.keys():
            wanted = Q(pk__in=[])
            is_base = among("pk", _bases())
            for kind in sorted(kinds):
                wanted |= is_kind(kind, is_base)
            yield wanted
        if owners := self.ticked["owner"]:
            owned = VolumeNotes.objects.filter(owner__name__in=owners, volume__isnull=False)
            wanted = Q(pk__in=owned.values("volume"))
            if NOBODY in owners:
                wanted |= ~Exists(VolumeNotes.objects.filter(volume=OuterRef("pk"), owner__isnull=False))
            yield wanted

    @cached_property
    def total(self) -> int:
        if self._ids is not None:
            return len(self._ids)
        if self.is_narrowed:
            return remembered("total", self.volumes, QuerySet.count)
        return cast("int", remembered("total", self.volumes, QuerySet.count, keeps=lambda n: n > MANY))

    @cached_property
    def _used(self) -> int:
        if self.total <= FEW:
            return self.volumes.order_by().filter(self.usage.is_used).count()
        return remembered("used", self.volumes, lambda rows: rows.filter(self.usage.in_use).count())

    @cached_property
    def _rare(self) -> dict[str, set[int]]:
        """The volumes in the states that few are in."""
        unverified = Volume.objects.filter(UNVERIFIED).order_by().values_list("pk", flat=True)
        found = {"unverified": set(unverified), "deleting": set(to_be_deleted())} | _noted()
        every = set().union(*found.values())
        if every:
            every = self._of_these(every)
        return {state: ids & every for state, ids in found.items()}

    def _of_these(self, ids: set[int]) -> set[int]:
        if self._ids is not None:
            return ids.intersection(self._ids)
        return set(self.volumes.order_by().filter(among("pk", ids)).values_list("pk", flat=True))

    def in_state(self, state: str) -> QuerySet[Volume]:
        """For the first rows in an order that an index gives."""
        match state:
            case "":
                return self.volumes
            case "used":
                return self.volumes.filter(self.usage.is_used)
            case "unused":
                return self.volumes.filter(~self.usage.is_used)
        return Volume.objects.filter(among("pk", self._rare[state]))

    def counted(self, state: str) -> QuerySet[Volume]:
        """The same, for a count of all or another order."""
        if state in ("used", "unused") and self.total > FEW:
            return self.volumes.filter(self.usage.in_use if state == "used" else ~self.usage.in_use)
        return self.in_state(state)

    def count(self, state: str, chosen: str) -> int | None:
        """How many are in `state`; None where that would take long and `chosen` does not need it."""
        match state:
            case "":
                return self.total
            case "used" | "unused":
                if self.total > MANY and chosen not in ("used", "unused"):
                    return None
                return self._used if state == "used" else self.total - self._used
        return len(self._rare[state])


def _bases() -> list[int]:
    found = remembered(
        "bases", Volume.objects.all(), lambda _: base_ids(), keeps=lambda ids: len(ids) > FEW / 10
    )
    return cast("list[int]", found)


def _quarantined() -> set[int]:
    found = remembered(
        "quarantined",
        Volume.objects.all(),
        lambda _: all_quarantined(),
        keeps=lambda ids: len(ids) > FEW / 10,
    )
    return cast("set[int]", found)


_NOTED = VolumeNotes.objects.filter(volume__isnull=False).order_by()


def _noted() -> dict[str, set[int]]:
    today = timezone.localdate()
    in_force = Q(protected_until=None) | Q(protected_until__gte=today)
    said = {
        "protected": in_force & Q(protected_at__isnull=False),
        "expired": Q(expires_on__lt=today),
    }
    parts = [
        _NOTED.filter(which).values_list("volume", Value(state, CharField())) for state, which in said.items()
    ]
    found: dict[str, set[int]] = {state: set() for state in said}
    for pk, state in parts[0].union(*parts[1:], all=True):
        found[state].add(pk)
    return found | {"quarantined": _quarantined()}


def remembered(
    what: str,
    rows: QuerySet[Volume],
    count: Callable[[QuerySet[Volume]], Any],
    keeps: Callable[[Any], bool] = lambda found: True,
) -> Any:
    """What was found of very many rows, at most COUNTED_FOR old: pages ask every two seconds."""
    rows = rows.order_by()
    try:
        text = repr(rows.query.sql_with_params())
    except EmptyResultSet:
        return count(rows)
    key = f"volumes.{what}.{blake2b(text.encode(), digest_size=16).hexdigest()}"
    found = cache.get(key, _UNKNOWN)
    if found == _UNKNOWN:
        found = count(rows)
        if keeps(found):
            cache.set(key, found, COUNTED_FOR)
    return found


def _ticked(data: QueryDict, name: str) -> set[str]:
    return {
        value for value in data.getlist(name)[:100] if value and value.isprintable() and len(value) <= 300
    }


def _pools_of(which: Q) -> QuerySet[int]:
    return Pool.objects.filter(which).order_by("pk").values_list("pk", flat=True)


def search_text(data: QueryDict) -> str:
    text = data.get("q", "").strip()
    return text if len(text) <= Q_LIMIT and "\0" not in text else ""


def _matching(text: str) -> Q:
    uses = DiskUse.objects.filter(volume__isnull=False, domain_name__icontains=text).order_by()
    noted = _NOTED.filter(Q(note__icontains=text) | Q(ticket__icontains=text))
    found = Q(name__icontains=text)
    for rows in (uses, noted):
        ids = set(rows.values_list("volume", flat=True)[: FEW + 1])
        # Not asked of each name in turn, where few or none are found.
        found |= among("pk", ids) if len(ids) <= FEW else Q(pk__in=rows.values("volume"))
    return found


def to_be_deleted() -> list[int]:
    """The volumes whose deletion is scheduled."""
    jobs = Job.objects.filter(
        state=Job.State.SCHEDULED, operation__startswith="volume.delete", pool_uuid__isnull=False
    )
    places = set(jobs.order_by().values_list("host_id", "pool_uuid", "volume_name"))
    if not places:
        return []
    pools, names = {pool for _, pool, _ in places}, {name for *_, name in places}
    near = Volume.objects.filter(name__in=names, pool__uuid__in=pools).order_by()
    rows = near.values_list("pk", "pool__host_id", "pool__uuid", "name")
    return [pk for pk, *place in rows if tuple(place) in places]
