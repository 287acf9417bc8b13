"""Pages of pools: rows only, libvirt is never asked here."""

from functools import partial
from typing import Any

from django.db.models import Count
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_safe

from pools import attention, filters
from pools.capacity import FleetSpace
from pools.chart import RANGES, trend_of
from pools.configuration import history
from pools.drafts.steps import may_define_somewhere
from pools.models import Pool
from pools.rows import LISTED, rows_of
from pools.states import pool_state
from storagemgr.access.objects import visible_or_404
from storagemgr.access.rights import roles_with
from storagemgr.access.scopes import scope
from storagemgr.access.who import who_can
from storagemgr.hosts.manage import may_manage
from storagemgr.hosts.models import Host
from storagemgr.jobs import bulk
from storagemgr.jobs.buttons import buttons_of
from storagemgr.jobs.operations import Operation, by_slug, operations_for
from storagemgr.jobs.pages import operate as operation_page
from storagemgr.jobs.timeline import Place, newest
from storagemgr.jobs.timeline_page import timeline_page
from storagemgr.listing import is_filtered, kept, ordered, page_of, sort_key, take_pinned
from storagemgr.live import live_page
from storagemgr.messages import message

# The button of the one is above, that of the other on the page of the configuration.
NOT_LISTED = ("volume.create", "pool.configure")

NOTICES_SHOWN = 4
VMS_SHOWN = 10


@require_safe
def fleet(request: HttpRequest) -> HttpResponse:
    pinned = take_pinned(request)
    visible = Pool.objects.visible_to(request.user)
    known, owners = filters.known_of(visible), filters.owners_of(visible)
    total = FleetSpace()
    for pool in known:
        total.add(pool)
    found = attention.notices(request.user, known)

    chosen = filters.PoolFilter(request.GET, queryset=visible, known=known, owners=owners).qs
    chips = filters.state_chips(request, filters.known_of(chosen) if is_filtered(request) else known)
    state = next(chip for chip in chips if chip.is_on)
    sort = sort_key(request, filters.SORTS, filters.DEFAULT_SORT)
    matching = ordered(filters.in_state(chosen, state.value), sort, filters.SORTS)
    page = page_of(request, matching.only(*LISTED).prefetch_related("host"), state.count)
    shown = kept(page, pinned, visible.only(*LISTED).prefetch_related("host"))
    context = {
        "rows": rows_of(request.user, shown.rows),
        "kept": shown,
        "page": page,
        "sort": sort,
        "chips": chips,
        "menus": filters.menus(request, known, owners),
        "q": request.GET.get("q", ""),
        "is_filtered": is_filtered(request),
        "total": total,
        "notices": found[:NOTICES_SHOWN],
        "notice_count": len(found),
        "hosts": [] if known else list(Host.objects.visible_to(request.user)),
        "for_many": (for_many := bulk.offered_to(request.user, "pool")),
        "is_choosable": bool(for_many),
        "may_make": may_define_somewhere(request.user),
        "sees_all": scope(request.user, "pool.view").everything,
        "may_add_host": may_manage(request.user),
    }
    return live_page(request, "pools/fleet.html", context)


@require_safe
def pool(request: HttpRequest, pk: int) -> HttpResponse:
    found = visible_or_404(request, Pool.objects.select_related("host", "notes__owner"), pk=pk)
    [row] = rows_of(request.user, [found])
    buttons = buttons_of(request.user, found, operations_of(found), "pools:operate")
    vms = vms_of(found)
    context = heading_of(request, found) | {
        "row": row,
        "trend": trend_of(found, request.GET.get("trend", "")),
        "ranges": RANGES,
        "who": partial(who_can, found.host_id, found.uuid),
        "buttons": [b for b in buttons if b.operation.name != "pool.note"],
        "note": next((b for b in buttons if b.operation.name == "pool.note" and not b.off), None),
        "vms": vms[:VMS_SHOWN],
        "vm_count": len(vms),
        "timeline": newest(request.user, Place(found.host_id, found.uuid)),
        "timeline_url": reverse("pools:timeline", args=[found.pk]),
    }
    return live_page(request, "pools/pool.html", context)


@require_safe
def timeline(request: HttpRequest, pk: int) -> HttpResponse:
    found = visible_or_404(request, Pool.objects.select_related("host"), pk=pk)
    crumbs = [("Pools", reverse("pools:fleet")), (found.name, found.get_absolute_url())]
    jobs_url = f"{reverse('jobs:list')}?pool={found.pk}"
    return timeline_page(request, Place(found.host_id, found.uuid), found, crumbs, jobs_url)


def heading_of(request: HttpRequest, found: Pool) -> dict[str, Any]:
    """What pools/_heading.html and pools/_banners.html show: also above the list of volumes."""
    into = [
        operation
        for operation in operations_for(found)
        if operation.name in ("volume.create", "volume.upload")
    ]
    buttons = {
        button.operation.slug: button for button in buttons_of(request.user, found, into, "pools:operate")
    }
    return {
        "pool": found,
        "state": pool_state(found),
        "create": buttons["create"],
        "upload": buttons["upload"],
        "volumes_problem": message(found.volumes_error) if found.volumes_error else None,
        "pending": history.pending(found),
    }


def vms_of(found: Pool) -> list[dict[str, Any]]:
    uses = found.volumes.filter(uses__isnull=False).values("uses__domain_name", "uses__running")
    rows = uses.annotate(volumes=Count("pk", distinct=True)).order_by("uses__domain_name")
    return [
        {"name": use["uses__domain_name"], "running": use["uses__running"], "volumes": use["volumes"]}
        for use in rows
    ]


def operations_of(found: Pool) -> list[Operation]:
    """Those about the pool itself, after how volumes get into it; its configuration has a page of its own."""
    listed = [operation for operation in operations_for(found) if operation.name not in NOT_LISTED]
    return sorted(listed, key=_place_of)


def _place_of(operation: Operation) -> tuple[bool, int]:
    """What fewer may do comes later, so that those who may not read the reason once."""
    return not operation.name.startswith("volume."), -len(roles_with(operation.right))


@require_http_methods(["GET", "HEAD", "POST"])
def operate(request: HttpRequest, pk: int, slug: str) -> HttpResponse:
    found = visible_or_404(request, Pool.objects.select_related("host"), pk=pk)
    operation = by_slug("pool", slug)
    if operation is None or not issubclass(operation.target, Pool):
        raise Http404
    return operation_page(request, operation, found, cancel_url=found.get_absolute_url())
