"""What the list pages share: paging, sorting and filters that live in the URL."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.core.paginator import Page, Paginator
from django.db.models import F, OrderBy, QuerySet
from django.http import HttpRequest

PAGE_SIZE = 50
ID_LIMIT = 2**63 - 1


@dataclass(frozen=True)
class Chip:
    """One of several exclusive filters, with how many rows it would show."""

    value: str
    title: str
    count: int | None
    is_on: bool


@dataclass(frozen=True)
class Choice:
    value: str
    title: str
    is_on: bool


@dataclass(frozen=True)
class Menu:
    """A filter of which several values may be ticked."""

    name: str
    title: str
    choices: Sequence[Choice]

    @property
    def ticked(self) -> int:
        return sum(choice.is_on for choice in self.choices)


def menu(request: HttpRequest, name: str, title: str, choices: Iterable[tuple[str, str]]) -> Menu:
    ticked = set(request.GET.getlist(name))
    return Menu(name, title, [Choice(value, text, value in ticked) for value, text in choices])


def chips(request: HttpRequest, parameter: str, options: Iterable[tuple[str, str, int | None]]) -> list[Chip]:
    now, options = request.GET.get(parameter, ""), list(options)
    known = now if now in {value for value, _, _ in options} else ""
    return [Chip(value, title, count, value == known) for value, title, count in options]


def sort_key(request: HttpRequest, sorts: dict[str, Any], default: str) -> str:
    """`sort` of the URL when it is one of `sorts`, with or without a leading "-"; else `default`."""
    wanted = request.GET.get("sort", "")
    return wanted if wanted.removeprefix("-") in sorts else default


def ordered(rows: QuerySet[Any], key: str, sorts: dict[str, Sequence[Any]]) -> QuerySet[Any]:
    """By the columns of `key`, then by id in the same direction, so that one index serves both directions."""
    is_descending = key.startswith("-")
    by = [_order_by(rows, column, is_descending) for column in [*sorts[key.removeprefix("-")], "pk"]]
    return rows.order_by(*by)


def _order_by(rows: QuerySet[Any], column: Any, is_descending: bool) -> OrderBy:
    """What is not known counts as the least, on every database."""
    if not isinstance(column, str):
        return OrderBy(column, descending=is_descending)
    is_known = column == "pk" or "__" in column or not rows.model._meta.get_field(column).null
    if is_known:
        return OrderBy(F(column), descending=is_descending)
    return F(column).desc(nulls_last=True) if is_descending else F(column).asc(nulls_first=True)


def is_filtered(request: HttpRequest) -> bool:
    looks = ("sort", "page", "cols")
    return any(value for name, values in request.GET.lists() if name not in looks for value in values)


def page_of(request: HttpRequest, rows: Any, count: int | None = None) -> Page[Any]:
    """The page that `page` of the URL names, the nearest one when there is no such page."""
    pages = Paginator(rows, PAGE_SIZE)
    if count is not None:
        pages.count = count
    return pages.get_page(request.GET.get("page"))


@dataclass(frozen=True)
class Kept:
    """What an open page shows: its rows where they were, then the `came` ones that belong there since."""

    rows: list[Any]
    came: int = 0
    gone: int = 0

    @property
    def ids(self) -> str:
        return "-".join(str(row.pk) for row in self.rows)


def take_pinned(request: HttpRequest) -> list[int]:
    """The ids in `rows` of the URL: what the open page shows. Taken out of it, so that no link carries them."""
    query = request.GET.copy()
    parts = query.pop("rows", [""])[-1].split("-")[: 2 * PAGE_SIZE]
    request.GET = query
    ids = [int(part) for part in parts if part.isascii() and part.isdigit() and len(part) < 20]
    return [pk for pk in dict.fromkeys(ids) if pk <= ID_LIMIT]


def kept(page: Iterable[Any], pinned: Sequence[int], rows: QuerySet[Any]) -> Kept:
    """`page` in the order of `pinned`. A row that belongs elsewhere now is read from `rows` and stays."""
    fresh = {row.pk: row for row in page}
    if not pinned:
        return Kept(list(fresh.values()))
    elsewhere = [pk for pk in pinned if pk not in fresh]
    known = fresh | (rows.in_bulk(elsewhere) if elsewhere else {})
    old = [known[pk] for pk in pinned if pk in known]
    new = [row for pk, row in fresh.items() if pk not in set(pinned)]
    return Kept([*old, *new], len(new), len(pinned) - len(old))
