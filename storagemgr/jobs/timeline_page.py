"""The page of the whole timeline of a host, a pool or a volume."""

from collections.abc import Sequence
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from storagemgr.access.objects import visible_or_404
from storagemgr.hosts.models import Host
from storagemgr.jobs.timeline import KINDS, Merged, Place, kinds_at, sources
from storagemgr.listing import chips, page_of


def timeline_page(
    request: HttpRequest, place: Place, target: Any, crumbs: Sequence[tuple[str, str]], jobs_url: str
) -> HttpResponse:
    """`target` was fetched through the visible check; `crumbs`: (text, URL) of the pages above."""
    possible = kinds_at(place)
    kinds = chips(request, "kind", [("", "All", None), *((kind, KINDS[kind], None) for kind in possible)])
    kind = next(chip.value for chip in kinds if chip.is_on)
    entries = Merged(sources(request.user, place, [kind] if kind else possible))
    context = {
        "target": target,
        "crumbs": crumbs,
        "chips": kinds,
        "is_filtered": bool(kind),
        "page": page_of(request, entries),
        "is_all": entries.is_all,
        "jobs_url": jobs_url,
    }
    return render(request, "timeline.html", context)


@require_safe
def host_timeline(request: HttpRequest, pk: int) -> HttpResponse:
    host = visible_or_404(request, Host.objects.all(), pk=pk)
    crumbs = [("Hosts", reverse("hosts:list")), (host.name, host.get_absolute_url())]
    return timeline_page(request, Place(host.pk), host, crumbs, "")
