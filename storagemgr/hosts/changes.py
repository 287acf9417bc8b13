"""What a reading notices and no job of ours did, written down as rows of Change."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import timedelta
from uuid import UUID

from django.conf import settings
from django.utils import timezone

from storagemgr.hosts.models import Change
from storagemgr.templatetags.storage import count

SUMMED_UP = 20  # more of one kind at once in one pool, or pools of one host, become one row
AGAIN = timedelta(minutes=2)
BATCH = 1000
_SUMS = {
    "came": "appeared",
    "went": "disappeared",
    "grew": "grew",
    "shrank": "shrank",
    "state": "changed their state",
    "silent": "do not answer",
    "answers": "answer again",
    "autostart": "were switched between starting with the host and not",
    "config": "were configured anew",
    "name": "have other names",
}


def change(
    host_id: int, kind: str, text: str, *, pool_uuid: UUID | None = None, volume_name: str = ""
) -> Change:
    """A row to be recorded. `text` is a sentence for people that names what it is about."""
    return Change(host_id=host_id, pool_uuid=pool_uuid, volume_name=volume_name, kind=kind, text=text[:600])


def record(changes: Iterable[Change]) -> None:
    """Writes them. Many of one kind are summed up, and what another process noticed a moment ago stays one row."""
    groups: dict[tuple[int, UUID | None, str, bool], list[Change]] = defaultdict(list)
    for one in changes:
        pool_uuid = one.pool_uuid if one.volume_name else None
        groups[one.host_id, pool_uuid, one.kind, bool(one.volume_name)].append(one)
    rows: list[Change] = []
    for (host_id, pool_uuid, kind, is_of_volumes), found in groups.items():
        if len(found) > SUMMED_UP:
            what = count(len(found), "volume" if is_of_volumes else "pool")
            found = [change(host_id, kind, f"{what} {_SUMS[kind]}.", pool_uuid=pool_uuid)]
        rows += found
    if rows:
        Change.objects.bulk_create([row for row in rows if not _is_known(row)])


def _is_known(row: Change) -> bool:
    same = {name: getattr(row, name) for name in ("host_id", "pool_uuid", "volume_name", "kind", "text")}
    return Change.objects.filter(**same, at__gt=timezone.now() - AGAIN).exists()


def forget_old() -> int:
    """Remove what is older than CHANGES_KEPT days, a batch at a time. Returns how many."""
    if not settings.CHANGES_KEPT:
        return 0
    limit, gone = timezone.now() - timedelta(days=settings.CHANGES_KEPT), 0
    while True:
        # In order of id, which is that of time: no index on the time is needed.
        oldest = Change.objects.order_by("id").values_list("pk", "at")[:BATCH]
        old = [pk for pk, at in oldest if at < limit]
        if not old:
            return gone
        gone += Change.objects.filter(pk__in=old).delete()[0]
