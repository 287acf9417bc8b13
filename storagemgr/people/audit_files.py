"""The audit as a file: CSV for spreadsheets, JSON for programs. Written while it is read, oldest first."""

import json
from array import array
from collections.abc import Iterator
from itertools import islice
from typing import Any

from django.db.models import QuerySet

from storagemgr.access.models import AuditEvent
from storagemgr.tables import cell, csv_writer

BATCH = 1000
COLUMNS = (
    *(
        "number",
        "id",
        "at",
        "actor_name",
        "action",
        "outcome",
        "right",
        "object_text",
        "host_id",
        "pool_uuid",
    ),
    *("volume_name", "job_id", "address", "details", "seal"),
)
TYPES = {"csv": "text/csv; charset=utf-8", "json": "application/json"}


def text_of(rows: QuerySet[AuditEvent], form: str) -> Iterator[str]:
    """`form`: csv or json, an array with a line for each event."""
    return _csv(rows) if form == "csv" else _json(rows)


def _batches(rows: QuerySet[AuditEvent]) -> Iterator[list[dict[str, Any]]]:
    # The ids at once, 8 bytes each: a reading that stays open while somebody downloads would hold up the database.
    ids = iter(array("q", rows.order_by("id").values_list("pk", flat=True).iterator(chunk_size=10_000)))
    while part := list(islice(ids, BATCH)):
        found = AuditEvent.objects.filter(pk__in=part).order_by("id")
        yield [_values(event) for event in found]


def _values(event: AuditEvent) -> dict[str, Any]:
    values = {name: getattr(event, name) for name in COLUMNS}
    return values | {
        "at": event.at.isoformat(),
        "pool_uuid": str(event.pool_uuid) if event.pool_uuid else None,
    }


def _csv(rows: QuerySet[AuditEvent]) -> Iterator[str]:
    line = csv_writer()
    yield line(COLUMNS)
    for batch in _batches(rows):
        lines = []
        for values in batch:
            details = json.dumps(values["details"], ensure_ascii=False) if values["details"] else ""
            cells = (values | {"details": details}).values()
            lines.append(line([cell("" if value is None else value) for value in cells]))
        yield "".join(lines)


def _json(rows: QuerySet[AuditEvent]) -> Iterator[str]:
    before = "[\n"
    for batch in _batches(rows):
        # ASCII alone: a name may hold bytes that are no text.
        yield before + ",\n".join(json.dumps(values) for values in batch)
        before = ",\n"
    yield "[]\n" if before == "[\n" else "\n]\n"
