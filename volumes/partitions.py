"""The name that the next partition of a disk will get: the kernel numbers them, and libvirt wants the name before."""

import re

from pools.devices import names_of, source_of
from pools.models import Pool

PRIMARIES = 4  # of a dos table; those behind are in an extended partition
NAME = re.compile(r"(.*\d)p(\d+)|(.*\D)(\d+)")
DISK = re.compile(r"/dev/([a-z0-9]+)")


def next_partition(pool: Pool) -> str:
    """ "sdb3"; "" where the disk is named by a link and nothing on it tells its own name."""
    numbers, disks = set(), []
    for name in pool.volumes.order_by("name").values_list("name", flat=True):
        if match := NAME.fullmatch(name):
            disks.append(match[1] or match[3])
            numbers.add(int(match[2] or match[4]))
    disk = _disk_of(pool) or (disks[0] if disks else "")
    if not disk:
        return ""
    separator = "p" if disk[-1].isdigit() else ""
    return f"{disk}{separator}{_next_number(numbers, is_dos=source_of(pool, 'format/@type') == 'dos')}"


def _disk_of(pool: Pool) -> str:
    """Its name as the kernel has it, by the pool's source or by what a look at the device found."""
    if match := DISK.fullmatch(pool.source):
        return match[1]
    return next((match[1] for name in sorted(names_of(pool)) if (match := DISK.fullmatch(name))), "")


def _next_number(numbers: set[int], *, is_dos: bool) -> int:
    """As parted gives them: the lowest that is free, but those in an extended partition without gaps."""
    primaries = {number for number in numbers if number <= PRIMARIES}
    if is_dos and len(primaries) == PRIMARIES:
        return max([PRIMARIES, *numbers]) + 1
    return next(number for number in range(1, len(numbers) + 2) if number not in numbers)


def why_no_partition(pool: Pool) -> str:
    if next_partition(pool):
        return ""
    return (
        f"The pool names its disk {pool.source}, so nobody can tell what the kernel will call the first partition. "
        "Make it with virsh vol-create-as, then refresh."
    )
