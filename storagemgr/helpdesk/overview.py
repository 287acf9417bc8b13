"""What is wrong now, and what is full or will be: the two lists of the page that nobody has asked anything yet."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from pools.capacity import BAD, WARN, Space
from pools.models import Pool
from pools.places import Place, Storage
from pools.trend import Forecast
from storagemgr.access.scopes import Actor
from storagemgr.hosts.models import Host
from storagemgr.hosts.states import State
from storagemgr.templatetags.storage import count, percent, printable, size

SHOWN = 8
FULL_SHOWN = 10
FEW = 24  # storages: of so many each is shown
SOON = 90  # days


@dataclass(frozen=True)
class Trouble:
    """`subject` is what it is about, `text` goes on after it."""

    level: str
    icon: str
    subject: str
    text: str
    url: str
    since: datetime | None = None


@dataclass(frozen=True)
class Filled:
    """A storage that is full, or will be."""

    storage: Storage
    level: str
    icon: str
    text: str
    url: str
    space: Space
    days: float


@dataclass(frozen=True)
class Rest:
    """A storage that is neither."""

    storage: Storage
    state: State
    text: str
    url: str
    space: Space


def troubles(user: Actor, storages: Sequence[Storage]) -> list[Trouble]:
    """Worst first."""
    silent = Host.objects.visible_to(user).filter(state__in=(Host.State.SILENT, Host.State.DOWN))
    found = [_silent(host) for host in silent]
    ill = list(_ill(storages))
    rows = Pool.objects.filter(pk__in=[one.places[0].pk for one, _, _ in ill[: 4 * SHOWN]])
    since = {pool.pk: pool for pool in rows.only("state_since", "unreachable_since")}
    for one, level, text in ill:
        place = one.places[0]
        pool = since.get(place.pk)
        at = (pool.unreachable_since or pool.state_since) if pool else None
        found.append(
            Trouble(
                level=level,
                icon="exclamation-octagon" if level == "bad" else "exclamation-triangle",
                subject=f"{one.name} {one.where}",
                text=text,
                url=_url(place),
                since=None if place.has_problem else at,
            )
        )
    return sorted(found, key=lambda one: one.level != "bad")


def _ill(storages: Sequence[Storage]) -> Iterator[tuple[Storage, str, str]]:
    """What several hosts have with the same storage is said once."""
    for one in storages:
        groups: dict[tuple[str, str], list[Place]] = {}
        for place in one.places:
            if illness := _illness(place):
                groups.setdefault(illness, []).append(place)
        for (level, text), places in groups.items():
            yield Storage(tuple(places)), level, text


def _silent(host: Host) -> Trouble:
    words = "does not answer" if host.state == Host.State.SILENT else "refuses to be asked"
    text = f"{words}. Its VMs may run normally; we cannot see them. What is shown of it was last seen then."
    return Trouble(
        "bad", "wifi-off", f"Host {printable(host)}", text, host.get_absolute_url(), host.state_since
    )


def _illness(place: Place) -> tuple[str, str] | None:
    """None also where the host is what is ill."""
    if not place.host_answers:
        return None
    if not place.answers:
        return "bad", "cannot be reached. VMs with disks there may hang or stop."
    if place.is_running and place.state == Pool.State.DEGRADED:
        return "warn", "is degraded: a part of its storage is missing. Its disks can still be used."
    if place.has_problem:
        return "warn", "could not be read the last time. Its figures may be old."
    return None


def full_or_soon(storages: Sequence[Storage], filling: Mapping[int, Forecast]) -> list[Filled]:
    """Fullest first, then what is full soonest."""
    found = list(_filled(storages, filling))
    return sorted(found, key=lambda one: (one.level != "bad", one.days, -one.space.used_percent))


def _filled(storages: Sequence[Storage], filling: Mapping[int, Forecast]) -> Iterator[Filled]:
    for one in storages:
        place = one.best
        if not place.is_running or not place.capacity or place.kind.numbers not in ("normal", "raw"):
            continue
        forecast = filling.get(place.pk)
        soon = forecast if forecast and forecast.is_within(SOON) else None
        percents = place.allocation * 100 // place.capacity
        if percents < WARN and not soon:
            continue
        level = "bad" if percents >= BAD or (soon and soon.days < 7) else "warn"
        text = f"is {percent(percents)} full, {size(place.available)} is free" + (
            f"; {soon.short}" if soon else ""
        )
        icon = "exclamation-octagon" if level == "bad" else "exclamation-triangle"
        yield Filled(one, level, icon, f"{text}.", _url(place), place.space, soon.days if soon else 9999)


def the_rest(storages: Sequence[Storage], full: Sequence[Filled]) -> list[Rest]:
    """How full each of the others is, by name."""
    said = {one.storage.best.pk for one in full}
    return [_rest(one) for one in storages if one.best.pk not in said]


def _rest(one: Storage) -> Rest:
    place, space = one.best, one.best.space
    if not space.is_measured:
        text = " ".join(space.sentence[:1])
    elif space.is_past:
        text = f"last seen {percent(space.used_percent)} full of {size(space.capacity)}"
    else:
        raw = " raw" if space.numbers == "raw" else ""
        text = f"{percent(space.used_percent)} full, {size(space.free)}{raw} is free"
    return Rest(one, place.look, f"{text.rstrip('.')}.", _url(place), space)


def everything_else(storages: Sequence[Storage], has_trouble: bool) -> str:
    """ "Everything else works: 32 pools on 5 hosts run." """
    well = [place for one in storages for place in one.places if place.is_running and not place.has_problem]
    hosts = {place.host_id for place in well}
    if not well:
        return ""
    stopped = sum(
        place.state == Pool.State.INACTIVE and place.host_answers for one in storages for place in one.places
    )
    text = f"{count(len(well), 'pool')} on {count(len(hosts), 'host')} {'runs' if len(well) == 1 else 'run'} normally"
    words = "Everything else works" if has_trouble else "Everything works"
    return f"{words}: {text}" + (
        f", {stopped} {'is' if stopped == 1 else 'are'} stopped." if stopped else "."
    )


def _url(place: Place) -> str:
    return Pool(pk=place.pk).get_absolute_url()
