"""The filters of the job list. Values that make no sense are ignored, never an error."""

from typing import Any

import django_filters
from django.db.models import Count, F, FilteredRelation, Q, QuerySet
from django.http import HttpRequest

from storagemgr.jobs.models import Job
from storagemgr.jobs.operations import REGISTRY
from storagemgr.listing import ID_LIMIT, Chip, Menu, chips, menu

State = Job.State
Q_LIMIT = 200
SORTS: dict[str, list[str]] = {
    "title": ["title"],
    "pool": ["pool_name"],
    "state": ["state"],
    "requester": ["requester_name"],
    "asked": [],
}
DEFAULT_SORT = "-asked"
CHIPS = {
    "running": "Running",
    "transferring": "Transferring",
    "queued": "Waiting",
    "scheduled": "Scheduled",
    "interrupted": "Interrupted",
    "failed": "Failed",
    "succeeded": "Done",
    "cancelled": "Cancelled",
}


def operation_choices() -> list[tuple[str, str]]:
    """ "Pool: start", "Volume: clone"."""
    titles = [
        (name, f"{name.partition('.')[0].capitalize()}: {operation.title[0].lower()}{operation.title[1:]}")
        for name, operation in REGISTRY.items()
    ]
    return sorted(titles, key=lambda pair: pair[1])


class JobFilter(django_filters.FilterSet):
    q = django_filters.CharFilter(method="search", max_length=Q_LIMIT)
    operation = django_filters.MultipleChoiceFilter(distinct=False, choices=operation_choices)
    pool = django_filters.NumberFilter(
        field_name="pool_pk", decimal_places=0, min_value=1, max_value=ID_LIMIT
    )
    volume = django_filters.CharFilter(method="about_volume", max_length=255, strip=False)
    mine = django_filters.CharFilter(method="only_mine", max_length=1)

    class Meta:
        model = Job
        fields: list[str] = []

    def search(self, jobs: QuerySet[Job], name: str, value: str) -> QuerySet[Job]:
        return jobs.filter(Q(title__icontains=value) | Q(pool_name__icontains=value))

    def about_volume(self, jobs: Any, name: str, value: str) -> QuerySet[Job]:
        return jobs.about_volume(value)

    def only_mine(self, jobs: QuerySet[Job], name: str, value: str) -> QuerySet[Job]:
        return jobs.filter(requested_by=self.request.user) if value == "1" else jobs


def with_pool(jobs: Any) -> Any:
    """Adds `pool_pk`, the row of the job's pool where it still exists: the job knows it by host and UUID."""
    row = FilteredRelation("host__pools", condition=Q(host__pools__uuid=F("pool_uuid")))
    return jobs.select_related("host").alias(pool_row=row).annotate(pool_pk=F("pool_row__pk"))


def state_chips(request: HttpRequest, jobs: Any) -> list[Chip]:
    counts = dict(jobs.order_by().values_list("state").annotate(Count("pk")))
    options = [("", "All", sum(counts.values()))]
    options += [(state, title, counts.get(state, 0)) for state, title in CHIPS.items()]
    return chips(request, "state", options)


def menus(request: HttpRequest) -> list[Menu]:
    return [menu(request, "operation", "Operation", operation_choices())]
