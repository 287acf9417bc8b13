"""Conditions on very many rows."""

import json
from collections.abc import Iterable
from typing import Any

from django.core.exceptions import EmptyResultSet
from django.db.models import F, Func, Lookup, Q


def among(field: str, values: Iterable[int]) -> Q:
    """`in`, with all values in one parameter: Django would write and bind each by itself."""
    return Q(_Among(F(field), sorted(values)))


class _Among(Lookup):
    lookup_name = "among"
    prepare_rhs = False

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, list[Any]]:
        column, params = self._column(compiler, connection)
        return f"{column} IN (SELECT value FROM json_each(%s))", [*params, json.dumps(self.rhs)]  # noqa: S608

    def as_postgresql(self, compiler: Any, connection: Any) -> tuple[str, list[Any]]:
        column, params = self._column(compiler, connection)
        return f"{column} = ANY(%s)", [*params, self.rhs]

    def _column(self, compiler: Any, connection: Any) -> tuple[str, list[Any]]:
        if not self.rhs:
            raise EmptyResultSet
        return self.process_lhs(compiler, connection)


class InNoIndex(Func):
    """A column by which SQLite, which counts nothing in advance, does not look for rows: it keeps to the index that
    gives the order, where very many rows have the value."""

    arity = 1
    template = "%(expressions)s"

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        return self.as_sql(compiler, connection, template="+%(expressions)s", **context)
