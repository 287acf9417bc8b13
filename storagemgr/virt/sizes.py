"""Sizes as libvirt counts them: unsigned, in 64 bits, and subtracted without a look at what is left."""

from collections.abc import Iterable

LARGEST = 2**63 - 1


def counted(number: int) -> int:
    """`number` of libvirt, at least 0: libvirt gave 16 EiB less some MiB as the allocation of an emptied Ceph pool.

    The header of an image may claim as much, too; more than a signed number of 64 bits holds is nobody's disk.
    """
    return number if 0 <= number <= LARGEST else 0


def total(numbers: Iterable[int]) -> int:
    """Their sum, at most what a signed number of 64 bits holds."""
    return min(LARGEST, sum(numbers))
