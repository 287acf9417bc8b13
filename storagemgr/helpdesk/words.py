"""Answers as a person reads them out, and as they go into a ticket."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from django.utils import timezone

from pools.capacity import Space
from pools.fits import Fit, Question
from storagemgr.hosts.states import State
from storagemgr.templatetags.storage import NBSP, size

NO_OWNER = "nobody is named"


@dataclass(frozen=True)
class Fact:
    """`url` leads to a page of its own, "" for none."""

    name: str
    text: str
    url: str = ""
    more: str = ""


@dataclass(frozen=True)
class Answer:
    """What is known of one thing. `says` is the sentence to read out; `since` whose figures these are, if not now."""

    kind: str
    key: str
    name: str
    where: str
    state: State
    says: str
    facts: Sequence[Fact] = ()
    url: str = ""
    pk: int = 0
    space: Space | None = None
    notes: Sequence[str] = field(default_factory=tuple)

    @property
    def icon(self) -> str:
        return {"Pool": "database", "Volume": "hdd", "VM": "layers", "Host": "hdd-rack"}[self.kind]

    @property
    def ticket(self) -> str:
        head = f"{self.kind} {self.name} {self.where}".strip()
        facts = [f"{fact.name}: {fact.text}{f' ({fact.more})' if fact.more else ''}" for fact in self.facts]
        lines = [
            f"{head} (as of {_now()})",
            f"State: {self.state.word}{since(self.state.since)}",
            self.says,
            *facts,
            *self.notes,
        ]
        return plain(lines)


def plain(lines: Iterable[str]) -> str:
    """For a program that knows no no-break space."""
    return "\n".join(line.replace(NBSP, " ") for line in lines if line)


def _now() -> str:
    return f"{timezone.localtime():%d %b %Y, %H:%M %Z}"


def since(at: datetime | None) -> str:
    return f" since {dated(at)}" if at else ""


def dated(at: datetime) -> str:
    """With its day also where that is today: a ticket is read another day."""
    local = timezone.localtime(at)
    year = "" if local.year == timezone.localdate().year else f" {local.year}"
    return f"{local.day}{NBSP}{local:%b}{year} {local:%H:%M}"


def listed(names: Sequence[str], limit: int = 5) -> str:
    """ "a, b and c", "a, b and 3 more"."""
    shown = list(names[:limit])
    if len(names) > limit:
        return f"{', '.join(shown)} and {len(names) - limit} more"
    return f"{', '.join(shown[:-1])} and {shown[-1]}" if len(shown) > 1 else "".join(shown)


def fit_ticket(question: Question, place: str, head: str, asked: Fit | None, better: Sequence[Fit]) -> str:
    how = ", which takes only what is written to it" if question.is_thin else ""
    lines = [f"Question: does a {size(question.size)} disk fit {place}{how}?", f"Answer ({_now()}): {head}"]
    if asked:
        lines.append(_line(asked))
    if better:
        lines.append("Better:" if asked else "Places:")
        lines += [f"- {_line(one)}" for one in better]
    return plain(lines)


def _line(one: Fit) -> str:
    owner = f" Team: {one.storage.owner}." if one.storage.owner else ""
    figures = f" {one.figures}." if one.figures else ""
    words = {"yes": "yes:", "but": "yes, but", "no": "no:"}[one.level]
    return f"{one.storage.name} {one.storage.where}: {words} {one.why}.{figures}{owner}"
