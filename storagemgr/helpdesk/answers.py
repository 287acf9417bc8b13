"""What is known of a host, a pool, a VM or a volume, in words that can be read out on the phone."""

from collections import defaultdict
from collections.abc import Sequence
from urllib.parse import urlencode
from uuid import UUID

from django.db.models import Q
from django.urls import reverse

from pools.models import Pool
from pools.places import Storage
from pools.states import pool_state
from pools.trend import Forecast, forecasts_of
from storagemgr.access.scopes import Actor, scope
from storagemgr.helpdesk.words import NO_OWNER, Answer, Fact, dated, listed, since
from storagemgr.hosts.models import Host
from storagemgr.hosts.states import State, host_state
from storagemgr.templatetags.storage import count, percent, printable, size
from volumes.models import DiskUse, Volume
from volumes.rows import VolumeRow, rows_of

DISKS_SHOWN = 12


def of_hosts(user: Actor, hosts: Sequence[Host]) -> list[Answer]:
    states: dict[int, list[str]] = defaultdict(list)
    pools = Pool.objects.visible_to(user).filter(host__in=[host.pk for host in hosts]).order_by()
    for pk, state in pools.values_list("host_id", "state"):
        states[pk].append(state)
    return [_of_host(host, states[host.pk]) for host in hosts]


def _of_host(host: Host, pools: Sequence[str]) -> Answer:
    look, stopped = host_state(host), sum(state == Pool.State.INACTIVE for state in pools)
    if host.answers:
        says = f"It is up{since(host.state_since)}. It has {count(len(pools), 'pool')} that you can see"
        says += f", {stopped} of them stopped." if stopped else "."
    elif host.state == Host.State.UNKNOWN:
        says = "It was never reached yet, so nothing is known of it."
    else:
        says = f"It has not answered{since(host.state_since)}. Its VMs may run normally; we cannot see them."
    notes = [printable(host.note)] if host.note else []
    url = f"{reverse('pools:fleet')}?{urlencode({'host': host.name})}" if pools else ""
    facts = [Fact("Pools", f"{len(pools)}", url)]
    return Answer(
        "Host",
        f"host-{host.pk}",
        printable(host.name),
        "",
        look,
        says,
        facts,
        host.get_absolute_url(),
        notes=notes,
    )


def of_storages(user: Actor, storages: Sequence[Storage]) -> list[Answer]:
    ids = [place.pk for one in storages for place in one.places]
    rows = (
        Pool.objects.visible_to(user).filter(pk__in=ids).select_related("host", "notes__owner").defer("xml")
    )
    pools = {pool.pk: pool for pool in rows}
    running = [pools[one.best.pk] for one in storages if one.best.is_running]
    forecasts = forecasts_of(running)
    return [_of_storage(one, pools, forecasts.get(one.best.pk)) for one in storages]


def _of_storage(one: Storage, pools: dict[int, Pool], forecast: Forecast | None) -> Answer:
    best, space = pools[one.best.pk], one.best.space
    look, notes = pool_state(best), [pools[place.pk] for place in one.places]
    facts = [Fact("Owner", f"team {one.owner}" if one.owner else NO_OWNER), *_of_notes(notes)]
    if len(one.hosts) > 1:
        facts.append(Fact("Hosts", one.hosts_in_full))
    ill = [printable(place.host__name) for place in one.places if not place.is_running]
    if ill and one.best.is_running:
        facts.append(Fact("Not running on", listed(ill)))
    facts += [Fact("Kind", best.kind.title, more=printable(best.source) if best.source else "")]
    return Answer(
        kind="Pool",
        key=f"pool-{best.pk}",
        name=one.name,
        where=one.where,
        state=look,
        says=_space_words(one, forecast),
        facts=facts,
        url=best.get_absolute_url(),
        pk=best.pk,
        space=space if space.capacity and not space.was_never_seen else None,
    )


def _space_words(one: Storage, forecast: Forecast | None) -> str:
    space = one.best.space
    if not space.is_measured:
        return " ".join(space.sentence)
    raw = " raw" if space.numbers == "raw" else ""
    if space.is_past:
        return (
            f"When it was last seen, {percent(space.used_percent)} of {size(space.capacity)}{raw} was used."
        )
    parts = [
        f"{percent(space.used_percent)} of {size(space.capacity)}{raw} is really used, {size(space.free)} is free."
    ]
    if space.beyond:
        parts.append(f"More is promised than there is: {size(space.promised)}.")
    if forecast:
        parts.append(forecast.words)
    return " ".join(parts)


def _of_notes(pools: Sequence[Pool]) -> list[Fact]:
    """What people wrote, once where it is the same on every host."""
    found: dict[tuple[str, str], Fact] = {}
    for pool in pools:
        notes = getattr(pool, "notes", None)
        for name, text in (("Ticket", notes.ticket), ("Note", notes.note)) if notes else ():
            if text:
                found[name, text] = Fact(name, printable(text), notes.ticket_url if name == "Ticket" else "")
    return list(found.values())


def of_vms(user: Actor, keys: Sequence[tuple[int, UUID]]) -> list[Answer]:
    """By host and UUID. Only the disks that the person may see are named or counted."""
    if not keys:
        return []
    wanted = Q(host__in={host for host, _ in keys}, domain_uuid__in={uuid for _, uuid in keys})
    rows = DiskUse.objects.visible_to(user).filter(wanted, kind="disk").select_related("host", "volume__pool")
    uses: dict[tuple[int, UUID], list[DiskUse]] = defaultdict(list)
    for use in rows.order_by("target", "pk").defer("volume__pool__xml"):
        uses[use.host_id, use.domain_uuid].append(use)
    return [_of_vm(user, uses[key]) for key in keys if uses[key]]


def _of_vm(user: Actor, uses: Sequence[DiskUse]) -> Answer:
    first = uses[0]
    host, is_running = first.host, any(use.running for use in uses)
    word = (
        ("Running" if is_running else "Shut off")
        if host.answers
        else "Last seen " + ("running" if is_running else "shut off")
    )
    look = State(
        "ok" if is_running and host.answers else "", "check-circle" if is_running else "dash-circle", word
    )
    says = f"It is {'running' if is_running else 'shut off'} on {printable(host)} and has {count(len(uses), 'disk')}."
    if not host.answers:
        look = State("", "wifi-off", word)
        says = f"Its host {printable(host)} has not answered{since(host.state_since)}; this is what was last seen."
    facts = [_of_disk(user, use) for use in uses[:DISKS_SHOWN]]
    if len(uses) > DISKS_SHOWN:
        facts.append(Fact("And", f"{len(uses) - DISKS_SHOWN} more disks"))
    return Answer(
        "VM", f"vm-{first.pk}", printable(first.domain_name), f"on {printable(host)}", look, says, facts
    )


def _of_disk(user: Actor, use: DiskUse) -> Fact:
    volume, name = use.volume, printable(use.target or "disk")
    if volume is None or not scope(user, "pool.view").covers(volume.pool.host_id, volume.pool.uuid):
        return Fact(
            name, printable(use.path or use.volume_name or "empty"), more="in no pool that you can see"
        )
    more = f"in {printable(volume.pool.name)}, {size(volume.allocation)} of {size(volume.capacity)} used"
    return Fact(name, printable(volume.name), volume.get_absolute_url(), more)


def of_volumes(user: Actor, ids: Sequence[int]) -> list[Answer]:
    rows = Volume.objects.visible_to(user).filter(pk__in=ids).select_related("pool__host").defer("pool__xml")
    volumes = {volume.pk: volume for volume in rows}
    shown = {row.volume.pk: row for row in rows_of([volumes[pk] for pk in ids if pk in volumes], user)}
    pools = {volume.pool_id for volume in volumes.values()}
    named = Pool.objects.filter(pk__in=pools, notes__owner__isnull=False)
    owners = dict(named.order_by().values_list("pk", "notes__owner__name"))
    return [_of_volume(shown[pk], owners.get(shown[pk].volume.pool_id, "")) for pk in ids if pk in shown]


def _of_volume(row: VolumeRow, pool_owner: str) -> Answer:
    volume, notes = row.volume, row.notes
    owner = f"team {printable(notes.owner)}" if notes and notes.owner else NO_OWNER
    more = f"its pool belongs to team {printable(pool_owner)}" if pool_owner and owner == NO_OWNER else ""
    facts = [
        Fact("Owner", owner, more=more),
        Fact(
            "Where",
            printable(volume.pool.name),
            volume.pool.get_absolute_url(),
            f"on {printable(volume.pool.host)}",
        ),
    ]
    if notes and notes.ticket:
        facts.append(Fact("Ticket", printable(notes.ticket), notes.ticket_url))
    if notes and notes.note:
        facts.append(Fact("Note", printable(notes.note)))
    if notes and notes.is_protected:
        facts.append(Fact("Protected", printable(notes.protected_because) or "yes"))
    says = f"{_used_by(row)} It takes {size(volume.allocation)} and can grow to {size(volume.capacity)}."
    if volume.allocation >= volume.capacity:
        says = f"{_used_by(row)} It takes {size(volume.allocation)}, all of its size."
    if row.due_at:
        says += f" It will be deleted on {dated(row.due_at)}; somebody who may can still stop that."
    return Answer(
        kind="Volume",
        key=f"volume-{volume.pk}",
        name=printable(volume.name),
        where=f"in {printable(volume.pool.name)} on {printable(volume.pool.host)}",
        state=_volume_state(row),
        says=says,
        facts=facts,
        url=volume.get_absolute_url(),
    )


def _volume_state(row: VolumeRow) -> State:
    pool = row.volume.pool
    if not pool.answers or not pool.is_active:
        look = pool_state(pool)
        return State(look.kind, look.icon, f"Pool {look.word.lower()}", look.since)
    if row.volume.unverified_since:
        return State("warn", "exclamation-triangle", "Unverified", row.volume.unverified_since)
    if row.vm_count or row.children:
        return State("ok", "check-circle", "In use")
    return State("", "dash-circle", "No VM uses it")


def _used_by(row: VolumeRow) -> str:
    """The sentence that says which VM uses it."""
    if row.only_vm:
        name, runs = row.only_vm
        return f"VM {printable(name)} uses it and is {'running' if runs else 'shut off'}."
    vms = [f"{printable(name)} ({'running' if runs else 'shut off'})" for name, runs in row.vms.items()]
    if row.hidden_vms:
        vms.append(f"{count(row.hidden_vms, 'VM')} that you may not see")
    if vms:
        return f"Used by {listed(vms)}."
    if row.children:
        verb = "is" if row.children == 1 else "are"
        return f"No VM uses it itself; {count(row.children, 'volume')} {verb} built on it."
    return "No VM that we know of uses it."
