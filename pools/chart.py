"""The line of a pool's past: its points, and where they lie in two drawings of other shapes.

Only attributes of SVG elements, so that the page needs no inline style.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from django.core.cache import cache
from django.db.models import Max, Min
from django.utils import timezone

from pools.models import Pool, UsageSample
from pools.samples import DAY
from pools.trend import Forecast, forecast, forecasts_of
from storagemgr.access.preferences import units
from storagemgr.templatetags.storage import DECIMAL_UNITS, UNITS, moment, size

HIGHEST = 2  # times the capacity: promised beyond that is drawn at the top
TICKS = 4


class Range(NamedTuple):
    """`step`: seconds of the past that one point stands for."""

    title: str
    length: timedelta
    step: int
    words: str


RANGES = {
    "day": Range("Day", timedelta(days=1), 1800, "the last 24 hours"),
    "month": Range("Month", timedelta(days=30), DAY, "the last 30 days"),
    "year": Range("Year", timedelta(days=365), 7 * DAY, "the last year"),
}
DEFAULT_RANGE = "month"
NEW = timedelta(days=2)


class Point(NamedTuple):
    """Sizes in bytes. `piece`: the number of its piece of time."""

    at: datetime
    piece: int
    used: int
    promised: int
    capacity: int

    @property
    def free(self) -> int:
        return max(0, self.capacity - self.used)


class Shape(NamedTuple):
    """Of a drawing, in units of its own."""

    width: int
    height: int
    left: int
    right: int
    top: int
    bottom: int
    dates: int


WIDE = Shape(760, 250, 58, 628, 14, 222, 3)
NARROW = Shape(340, 220, 52, 334, 12, 194, 1)


class Label(NamedTuple):
    x: float
    y: float
    text: str
    anchor: str = "start"


@dataclass(frozen=True)
class Drawing:
    """`areas`, `used` and `promised` hold the points of a line each, as SVG writes them; gaps part them."""

    shape: Shape
    lines: list[Label]
    dates: list[Label]
    full_y: float
    now_x: float
    areas: list[str]
    used: list[str]
    promised: list[str]
    dot: tuple[float, float]
    ahead: tuple[float, float] | None


@dataclass(frozen=True)
class Trend:
    """What a page shows of a pool's past. `drawings` is empty where there are not two points yet."""

    range: str
    points: Sequence[Point]
    forecast: Forecast | None
    drawings: Sequence[Drawing]

    @property
    def words(self) -> str:
        return RANGES[self.range].words

    @property
    def is_of_a_day(self) -> bool:
        return self.range == "day"

    @property
    def description(self) -> str:
        first, last = self.points[0], self.points[-1]
        text = f"Really used went from {size(first.used)} to {size(last.used)}, promised from {size(first.promised)} "
        text += f"to {size(last.promised)}. The pool holds {size(last.capacity)}."
        return f"{text} {self.forecast.words}" if self.forecast else text


def trend_of(pool: Pool, wanted: str, now: datetime | None = None) -> Trend | None:
    """As of the newest point; None where there is none. A pool that is new shows its first days by themselves."""
    known = UsageSample.objects.filter(pool=pool).aggregate(first=Min("at"), newest=Max("at"))
    newest = known["newest"]
    if newest is None:
        return None
    usual = "day" if newest - known["first"] < NEW else DEFAULT_RANGE
    name = wanted if wanted in RANGES else usual
    zone = timezone.get_current_timezone_name()
    key = f"pools.trend.{pool.pk}.{name}.{newest.timestamp():.0f}.{zone.replace('/', '-')}.{units.get()}"
    found: Trend | None = cache.get(key)
    if found is None:
        found = _trend(pool, name, now or timezone.now())
        cache.set(key, found, 600)
    return found


def _trend(pool: Pool, name: str, now: datetime) -> Trend:
    points = _points(pool, RANGES[name], now)
    said = None
    if pool.is_active and pool.answers:
        said = forecasts_of([pool], now).get(pool.pk) or forecast(
            [(point.at, point.used) for point in points[:1]], pool.available, now
        )
    drawings = [_draw(points, said, name, shape, now) for shape in (WIDE, NARROW)] if len(points) > 1 else []
    return Trend(name, points, said, drawings)


def _points(pool: Pool, wanted: Range, now: datetime) -> list[Point]:
    """The last one of each piece of time; days are those of the person."""
    rows = UsageSample.objects.filter(pool=pool, at__gt=now - wanted.length).order_by("at")
    offset = timezone.localtime(now).utcoffset() or timedelta()
    found = {}
    for at, used, promised, capacity in rows.values_list("at", "allocation", "promised", "capacity"):
        piece = int((at + offset).timestamp()) // wanted.step
        found[piece] = Point(at, piece, used, promised, capacity)
    return list(found.values())


def _draw(points: Sequence[Point], said: Forecast | None, name: str, shape: Shape, now: datetime) -> Drawing:
    length = RANGES[name].length
    ahead = length / 2 if said and said.kind == "full" and name != "day" else timedelta()
    begin, last = now - length, points[-1]
    highest = max(max(point.promised for point in points), *(point.capacity for point in points))
    top = min(highest, HIGHEST * last.capacity) * 1.04

    def x(at: datetime) -> float:
        return round(shape.left + (shape.right - shape.left) * ((at - begin) / (length + ahead)), 1)

    def y(number: float) -> float:
        return round(shape.bottom - (shape.bottom - shape.top) * min(number, top) / top, 1)

    parts = list(_unbroken(points))
    used = [[(x(point.at), y(point.used)) for point in part] for part in parts]
    end = None
    if ahead and said:
        days = min(said.days, ahead.total_seconds() / DAY)
        end = (x(now + timedelta(days=days)), y(last.used + days * said.pace))
    return Drawing(
        shape=shape,
        lines=[Label(shape.left - 8, y(number), text) for number, text in _ticks(top)],
        dates=list(_dates(begin, now, ahead, name, shape, x)),
        full_y=y(last.capacity),
        now_x=x(now),
        areas=[_line([(p[0][0], shape.bottom), *p, (p[-1][0], shape.bottom)]) for p in used if len(p) > 1],
        used=[_line(part) for part in used],
        promised=[_line([(x(point.at), y(point.promised)) for point in part]) for part in parts],
        dot=used[-1][-1],
        ahead=end,
    )


def _unbroken(points: Sequence[Point]) -> Iterator[list[Point]]:
    """Parted where more than one point is missing: nobody knows what was there."""
    part: list[Point] = []
    for point in points:
        if part and point.piece - part[-1].piece > 2:
            yield part
            part = []
        part.append(point)
    yield part


def _line(places: Iterable[tuple[float, float]]) -> str:
    places = list(places)
    if len(places) == 1:
        places = [(places[0][0] - 1, places[0][1]), (places[0][0] + 1, places[0][1])]
    return " ".join(f"{x:g},{y:g}" for x, y in places)


def _ticks(top: float) -> list[tuple[float, str]]:
    """Round numbers from 0 up, the highest with its unit."""
    base, names = (1000, DECIMAL_UNITS) if units.get() == "decimal" else (1024, UNITS)
    power = 0
    while top >= base ** (power + 1) and power < len(names) - 1:
        power += 1
    unit = base**power
    rounds = (step * 10**exponent for exponent in range(-2, 5) for step in (1, 2, 2.5, 5))
    step = next(step for step in rounds if top / unit / step <= TICKS)
    numbers = [step * n for n in range(int(top / unit / step) + 1)]
    return [
        (number * unit, f"{number:g} {names[power]}" if number == numbers[-1] else f"{number:g}")
        for number in numbers
    ]


def _dates(
    begin: datetime,
    now: datetime,
    ahead: timedelta,
    name: str,
    shape: Shape,
    place: Callable[[datetime], float],
) -> Iterator[Label]:
    y = shape.height - 8
    for number in range(shape.dates):
        at = begin + (now - begin) * number / shape.dates
        yield Label(place(at), y, _date(at, name), "start" if number == 0 else "middle")
    yield Label(place(now), y, "now", "middle" if ahead else "end")
    if ahead:
        yield Label(shape.right, y, _date(now + ahead, name), "end" if shape is NARROW else "middle")


def _date(at: datetime, name: str) -> str:
    return f"{timezone.localtime(at):%H:%M}" if name == "day" else moment(at)
