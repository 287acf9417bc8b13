"""Walks the chain of the audit and says in words what is wrong with it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from django.utils.crypto import constant_time_compare

from storagemgr.access.models import AuditEvent
from storagemgr.access.sealing import Head, head_in_file, is_marked, keys, seal_of

BATCH = 1000
TOLD = 20
CUT = "audit.cut"


@dataclass
class Findings:
    """`problems`: sentences for people, [] when nothing is wrong; `waiting`: events not sealed yet."""

    checked: int = 0
    first: int = 0
    head: Head = field(default_factory=Head)
    waiting: int = 0
    problems: list[str] = field(default_factory=list)
    more: int = 0

    def tell(self, problem: str) -> None:
        if len(self.problems) < TOLD:
            self.problems.append(problem)
        else:
            self.more += 1

    @property
    def is_whole(self) -> bool:
        return not self.problems

    @property
    def sentences(self) -> list[str]:
        """What the walk found, for a page, a terminal and the audit itself."""
        if not self.is_whole:
            return [*self.problems, *([f"And {self.more:,} more findings."] if self.more else [])]
        if not self.checked:
            return ["No event is sealed yet."]
        return [
            f"{self.checked:,} events, numbers {self.first:,} to {self.head.number:,}: none missing, none changed."
        ]


class _Walk:
    """`seal`: that of the row before, None where it is not known because that row is not there."""

    def __init__(self, found: Findings, known: list[Head], cuts: list[Head]) -> None:
        self.found, self.known, self.cuts = found, known, cuts
        self.written_down: dict[int, list[str]] = {}
        for one in [*known, *cuts]:
            self.written_down.setdefault(one.number, []).append(one.seal)
        self.before, self.seal = 0, ""  # type: int, str | None
        self.bad: list[int] = []
        self.bad_count = 0
        self.keys = keys()

    def take(self, event: Any) -> None:
        if not self.found.checked:
            self._begin(event)
        elif event.number > self.before + 1:
            self._flush()
            missing = _numbers(self.before + 1, event.number - 1)
            self.found.tell(f"Missing between {self.before:,} and {event.number:,}: {missing}.")
            self.seal = self._written_before(event)
        if self.seal is not None and not self._fits(event):
            self.bad.append(event.number)
            self.bad_count += 1
        else:
            self._flush()
        if any(seal != event.seal for seal in self.written_down.get(event.number, [])):
            self.found.tell(f"Number {event.number:,} has another seal than the one that was written down.")
        self.before, self.seal = event.number, event.seal
        self.found.checked += 1
        self.found.head = Head(event.number, event.seal)

    def _begin(self, event: Any) -> None:
        self.found.first = event.number
        cut_at = max((cut.number for cut in self.cuts), default=0)
        if event.number <= cut_at:
            self.found.tell(
                f"What was cut is there still, or again: from number {event.number:,} to {cut_at:,}."
            )
        if event.number == 1:
            return
        self.seal = self._written_before(event)
        if not any(cut.number >= event.number - 1 for cut in self.cuts):
            self.found.tell(
                f"The beginning is missing: {_numbers(1, event.number - 1)}, and no cut says why."
            )

    def _written_before(self, event: Any) -> str | None:
        return next(iter(self.written_down.get(event.number - 1, [])), None)

    def _fits(self, event: Any) -> bool:
        for key in list(self.keys):
            if constant_time_compare(event.seal, seal_of(event, event.number, self.seal or "", key)):
                # The next ones were sealed with the same key.
                self.keys.remove(key)
                self.keys.insert(0, key)
                return True
        return False

    def _flush(self) -> None:
        if self.bad:
            self.found.tell(f"Changed, or sealed with another key: {_numbers(self.bad[0], self.bad[-1])}.")
            self.bad = []

    def end(self) -> None:
        self._flush()
        if self.bad_count > 1 and self.bad_count == self.found.checked:
            self.found.tell(
                "No seal fits at all: SECRET_KEY is probably another one than it was. Give the former one in"
                " SECRET_KEY_FALLBACKS."
            )
        for head in self.known:
            if head.number > self.before:
                self.found.tell(f"The end is missing: {_numbers(self.before + 1, head.number)}.")


def verify(progress: Callable[[int], None] | None = None, *, head: Head | None = None) -> Findings:
    """Reads every sealed event, a batch at a time. `head`: one that somebody wrote down earlier."""
    found = Findings(waiting=AuditEvent.objects.filter(number=None).count())
    if odd := AuditEvent.objects.filter(number__lt=1).count():
        found.tell(f"With a number that no seal gives: {odd:,} {'event' if odd == 1 else 'events'}.")
    known = [one for one in (head, head_in_file()) if one and one.number]
    walk = _Walk(found, known, list(cuts()))
    for event in _events():
        walk.take(event)
        if progress and found.checked % BATCH == 0:
            progress(found.checked)
    walk.end()
    if head and head.number < found.first:
        found.tell(f"Number {head.number:,} is older than the oldest event that is kept ({found.first:,}).")
    return found


def _events() -> Iterator[Any]:
    after = 0
    while rows := list(AuditEvent.objects.filter(number__gt=after).order_by("number")[:BATCH]):
        yield from rows
        after = rows[-1].number


def cuts() -> Iterator[Head]:
    """Where retention cut the chain, by events that this program wrote itself."""
    for details in AuditEvent.objects.filter(action=CUT).values_list("details", flat=True):
        if not isinstance(details, dict):
            continue
        cut = Head(details.get("number", 0), details.get("seal", ""))
        if is_marked(cut, details.get("count", 0), str(details.get("mark", ""))):
            yield cut


def _numbers(first: int, last: int) -> str:
    if first == last:
        return f"number {first:,}"
    return f"numbers {first:,} to {last:,} ({last - first + 1:,} events)"
