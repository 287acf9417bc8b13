"""The filters of the volume lists. Each count is one query that an index answers."""

import django_filters
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
IN_USE = Q(pk__in=DiskUse.objects.filter(volume__isnull=False).order_by().values("volume"))
BY_STATE = {"used": IN_USE, "unused": ~IN_USE, "unverified": Q(unverified_since__isnull=False)}


class VolumeSearch(django_filters.FilterSet):
    q = django_filters.CharFilter(method="search", max_length=Q_LIMIT)

    class Meta:
        model = Volume
        fields: list[str] = []

    def search(self, volumes: QuerySet[Volume], name: str, value: str) -> QuerySet[Volume]:
        """By the volume's name or by a VM's."""
        uses = DiskUse.objects.filter(volume__isnull=False, domain_name__icontains=value).order_by()
        return volumes.filter(Q(name__icontains=value) | Q(pk__in=uses.values("volume")))


class VolumeFilter(VolumeSearch):
    format = django_filters.MultipleChoiceFilter(distinct=False)

    def __init__(self, data: QueryDict, queryset: QuerySet[Volume]) -> None:
        super().__init__(data, queryset=queryset)
        searched = VolumeSearch(data, queryset=queryset).qs
        # Format -> how many, from the index alone when nothing is searched.
        self.formats = dict(searched.order_by("format").values_list("format").annotate(Count("pk")))
        ticked = {name for name in data.getlist("format") if name.isprintable()}
        self.format_choices = [(name, name) for name in sorted(ticked.union(self.formats)) if name]
        self.filters["format"].extra["choices"] = self.format_choices

    @property
    def count(self) -> int:
        """How many volumes match, without another query."""
        chosen = self.form.cleaned_data.get("format") if self.form.is_valid() else None
        return sum(self.formats.get(name, 0) for name in chosen or self.formats)


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
