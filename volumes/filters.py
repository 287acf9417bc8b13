"""The filters of the volume lists. Each count is one query that an index answers."""

from collections.abc import Sequence
from typing import Any

import django_filters
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest

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
IN_USE = Q(pk__in=DiskUse.objects.filter(volume__isnull=False).order_by().values("volume"))
BY_STATE = {"used": IN_USE, "unused": ~IN_USE, "unverified": Q(unverified_since__isnull=False)}


class VolumeFilter(django_filters.FilterSet):
    q = django_filters.CharFilter(method="search", max_length=Q_LIMIT)
    format = django_filters.MultipleChoiceFilter(distinct=False)

    class Meta:
        model = Volume
        fields: list[str] = []

    def __init__(self, *args: Any, formats: Sequence[tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.filters["format"].extra["choices"] = formats

    def search(self, volumes: QuerySet[Volume], name: str, value: str) -> QuerySet[Volume]:
        """By the volume's name or by a VM's."""
        uses = DiskUse.objects.filter(volume__isnull=False, domain_name__icontains=value).order_by()
        return volumes.filter(Q(name__icontains=value) | Q(pk__in=uses.values("volume")))


def formats_of(volumes: QuerySet[Volume]) -> dict[str, int]:
    """Format -> how many, from the index alone; their sum is the number of volumes."""
    return dict(volumes.order_by("format").values_list("format").annotate(Count("pk")))


def state_chips(request: HttpRequest, volumes: QuerySet[Volume], total: int) -> list[Chip]:
    volumes = volumes.order_by()
    used = volumes.filter(IN_USE).count()
    unverified = volumes.filter(BY_STATE["unverified"]).count()
    options = [("", "All", total), ("used", "In use", used), ("unused", "Nothing uses it", total - used)]
    if unverified or request.GET.get("state") == "unverified":
        options.append(("unverified", "Unverified", unverified))
    return chips(request, "state", options)


def in_state(volumes: QuerySet[Volume], state: str) -> QuerySet[Volume]:
    return volumes.filter(BY_STATE[state]) if state in BY_STATE else volumes
