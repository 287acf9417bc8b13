"""The filters of the volume lists. What the URL says and makes no sense is ignored."""

from collections.abc import Iterable
from functools import cached_property
from typing import NamedTuple
from uuid import UUID

from django.db.models import Count, Exists, OuterRef, Q, QuerySet
from django.http import QueryDict
from django.utils import timezone

from pools.filters import Q_LIMIT
from storagemgr.hosts.models import Host
from storagemgr.jobs.models import Job
from volumes.kinds import KINDS, is_kind
from volumes.models import DiskUse, Volume, VolumeNotes
from volumes.usage import Usage

UNVERIFIED = Q(unverified_since__isnull=False)
MANY = 20_000  # of so many it is not counted unasked how many are in use
FEW = 5_000  # of so few each is looked at by itself
NOBODY = "none"  # the owner of what has none


class State(NamedTuple):
    value: str
    title: str
    is_quiet: bool  # without a chip while it has no volumes


STATES = (
    State("", "All", False),
    State("used", "In use", False),
    State("unused", "Nothing uses it", False),
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
        self.volumes = found

    def _conditions(self) -> Iterable[Q]:
        hosts, pools = self.ticked["host"], self.ticked["pool"]
        if hosts:
            yield Q(pool__in=list(_pools_of(Q(host__in=Host.objects.filter(name__in=hosts)))))
        if pools:
            yield Q(pool__in=list(_pools_of(Q(name__in=pools))))
        if self.ticked["format"]:
            yield Q(format__in=self.ticked["format"])
        if kinds := self.ticked["kind"] & KINDS.keys():
            wanted = Q(pk__in=[])
            for kind in sorted(kinds):
                wanted |= is_kind(kind)
            yield wanted
        if owners := self.ticked["owner"]:
            owned = VolumeNotes.objects.filter(owner__name__in=owners, volume__isnull=False)
            wanted = Q(pk__in=owned.values("volume"))
            if NOBODY in owners:
                wanted |= ~Exists(VolumeNotes.objects.filter(volume=OuterRef("pk"), owner__isnull=False))
            yield wanted

    @cached_property
    def total(self) -> int:
        return self.volumes.order_by().count()

    @cached_property
    def _used(self) -> int:
        in_use = self.usage.is_used if self.total <= FEW else self.usage.in_use
        return self.volumes.order_by().filter(in_use).count()

    @cached_property
    def _noted(self) -> dict[str, int]:
        """Few volumes have notes."""
        noted = self.volumes.order_by().filter(pk__in=_NOTED.values("volume"))
        return noted.aggregate(**{name: Count("pk", filter=which) for name, which in _of_notes().items()})

    def in_state(self, state: str) -> QuerySet[Volume]:
        """For the first rows in an order that an index gives."""
        return self.volumes.filter(self._condition(state)) if state else self.volumes

    def counted(self, state: str) -> QuerySet[Volume]:
        """The same, for a count of all or another order."""
        if state in ("used", "unused") and self.total > FEW:
            return self.volumes.filter(self.usage.in_use if state == "used" else ~self.usage.in_use)
        return self.in_state(state)

    def _condition(self, state: str) -> Q:
        if state in ("used", "unused"):
            return self.usage.is_used if state == "used" else ~self.usage.is_used
        if state == "deleting":
            return Q(pk__in=self._deleting)
        return UNVERIFIED if state == "unverified" else _of_notes()[state]

    @cached_property
    def _deleting(self) -> list[int]:
        return sorted(to_be_deleted(self.volumes))

    def count(self, state: str, chosen: str) -> int | None:
        """How many are in `state`; None where that would take long and `chosen` does not need it."""
        match state:
            case "":
                return self.total
            case "used" | "unused":
                if self.total > MANY and chosen not in ("used", "unused"):
                    return None
                return self._used if state == "used" else self.total - self._used
            case "unverified":
                return self.volumes.order_by().filter(UNVERIFIED).count()
            case "deleting":
                return len(self._deleting)
        return self._noted[state]


_NOTED = VolumeNotes.objects.filter(volume__isnull=False).order_by()


def _of_notes() -> dict[str, Q]:
    today = timezone.localdate()
    in_force = Q(notes__protected_until=None) | Q(notes__protected_until__gte=today)
    return {
        "protected": Q(notes__protected_at__isnull=False) & in_force,
        "expired": Q(notes__expires_on__lt=today),
        "quarantined": Q(notes__quarantined_because__gt=""),
    }


def _ticked(data: QueryDict, name: str) -> set[str]:
    return {
        value for value in data.getlist(name)[:100] if value and value.isprintable() and len(value) <= 300
    }


def _pools_of(which: Q) -> QuerySet[int]:
    from pools.models import Pool

    return Pool.objects.filter(which).order_by("pk").values_list("pk", flat=True)


def search_text(data: QueryDict) -> str:
    text = data.get("q", "").strip()
    return text if len(text) <= Q_LIMIT and "\0" not in text else ""


def _matching(text: str) -> Q:
    uses = DiskUse.objects.filter(volume__isnull=False, domain_name__icontains=text).order_by()
    noted = _NOTED.filter(Q(note__icontains=text) | Q(ticket__icontains=text))
    return Q(name__icontains=text) | Q(pk__in=uses.values("volume")) | Q(pk__in=noted.values("volume"))


def to_be_deleted(volumes: QuerySet[Volume]) -> dict[int, Job]:
    """The scheduled deletions of these, by the volume's id."""
    jobs: dict[tuple[int, UUID, str], Job] = {}
    for job in Job.objects.filter(
        state=Job.State.SCHEDULED, operation__startswith="volume.delete"
    ).order_by():
        if job.pool_uuid:
            jobs[job.host_id, job.pool_uuid, job.volume_name] = job
    if not jobs:
        return {}
    places, names = {uuid for _, uuid, _ in jobs}, {name for *_, name in jobs}
    near = volumes.order_by().filter(name__in=names, pool__uuid__in=places)
    rows = near.values_list("pk", "pool__host_id", "pool__uuid", "name")
    return {pk: jobs[place] for pk, *place_ in rows if (place := tuple(place_)) in jobs}
