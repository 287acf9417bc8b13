"""How many wrong passwords a name and an address have free. Counted in a table that all processes share.

A name that has no account is counted like one that has, so nothing tells them apart.
"""

import ipaddress
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from django.db.models import Q
from django.utils import timezone

from storagemgr.access.models import FailedSignIn

WINDOW = timedelta(minutes=5)
FREE = {"name": 5, "address": 20}  # wrong passwords within WINDOW
PAUSE, LONGEST = timedelta(minutes=5), timedelta(hours=1)  # doubled each time, up to the longest
KEPT = timedelta(days=1)
NAME_LIMIT = 150


class Lock(NamedTuple):
    kind: str  # "name" or "address"
    what: str
    until: datetime
    failures: int  # within KEPT


def locked_until(name: str = "", address: str | None = None, *, but: int = 0) -> datetime | None:
    """When a sign-in as this person, or from this address, is looked at again; None: now. `but`: without this row."""
    now = timezone.now()
    ends = [
        _end(list(_rows(**{kind: value}).exclude(pk=but).values_list("at", flat=True)), FREE[kind])
        for kind, value in (("name", _name(name)), ("address", _network(address)))
        if value
    ]
    return max((end for end in ends if end and end > now), default=None)


def begins(name: str, address: str | None) -> bool:
    """Whether the password may be looked at. Counted before that, so that a hundred tries at once are a hundred."""
    if locked_until(name, address):
        return False
    mine = _count(name, address)
    if locked_until(name, address, but=mine.pk):
        mine.delete()
        return False
    return True


def _count(name: str, address: str | None) -> FailedSignIn:
    return FailedSignIn.objects.create(name=_name(name), address=_network(address))


def lift(name: str = "", address: str | None = None) -> None:
    """Forgets what was wrong with this name, or from this address: also when the password was right."""
    _rows(**({"name": _name(name)} if name else {"address": _network(address)})).delete()


def locks() -> list[Lock]:
    """What is locked now; what is locked longest first."""
    now = timezone.now()
    found = []
    for kind, free in FREE.items():
        times: dict[str, list[datetime]] = {}
        rows = FailedSignIn.objects.filter(at__gt=now - KEPT).exclude(**{kind: None}).order_by("-at")
        for what, at in rows.values_list(kind, "at"):
            times.setdefault(what, []).append(at)
        for what, failed in times.items():
            if (end := _end(failed, free)) and end > now:
                found.append(Lock(kind, what, end, len(failed)))
    return sorted(found, key=lambda lock: lock.until, reverse=True)


def forget_old(now: datetime) -> None:
    old = FailedSignIn.objects.filter(at__lt=now - KEPT)
    if old.exists():
        old.delete()


def _rows(**where: str | None):  # type: ignore[no-untyped-def]
    return FailedSignIn.objects.filter(Q(**where), at__gt=timezone.now() - KEPT).order_by("-at")


def _end(times: Sequence[datetime], free: int) -> datetime | None:
    """`times`: of the failures, the latest first. Locked once `free` of them stand within one window."""
    if len([at for at in times if times[0] - at < WINDOW]) < free:
        return None
    return times[0] + min(PAUSE * 2 ** (len(times) // free - 1), LONGEST)


def _name(name: str) -> str:
    """As PostgreSQL finds an account: by its capitals, which the dotless i shares with the i."""
    return name.upper().casefold()[:NAME_LIMIT]


def _network(address: str | None) -> str | None:
    """Who has one IPv6 address mostly has its /64."""
    if not address:
        return None
    found = ipaddress.ip_address(address)
    if found.version == 4:
        return str(found)
    return str(ipaddress.IPv6Network((found, 64), strict=False).network_address)
