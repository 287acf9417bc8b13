"""The filters of the fleet page. Values that make no sense are ignored, never an error."""

from collections.abc import Sequence
from typing import Any

import django_filters
from django.db.models import Count, F, FloatField, Q, QuerySet
from django.db.models.functions import Cast, NullIf
from django.http import HttpRequest

from pools.models import Pool
from pools.states import BY_STATE, URGENCY
from storagemgr.listing import Chip, Menu, chips, menu
from storagemgr.templatetags.storage import printable

SORTS: dict[str, list[Any]] = {
    "name": ["name", "host__name"],
    "host": ["host__name", "name"],
    "type": ["type", "name"],
    "used": [Cast("allocation", FloatField()) / NullIf(F("capacity"), 0)],
    "state": [URGENCY, F("name")],
    "volumes": ["volume_count"],
}
DEFAULT_SORT = "host"
Q_LIMIT = 200


class PoolFilter(django_filters.FilterSet):
    q = django_filters.CharFilter(method="search", max_length=Q_LIMIT)
    host = django_filters.MultipleChoiceFilter(field_name="host__name", distinct=False)
    type = django_filters.MultipleChoiceFilter(distinct=False)

    class Meta:
        model = Pool
        fields: list[str] = []

    def __init__(self, *args: Any, known: Sequence[Pool], **kwargs: Any) -> None:
        """`known`: all pools that the person sees; their hosts and types are the choices."""
        super().__init__(*args, **kwargs)
        self.hosts = [(name, printable(name)) for name in sorted({pool.host.name for pool in known})]
        titles = {pool.type: pool.kind.title for pool in known}
        self.types = sorted(titles.items(), key=lambda pair: pair[1])
        self.filters["host"].extra["choices"] = self.hosts
        self.filters["type"].extra["choices"] = self.types

    def search(self, pools: QuerySet[Pool], name: str, value: str) -> QuerySet[Pool]:
        return pools.filter(matching(value))


def matching(text: str) -> Q:
    return (
        Q(name__icontains=text)
        | Q(source__icontains=text)
        | Q(target_path__icontains=text)
        | Q(host__name__icontains=text)
    )


def state_chips(request: HttpRequest, pools: QuerySet[Pool]) -> list[Chip]:
    counts = pools.order_by().aggregate(
        all=Count("pk"), **{name: Count("pk", filter=condition) for name, condition in BY_STATE.items()}
    )
    titles = {
        "attention": "Needs attention",
        "running": "Running",
        "stopped": "Stopped",
        "silent": "Not answering",
    }
    options = [("", "All", counts["all"]), *((name, title, counts[name]) for name, title in titles.items())]
    return chips(request, "state", options)


def menus(request: HttpRequest, filters: PoolFilter) -> list[Menu]:
    return [menu(request, "host", "Host", filters.hosts), menu(request, "type", "Type", filters.types)]


def in_state(pools: QuerySet[Pool], state: str) -> QuerySet[Pool]:
    return pools.filter(BY_STATE[state]) if state in BY_STATE else pools
