"""The seals of the audit: each event's holds that of the one before, so that none is changed or taken out unseen.

Events are written without a seal, at any moment and by any process; the tick numbers and seals them a moment later, in
one chain. The head of the chain is kept in a file beside the database too: it tells that the end was cut off.
"""

import json
import logging
import os
import time
from collections.abc import Iterable
from datetime import UTC
from typing import NamedTuple

from django.conf import settings
from django.db import IntegrityError, connection, transaction
from django.utils.crypto import constant_time_compare, salted_hmac

from storagemgr.access.models import AuditEvent

logger = logging.getLogger(__name__)
BATCH = 500
SEALING_S = 1.0
LOG_EVERY_S = 3600
SALT, CUT_SALT = "storagemgr.audit", "storagemgr.audit.cut"
FIELDS = (
    *("id", "at", "actor_name", "action", "right", "outcome", "object_text", "host_id", "pool_uuid"),
    *("volume_name", "job_id", "address", "details"),
)
_logged_at = [0.0]


class Head(NamedTuple):
    """A place in the chain: number 0 is before the first event."""

    number: int = 0
    seal: str = ""

    def __str__(self) -> str:
        return f"{self.number}:{self.seal}"


def parse_head(text: str) -> Head | None:
    number, _, seal = text.strip().partition(":")
    return Head(int(number), seal) if number.isascii() and number.isdigit() and seal else None


def canonical(event: AuditEvent, number: int) -> str:
    """What is sealed. Not the account, which may be deleted: its name is."""
    values = {name: getattr(event, name) for name in FIELDS}
    values["at"] = event.at.astimezone(UTC).isoformat(timespec="microseconds")
    values["pool_uuid"] = str(event.pool_uuid or "")
    return json.dumps({**values, "number": number}, sort_keys=True, separators=(",", ":"))


def seal_of(event: AuditEvent, number: int, before: str, key: str | None = None) -> str:
    """`key`: None for the one of today."""
    return _hmac(SALT, f"{before}\n{canonical(event, number)}", key)


def fits(event: AuditEvent, before: str) -> bool:
    """Whether it has the seal that it would get after the seal `before`, with any of the keys."""
    number = event.number or 0
    return any(constant_time_compare(event.seal, seal_of(event, number, before, key)) for key in keys())


def mark_of(cut: Head, count: int, key: str | None = None) -> str:
    """Proves that it was this program that cut the chain there."""
    return _hmac(CUT_SALT, f"{cut} {count}", key)


def is_marked(cut: Head, count: int, mark: str) -> bool:
    return any(constant_time_compare(mark, mark_of(cut, count, key)) for key in keys())


def keys() -> list[str]:
    return [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]


def _hmac(salt: str, value: str, key: str | None) -> str:
    return salted_hmac(salt, value, secret=key, algorithm="sha256").hexdigest()


def head_in_database() -> Head:
    found = AuditEvent.objects.filter(number__isnull=False).order_by("-number")
    return Head(*(found.values_list("number", "seal").first() or ()))


def head_in_file() -> Head:
    try:
        return parse_head((settings.DATA_DIR / "audit-head").read_text()) or Head()
    except FileNotFoundError:
        return Head()


def _write_head(head: Head) -> None:
    path = settings.DATA_DIR / "audit-head"
    new = path.with_name(f"audit-head.{os.getpid()}")
    new.write_text(f"{head}\n")
    new.replace(path)


def seal_new() -> int:
    """Number and seal what was written since, in order of id, for about a second at most. Returns how many."""
    done, ends = 0, time.monotonic() + SEALING_S
    while events := list(AuditEvent.objects.filter(number=None).order_by("id")[:BATCH]):
        if not (head := _seal(events)):
            break
        _write_head(head)
        _log(head)
        done += len(events)
        if len(events) < BATCH or time.monotonic() > ends:
            break
    return done


def _seal(events: Iterable[AuditEvent]) -> Head | None:
    """None when another process sealed them at the same moment.

    Where the end of the chain was cut off the numbers go on behind it, so that the gap stays.
    """
    head = max(head_in_database(), head_in_file())
    rows = []
    for event in events:
        head = Head(head.number + 1, seal_of(event, head.number + 1, head.seal))
        rows.append((*head, event.pk))
    table = connection.ops.quote_name(AuditEvent._meta.db_table)
    sql = f"UPDATE {table} SET number = %s, seal = %s WHERE id = %s AND number IS NULL"  # noqa: S608
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.executemany(sql, rows)
            if cursor.rowcount != len(rows):
                raise IntegrityError("somebody else sealed some of them")
    except IntegrityError:
        return None
    return head


def _log(head: Head) -> None:
    """Now and then also where nobody who may write to the database can change it: in the log."""
    now = time.monotonic()
    if not _logged_at[0] or now - _logged_at[0] > LOG_EVERY_S:
        _logged_at[0] = now
        logger.info("the audit is sealed up to %s", head)
