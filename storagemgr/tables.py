"""Tables as files for spreadsheets (RFC 4180)."""

import csv
import re
from collections.abc import Callable, Iterable
from typing import Any

from storagemgr.templatetags.storage import printable

# What a spreadsheet would take for a formula, or drop before it looks for one.
_FORMULA = re.compile(r"^[\s\x00-\x1f]*[=+\-@\uff1d\uff0b\uff0d\uff20]|^[\t\r\n]")


class _Line:
    """What the csv module writes to: it hands back the line."""

    def write(self, text: str) -> str:
        return text


def csv_writer() -> Callable[[Iterable[Any]], str]:
    """Makes one line of the cells."""
    return csv.writer(_Line()).writerow  # type: ignore[return-value]


def cell(value: Any) -> Any:
    """A text that no spreadsheet computes and no terminal obeys. Numbers stay numbers."""
    if isinstance(value, int):
        return value
    text = str(value)
    return f"'{printable(text)}" if _FORMULA.match(text) else printable(text)
