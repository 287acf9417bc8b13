"""Pages of volumes: rows only, libvirt is never asked here."""

from functools import partial
from urllib.parse import urlencode

from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_safe

from pools.models import Pool
from storagemgr.access.objects import visible_or_404
from storagemgr.access.who import who_can
from storagemgr.jobs.buttons import buttons_of
from storagemgr.jobs.models import Job
from storagemgr.jobs.operations import REGISTRY, operations_for
from storagemgr.jobs.pages import operate as operation_page
from storagemgr.jobs.timeline import Place, newest
from storagemgr.jobs.timeline_page import timeline_page
from storagemgr.jobs.views import cancel_of
from storagemgr.live import live_page
from storagemgr.templatetags.storage import size
from volumes.attach import attaching
from volumes.dependents import Look
from volumes.details import details_of, mode_words
from volumes.images import quarantine_of
from volumes.models import Volume
from volumes.operations.deleting import scheduled_deletion
from volumes.rows import rows_of
from volumes.tree import tree_of
from volumes.uses import users_of
from volumes.wipe_records import wipes_of

# Operations that stand in another card, or that are a part of another one.
ELSEWHERE = ("volume.read_xml", "volume.note", "volume.own")


@require_safe
def volume(request: HttpRequest, pk: int) -> HttpResponse:
    rows = Volume.objects.select_related("pool__host", "notes__owner")
    found = visible_or_404(request, rows, pk=pk)
    [row] = rows_of([found])
    look = found.look = Look(found)
    tree = tree_of(request.user, look)
    buttons = buttons_of(request.user, found, operations_for(found), "volumes:operate")
    details = details_of(found)
    deletion = scheduled_deletion(found) if row.due_at else None
    context = {
        "volume": found,
        "pool": found.pool,
        "who": partial(who_can, found.pool.host_id, found.pool.uuid),
        "row": row,
        "sentence": sentence_of(found),
        "quarantine": quarantine_of(found),
        "deletion": deletion,
        "undo": cancel_of(request, deletion) if deletion else None,
        "wipes": wipes_of(found),
        "jobs": active_jobs_of(request, found),
        "users": users_of(request.user, look),
        "tree": tree,
        "parent": tree.parent,
        "details": details,
        "mode_words": mode_words(found.mode) if found.mode else "",
        "read_xml": next((b for b in buttons if b.operation.name == "volume.read_xml"), None),
        "note": next((b for b in buttons if b.operation.name == "volume.note" and not b.off), None),
        "buttons": [b for b in buttons if b.operation.name not in ELSEWHERE],
        "clone": next((b for b in buttons if b.operation.name == "volume.clone" and not b.off), None),
        "timeline": newest(request.user, Place(found.pool.host_id, found.pool.uuid, found.name)),
        "timeline_url": reverse("volumes:timeline", args=[found.pk]),
    }
    return live_page(request, "volumes/volume.html", context | attaching(request.GET, row, details))


@require_safe
def timeline(request: HttpRequest, pk: int) -> HttpResponse:
    found = visible_or_404(request, Volume.objects.select_related("pool__host"), pk=pk)
    pool = found.pool
    crumbs = [(pool.name, pool.get_absolute_url()), (found.name, found.get_absolute_url())]
    query = urlencode({"pool": pool.pk, "volume": found.name}, errors="surrogateescape")
    place = Place(pool.host_id, pool.uuid, found.name)
    return timeline_page(request, place, found, crumbs, f"{reverse('jobs:list')}?{query}")


def active_jobs_of(request: HttpRequest, found: Volume) -> QuerySet[Job]:
    """The jobs that make, change or copy the volume, newest first."""
    here = Job.objects.visible_to(request.user).in_lane(found.pool.host_id, found.pool.uuid)
    return here.about_volume(found.name).active()


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
