"""The lines of the safety panel for a volume: what was looked at, who stands in the way, and what to do about it."""

from collections.abc import Iterator, Sequence

from django.urls import reverse

from pools.models import PoolNotes
from pools.notes import protection_of
from storagemgr.access.objects import may
from storagemgr.access.scopes import Actor
from storagemgr.jobs.models import Job, JobLock
from storagemgr.jobs.operations import Check
from storagemgr.templatetags.storage import count, moment_long, printable
from volumes.dependents import DESTROYS, IN_PLACE, Action, Look
from volumes.models import DiskUse, Volume, VolumeNotes

NAMED = 5
# How a VM has it, where that is not as a disk.
HOW = {
    "backing": "below its disk",
    "data": "as the data of its disk",
    "mirror": "as the target of a copy",
    "snapshot": "in a snapshot",
    "filesystem": "as a directory",
    "nvdimm": "as memory",
    "kernel": "as its kernel",
    "initrd": "as its initrd",
    "dtb": "as its device tree",
    "loader": "as its firmware",
    "nvram": "as its firmware's memory",
    "varstore": "as its firmware's memory",
}


def checks(volume: Volume, action: Action, user: Actor) -> list[Check]:
    """Every line, what stands in the way first. Nothing that this person may not see is named."""
    look = Look(volume)
    lines = [
        *_protection(look, action, user),
        *_vms(look, action, user),
        *_overlays(look, action, user),
        *_silent_hosts(look, action, user),
        *(_soundness(look) if action in IN_PLACE else ()),
        *_jobs(look, user),
    ]
    return sorted(lines, key=lambda line: line.is_ok + (line.is_ok and not line.advice))


def _protection(look: Look, action: Action, user: Actor) -> Iterator[Check]:
    if action not in DESTROYS:
        return
    for notes in look.protections:
        links, is_own = [], look.is_own(notes)
        noun = "volume" if isinstance(notes, VolumeNotes) else "pool"
        if is_own and may(user, "pool.unprotect", notes.host_id, notes.pool_uuid):
            pk = look.volume.pk if noun == "volume" else look.volume.pool_id
            links = [("Take the protection away", reverse(f"{noun}s:operate", args=[pk, "unprotect"]))]
        advice = "" if links else "Who protected it can say when that is over; a manager of the pool ends it."
        yield Check(protected_words(look, notes), is_ok=False, links=tuple(links), advice=advice)
    if not look.protections:
        yield Check("It is not protected, nor is its pool.")


def _vms(look: Look, action: Action, user: Actor) -> Iterator[Check]:
    blocking = look.uses_that_block(action)
    verb = "refers to it" if action in DESTROYS else "runs from it in a way that forbids it"
    if not blocking:
        who = f"No VM of {printable(look.volume.pool.host)}"
        if look.beside:
            who += f", nor of {count(len(look.beside), 'other host')} that see the same storage,"
        yield Check(f"{who} {verb}.")
        return
    here = look.volume.pool.host_id
    seen = set(
        DiskUse.objects.filter(pk__in=[u.pk for u in blocking]).visible_to(user).values_list("pk", flat=True)
    )
    named = [use for use in blocking if use.host_id == here or use.pk in seen]
    vms = _named_vms(named, here)
    hidden = {(use.host_id, use.domain_uuid) for use in blocking}
    hidden -= {(use.host_id, use.domain_uuid) for use in named}
    if hidden:
        vms.append(
            "a VM on another host" if len(hidden) == 1 else f"{count(len(hidden), 'VM')} on other hosts"
        )
    number = len({(use.host_id, use.domain_uuid) for use in blocking})
    what = "A VM refers" if number == 1 else f"{count(number, 'VM')} refer"
    advice = "Detach it there first: also from VMs that are shut off, and from their snapshots."
    if action not in DESTROYS:
        what, advice = "It is in use", "Shut the VMs down first."
    pks = {use.volume_id for use in named} - {None, look.volume.pk}
    yield Check(f"{what} to it: {'; '.join(vms)}.", is_ok=False, links=_links(look, pks, user), advice=advice)


def _named_vms(uses: Sequence[DiskUse], here: int) -> list[str]:
    found: dict[tuple[int, str], tuple[DiskUse, list[str]]] = {}
    for use in uses:
        how = HOW.get(use.kind) or f"as {use.target or use.device or 'a disk'}"
        found.setdefault((use.host_id, use.domain_name), (use, []))[1].append(how)
    words = [
        f"{printable(use.domain_name)}{'' if use.host_id == here else f' on {printable(use.host)}'} "
        f"({'running' if use.running else 'shut off'}, {', '.join(dict.fromkeys(hows))})"
        for use, hows in found.values()
    ]
    return [*words[:NAMED], f"{len(words) - NAMED} more"] if len(words) > NAMED else words


def _links(look: Look, pks: set[int] | set[int | None], user: Actor) -> tuple[tuple[str, str], ...]:
    """To the pages of volumes, as far as the person sees them."""
    rows = Volume.objects.visible_to(user).filter(pk__in=pks).select_related("pool__host")
    return tuple((_named(look, row), row.get_absolute_url()) for row in rows.order_by("name", "pk")[:NAMED])


def _named(look: Look, row: Volume) -> str:
    if row.pool_id == look.volume.pool_id:
        return printable(row)
    return f"{printable(row)} in {printable(row.pool)} on {printable(row.pool.host)}"


def _overlays(look: Look, action: Action, user: Actor) -> Iterator[Check]:
    if action not in DESTROYS:
        return
    children = set(look.children.order_by().values_list("pk", flat=True))
    if not children:
        yield Check("No volume is built on it.")
        return
    further = len(look.descendants - children)
    what = "One volume is" if len(children) == 1 else f"{count(len(children), 'volume')} are"
    text = f"{what} built on it"
    text += f", and {further} more on those" if further else ""
    vms = DiskUse.objects.filter(volume__in=look.descendants).order_by()
    number = vms.values("host_id", "domain_uuid").distinct().count()
    if number:
        text += f"; {count(number, 'VM')} would lose {'its' if number == 1 else 'their'} disks"
    advice = "Clone an overlay: the clone is whole and needs no base. Then delete the overlay."
    yield Check(f"{text}.", is_ok=False, links=_links(look, children, user), advice=advice)


def _jobs(look: Look, user: Actor) -> Iterator[Check]:
    locks = look.locks
    if not locks:
        yield Check("No job touches it.")
    visible = Job.objects.visible_to(user).filter(pk__in={lock.job_id for lock in locks})
    seen = set(visible.values_list("pk", flat=True))
    for lock in locks:
        if lock.job_id in seen:
            yield _job(lock)
    if hidden := {lock.job_id for lock in locks} - seen:
        yield Check(
            f"{count(len(hidden), 'job')} in another pool has the same data.",
            is_ok=False,
            advice="Wait until it has ended.",
        )


def _job(lock: JobLock) -> Check:
    job = lock.job
    links = ((printable(job.title), job.get_absolute_url()),)
    if job.state == Job.State.SCHEDULED:
        text, advice = (
            f"A job waits for its time, {moment_long(job.due_at)}.",
            "Cancel it to keep the volume.",
        )
    else:
        verb = "changes" if lock.is_write else "reads"
        text, advice = f"A job {verb} it or waits to.", "Wait until it has ended, or cancel it."
    return Check(text, is_ok=False, links=links, advice=advice)


def _silent_hosts(look: Look, action: Action, user: Actor) -> Iterator[Check]:
    """Not an obstacle: a host that is switched off for weeks would forbid every delete on a shared export. What it
    said last stays in force, and a VM defined there since cannot be known."""
    for host in look.silent if action in DESTROYS else ():
        name = printable(host) if may(user, "pool.view", host.pk, None) else "Another host"
        wayout = "If it is gone for good, an administrator can remove it from here."
        if host.uses_read_at is None:
            text = f"{name} sees the same storage, and what its VMs use was never read."
            yield Check(text, is_ok=False, advice=f"Wait until it answers. {wayout}")
        else:
            last = moment_long(host.uses_read_at)
            text = f"{name} sees the same storage and was last read {last}: a VM made there since is not known here."
            yield Check(text, advice=f"Look at that host before you go on. {wayout}")


def _soundness(look: Look) -> Iterator[Check]:
    for text in unsound_words(look):
        yield Check(text, is_ok=False)


def unsound_words(look: Look) -> Iterator[str]:
    volume = look.volume
    if volume.is_special:
        yield "It is a link or a special file on the host and no disk."
    if look.quarantines:
        yield "It is in quarantine: to open its image was found to be dangerous."
    if volume.unverified_since:
        yield "It is an unverified copy: accept or delete it first."


def protected_words(look: Look, notes: VolumeNotes | PoolNotes) -> str:
    if not look.is_own(notes):
        return "The same data is protected through another pool."
    what = "It is" if isinstance(notes, VolumeNotes) else f"Its pool {look.volume.pool} is"
    return f"{what} protected {protection_of(notes)}."


def used_words(look: Look, uses: Sequence[DiskUse]) -> str:
    """VMs of this host by name, of others by number: not everybody may see those."""
    here = look.volume.pool.host_id
    names = sorted({use.domain_name for use in uses if use.host_id == here})
    elsewhere = len({(use.host_id, use.domain_uuid) for use in uses if use.host_id != here})
    parts = [some(names)] if names else []
    if elsewhere:
        parts.append("a VM on another host" if elsewhere == 1 else f"{count(elsewhere, 'VM')} on other hosts")
    return f"Used by {' and '.join(parts)}."


def children_words(look: Look) -> str:
    """Who may see this pool may not see the others, so of those only the number is told."""
    children = look.children
    here = [child.name for child in children.filter(pool=look.volume.pool).order_by("name")[:4]]
    elsewhere = children.exclude(pool=look.volume.pool).count()
    parts = [some(here)] if here else []
    parts += [f"{elsewhere} in other pools"] if elsewhere else []
    return " and ".join(parts)


def some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (" and others" if len(names) > 3 else "")
