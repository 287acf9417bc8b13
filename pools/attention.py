"""What a person should look at first, from the rows alone."""

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.urls import reverse

from pools.capacity import BAD, Known, space_of
from pools.models import Pool
from pools.places import storage_key
from pools.rows import LISTED
from pools.states import ATTENTION
from pools.trend import Forecast, filling
from storagemgr.access.scopes import Actor
from storagemgr.hosts.models import Host
from storagemgr.templatetags.storage import count, moment, percent, printable

UNVERIFIED_SHOWN = 5
SOON_DAYS = 28


@dataclass(frozen=True)
class Notice:
    """A sentence whose `subject` links to the page `view` of the object `pk`, followed by `text`."""

    level: str
    subject: str
    text: str
    since: datetime | None
    view: str
    pk: int

    @property
    def icon(self) -> str:
        if self.view == "hosts:host":
            return "wifi-off"
        return "exclamation-octagon" if self.level == "bad" else "exclamation-triangle"

    @property
    def url(self) -> str:
        return reverse(self.view, args=[self.pk])


def notices(user: Actor, pools: Sequence[Known]) -> list[Notice]:
    """Worst first. `pools` are all that the person sees."""
    found = _silent_hosts(pools)
    if any(pool.needs_attention and pool.host__state == Host.State.UP for pool in pools):
        sick = Pool.objects.visible_to(user).filter(ATTENTION, host__state=Host.State.UP)
        found += filter(None, map(_of_pool, sick.only(*LISTED).prefetch_related("host")))
    found += _filling(user)
    found += _unverified(user)
    return sorted(found, key=lambda notice: notice.level != "bad")


def _silent_hosts(pools: Sequence[Known]) -> list[Notice]:
    silent = Counter(
        pool.host_id for pool in pools if pool.host__state in (Host.State.DOWN, Host.State.SILENT)
    )
    if not silent:
        return []
    return [
        Notice(
            "bad",
            printable(host),
            f"{'has not answered' if host.state == Host.State.SILENT else 'refuses connections'} since "
            f"{moment(host.state_since)}. "
            f"{'Its pool shows' if silent[host.pk] == 1 else f'Its {silent[host.pk]} pools show'} "
            "what was last seen.",
            host.state_since,
            "hosts:host",
            host.pk,
        )
        for host in Host.objects.filter(pk__in=silent)
    ]


def _of_pool(pool: Pool) -> Notice | None:
    space = space_of(pool)

    def notice(level: str, text: str, since: datetime | None) -> Notice:
        text = f"on {printable(pool.host)} {text}"
        return Notice(level, printable(pool.name), text, since, "pools:pool", pool.pk)

    if pool.unreachable_since:
        return notice(
            "bad", "does not answer, its host does. Its numbers are the last seen.", pool.unreachable_since
        )
    if pool.state == Pool.State.INACCESSIBLE:
        return notice("bad", "is inaccessible: libvirt cannot read its storage.", pool.state_since)
    if pool.refresh_error:
        stopped = "and so libvirt stopped it" if not pool.is_active else "and shows what was last read"
        return notice("bad", f"could not be read at its last refresh, {stopped}.", pool.state_since)
    if pool.autostart and not pool.is_active:
        return notice("warn", "is stopped, though it should start with its host.", pool.state_since)
    if space.level and pool.is_active:
        level = "bad" if space.used_percent >= BAD else "warn"
        return notice(level, f"is {percent(space.used_percent)} full.", None)
    if pool.state == Pool.State.DEGRADED:
        return notice("warn", "is degraded: a part of its storage is missing.", pool.state_since)
    return None


def _filling(user: Actor) -> list[Notice]:
    """What is not nearly full yet, and will be."""
    soon = {pk: forecast for pk, forecast in filling().items() if forecast.is_within(SOON_DAYS)}
    if not soon:
        return []
    visible = Pool.objects.visible_to(user).filter(
        pk__in=soon, unreachable_since=None, host__state=Host.State.UP
    )
    groups: dict[Hashable, list[Pool]] = {}
    for pool in visible.only(*LISTED, "source").prefetch_related("host"):
        if not space_of(pool).level:
            groups.setdefault(storage_key(pool.type, pool.source, pool.pk), []).append(pool)
    return [_of_filling(pools, soon[pools[0].pk]) for pools in groups.values()]


def _of_filling(pools: Sequence[Pool], forecast: Forecast) -> Notice:
    """The same storage on several hosts is one notice."""
    first, others = pools[0], len(pools) - 1
    where = f"on {printable(first.host)}" + (f" and {count(others, 'other host')}" if others else "")
    words = f"{where} is {forecast.words[0].lower()}{forecast.words[1:]}"
    return Notice("warn", printable(first.name), words, None, "pools:pool", first.pk)


def _unverified(user: Actor) -> list[Notice]:
    volumes = Pool.objects.visible_to(user).filter(volumes__unverified_since__isnull=False)
    # By that time and not by id: so the few that are unverified are found by their index.
    rows = volumes.order_by("-volumes__unverified_since").values_list(
        "name", "volumes__pk", "volumes__name", "volumes__unverified_since"
    )
    return [
        Notice(
            "warn",
            printable(name),
            f"in {printable(pool)} is an unverified copy: libvirt was restarted while it was made.",
            since,
            "volumes:volume",
            pk,
        )
        for pool, pk, name, since in rows[:UNVERIFIED_SHOWN]
    ]
