"""When a pool is full, as far as its past tells: said only where the data carry it.

The pace is the median of the slopes between the days of the last month (Theil and Sen), so that one large copy, a
clean-up or a few odd points do not make a trend.
"""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import combinations
from statistics import median
from typing import Literal, Protocol

from django.conf import settings
from django.core.cache import cache
from django.utils import timezone

from pools.models import Pool, UsageSample
from pools.places import storage_key
from pools.samples import DAY, marks, slot_of
from pools.states import MEASURED
from storagemgr.templatetags.storage import NBSP, count, moment

WINDOW = timedelta(days=30)
LEAST = timedelta(days=7)
LEAST_DAYS = 5  # with points
LONGEST = 730  # days that are looked ahead
SURE = 0.7  # of the slopes go up where a pool grows
CANDIDATES = 50


class Filled(Protocol):
    """A row of a pool. Sizes in bytes."""

    pk: int
    allocation: int
    available: int


@dataclass(frozen=True)
class Forecast:
    """`kind`: "full" in `days` at the `pace`, "slow": not within LONGEST, "still": not growing, "few": too few data.

    `pace` in bytes a day; `over`: the days that it was seen; `since`: the first point.
    """

    kind: Literal["full", "slow", "still", "few"]
    since: datetime
    over: int = 0
    pace: float = 0
    days: float = 0

    @property
    def short(self) -> str:
        return f"full {about(self.days)}" if self.kind == "full" else ""

    @property
    def words(self) -> str:
        month = f"the last {self.over} days"
        match self.kind:
            case "full":
                return f"Full {about(self.days)} at the pace of {month}."
            case "slow":
                return f"Growing so slowly that there is room for more than 2{NBSP}years."
            case "still":
                return f"Not growing over {month}."
        return f"Too few data yet to say when it is full: since {_day(self.since)}."

    def is_within(self, days: float) -> bool:
        return self.kind == "full" and self.days < days

    def sooner(self, taken: int) -> float:
        """Days until it is full when so many bytes are taken today."""
        return max(0.0, self.days - taken / self.pace)


def about(days: float) -> str:
    """ "in about 9 weeks"."""
    if days < 1:
        return "within a day"
    if days < 14:
        return f"in about {count(max(1, round(days)), 'day')}"
    if days < 17 * 7:
        return f"in about {count(round(days / 7), 'week')}"
    return f"in about {count(round(days / 30.44), 'month')}"


def _day(since: datetime) -> str:
    local = timezone.localtime(since)
    is_today = local.date() == timezone.localdate()
    return moment(since) if is_today or timezone.now() - since > LEAST else f"{local:%A}"


def forecast(points: Sequence[tuple[datetime, int]], free: int, now: datetime) -> Forecast:
    """`points`: bytes used at times, oldest first, of the last WINDOW; `free`: bytes now."""
    since = points[0][0] if points else now
    days: dict[int, list[int]] = defaultdict(list)
    for at, used in points:
        days[int((now - at).total_seconds() // DAY)].append(used)
    over = round((now - since).total_seconds() / DAY)
    if now - since < LEAST or len(days) < LEAST_DAYS:
        return Forecast("few", since, over)
    daily = [(-age, median(used)) for age, used in sorted(days.items(), reverse=True)]
    slopes = [(later - used) / (then - age) for (age, used), (then, later) in combinations(daily, 2)]
    pace = median(slopes)
    if pace <= 0 or sum(slope > 0 for slope in slopes) < SURE * len(slopes):
        return Forecast("still", since, over)
    left = free / pace
    return Forecast("full" if left < LONGEST else "slow", since, over, pace, left)


def forecasts_of(
    pools: Iterable[Filled], now: datetime | None = None, *, coarse: bool = False
) -> dict[int, Forecast]:
    """By id. For few pools: one query, a hundred points of each, of a `coarse` look two a day. Those without any point
    are not in it."""
    now = now or timezone.now()
    known = {pool.pk: pool for pool in pools}
    looks = marks(now, WINDOW)[:: 2 if coarse else 1]
    rows = UsageSample.objects.filter(pool__in=list(known), at__in=looks).order_by("pool", "at")
    points: dict[int, list[tuple[datetime, int]]] = defaultdict(list)
    for pk, at, used in rows.values_list("pool_id", "at", "allocation"):
        points[pk].append((at, used))
    return {
        pk: forecast([*found, (now, known[pk].allocation)], known[pk].available, now)
        for pk, found in points.items()
    }


def filling(now: datetime | None = None) -> dict[int, Forecast]:
    """The pools of the whole fleet that are full soonest, of at most CANDIDATES storages, by id: for lists.

    A rough look at three points of each pool says which are worth the true one. The answer is as old as the last
    point; mind that it knows no rights.
    """
    now = now or timezone.now()
    if not settings.SAMPLE_PERIOD:
        return {}
    key = f"pools.filling.{slot_of(now).timestamp():.0f}"
    found: dict[int, Forecast] | None = cache.get(key)
    if found is None:
        growing = _growing(now)
        soon = forecasts_of((pools[0] for pools in growing), now, coarse=True)
        found = {
            pool.pk: soon[pools[0].pk]
            for pools in growing
            for pool in pools
            if pools[0].pk in soon and soon[pools[0].pk].kind == "full"
        }
        cache.set(key, found, settings.SAMPLE_PERIOD)
    return found


def _growing(now: datetime) -> list[list[Pool]]:
    """Those that look as if they were full soonest; pools that are the same bytes together."""
    past = marks(now, WINDOW)
    looks = [mark for mark in (past[0] - LEAST, past[0] - 2 * LEAST, past[0] - 4 * LEAST) if mark >= past[-1]]
    columns = ("pk", "type", "source", "allocation", "available")
    running = Pool.objects.filter(MEASURED, state__in=(Pool.State.RUNNING, Pool.State.DEGRADED))
    pools = {pool.pk: pool for pool in running.order_by("pk").only(*columns)}
    rows = UsageSample.objects.filter(pool__in=list(pools), at__in=looks).order_by()
    left: dict[int, float] = {}
    for pk, at, used in rows.values_list("pool_id", "at", "allocation"):
        pace = (pools[pk].allocation - used) / (now - at).total_seconds() * DAY
        days = pools[pk].available / pace if pace > 0 else LONGEST
        left[pk] = min(days, left.get(pk, LONGEST))
    groups: dict[Hashable, list[Pool]] = defaultdict(list)
    for pk in sorted(left, key=lambda pk: left[pk]):
        if left[pk] < LONGEST:
            groups[storage_key(pools[pk].type, pools[pk].source, pk)].append(pools[pk])
    return list(groups.values())[:CANDIDATES]
