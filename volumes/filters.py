"""The filters of the volume lists."""

from typing import NamedTuple

from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest, QueryDict

from pools.filters import Q_LIMIT
from storagemgr.listing import Chip, chips
from volumes.models import DiskUse, Volume

SORTS: dict[str, list[str]] = {
    "name": ["name"],
    "format": ["format"],
    "capacity": ["capacity"],
    "allocation": ["allocation"],
    "modified": ["modified"],
}
DEFAULT_SORT = "name"
UNVERIFIED = Q(unverified_since__isnull=False)


class Counts(NamedTuple):
    all: int = 0
    used: int = 0
    unverified: int = 0


class VolumeFilter:
    """What the URL asks for: `q`, the volume's name or a VM's, and formats. `count` is of all states."""

    def __init__(self, data: QueryDict, volumes: QuerySet[Volume], host_id: int | None) -> None:
        """`host_id`: of all `volumes`, when they have one host."""
        text = search_text(data)
        searched = volumes.filter(_matching(text)) if text else volumes
        ticked = {name for name in data.getlist("format") if name and name.isprintable()}
        self.volumes = searched.filter(format__in=ticked) if ticked else searched
        self.in_use = _in_use(host_id)
        by_format = _found_by_format(searched, self.in_use) if text else _all_by_format(searched)
        self.formats = sorted(ticked.union(filter(None, by_format)))
        chosen = [count for name, count in by_format.items() if not ticked or name in ticked]
        self.count = Counts(*map(sum, zip(Counts(), *chosen, strict=True)))
        if not text:
            self.count = self.count._replace(
                used=self.volumes.filter(self.in_use).count(),
                unverified=self.volumes.filter(UNVERIFIED).count(),
            )

    def in_state(self, state: str) -> QuerySet[Volume]:
        conditions = {"used": self.in_use, "unused": ~self.in_use, "unverified": UNVERIFIED}
        return self.volumes.filter(conditions[state]) if state else self.volumes


def _in_use(host_id: int | None) -> Q:
    """VMs use volumes of their own host: no need to read what those of the others use."""
    uses = DiskUse.objects.filter(volume__isnull=False).order_by()
    return Q(pk__in=(uses.filter(host_id=host_id) if host_id else uses).values("volume"))


def search_text(data: QueryDict) -> str:
    text = data.get("q", "").strip()
    return text if len(text) <= Q_LIMIT and "\0" not in text else ""


def _matching(text: str) -> Q:
    uses = DiskUse.objects.filter(volume__isnull=False, domain_name__icontains=text).order_by()
    return Q(name__icontains=text) | Q(pk__in=uses.values("volume"))


def _found_by_format(volumes: QuerySet[Volume], in_use: Q) -> dict[str, Counts]:
    """One pass over the volumes: no index finds a text inside a name."""
    rows = (
        volumes.order_by()
        .values_list("format")
        .annotate(number=Count("*"), used=Count("pk", filter=in_use), unverified=Count("unverified_since"))
    )
    return {name: Counts(*counts) for name, *counts in rows}


def _all_by_format(volumes: QuerySet[Volume]) -> dict[str, Counts]:
    """Only `all`, which an index alone answers; others do so for the rest."""
    rows = volumes.order_by().values_list("format").annotate(number=Count("*"))
    return {name: Counts(number) for name, number in rows}


def state_chips(request: HttpRequest, count: Counts) -> list[Chip]:
    options = [
        ("", "All", count.all),
        ("used", "In use", count.used),
        ("unused", "Nothing uses it", count.all - count.used),
    ]
    if count.unverified or request.GET.get("state") == "unverified":
        options.append(("unverified", "Unverified", count.unverified))
    return chips(request, "state", options)
