"""Pages of volumes: rows only, libvirt is never asked here."""

from collections.abc import Iterable
from typing import Any
from urllib.parse import urlencode

from django.db.models import QuerySet, prefetch_related_objects
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_safe

from pools import filters as pool_filters
from pools.models import Pool
from pools.rows import LISTED
from pools.rows import rows_of as pool_rows_of
from pools.views import heading_of
from storagemgr.access.objects import visible_or_404
from storagemgr.jobs.buttons import buttons_of
from storagemgr.jobs.models import Job
from storagemgr.jobs.operations import REGISTRY, operations_for
from storagemgr.jobs.pages import operate as operation_page
from storagemgr.listing import is_filtered, kept, menu, ordered, page_of, sort_key, take_pinned
from storagemgr.live import live_page
from storagemgr.templatetags.storage import size
from volumes import filters
from volumes.attach import caution, disk_xml, why_no_disk
from volumes.identity import children_of
from volumes.models import Volume
from volumes.rows import rows_of

POOLS_SHOWN = 5
CHILDREN_SHOWN = 20
HISTORY_SHOWN = 8


@require_safe
def of_all_pools(request: HttpRequest) -> HttpResponse:
    context = listing(request, Volume.objects.visible_to(request.user))
    if text := filters.search_text(request.GET):
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


def listing(request: HttpRequest, volumes: QuerySet[Volume], pool: Pool | None = None) -> dict[str, Any]:
    """The page of rows that the URL asks for, with its filters. `volumes` may be a hundred thousand."""
    pinned = take_pinned(request)
    chosen = filters.VolumeFilter(request.GET, volumes, pool and pool.host_id)
    chips = filters.state_chips(request, chosen.count)
    state = next(chip for chip in chips if chip.is_on)
    sort = sort_key(request, filters.SORTS, filters.DEFAULT_SORT)
    rows = ordered(chosen.in_state(state.value), sort, filters.SORTS)
    page = page_of(request, rows if pool else rows.values_list("pk", flat=True), state.count)
    shown = kept(page if pool else by_id(page), pinned, volumes)
    if pool is None:
        # Not joined: the database would sort the joined rows instead of reading the index in order.
        prefetch_related_objects(shown.rows, "pool__host")
    for volume in shown.rows if pool else []:
        volume.pool = pool
    return {
        "rows": rows_of(shown.rows),
        "kept": shown,
        "page": page,
        "sort": sort,
        "chips": chips,
        "menus": [menu(request, "format", "Format", ((name, name) for name in chosen.formats))],
        "q": request.GET.get("q", ""),
        "is_filtered": is_filtered(request),
    }


def by_id(pks: Iterable[int]) -> list[Volume]:
    """To sort a hundred thousand whole rows takes the database far longer than to sort their ids."""
    pks = list(pks)
    found = Volume.objects.in_bulk(pks)
    return [found[pk] for pk in pks if pk in found]


@require_safe
def volume(request: HttpRequest, pk: int) -> HttpResponse:
    found = visible_or_404(request, Volume.objects.select_related("pool__host"), pk=pk)
    [row] = rows_of([found])
    children = children_of(found).visible_to(request.user).select_related("pool").order_by("name")
    buttons = buttons_of(request.user, found, operations_for(found), "volumes:operate")
    context = {
        "volume": found,
        "pool": found.pool,
        "row": row,
        "sentence": sentence_of(found),
        "jobs": jobs_of(request, found, is_active=True),
        "uses": list(found.uses.select_related("host")),
        "parent": parent_of(request, found),
        "children": list(children[:CHILDREN_SHOWN]),
        "child_count": row.children,
        "xml": "" if why_no_disk(found) else disk_xml(found),
        "caution": caution(row),
        "why_no_xml": why_no_disk(found),
        "buttons": buttons,
        "clone": next((b for b in buttons if b.operation.name == "volume.clone" and not b.off), None),
        "history": jobs_of(request, found, is_active=False)[:HISTORY_SHOWN],
        "history_url": f"{reverse('jobs:list')}?{history_query(found)}",
    }
    return live_page(request, "volumes/volume.html", context)


def parent_of(request: HttpRequest, found: Volume) -> Volume | None:
    """The volume that this one is built on, when it is a volume that the person sees."""
    if not found.backing_path:
        return None
    same_host = Volume.objects.visible_to(request.user).filter(pool__host_id=found.pool.host_id)
    return same_host.select_related("pool").filter(path=found.backing_path).first()


def jobs_of(request: HttpRequest, found: Volume, *, is_active: bool) -> QuerySet[Job]:
    """The jobs that made, changed or copied the volume, newest first."""
    here = Job.objects.visible_to(request.user).in_lane(found.pool.host_id, found.pool.uuid)
    about = here.about_volume(found.name)
    return about.active() if is_active else about.exclude(state__in=Job.ACTIVE)


def history_query(found: Volume) -> str:
    return urlencode({"pool": found.pool_id, "volume": found.name}, errors="surrogateescape")


def sentence_of(found: Volume) -> tuple[str, str]:
    """How much the volume takes, and whether its pool has room for the rest."""
    if found.type == "dir":
        return "A directory inside the pool.", "libvirt lists it; it cannot be used as a disk."
    used = f"{size(found.allocation)} used of {size(found.capacity)}."
    growth, pool = max(0, found.capacity - found.allocation), found.pool
    if not growth:
        return used, "It has all its space already."
    if pool.kind.numbers != "normal" or not pool.is_active:
        return used, f"It may grow by {size(growth)}."
    if growth <= pool.available:
        return used, f"It may grow by {size(growth)}; the pool has room for that today."
    return used, f"It may grow by {size(growth)}, and only {size(pool.available)} is free in the pool."


@require_http_methods(["GET", "HEAD", "POST"])
def operate(request: HttpRequest, pk: int, slug: str) -> HttpResponse:
    found = visible_or_404(request, Volume.objects.select_related("pool__host"), pk=pk)
    operation = REGISTRY.get(f"volume.{slug.replace('-', '_')}")
    if operation is None or operation.slug != slug or operation.target is not Volume:
        raise Http404
    return operation_page(request, operation, found, cancel_url=found.get_absolute_url())


@require_http_methods(["GET", "HEAD", "POST"])
def create(request: HttpRequest, pk: int) -> HttpResponse:
    pool = visible_or_404(request, Pool.objects.select_related("host"), pk=pk)
    cancel_url = reverse("volumes:of_pool", args=[pk])
    return operation_page(request, REGISTRY["volume.create"], pool, cancel_url=cancel_url)
