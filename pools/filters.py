"""The filters of the fleet page. Values that make no sense are ignored, never an error."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import django_filters
from django.db.models import F, FloatField, Q, QuerySet
from django.db.models.functions import Cast, NullIf
from django.http import HttpRequest

from pools.capacity import Known
from pools.models import Pool
from pools.states import ATTENTION, NEEDS_ATTENTION, SHOWN_AS, URGENCY
from storagemgr.listing import Chip, Menu, chips, menu
from storagemgr.templatetags.storage import printable
from storagemgr.virt.pool_types import pool_type

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
    owner = django_filters.MultipleChoiceFilter(field_name="notes__owner__name", distinct=False)

    class Meta:
        model = Pool
        fields: list[str] = []

    def __init__(self, *args: Any, known: Sequence[Known], owners: Sequence[str], **kwargs: Any) -> None:
        """`known`: all pools that the person sees; their hosts and types are the choices, as are their `owners`."""
        super().__init__(*args, **kwargs)
        self.filters["owner"].extra["choices"] = [(name, name) for name in owners]
        self.filters["host"].extra["choices"] = hosts_of(known)
        self.filters["type"].extra["choices"] = types_of(known)

    def search(self, pools: QuerySet[Pool], name: str, value: str) -> QuerySet[Pool]:
        return pools.filter(matching(value))


def matching(text: str) -> Q:
    return (
        Q(name__icontains=text)
        | Q(source__icontains=text)
        | Q(target_path__icontains=text)
        | Q(host__name__icontains=text)
        | Q(notes__note__icontains=text)
        | Q(notes__ticket__icontains=text)
        | Q(notes__owner__name__icontains=text)
    )


def owners_of(pools: QuerySet[Pool]) -> list[str]:
    owned = pools.filter(notes__owner__isnull=False).order_by("notes__owner__name")
    return list(owned.values_list("notes__owner__name", flat=True).distinct())


def known_of(pools: QuerySet[Pool]) -> list[Known]:
    """Cheap for a thousand pools: one query, no objects, no times."""
    found = pools.order_by().annotate(shown_as=SHOWN_AS, needs_attention=NEEDS_ATTENTION)
    return list(map(Known._make, found.values_list(*Known._fields)))


def state_chips(request: HttpRequest, pools: Sequence[Known]) -> list[Chip]:
    shown = Counter(pool.shown_as for pool in pools)
    options = [
        ("", "All", len(pools)),
        ("attention", "Needs attention", sum(pool.needs_attention for pool in pools)),
        ("running", "Running", shown["running"]),
        ("stopped", "Stopped", shown["stopped"]),
        ("silent", "Not answering", shown["silent"]),
    ]
    return chips(request, "state", options)


def menus(request: HttpRequest, known: Sequence[Known], owners: Sequence[str]) -> list[Menu]:
    found = [menu(request, "host", "Host", hosts_of(known)), menu(request, "type", "Type", types_of(known))]
    if owners:
        found.append(menu(request, "owner", "Owner", [(name, printable(name)) for name in owners]))
    return found


def hosts_of(known: Sequence[Known]) -> list[tuple[str, str]]:
    return [(name, printable(name)) for name in sorted({pool.host__name for pool in known})]


def types_of(known: Sequence[Known]) -> list[tuple[str, str]]:
    titles = {name: pool_type(name).title for name in {pool.type for pool in known}}
    return sorted(titles.items(), key=lambda pair: pair[1])


def in_state(pools: QuerySet[Pool], state: str) -> QuerySet[Pool]:
    if state == "attention":
        return pools.filter(ATTENTION)
    return pools.alias(shown_as=SHOWN_AS).filter(shown_as=state) if state else pools
