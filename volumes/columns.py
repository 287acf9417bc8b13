"""The columns of the volume lists; which are shown stands in the URL."""

from typing import NamedTuple

from django.http import QueryDict

from storagemgr.listing import Choice


class Column(NamedTuple):
    """`sort`: its key in volumes.ordering; `first`: "-" where the first click shows the most first."""

    name: str
    title: str
    sort: str = ""
    classes: str = ""
    first: str = ""


COLUMNS = (
    Column("pool", "Pool", "pool"),
    Column("host", "Host", "host"),
    Column("kind", "Kind", classes="lg-only"),
    Column("format", "Format", "format", "m-drop"),
    Column("used", "Used", "allocation", first="-"),
    Column("size", "Size", "capacity", "r", "-"),
    Column("vms", "Used by"),
    Column("backing", "Backing", "backing", "lg-only"),
    Column("modified", "Changed", "modified", "r m-drop", "-"),
    Column("owner", "Owner", "owner"),
    Column("expires", "Expires", "expires"),
)
USUAL = {"pool", "kind", "format", "used", "size", "vms", "modified"}
USUAL_OF_POOL = {"kind", "format", "used", "size", "vms", "backing", "modified"}

# How the list can be sorted where it has no headings, on a phone.
SORTS = (
    ("name", "Name"),
    ("-name", "Name, from Z"),
    ("-allocation", "Most space used"),
    ("-capacity", "Largest"),
    ("-modified", "Changed last"),
    ("modified", "Unchanged for longest"),
    ("pool", "Pool"),
    ("host", "Host"),
    ("format", "Format"),
    ("owner", "Owner"),
    ("expires", "Expires first"),
)


def chosen(data: QueryDict, *, is_of_pool: bool) -> list[Column]:
    wanted = set(data.getlist("cols")) & {column.name for column in COLUMNS}
    wanted = wanted or (USUAL_OF_POOL if is_of_pool else USUAL)
    return [column for column in COLUMNS if column.name in wanted]


def choices(shown: list[Column], *, is_of_pool: bool) -> list[Choice]:
    names = {column.name for column in shown}
    offered = [c for c in COLUMNS if not (is_of_pool and c.name in ("pool", "host"))]
    return [Choice(column.name, column.title, column.name in names) for column in offered]


def sort_choices(sort: str, *, is_of_pool: bool) -> list[Choice]:
    offered = [(key, title) for key, title in SORTS if not (is_of_pool and key in ("pool", "host"))]
    if sort not in dict(offered):
        column = next(
            c for c in (*COLUMNS, Column("name", "Name", "name")) if c.sort == sort.removeprefix("-")
        )
        offered.append((sort, f"{column.title}, {'last' if sort.startswith('-') else 'first'} to begin with"))
    return [Choice(key, title, key == sort) for key, title in offered]
