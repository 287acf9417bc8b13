"""Reading pools into rows.

Normally one listing reads every pool of a host. libvirt's listing waits for each pool in turn, so one dead mount
holds it up for ever; then the pools are asked one by one, by UUID, and those that do not answer are left alone for a
growing while. Until all of them answer, pools that are new on the host cannot be found.

The definitions of a few pools are read along with each listing, in turn, so that a change by virsh is seen soon.
"""

import logging
import random
import time
from collections.abc import Callable, Collection, Iterable
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, OuterRef, Q
from django.utils import timezone

from pools import noticing
from pools.configuration import history
from pools.models import Pool, PoolConfiguration, PoolNotes
from storagemgr.hosts import calls
from storagemgr.hosts.models import Host
from storagemgr.hosts.sync import Reading
from storagemgr.virt import pools as virt_pools
from storagemgr.virt.connection import Connection
from storagemgr.virt.errors import VirtError
from storagemgr.virt.look import LOOK_PREFIX
from storagemgr.virt.pools import ConfigXml, PoolStatus

logger = logging.getLogger(__name__)
T = TypeVar("T")

LIST_S = 5.0
POOL_S = 3.0
CAREFUL_BUDGET_S = 10.0
CONFIG_PERIOD = timedelta(minutes=5)
# 4 ms of CPU beside the 62 that an idle reading of 200 pools takes; each of them has its turn every 40 seconds then.
CONFIGS_PER_READING = 10
FIRST_PAUSE_S = 10
LONGEST_PAUSE_S = 3600
WAITING = timedelta(minutes=2)

ACTIVE = (Pool.State.RUNNING, Pool.State.DEGRADED)
SIZES = ("capacity", "allocation", "available", "volume_count")
STATUS = ("name", "state", "persistent", "autostart", *SIZES)
CONFIG = ("type", "source", "target_path", "xml", "running_xml", "config_read_at")
ANSWER = ("unreachable_since", "failures", "next_try_at", "seen_at")
WRITTEN = (
    *(*STATUS, *ANSWER, "state_since", "is_changed", "config_read_at"),
    *("refreshed_at", "next_refresh_at", "refresh_error"),
)
_READ = ("uuid", "host_id", "type", "volumes_read_at", *WRITTEN)

_PERIODS = {"dir": 1, "fs": 1, "netfs": 1, "rbd": 4, "gluster": 4}


def refresh_period(pool_type: str) -> timedelta:
    """Between two scheduled refreshes: the more a rescan costs on this type, the longer."""
    return timedelta(seconds=settings.REFRESH_PERIOD * _PERIODS.get(pool_type, 2))


def read_pools(reading: Reading) -> list[Pool]:
    """Read the state of every pool that can be asked now; returns the rows of those that answered."""
    rows = {str(pool.uuid): pool for pool in Pool.objects.filter(host=reading.host).only(*_READ)}
    in_turn = sorted(rows.values(), key=lambda pool: _age(pool.config_read_at))[:CONFIGS_PER_READING]
    statuses = _list(reading, rows.values(), {str(pool.uuid) for pool in in_turn})
    if statuses is None:
        statuses, gone = _ask_each(reading, rows.values())
    else:
        listed = {status.uuid for status in statuses}
        gone = [pool for uuid, pool in rows.items() if uuid not in listed]
    if gone:
        # A row that was written after this reading began is newer than what it found.
        unseen = Pool.objects.filter(pk__in=[pool.pk for pool in gone], seen_at__lt=reading.started)
        noticing.pools_went(list(unseen.only("uuid", "host_id", "name")))
        unseen.delete()
    known = [(rows[status.uuid], status) for status in statuses if status.uuid in rows]
    _update(reading, known)
    _read_configs(reading, known)
    new = _create(reading, [status for status in statuses if status.uuid not in rows])
    return [pool for pool, _ in known if pool.unreachable_since is None] + new


def _age(read_at: datetime | None) -> float:
    return read_at.timestamp() if read_at else 0


def _list(reading: Reading, rows: Iterable[Pool], configs_of: Collection[str]) -> list[PoolStatus] | None:
    """The status of every pool of the host; None when a listing would hang, or did."""
    host, key = reading.host, ("list", reading.host.pk)
    if host.is_careful:
        if any(pool.unreachable_since for pool in rows) or calls.overdue_since(key):
            return None
        if host.next_list_at and host.next_list_at > reading.started:
            return None
    try:
        found = reading.ask(
            key, LIST_S, lambda c: virt_pools.list_pools(c, configs_of), lambda late: _list_soon(host)
        )
    except calls.Overdue:
        _write_list_hangs(host)
        return None
    if host.is_careful:
        host.is_careful, host.list_failures, host.next_list_at = False, 0, None
        host.save(update_fields=["is_careful", "list_failures", "next_list_at"])
    return [status for status in found if not status.name.startswith(LOOK_PREFIX)]


def _write_list_hangs(host: Host) -> None:
    logger.warning("%s answers, its list of pools does not: asking pool by pool", host)
    host.is_careful, host.list_failures = True, host.list_failures + 1
    host.next_list_at = timezone.now() + _pause(host.list_failures)
    host.save(update_fields=["is_careful", "list_failures", "next_list_at"])


def _list_soon(host: Host) -> None:
    Host.objects.filter(pk=host.pk).update(next_list_at=None)


def _pause(failures: int) -> timedelta:
    return timedelta(seconds=min(FIRST_PAUSE_S * 2 ** (failures - 1), LONGEST_PAUSE_S))


def _ask_each(reading: Reading, rows: Iterable[Pool]) -> tuple[list[PoolStatus], list[Pool]]:
    """What the pools say one by one, and the rows of those that are gone."""
    statuses, gone = [], []
    begun = time.monotonic()
    for pool in _in_turn(reading, rows):
        if time.monotonic() - begun > CAREFUL_BUDGET_S:
            break
        try:
            statuses.append(ask(reading, pool, POOL_S, virt_pools.read_pool))
        except calls.Overdue:
            continue
        except VirtError as error:
            if error.code != "no_pool":
                raise
            gone.append(pool)
    return statuses, gone


def _in_turn(reading: Reading, rows: Iterable[Pool]) -> list[Pool]:
    """Those that answered before, longest unseen first; then those that did not and are to be tried again.

    Not those that this process still waits for, nor should another process ask them.
    """
    answering = [pool for pool in rows if pool.unreachable_since is None]
    silent = [pool for pool in rows if pool.unreachable_since and _is_due(pool, reading.started)]
    waiting = [pool for pool in silent if calls.overdue_since(("pool", pool.pk))]
    for pool in waiting:
        pool.next_try_at = reading.started + max(WAITING, _pause(pool.failures))
    Pool.objects.bulk_update(waiting, ["next_try_at"])
    answering.sort(key=lambda pool: pool.seen_at)
    return answering + [pool for pool in silent if pool not in waiting]


def _is_due(pool: Pool, now: datetime) -> bool:
    return pool.next_try_at is None or pool.next_try_at <= now


def ask(reading: Reading, pool: Pool, seconds: float, function: Callable[[Connection, str], T]) -> T:
    """Ask libvirt about this pool alone. An answer that does not come in time makes the row unreachable."""
    uuid = str(pool.uuid)
    try:
        return reading.ask(
            ("pool", pool.pk), seconds, lambda c: function(c, uuid), lambda late: _try_soon(pool.pk)
        )
    except calls.Overdue:
        logger.warning("pool %s of %s does not answer", pool, reading.host)
        _write_unreachable(pool)
        raise


def _try_soon(pool_id: int) -> None:
    Pool.objects.filter(pk=pool_id).update(next_try_at=timezone.now())


def _write_unreachable(pool: Pool) -> None:
    now = timezone.now()
    if pool.unreachable_since is None:
        pool.unreachable_since = now
        noticing.pool_is_silent(pool)
    pool.failures += 1
    pool.next_try_at = now + _pause(pool.failures)
    pool.save(update_fields=["unreachable_since", "failures", "next_try_at"])
    Host.objects.filter(pk=pool.host_id).update(is_careful=True)


def _update(reading: Reading, known: list[tuple[Pool, PoolStatus]]) -> None:
    """Write the rows that differ; of the others only when they were seen, all at once."""
    before = Pool.objects.filter(seen_at__lt=reading.started)
    were = {pool.pk: noticing.facts_of(pool) for pool, _ in known}
    differ = [pool for pool, status in known if _take(pool, status, reading.started)]
    if differ:
        noticing.pools_changed(reading.host, differ, were)
        before.bulk_update(differ, WRITTEN)
    same = Q(host=reading.host)
    if reading.host.is_careful:
        same &= Q(pk__in=[pool.pk for pool, _ in known])
    before.filter(same).update(seen_at=reading.started)


def _take(pool: Pool, status: PoolStatus, now: datetime) -> bool:
    """Set what libvirt said on the row; whether it says anything new.

    A pool that is stopped has no sizes: the row keeps those of when it ran.
    """
    fields = STATUS if status.state in ACTIVE else STATUS[: -len(SIZES)]
    changed = {name for name in fields if getattr(pool, name) != getattr(status, name)}
    if status.volume_count is None:
        changed.discard("volume_count")
    for name in changed:
        setattr(pool, name, getattr(status, name))
    if "state" in changed:
        pool.state_since = now
        if status.state in ACTIVE:
            # Starting a pool scans it.
            pool.refreshed_at = now
            pool.next_refresh_at = now + refresh_period(pool.type)
            pool.refresh_error = ""
    if changed.intersection(("state", *SIZES)):
        pool.is_changed = True
    if changed.intersection(("name", "state", "persistent", "autostart")):
        pool.config_read_at = None
    answers_again = pool.unreachable_since is not None
    pool.unreachable_since, pool.failures, pool.next_try_at, pool.seen_at = None, 0, None, now
    return bool(changed) or answers_again


def _read_configs(reading: Reading, known: list[tuple[Pool, PoolStatus]]) -> None:
    """Write the definitions that came with the listing, and ask for those that are due and did not come."""
    read = {pool.pk: status.config for pool, status in known if status.config}
    old = reading.started - CONFIG_PERIOD
    due = [pool for pool, _ in known if pool.pk not in read and _age(pool.config_read_at) < old.timestamp()]
    due.sort(key=lambda pool: _age(pool.config_read_at))
    for pool in due[: CONFIGS_PER_READING - len(read)]:
        try:
            read[pool.pk] = ask(reading, pool, POOL_S, virt_pools.read_config_xml)
        except calls.Overdue:
            continue
        except VirtError as error:
            if error.code != "no_pool":
                raise
    if read:
        _write_configs(reading, {pool.pk: pool for pool, _ in known}, read)


def _write_configs(reading: Reading, pools: dict[int, Pool], read: dict[int, ConfigXml]) -> None:
    # A row that was written after this reading began is newer than what it found.
    before = Pool.objects.filter(pk__in=list(read), seen_at__lte=reading.started)
    kept = PoolConfiguration.objects.filter(host=reading.host, pool_uuid=OuterRef("uuid"))
    stored = before.annotate(is_kept=Exists(kept)).values_list("pk", "xml", "running_xml", "is_kept")
    differ, seen = [], []
    for pk, xml, running_xml, is_kept in stored:
        pool, config = pools[pk], read[pk]
        told = "" if config.running == config.defined else config.running
        if (xml, running_xml) != (config.defined, told) or not is_kept:
            _take_config(pool, config, reading.started)
            differ.append(pool)
            if not is_kept or history.is_change(xml, config.defined, is_active=pool.is_active):
                seen.append(history.Seen(pool.uuid, config.defined, pool.is_active))
    with transaction.atomic():
        before.update(config_read_at=reading.started)
        if differ:
            before.bulk_update(differ, CONFIG)
        history.record(reading.host.pk, seen)


def _take_config(pool: Pool, read: ConfigXml, now: datetime) -> None:
    config = virt_pools.parse_config(read.defined)
    pool.type, pool.xml, pool.config_read_at = config.type, config.xml, now
    pool.source, pool.target_path = config.source_text[:1024], config.target_path[:4096]
    pool.running_xml = read.running if history.is_pending(read.running, read.defined) else ""


def _create(reading: Reading, statuses: list[PoolStatus]) -> list[Pool]:
    new = []
    for status in statuses:
        try:
            config = reading.ask(
                ("list", reading.host.pk),
                POOL_S,
                partial(virt_pools.read_config_xml, uuid=status.uuid),
                lambda late: _list_soon(reading.host),
            )
        except calls.Overdue:
            _write_list_hangs(reading.host)
            break
        except VirtError as error:
            if error.code != "no_pool":
                raise
            continue
        new.append(_new(reading, status, config))
    if not new:
        return []
    with transaction.atomic():
        # Somebody else may have made the row meanwhile.
        Pool.objects.bulk_create(new, ignore_conflicts=True)
        if reading.host.uses_read_at:
            noticing.pools_came(new)
        _link_notes(reading.host)
        history.record(reading.host.pk, [history.Seen(pool.uuid, pool.xml, pool.is_active) for pool in new])
    return list(Pool.objects.filter(host=reading.host, uuid__in=[pool.uuid for pool in new]).only(*_READ))


def _link_notes(host: Host) -> None:
    """Notes outlive the row of their pool, and belong to it again when it is back under its UUID."""
    for notes in PoolNotes.objects.filter(host=host, pool=None):
        pool = Pool.objects.filter(host=host, uuid=notes.pool_uuid).first()
        if pool is not None:
            PoolNotes.objects.filter(pk=notes.pk, pool=None).update(pool=pool)


def _new(reading: Reading, status: PoolStatus, config: ConfigXml) -> Pool:
    now = reading.started
    values: dict[str, Any] = {name: getattr(status, name) for name in STATUS}
    values["volume_count"] = status.volume_count or 0
    pool = Pool(host=reading.host, uuid=UUID(status.uuid), state_since=now, seen_at=now, **values)
    _take_config(pool, config, now)
    # Spread, so that pools found together are not all refreshed together.
    pool.next_refresh_at = now + refresh_period(pool.type) * random.uniform(0.2, 1)  # noqa: S311
    return pool


def read_one(connection: Connection, pool: Pool, maker: history.Maker | None = None) -> Pool:
    """The pool as libvirt says now, written to its row. Waits for as long as libvirt does.

    `maker`: the job that has just changed its definition. VirtError no_pool when it is gone; the row stays.
    """
    started = timezone.now()
    status = virt_pools.read_pool(connection, str(pool.uuid))
    config = virt_pools.read_config_xml(connection, str(pool.uuid))
    try:
        pool.refresh_from_db()
    except Pool.DoesNotExist as error:
        raise VirtError("no_pool", "Its row is gone.") from error
    was = pool.xml
    _take(pool, status, started)
    _take_config(pool, config, started)
    pool.seen_at = timezone.now()
    with transaction.atomic():
        pool.save(update_fields=[*WRITTEN, *CONFIG])
        if maker or history.is_change(was, pool.xml, is_active=pool.is_active):
            seen = history.Seen(pool.uuid, pool.xml, pool.is_active)
            history.record(pool.host_id, [seen], maker)
    return pool
