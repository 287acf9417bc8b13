"""How full the pools were: a point every few minutes, the rarer the older. From rows; libvirt is never asked.

Of each age at most one point is kept in a piece of time as long as STEPS says, and each pool is thinned once in TURN;
so it has at most `rows_at_most` points, however long it lives.
"""

from bisect import bisect_right
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from django.conf import settings
from django.core.cache import cache
from django.db.models import Exists, F, OuterRef

from pools.models import Pool, UsageSample
from pools.states import MEASURED
from storagemgr.hosts.models import Host

T = TypeVar("T")

HOUR, DAY = 3_600, 86_400
# Seconds: up to this age a point is kept in so long a piece of time. Each piece is a whole number of the ones before.
STEPS = ((DAY, 300), (14 * DAY, HOUR), (90 * DAY, 6 * HOUR), (730 * DAY, DAY))
_LIMITS, _LENGTHS = [limit for limit, _ in STEPS], [*(step for _, step in STEPS), 0]
TURN = 6 * HOUR
# So often there is a point for certain, whatever the period: trends over many pools read only these.
MARK = 6 * HOUR
DELETES_PER_TICK = 2_000
_TAKEN, _THINNED = "pools.samples.taken", "pools.samples.thinned"


def keep_samples(now: datetime) -> None:
    """For each tick: does something once in SAMPLE_PERIOD seconds, and after that while old points are left."""
    if not settings.SAMPLE_PERIOD:
        return
    slot = slot_of(now)
    # Each process remembers for itself; the database knows whether another one was here before.
    if cache.get(_TAKEN) != slot:
        take(slot)
        cache.set(_TAKEN, slot, DAY)
    if cache.get(_THINNED) != slot and thin(slot, now) < DELETES_PER_TICK:
        cache.set(_THINNED, slot, DAY)


def slot_of(now: datetime) -> datetime:
    """The time that a point gets which is taken now."""
    seconds = int(now.timestamp())
    last = max(seconds // settings.SAMPLE_PERIOD * settings.SAMPLE_PERIOD, seconds // MARK * MARK)
    return datetime.fromtimestamp(last, UTC)


def take(slot: datetime) -> None:
    has_one = Exists(UsageSample.objects.filter(pool=OuterRef("pk"), at=slot))
    due = Pool.objects.filter(MEASURED, ~has_one, unreachable_since=None, host__state=Host.State.UP)
    due = due.filter(state__in=(Pool.State.RUNNING, Pool.State.DEGRADED)).order_by("pk")
    rows = due.values_list("pk", "capacity", "allocation", "promised")
    points = [
        UsageSample(pool_id=pk, at=slot, capacity=capacity, allocation=allocation, promised=promised)
        for pk, capacity, allocation, promised in rows
    ]
    # Another tick may take them at this moment.
    UsageSample.objects.bulk_create(points, batch_size=200, ignore_conflicts=True)


def thin(slot: datetime, now: datetime) -> int:
    """Deletes what is too much of the pools whose turn it is, at most DELETES_PER_TICK; answers how many."""
    turns = max(1, TURN // settings.SAMPLE_PERIOD)
    number = int(slot.timestamp()) // settings.SAMPLE_PERIOD % turns
    pools = list(Pool.objects.alias(turn=F("pk") % turns).filter(turn=number).values_list("pk", flat=True))
    points = UsageSample.objects.filter(pool__in=pools).order_by("pool", "at")
    rows = points.values_list("pool_id", "at", "pk")
    found = surplus(((pool, int(at.timestamp()), pk) for pool, at, pk in rows), int(now.timestamp()))
    UsageSample.objects.filter(pk__in=found[:DELETES_PER_TICK]).delete()
    return min(len(found), DELETES_PER_TICK)


def surplus(points: Iterable[tuple[int, int, T]], now: int) -> list[T]:
    """Which of the points (pool, time in seconds, itself), sorted, are not kept: all but the first of each piece."""
    found, last = [], None
    for pool, at, point in points:
        step = _step_at(now - at)
        piece = (pool, step, at // step) if step else None
        if piece is None or piece == last:
            found.append(point)
        last = piece
    return found


def _step_at(age: int) -> int:
    return _LENGTHS[bisect_right(_LIMITS, age)]


def rows_at_most(period: int) -> int:
    """Of one pool, before it is thinned, when a point is taken every `period` seconds."""
    kept, begin = 0, 0
    for limit, step in STEPS:
        kept += (limit - begin) // max(step, period) + 1
        begin = limit
    waiting = TURN // period + sum(TURN // step + 1 for _, step in STEPS)
    return kept + waiting


def marks(now: datetime, length: timedelta) -> list[datetime]:
    """The times within `length` at which every pool that answered then has a point."""
    last = int(now.timestamp()) // MARK * MARK
    return [datetime.fromtimestamp(at, UTC) for at in range(last, int((now - length).timestamp()), -MARK)]
