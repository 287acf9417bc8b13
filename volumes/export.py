"""A list of volumes as a CSV file (RFC 4180): all that match, in their order, written while it is read."""

import re
from array import array
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

from django.db.models import QuerySet, prefetch_related_objects
from django.http import HttpRequest, StreamingHttpResponse
from django.utils import timezone
from django.views.decorators.http import require_safe

from pools.models import Pool
from storagemgr.access import audit
from storagemgr.access.objects import visible_or_404
from storagemgr.tables import cell as safe
from storagemgr.tables import csv_writer
from volumes import columns
from volumes.lists import wanted_of
from volumes.models import Volume
from volumes.rows import VolumeRow, rows_of

BATCH = 500


def _moment(value: Any) -> str:
    return timezone.localtime(value).isoformat(timespec="seconds") if value else ""


def _vms(row: VolumeRow) -> str:
    hidden = [f"{row.hidden_vms} hidden"] if row.hidden_vms else []
    return "; ".join([*row.vms, *hidden])


Cell = Callable[[VolumeRow], Any]
# The columns of the page, as a program reads them. Sizes in bytes.
CELLS: dict[str, list[tuple[str, Cell]]] = {
    "pool": [("pool", lambda row: row.volume.pool.name)],
    "host": [("host", lambda row: row.volume.pool.host.name)],
    "kind": [("kind", lambda row: row.kind.title)],
    "format": [("format", lambda row: row.volume.format)],
    "used": [("allocation_bytes", lambda row: row.volume.allocation)],
    "size": [("capacity_bytes", lambda row: row.volume.capacity)],
    "vms": [("used_by", _vms), ("overlays", lambda row: row.children)],
    "backing": [("backing", lambda row: row.volume.backing_path)],
    "modified": [("modified", lambda row: _moment(row.volume.modified))],
    "owner": [("owner", lambda row: row.notes.owner.name if row.notes and row.notes.owner else "")],
    "expires": [("expires", lambda row: row.notes.expires_on or "" if row.notes else "")],
}


@require_safe
def of_all_pools(request: HttpRequest) -> StreamingHttpResponse:
    return _file(request, Volume.objects.visible_to(request.user), None)


@require_safe
def of_pool(request: HttpRequest, pk: int) -> StreamingHttpResponse:
    pool = visible_or_404(request, Pool.objects.select_related("host"), pk=pk)
    return _file(request, Volume.objects.filter(pool=pool), pool)


def _file(request: HttpRequest, volumes: QuerySet[Volume], pool: Pool | None) -> StreamingHttpResponse:
    shown = {column.name for column in columns.chosen(request.GET, is_of_pool=pool is not None)} | {
        "pool",
        "host",
    }
    cells = [cell for name, cells in CELLS.items() if name in shown for cell in cells]
    wanted = wanted_of(request, volumes)
    audit.record(
        "volume.export",
        audit.Outcome.DONE,
        actor=request.user,
        right="pool.view",
        object_text=f"{wanted.count} volumes of {f'{pool} on {pool.host}' if pool else 'all pools'} as CSV",
        host_id=pool.host_id if pool else None,
        pool_uuid=pool.uuid if pool else None,
        address=audit.address_of(request),
        details={"query": request.GET.urlencode()[:2000]},
    )
    lines = _lines(request, wanted.rows.ids(), [("name", lambda row: row.volume.name), *cells])
    response = StreamingHttpResponse(lines, content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{_file_name(pool)}"'
    response["Cache-Control"] = "private, no-store"
    return response


def _file_name(pool: Pool | None) -> str:
    of = f"-of-{pool.name}-on-{pool.host.name}" if pool else ""
    safe = re.sub(r"[^A-Za-z0-9.]+", "-", f"volumes{of}")[:120].strip("-.")
    return f"{safe}-{timezone.localtime():%Y-%m-%d-%H%M%S}.csv"


def _lines(request: HttpRequest, ids: Iterator[int], cells: Sequence[tuple[str, Cell]]) -> Iterator[str]:
    line = csv_writer()
    yield line([title for title, _ in cells])
    # All at once, 8 bytes each: a reading that stays open while somebody downloads would hold up the database.
    remaining = iter(array("q", ids))
    while part := list(islice(remaining, BATCH)):
        found = Volume.objects.in_bulk(part)
        volumes = [found[pk] for pk in part if pk in found]
        prefetch_related_objects(volumes, "pool__host")
        rows = rows_of(volumes, request.user)
        yield "".join(line([safe(cell(row)) for _, cell in cells]) for row in rows)
