"""The ways in which libvirt can overwrite a volume. Imports no libvirt."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class Algorithm:
    """`name`: libvirt's, as virsh takes it. `passes`: how often every byte is written; 0: none is."""

    name: str
    title: str
    passes: int
    words: str
    needs_scrub: bool = True

    def __str__(self) -> str:
        times = {0: "writes nothing", 1: "1 pass"}.get(self.passes, f"{self.passes} passes")
        return f"{self.title} ({times})"


_ALL = (
    Algorithm("zero", "Zeros", 1, "0x00, by libvirt itself", needs_scrub=False),
    Algorithm("random", "Random", 1, "random bytes"),
    Algorithm("dod", "DoD 5220.22-M", 3, "random, 0x00, 0xff, then read to verify"),
    Algorithm("nnsa", "NNSA NAP-14.1-C", 3, "twice random, 0x00, then read to verify"),
    Algorithm("schneier", "Schneier", 7, "0x00, 0xff, five times random"),
    Algorithm("pfitzner7", "Pfitzner 7", 7, "seven times random"),
    Algorithm("bsi", "BSI", 9, "0xff, 0xfe, 0xfd, 0xfb, 0xf7, 0xef, 0xdf, 0xbf, 0x7f"),
    Algorithm("pfitzner33", "Pfitzner 33", 33, "33 times random"),
    Algorithm("gutmann", "Gutmann", 35, "the 35 patterns of Gutmann"),
    Algorithm("trim", "Trim", 0, "the storage is told to discard the blocks", needs_scrub=False),
)

ALGORITHMS: Mapping[str, Algorithm] = MappingProxyType({entry.name: entry for entry in _ALL})
ZERO = ("zero",)
# What runs a program on a path of the host.
PATTERNS = ("zero", *(entry.name for entry in _ALL if entry.needs_scrub))


def is_behind_a_link(path: str) -> bool:
    """Whether udev made `path` as a link to the device, as for LVM, multipath and all below /dev/disk.

    scrub 2.6.1, the newest there is, writes nothing there and ends well, and so does libvirt.
    """
    return path.startswith("/dev/") and path.count("/") > len(("", "dev"))


def algorithm(name: str) -> Algorithm:
    """The entry for `name`, also of one that this table does not know (any more)."""
    return ALGORITHMS.get(name) or Algorithm(name, name, 0, "")
