"""Can a disk of this size go here? Answered yes, yes but, or no for each storage, with the reason in words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pools.capacity import BAD, WARN
from pools.models import Pool
from pools.places import Place, Storage
from pools.trend import Forecast, about
from storagemgr.templatetags.storage import count, percent, size
from storagemgr.virt.pool_types import pool_type

Level = Literal["yes", "but", "no"]
SOON = 60  # days: to be full within them is a reason to ask first
COPIES = 3  # that Ceph usually keeps


@dataclass(frozen=True)
class Question:
    """`size` in bytes. `is_thin`: the disk takes only what is written to it, where the storage can do that."""

    size: int
    is_thin: bool = False


@dataclass(frozen=True)
class Fit:
    """`reasons`: parts of a sentence about the storage; of a "yes" what speaks for it."""

    storage: Storage
    level: Level
    reasons: tuple[str, ...]
    left: int = 0
    percent_after: int = 0

    @property
    def why(self) -> str:
        return "; ".join(self.reasons)

    @property
    def url(self) -> str:
        return Pool(pk=self.storage.best.pk).get_absolute_url()

    @property
    def order(self) -> tuple[int, int, int, str]:
        place = ("yes", "but", "no").index(self.level)
        return place, len(self.reasons) if place else 0, self.percent_after, self.storage.name

    @property
    def figures(self) -> str:
        space = self.storage.best.space
        if not space.is_measured:
            return ""
        raw = " raw" if space.numbers == "raw" else ""
        return (
            f"{percent(space.used_percent)} of {size(space.capacity)}{raw} used, {size(space.free)}{raw} free"
        )


def fits(question: Question, storages: Sequence[Storage], filling: Mapping[int, Forecast]) -> list[Fit]:
    """The best first. `filling`: when pools are full (pools.trend.filling)."""
    found = [fit(question, storage, filling.get(storage.best.pk)) for storage in storages]
    return sorted(found, key=lambda one: one.order)


def fit(question: Question, storage: Storage, forecast: Forecast | None) -> Fit:
    place = storage.best
    if reason := _why_never(place) or _why_no_room(question, place):
        return Fit(storage, "no", (reason,))
    taken, space = _taken(question, place), place.space
    after = (space.used + taken) * 100 // space.capacity
    doubts = tuple(_doubts(question, place, forecast, taken, after))
    left = space.free - taken
    if doubts:
        return Fit(storage, "but", doubts, left, after)
    good = f"{size(left)}{' raw' if space.numbers == 'raw' else ''} free{' after that' if taken else ''}"
    return Fit(storage, "yes", (good, "nothing promised beyond it"), left, after)


def _why_never(place: Place) -> str:
    if not place.host_answers:
        return "its host does not answer"
    if not place.answers:
        return "the storage does not answer"
    if place.state == Pool.State.INACTIVE:
        return "it is stopped"
    if not place.is_running:
        return "it is not ready"
    if place.kind.numbers == "luns":
        return "it holds fixed LUNs: new ones are made on the storage itself, by who looks after it"
    if place.kind.why_not("volume.create"):
        return "no disks can be made there"
    return "" if place.space.is_measured else "nobody knows how large it is"


def _why_no_room(question: Question, place: Place) -> str:
    space = place.space
    if _is_thin(question, place):
        return f"it is {percent(space.used_percent)} full" if space.used_percent >= BAD else ""
    return f"only {size(space.free)} is free" if question.size > space.free else ""


def _is_thin(question: Question, place: Place) -> bool:
    return question.is_thin and bool(pool_type(place.type).volume_formats)


def _taken(question: Question, place: Place) -> int:
    return 0 if _is_thin(question, place) else question.size


def _doubts(question: Question, place: Place, forecast: Forecast | None, taken: int, after: int) -> list[str]:
    space, found = place.space, []
    if after >= WARN:
        found.append(f"it {'would be' if taken else 'is'} {percent(after)} full")
    if question.size > space.free:
        found.append(f"only {size(space.free)} is free, so the disk could never be filled")
    elif space.growth + question.size > space.free:
        found.append(
            f"more would be promised than there is: {size(space.promised + question.size)} on {size(space.capacity)}"
        )
    if forecast and (days := forecast.sooner(taken)) < SOON:
        found.append(f"it would be full {about(days)} at the pace of the last {count(forecast.over, 'day')}")
    if space.numbers == "raw" and question.size * COPIES > space.free:
        found.append(f"Ceph keeps copies, and {COPIES} of this disk would not fit")
    if place.type == "disk":
        found.append("a partition needs its room in one piece, which cannot be seen from here")
    if place.state == Pool.State.DEGRADED:
        found.append("a part of its storage is missing")
    if place.has_problem:
        found.append("its last reading failed, so the figures may be old")
    return found
