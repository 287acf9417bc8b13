"""Volumes in the order that the URL asks for, a page at a time: the ids first, because they stand in the indexes."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, cast

from django.contrib.auth.models import Group
from django.db.models import Count, F, Q, QuerySet

from pools.models import Pool
from storagemgr.listing import ordered
from volumes.filters import FEW, remembered
from volumes.models import Volume

SORTS: dict[str, list[Any]] = {
    "name": ["name"],
    "format": ["format"],
    "capacity": ["capacity"],
    "allocation": ["allocation"],
    "backing": ["backing_path"],
    "modified": ["modified"],
    "pool": [],
    "host": [],
    "owner": [],
    "expires": [F("notes__expires_on")],
}
DEFAULT_SORT = "name"
_OF_POOLS = {"pool": ("name", "host__name", "pk"), "host": ("host__name", "name", "pk")}
# Few volumes have these; the others follow by name, whichever way it is sorted.
_OF_NOTES = {"owner": Q(notes__owner__isnull=False), "expires": Q(notes__expires_on__isnull=False)}

Part = tuple[Callable[[], QuerySet[Volume]], int]


class InOrder:
    """Parts, one after the other, of which only slices are read. A part is its rows in order and their number."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self.parts = parts

    def __len__(self) -> int:
        return sum(number for _, number in self.parts)

    def __getitem__(self, wanted: slice) -> list[int]:
        start, stop = wanted.start or 0, len(self) if wanted.stop is None else wanted.stop
        found: list[int] = []
        for rows, number in self.parts:
            if start < number and stop > 0:
                found += _ids(rows(), max(start, 0), min(stop, number), number)
            start, stop = start - number, stop - number
        return found

    def ids(self) -> Iterable[int]:
        for rows, _ in self.parts:
            yield from rows().values_list("pk", flat=True).iterator(chunk_size=2000)


def _ids(rows: QuerySet[Volume], start: int, stop: int, number: int) -> list[int]:
    """From the nearer end."""
    if start <= number // 2:
        return list(rows.values_list("pk", flat=True)[start:stop])
    return list(rows.reverse().values_list("pk", flat=True)[number - stop : number - start])[::-1]


def in_order(
    rows: Callable[[], QuerySet[Volume]], sort: str, number: int, counted: QuerySet[Volume]
) -> InOrder:
    """`rows` and `counted` are the same `number` volumes: the one for the first of them, the other for all."""
    key = sort.removeprefix("-")
    if key in _OF_POOLS:
        return InOrder(_by_pool(rows, counted, key, number, is_descending=sort != key))
    if key in _OF_NOTES:
        noted = rows.filter(_OF_NOTES[key]).order_by()
        if key == "owner":
            first = _by_owner(rows, counted.filter(_OF_NOTES[key]), number, is_descending=sort != key)
        else:
            first = [(partial(ordered, noted, sort, SORTS), _counted("noted", noted, QuerySet.count, number))]
        others = rows.exclude(pk__in=noted.values("pk"))
        rest = number - sum(part[1] for part in first)
        return InOrder([*first, (partial(ordered, others, "name", SORTS), rest)])
    return InOrder([(partial(ordered, rows, sort, SORTS), number)])


def _counted(what: str, rows: QuerySet[Volume], count: Callable[[QuerySet[Volume]], Any], number: int) -> Any:
    return remembered(what, rows, count, keeps=lambda _: number > FEW)


def _numbers(rows: QuerySet[Volume], column: str, number: int) -> dict[int, int]:
    """How many there are of each value."""

    def count(rows: QuerySet[Volume]) -> dict[int, int]:
        return dict(rows.values_list(column).annotate(Count("pk")))

    return cast("dict[int, int]", _counted(f"by-{column}", rows, count, number))


def _by_owner(
    rows: QuerySet[Volume], counted: QuerySet[Volume], number: int, *, is_descending: bool
) -> list[Part]:
    numbers = _numbers(counted, "notes__owner", number)
    name = "-name" if is_descending else "name"
    owners = Group.objects.filter(pk__in=numbers).order_by(name).values_list("pk", flat=True)
    return [(partial(_in, rows, "notes__owner", pk, name), numbers[pk]) for pk in owners]


def _by_pool(
    rows: QuerySet[Volume], counted: QuerySet[Volume], key: str, number: int, *, is_descending: bool
) -> list[Part]:
    """To join and sort takes long; a thousand pools are sorted at once."""
    numbers = _numbers(counted, "pool", number)
    pools = [
        pk for pk in Pool.objects.order_by(*_OF_POOLS[key]).values_list("pk", flat=True) if pk in numbers
    ]
    name = "-name" if is_descending else "name"
    found = [(partial(_in, rows, "pool", pk, name), numbers[pk]) for pk in pools]
    return found[::-1] if is_descending else found


def _in(rows: QuerySet[Volume], column: str, pk: int, sort: str) -> QuerySet[Volume]:
    return ordered(rows.filter(**{column: pk}), sort, SORTS)
