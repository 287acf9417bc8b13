"""Links, sockets, devices and the like in the directory of a pool, which libvirt lists as if they were volumes.

libvirt follows a link, and so would hand out any file of the host. They can be told apart on this machine alone: no
call of libvirt says what a name in a directory is. Where the host is another machine, nothing is marked.
"""

import os
import stat
from collections.abc import Iterable
from functools import partial
from itertools import islice

from pools.models import Pool
from storagemgr.hosts import calls
from volumes.models import Volume

LOOK_S = 2.0
NAMES_LOOKED_AT = 50_000
_OF_FILES = frozenset({"dir", "fs", "netfs", "vstorage"})
_BATCH = 1000


def mark(pool: Pool, names: Iterable[str] | None = None) -> None:
    """Write down which volumes of the pool are special; `names`: look at these alone.

    A directory that does not answer in time leaves everything as it was.
    """
    if pool.host.transport != "local" or pool.type not in _OF_FILES or not pool.target_path:
        return
    look = (
        partial(_special_in, pool.target_path)
        if names is None
        else partial(_special_of, pool.target_path, names)
    )
    key = ("special", pool.pk)
    if calls.overdue_since(key):
        return
    try:
        found = calls.within(LOOK_S, key, look, lambda late: None)
    except calls.Overdue:
        return
    if found is not None:
        _write(pool, found, names)


def _special_in(directory: str) -> set[str] | None:
    """None when the directory is not to be seen from here, as from within a container."""
    try:
        with os.scandir(directory) as entries:
            return {entry.name for entry in islice(entries, NAMES_LOOKED_AT) if _is_special_entry(entry)}
    except (OSError, ValueError):
        return None


def _is_special_entry(entry: "os.DirEntry[str]") -> bool:
    """The directory itself says what its entries are: nothing is opened."""
    try:
        return not (entry.is_file(follow_symlinks=False) or entry.is_dir(follow_symlinks=False))
    except OSError:
        return False


def _special_of(directory: str, names: Iterable[str]) -> set[str]:
    return {name for name in names if _is_special(os.path.join(directory, name))}


def _is_special(path: str) -> bool:
    try:
        mode = os.lstat(path).st_mode
    except (OSError, ValueError):
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def _write(pool: Pool, found: set[str], names: Iterable[str] | None) -> None:
    rows = Volume.objects.filter(pool=pool)
    if names is not None:
        rows = rows.filter(name__in=list(names))
    marked = set(rows.filter(is_special=True).values_list("name", flat=True))
    for is_special, changed in ((True, sorted(found - marked)), (False, sorted(marked - found))):
        for start in range(0, len(changed), _BATCH):
            rows.filter(name__in=changed[start : start + _BATCH]).update(is_special=is_special)
