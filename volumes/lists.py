"""The lists of volumes: of one pool, and of all. Rows only, libvirt is never asked here."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from django.contrib.auth.models import Group
from django.core.paginator import Page
from django.db.models import QuerySet, prefetch_related_objects
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from pools import filters as pool_filters
from pools.models import Pool
from pools.rows import LISTED
from pools.rows import rows_of as pool_rows_of
from pools.views import heading_of
from storagemgr.access.objects import visible_or_404
from storagemgr.access.scopes import scope
from storagemgr.hosts.models import Host
from storagemgr.jobs import bulk
from storagemgr.listing import Chip, Menu, is_filtered, kept, menu, page_of, sort_key, take_pinned
from storagemgr.live import live_page
from storagemgr.templatetags.storage import printable
from volumes import columns
from volumes.filters import NOBODY, STATES, VolumeFilter, search_text
from volumes.kinds import KINDS
from volumes.models import Volume, VolumeNotes
from volumes.ordering import DEFAULT_SORT, SORTS, InOrder, in_order
from volumes.rows import rows_of

POOLS_SHOWN = 5
CHOICES_SHOWN = 50  # of pools; of more, the search or the choice of a host is the shorter way


class Wanted(NamedTuple):
    """What the URL asks for: also what the CSV file holds."""

    filter: VolumeFilter
    state: str
    sort: str
    count: int
    rows: InOrder


@require_safe
def of_all_pools(request: HttpRequest) -> HttpResponse:
    context = listing(request, Volume.objects.visible_to(request.user))
    if text := search_text(request.GET):
        pools = Pool.objects.visible_to(request.user).filter(pool_filters.matching(text))
        found = list(pools.only(*LISTED).prefetch_related("host")[: POOLS_SHOWN + 1])
        context["pool_rows"] = pool_rows_of(request.user, found[:POOLS_SHOWN])
        context["has_more_pools"] = len(found) > POOLS_SHOWN
    return live_page(request, "volumes/all.html", context)


@require_safe
def of_pool(request: HttpRequest, pk: int) -> HttpResponse:
    pool = visible_or_404(request, Pool.objects.select_related("host"), pk=pk)
    context = listing(request, Volume.objects.filter(pool=pool), pool)
    return live_page(request, "volumes/of_pool.html", heading_of(request, pool) | context)


def wanted_of(request: HttpRequest, volumes: QuerySet[Volume]) -> Wanted:
    chosen = VolumeFilter(request.GET, volumes)
    state = request.GET.get("state", "")
    state = state if state in {one.value for one in STATES} else ""
    sort = sort_key(request, SORTS, DEFAULT_SORT)
    count = chosen.count(state, state) or 0
    rows = in_order(chosen.in_state(state), sort, count, chosen.counted(state))
    return Wanted(chosen, state, sort, count, rows)


def listing(request: HttpRequest, volumes: QuerySet[Volume], pool: Pool | None = None) -> dict[str, Any]:
    """The page of rows that the URL asks for, with its filters. `volumes` may be a hundred thousand."""
    pinned = take_pinned(request)
    wanted = wanted_of(request, volumes)
    page = page_of(request, wanted.rows, wanted.count)
    shown = kept(_by_id(page), pinned, volumes)
    # Not joined: the database would sort the joined rows instead of reading the index in order.
    prefetch_related_objects(shown.rows, "pool__host")
    heads = columns.chosen(request.GET, is_of_pool=pool is not None)
    for_many = bulk.offered_to(request.user, "volume")
    return {
        "rows": rows_of(shown.rows, request.user),
        "kept": shown,
        "page": page,
        "sort": wanted.sort,
        "chips": list(_chips(wanted)),
        "menus": _menus(request, wanted, volumes, pool),
        "heads": heads,
        "cols": frozenset(head.name for head in heads),
        "has_own_columns": "cols" in request.GET,
        "kept_params": [
            (name, value)
            for name, values in request.GET.lists()
            if name not in ("cols", "page")
            for value in values
        ],
        "column_choices": columns.choices(heads, is_of_pool=pool is not None),
        "sorts": columns.sort_choices(wanted.sort, is_of_pool=pool is not None),
        "tools": "volumes/_tools.html",
        "for_many": for_many,
        "is_choosable": bool(for_many),
        "q": request.GET.get("q", ""),
        "is_filtered": is_filtered(request),
    }


def _by_id(page: Page[Any]) -> list[Volume]:
    """To sort a hundred thousand whole rows takes the database far longer than to sort their ids."""
    found = Volume.objects.in_bulk(list(page))
    return [found[pk] for pk in page if pk in found]


def _chips(wanted: Wanted) -> Iterator[Chip]:
    for state in STATES:
        count = wanted.filter.count(state.value, wanted.state)
        if count or not state.is_quiet or state.value == wanted.state:
            yield Chip(state.value, state.title, count, state.value == wanted.state)


def _menus(request: HttpRequest, wanted: Wanted, volumes: QuerySet[Volume], pool: Pool | None) -> list[Menu]:
    ticked = wanted.filter.ticked
    formats = set(volumes.order_by().values_list("format", flat=True).distinct()) | ticked["format"]
    kinds = ((name, kind.title) for name, kind in KINDS.items())
    found = [
        menu(request, "kind", "Kind", kinds),
        menu(request, "format", "Format", ((name, name) for name in sorted(formats) if name)),
        menu(request, "owner", "Owner", _owners(request, volumes, ticked["owner"])),
    ]
    if pool is None:
        hosts = _names(Host.objects.visible_to(request.user).order_by("name"), ticked["host"])
        found = [menu(request, "host", "Host", hosts), *_pool_menu(request, ticked), *found]
    return found


def _pool_menu(request: HttpRequest, ticked: dict[str, set[str]]) -> list[Menu]:
    pools = Pool.objects.visible_to(request.user)
    if ticked["host"]:
        pools = pools.filter(host__name__in=ticked["host"])
    names = pools.order_by("name").values("name").distinct()
    few = names if ticked["host"] or len(names[: CHOICES_SHOWN + 1]) <= CHOICES_SHOWN else names.none()
    return [menu(request, "pool", "Pool", _names(few[: 4 * CHOICES_SHOWN], ticked["pool"]))]


def _names(rows: QuerySet[Any], ticked: set[str]) -> list[tuple[str, str]]:
    names = {*rows.values_list("name", flat=True), *ticked}
    return [(name, printable(name)) for name in sorted(names)]


def _owners(request: HttpRequest, volumes: QuerySet[Volume], ticked: set[str]) -> list[tuple[str, str]]:
    noted = VolumeNotes.objects.filter(owner__isnull=False, volume__isnull=False).order_by()
    if not scope(request.user, "pool.view").everything:
        noted = noted.filter(volume__in=volumes)
    found = _names(Group.objects.filter(pk__in=noted.values("owner")), ticked - {NOBODY})
    return [*found, (NOBODY, "Nobody")] if found or ticked else []
