"""Reading volumes, and what VMs use of them, into rows."""

import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import fields, replace
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection as database
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from pools import sync as pool_sync
from pools.models import Pool
from storagemgr.hosts import calls
from storagemgr.hosts.models import Host
from storagemgr.hosts.sync import Reading
from storagemgr.virt import domains as virt_domains
from storagemgr.virt import volumes as virt_volumes
from storagemgr.virt.connection import Connection
from storagemgr.virt.errors import VirtError
from storagemgr.virt.sizes import total
from storagemgr.virt.volumes import VolumeInfo, VolumeListing
from volumes import files, labels, noticing, special
from volumes.identity import identity_of
from volumes.models import DiskUse, Volume, VolumeNotes

VOLUMES_S = 25.0
USES_S = 5.0
BUDGET_S = 3.0  # so that the states of the other pools stay fresh
READING_ENDS_S = 12.0  # no pool is begun later: with VOLUMES_S and USES_S that is below the task's limit
USES_PERIOD = timedelta(seconds=10)
BATCH = 1000

_of_libvirt = attrgetter(*(column.name for column in fields(VolumeInfo)))
COLUMNS = (*(column.name for column in fields(VolumeInfo)), "identity")
_CAPACITY = COLUMNS.index("capacity")
_GONE = ("no_pool", "pool_inactive")


def read_volumes_due(reading: Reading, pools: Iterable[Pool]) -> bool:
    """Read the volumes of changed pools, then of those not read for VOLUMES_PERIOD; whether any was read."""
    old = reading.started - timedelta(seconds=settings.VOLUMES_PERIOD)
    due = [p for p in pools if p.state in pool_sync.ACTIVE and (p.is_changed or _is_older(p, old))]
    due.sort(key=lambda pool: (not pool.is_changed, pool.volumes_read_at or old))
    begun = time.monotonic()
    for pool in due:
        age = timezone.now() - reading.started
        if time.monotonic() - begun > BUDGET_S or age.total_seconds() > READING_ENDS_S:
            break
        _read_pool(reading, pool)
    return bool(due)


def _is_older(pool: Pool, moment: datetime) -> bool:
    return pool.volumes_read_at is None or pool.volumes_read_at < moment


def _read_pool(reading: Reading, pool: Pool) -> None:
    started = _begin(pool)
    try:
        listing = pool_sync.ask(reading, pool, VOLUMES_S, virt_volumes.list_volumes)
    except calls.Overdue:
        return
    except VirtError as error:
        _write_error(pool, started, error)
        return
    _write_listing(pool, listing, started)


def read_volumes(connection: Connection, pool: Pool) -> None:
    """All volumes of an active pool. Waits for as long as libvirt does."""
    started = _begin(pool)
    try:
        listing = virt_volumes.list_volumes(connection, str(pool.uuid))
    except VirtError as error:
        _write_error(pool, started, error)
        return
    _write_listing(pool, listing, started)


def _begin(pool: Pool) -> datetime:
    """Before libvirt is asked, so that a change while it lists is not taken for read."""
    started = timezone.now()
    Pool.objects.filter(pk=pool.pk).update(is_changed=False)
    return started


def _write_error(pool: Pool, started: datetime, error: VirtError) -> None:
    if error.code == "connection_lost":
        Pool.objects.filter(pk=pool.pk).update(is_changed=True)
        raise error
    if error.code not in _GONE:
        Pool.objects.filter(pk=pool.pk).update(volumes_read_at=started, volumes_error=error.code)


def _write_listing(pool: Pool, listing: VolumeListing, started: datetime) -> None:
    """Write what differs. Rows that were written since `started` are newer than the listing and stay."""
    infos = {info.name: info for info in map(_fitting, listing.volumes) if info}
    rows = Volume.objects.filter(pool=pool).order_by()
    stored = {row[0]: row for row in rows.values_list(*COLUMNS).iterator(chunk_size=BATCH)}
    directory = files.real_directory(pool)
    differ = [info for name, info in infos.items() if stored.get(name) != _values(pool, info, directory)]
    for part in _parts(differ):
        labels.forget(pool, [info.name for info in part if info.format == "iso"])
        _upsert(pool, part, started)
    gone = list(stored.keys() - infos.keys())
    was_listed = pool.volumes_read_at and (stored or not pool.volumes_error)
    if (differ or gone) and was_listed:
        noticing.volumes_changed(pool, {name: row[_CAPACITY] for name, row in stored.items()}, differ, gone)
    for names in _parts(gone):
        rows.filter(name__in=names, seen_at__lt=started).delete()
    if differ:
        _link_notes(pool)
    special.mark(pool)
    Pool.objects.filter(pk=pool.pk).update(
        promised=total(max(info.capacity, info.allocation) for info in infos.values()),
        volume_allocation=total(info.allocation for info in infos.values()),
        skipped_volumes=listing.skipped + len(listing.volumes) - len(infos),
        volumes_read_at=started,
        volumes_error="",
    )


def _values(pool: Pool, info: VolumeInfo, directory: str) -> tuple[Any, ...]:
    path = info.path.replace(pool.target_path, directory, 1) if directory else info.path
    return (*_of_libvirt(info), identity_of(pool, info.name, path))


def _link_notes(pool: Pool) -> None:
    """Notes outlive the row of their volume, and belong to it again when it is back."""
    alone = VolumeNotes.objects.filter(host_id=pool.host_id, pool_uuid=pool.uuid, volume=None)
    for notes in alone:
        volume = Volume.objects.filter(pool=pool, name=notes.volume_name).first()
        if volume is not None:
            VolumeNotes.objects.filter(pk=notes.pk, volume=None).update(volume=volume)


def _fitting(info: VolumeInfo) -> VolumeInfo | None:
    """None for what no row can hold: a name beyond NAME_LIMIT, which only Ceph allows."""
    if len(info.name) > virt_volumes.NAME_LIMIT:
        return None
    return replace(info, backing_path=info.backing_path[:4200]) if len(info.backing_path) > 4200 else info


def _parts(items: list[Any]) -> Iterator[list[Any]]:
    """In short transactions, so that a page's own write does not wait for a pool of 10,000 volumes."""
    for start in range(0, len(items), BATCH):
        yield items[start : start + BATCH]


def _upsert(pool: Pool, infos: Iterable[VolumeInfo], seen_at: datetime) -> None:
    """By hand: bulk_create takes five times as long and would write over rows that were seen later."""
    meta, quote = Volume._meta, database.ops.quote_name
    columns = [meta.get_field(name).column for name in ("pool", *COLUMNS, "seen_at")]
    names = ", ".join(map(quote, columns))
    values = ", ".join(["%s"] * len(columns))
    changes = ", ".join(f"{quote(column)} = excluded.{quote(column)}" for column in columns[2:])
    key = ", ".join(map(quote, columns[:2]))
    table, seen = quote(meta.db_table), quote("seen_at")
    sql = (
        f"INSERT INTO {table} ({names}) VALUES ({values}) "  # noqa: S608
        f"ON CONFLICT ({key}) DO UPDATE SET {changes} WHERE {table}.{seen} <= excluded.{seen}"
    )
    moment = database.ops.adapt_datetimefield_value
    modified = 1 + COLUMNS.index("modified")
    directory = files.real_directory(pool)
    rows = [[pool.pk, *_values(pool, info, directory), moment(seen_at)] for info in infos]
    for row in rows:
        row[modified] = moment(row[modified])
    with transaction.atomic(), database.cursor() as cursor:
        cursor.executemany(sql, rows)


def read_one(connection: Connection, pool: Pool, name: str) -> Volume | None:
    """The row of one volume as libvirt says now; None, and no row, when it is gone."""
    try:
        info = virt_volumes.read_volume(connection, str(pool.uuid), name)
    except VirtError as error:
        if error.code != "no_volume":
            raise
        Volume.objects.filter(pool=pool, name=name).delete()
        return None
    if Volume.objects.filter(pool=pool, name=name).exclude(modified=info.modified).exists():
        labels.forget(pool, [name])
    _upsert(pool, [info], timezone.now())
    _link_notes(pool)
    special.mark(pool, [name])
    return Volume.objects.select_related("pool__host").filter(pool=pool, name=name).first()


def read_uses_due(reading: Reading, *, at_once: bool) -> None:
    host, key = reading.host, ("uses", reading.host.pk)
    recent = host.uses_read_at and host.uses_read_at > reading.started - USES_PERIOD
    if (recent and not at_once) or calls.overdue_since(key):
        return
    started = timezone.now()
    try:
        uses = reading.ask(key, USES_S, virt_domains.list_disk_uses, lambda late: None)
    except calls.Overdue:
        return
    write_uses(host, uses, started)


def read_uses(connection: Connection, host: Host) -> None:
    """What every VM of the host refers to. Waits for as long as libvirt does."""
    started = timezone.now()
    write_uses(host, virt_domains.list_disk_uses(connection), started)


@transaction.atomic
def write_uses(host: Host, uses: list[virt_domains.DiskUse], started: datetime) -> None:
    """Write what differs, unless somebody who began later has written already.

    A delete relies on it: an older reading must not take away the disk that a VM was given meanwhile.
    """
    older = Q(uses_read_at=None) | Q(uses_read_at__lt=started)
    if not Host.objects.filter(older, pk=host.pk).update(uses_read_at=started):
        return
    found = Counter(_resolved(host, uses))
    rows = DiskUse.objects.filter(host=host).order_by()
    stored: dict[tuple[Any, ...], list[int]] = {}
    for pk, *values in rows.values_list("pk", *_USE_COLUMNS):
        stored.setdefault(tuple(values), []).append(pk)
    gone = [pk for values, pks in stored.items() for pk in pks[found[values] :]]
    new = [
        DiskUse(host=host, **dict(zip(_USE_COLUMNS, values, strict=True)))
        for values, count in found.items()
        for _ in range(count - len(stored.get(values, ())))
    ]
    for part in _parts(gone):
        rows.filter(pk__in=part).delete()
    DiskUse.objects.bulk_create(new, batch_size=BATCH)


_USE_COLUMNS = (
    "volume_id",
    "domain_uuid",
    "domain_name",
    "running",
    "target",
    "device",
    "kind",
    "path",
    "pool_name",
    "volume_name",
    "readonly",
)


def _resolved(host: Host, uses: list[virt_domains.DiskUse]) -> Iterator[tuple[Any, ...]]:
    """The rows: one for each volume that a use means, which can be several (one directory in two pools)."""
    by_path, by_name = _volumes_by_path(host, uses), _volumes_by_name(host, uses)
    for use in uses:
        ids = by_path.get(use.path, set()) | by_name.get((use.pool, use.volume), set())
        for volume_id in ids or {None}:
            yield (
                volume_id,
                UUID(use.domain_uuid),
                use.domain_name,
                use.running,
                use.target,
                use.device,
                use.kind,
                use.path[:4200],
                use.pool,
                use.volume,
                use.readonly,
            )


def _volumes_by_path(host: Host, uses: list[virt_domains.DiskUse]) -> dict[str, set[int]]:
    found = defaultdict(set)
    for paths in _parts(list({use.path for use in uses if use.path})):
        rows = Volume.objects.filter(pool__host=host, path__in=paths).order_by()
        for path, pk in rows.values_list("path", "pk"):
            found[path].add(pk)
    return found


def _volumes_by_name(host: Host, uses: list[virt_domains.DiskUse]) -> dict[tuple[str, str], set[int]]:
    found = defaultdict(set)
    pools = {use.pool for use in uses if use.volume}
    for names in _parts(list({use.volume for use in uses if use.volume})):
        rows = Volume.objects.filter(pool__host=host, pool__name__in=pools, name__in=names).order_by()
        for pool, name, pk in rows.values_list("pool__name", "name", "pk"):
            found[pool, name].add(pk)
    return found
