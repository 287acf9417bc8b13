"""Capacity that is true: how many bytes of a pool are used, promised and free, and what to say about it.

libvirt's numbers mean different things by type of pool; `Space.numbers` says how they are to be read.
"""

from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from pools.models import Pool
from storagemgr.templatetags.storage import count, percent, size
from storagemgr.virt.pool_types import Numbers, pool_type

WARN, BAD = 80, 90
LUNS_DRAWN = 12


@dataclass(frozen=True)
class Segment:
    """A piece of a bar, in per cent of its width."""

    start: float
    width: float


@dataclass(frozen=True)
class Brief:
    """`small` may go where there is no room when it `is_extra`."""

    figure: str = ""
    text: str = ""
    small: str = ""
    is_extra: bool = False


@dataclass(frozen=True)
class Space:
    """Sizes in bytes. `growth`: what the volumes may still take beyond what they take now."""

    numbers: Numbers
    capacity: int
    used: int
    free: int
    promised: int
    growth: int
    volume_count: int
    is_past: bool = False  # as last seen, not as it is now
    is_stopped: bool = False

    @property
    def is_measured(self) -> bool:
        """Used and free mean what they say."""
        return self.numbers in ("normal", "raw") and self.capacity > 0

    @property
    def was_never_seen(self) -> bool:
        return self.is_stopped and self.capacity == 0

    @property
    def used_percent(self) -> int:
        return min(100, self.used * 100 // self.capacity) if self.capacity else 0

    @property
    def level(self) -> str:
        if not self.is_measured or self.used_percent < WARN:
            return ""
        return "bad" if self.used_percent >= BAD else "warn"

    @property
    def promised_free(self) -> int:
        """What is free now and already promised to volumes."""
        return min(self.growth, self.free)

    @property
    def promised_free_words(self) -> str:
        return "Free, but promised" if self.unpromised else "Free, all of it promised"

    @property
    def beyond(self) -> int:
        """What volumes may take although it is not there."""
        return max(0, self.growth - self.free)

    @property
    def unpromised(self) -> int:
        return self.free - self.promised_free

    @property
    def used_segment(self) -> Segment:
        return Segment(0, _share(self.used, self.capacity))

    @property
    def promised_segment(self) -> Segment:
        start = self.used_segment.width
        return Segment(start, min(100 - start, _share(self.promised_free, self.capacity)))

    @property
    def lun_segments(self) -> list[Segment]:
        number = min(max(self.volume_count, 1), LUNS_DRAWN)
        width = 100 / number
        return [Segment(round(i * width + 0.6, 1), round(width - 1.2, 1)) for i in range(number)]

    @property
    def alarm(self) -> str:
        """The level, but not of numbers from the past."""
        return "" if self.is_past else self.level

    @property
    def colour(self) -> str:
        if self.is_past:
            return "cap-still"
        return f"cap-{self.level}" if self.level else ""

    @property
    def brief(self) -> Brief:
        """The few words beside the bar in a list."""
        if self.was_never_seen:
            return Brief(text="Never seen running")
        if self.numbers == "luns" and self.capacity:
            return Brief(text=count(self.volume_count, "fixed LUN"), small=size(self.capacity))
        if self.numbers == "none" or not self.capacity:
            return Brief(
                text="No size", small=count(self.volume_count, "device map") if self.volume_count else ""
            )
        if self.is_stopped:
            return Brief(text=f"Last seen {size(self.used)}", small=f"of {size(self.capacity)}")
        figure, text = percent(self.used_percent), f"of {size(self.capacity)}"
        if self.numbers == "raw":
            return Brief(figure, text, "raw")
        if self.beyond:
            return Brief(figure, text, f"· {size(self.promised)} promised", is_extra=True)
        return Brief(figure, text)

    @property
    def label(self) -> str:
        """The bar in words, for those who do not see it."""
        if self.numbers == "luns":
            return f"{count(self.volume_count, 'fixed LUN')}, {size(self.capacity)} together"
        text = f"{percent(self.used_percent)} of {size(self.capacity)} really used"
        if self.growth:
            text += f", volumes may take another {size(self.growth)}"
        return text + (", more than is free" if self.beyond else "")

    @property
    def sentence(self) -> tuple[str, str]:
        """The answer to "how full is it", the weightiest part first."""
        if self.numbers == "luns" and self.capacity:
            return (
                f"{count(self.volume_count, 'fixed LUN')}, {size(self.capacity)} together.",
                "Each is as large as its storage made it; there is nothing to fill or to run out of.",
            )
        if self.numbers == "none":
            maps = count(self.volume_count, "device map")
            return "No size.", f"It lists {maps} of the host; the storage behind them has its own limits."
        if self.was_never_seen:
            return "Never seen running.", "Its size is known once it was started."
        if not self.capacity:
            return "No size.", "libvirt gives no numbers for this pool."
        return self._measured_sentence()

    def _measured_sentence(self) -> tuple[str, str]:
        used = (
            f"{percent(self.used_percent)} of {size(self.capacity)}{' raw' if self.numbers == 'raw' else ''}"
        )
        if self.is_stopped:
            return f"{used} was really used", "when it was last seen running."
        if self.numbers == "raw":
            return f"{used} is really used.", "Raw counts every copy that Ceph keeps of the same data."
        if self.promised > self.capacity:
            promised = f"{size(self.promised)} is promised on {size(self.capacity)}"
            return f"{promised},", f"{percent(self.used_percent)} is really used."
        if self.volume_count == 0:
            return f"{used} is used.", "It holds no volumes."
        return f"{used} is really used,", f"{size(self.promised)} is promised to volumes."


def _share(part: int, whole: int) -> float:
    return round(min(100.0, part * 100 / whole), 1) if whole else 0.0


def space_of(pool: Any) -> Space:
    """Of a Pool, or of a row with its columns, `kind`, `answers` and `is_active`."""
    return Space(
        numbers=pool.kind.numbers,
        capacity=pool.capacity,
        used=pool.allocation,
        free=pool.available,
        promised=pool.promised,
        growth=max(0, pool.promised - pool.volume_allocation),
        volume_count=pool.volume_count,
        is_past=not pool.answers or not pool.is_active,
        is_stopped=not pool.is_active,
    )


class Known(NamedTuple):
    """What the sum, the filters and the notices need of each pool, however many there are. Sizes in bytes."""

    host_id: int
    host__name: str
    host__state: str
    type: str
    source: str
    state: str
    capacity: int
    allocation: int
    available: int
    promised: int
    volume_allocation: int
    volume_count: int
    shown_as: str  # see pools/states.py
    needs_attention: bool


# The source of these lies on a server and is the same storage for every host that names it so.
SHARED = ("netfs", "gluster", "vstorage")


@dataclass
class FleetSpace:
    """The sum over pools whose numbers can be added up. Not summed by the database: bytes outgrow its integers."""

    pools: int = 0
    hosts: set[int] = field(default_factory=set)
    left_out: set[str] = field(default_factory=set)
    summed: list[Known] = field(default_factory=list)
    shared: set[tuple[str, str]] = field(default_factory=set)

    def add(self, pool: Known) -> None:
        self.pools += 1
        self.hosts.add(pool.host_id)
        numbers = pool_type(pool.type).numbers
        if pool.state == Pool.State.INACTIVE:
            self.left_out.add("stopped pools")
        elif numbers == "luns":
            self.left_out.add("fixed LUNs")
        elif numbers == "raw":
            self.left_out.add("Ceph (raw)")
        elif numbers == "none" or not pool.capacity:
            self.left_out.add("pools without a size")
        elif (pool.type, pool.source) in self.shared:
            self.left_out.add("what another pool shows already")
        else:
            self.summed.append(pool)
            if pool.type in SHARED and pool.source:
                self.shared.add((pool.type, pool.source))

    @cached_property
    def total(self) -> Space:
        return Space(
            numbers="normal",
            capacity=sum(pool.capacity for pool in self.summed),
            used=sum(pool.allocation for pool in self.summed),
            free=sum(pool.available for pool in self.summed),
            promised=sum(pool.promised for pool in self.summed),
            growth=sum(
                min(max(0, pool.promised - pool.volume_allocation), pool.available) for pool in self.summed
            ),
            volume_count=sum(pool.volume_count for pool in self.summed),
        )

    @property
    def sentence(self) -> tuple[str, str]:
        where = f"{count(self.pools, 'pool')} on {count(len(self.hosts), 'host')}."
        total = self.total
        if not total.capacity:
            return where, "None of them has a size that can be added up."
        used = f"{percent(total.used_percent)} of {size(total.capacity)} is really used"
        return where, f"{used}, {size(total.promised)} is promised to volumes."

    @property
    def maybe_shared(self) -> int:
        """How many directory pools are as large as another of their host: most likely they lie on one file system."""
        alike = Counter((pool.host_id, pool.capacity) for pool in self.summed if pool.type == "dir")
        return sum(number for number in alike.values() if number > 1)

    @property
    def left_out_words(self) -> str:
        words = sorted(self.left_out, key=str.lower)
        return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
