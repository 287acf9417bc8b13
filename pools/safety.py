"""What stands in the way of stopping, deleting or forgetting a pool, and what to know before. Reads rows only."""

from collections.abc import Iterator
from typing import Any, Literal

from django.db.models import Q, QuerySet
from django.urls import reverse
from django.utils import timezone

from pools import devices, elsewhere
from pools.devices import some
from pools.models import Pool
from pools.notes import notes_of, protection_of
from pools.same_place import volumes_elsewhere
from storagemgr.access.objects import may
from storagemgr.access.scopes import Actor
from storagemgr.jobs.models import Job
from storagemgr.jobs.operations import Check
from storagemgr.templatetags.storage import count, printable

Action = Literal["stop", "build", "overwrite", "delete", "undefine"]

LOSES_DATA = ("overwrite", "delete")
NAMED = 5
IS = ("are", "is")
OTHER_PROTECTED = "Another pool of the same storage is protected."


def why_not(pool: Pool, action: Action) -> str:
    """Why nobody may do it for now, whatever the host says: it is protected, or a volume in it is."""
    if action not in LOSES_DATA:
        return ""
    notes = notes_of(pool)
    if notes and notes.is_protected:
        return f"It is protected {protection_of(notes)}."
    if names := _protected_in(pool):
        return f"Volumes in it are protected: {some(names)}."
    return _why_not_elsewhere(pool)


def _why_not_elsewhere(pool: Pool) -> str:
    """Names nothing: who may see this pool may not see the others."""
    if elsewhere.has_protected_pool(pool):
        return OTHER_PROTECTED
    if _protected(volumes_elsewhere(pool)).exists():
        return "Volumes with the same data are protected in another pool."
    if vms := len(_vms_in(elsewhere.uses_elsewhere(pool))):
        return f"{_vms_use(vms)} through another pool."
    if number := len(elsewhere.built_on_elsewhere(pool)):
        return f"{_pools_need(number)} what is here."
    return ""


def _protected(volumes: QuerySet[Any]) -> QuerySet[Any]:
    in_force = Q(notes__protected_until=None) | Q(notes__protected_until__gte=timezone.localdate())
    return volumes.filter(in_force, notes__protected_at__isnull=False).order_by("name", "pk")


def _protected_in(pool: Pool) -> list[str]:
    return list(_protected(pool.volumes.all()).values_list("name", flat=True))


def _vms_in(uses: QuerySet[Any]) -> set[tuple[int, Any]]:
    return set(uses.order_by().values_list("host_id", "domain_uuid"))


def _vms_use(number: int) -> str:
    return f"{count(number, 'VM')} {'uses' if number == 1 else 'use'} this storage"


def _pools_need(number: int) -> str:
    return f"{count(number, 'other pool')} {'needs' if number == 1 else 'need'}"


def checks(pool: Pool, action: Action, user: Actor) -> list[Check]:
    """Every line of the panel, what stands in the way first."""
    lines = [
        *_protection(pool, action, user),
        *(_elsewhere(pool, user) if action in LOSES_DATA else ()),
        *_vms(pool, action),
        *_built_on(pool, action),
        *_jobs(pool, user),
    ]
    return sorted(lines, key=lambda line: line.is_ok + (line.is_ok and not line.advice))


def _protection(pool: Pool, action: Action, user: Actor) -> Iterator[Check]:
    notes, names = notes_of(pool), _protected_in(pool)
    loses = action in LOSES_DATA
    links: tuple[tuple[str, str], ...] = ()
    if notes and notes.is_protected:
        if loses and may(user, "pool.unprotect", pool.host_id, pool.uuid):
            url = reverse("pools:operate", args=[pool.pk, "unprotect"])
            links = (("Take the protection away", url),)
        advice = "Who protected it can say when that is over; a manager of the pool ends it."
        if not loses:
            advice = "This loses no data, so it is possible all the same."
        text = f"The pool is protected {protection_of(notes)}."
        yield Check(text, is_ok=not loses, links=links, advice="" if links else advice)
    if names:
        rows = pool.volumes.filter(name__in=names[:NAMED]).order_by("name")
        found = tuple((printable(row), row.get_absolute_url()) for row in rows)
        text = f"{count(len(names), 'volume')} in it {IS[len(names) == 1]} protected."
        advice = "Take their protection away first." if loses else "Nothing is lost, only out of reach."
        yield Check(text, is_ok=not loses, links=found, advice=advice)
    if loses and not names and not (notes and notes.is_protected):
        yield Check("Neither the pool nor a volume in it is protected.")


def _elsewhere(pool: Pool, user: Actor) -> Iterator[Check]:
    """The same bytes by another pool or host, as far as this person sees those."""
    if elsewhere.has_protected_pool(pool):
        yield Check(OTHER_PROTECTED, is_ok=False, advice="A manager of that pool ends it.")
    rows = _protected(volumes_elsewhere(pool))
    if number := rows.count():
        text = f"{count(number, 'volume')} in another pool {IS[number == 1]} the same data and protected."
        links = tuple(
            (
                f"{printable(row)} in {printable(row.pool)} on {printable(row.pool.host)}",
                row.get_absolute_url(),
            )
            for row in rows.visible_to(user).select_related("pool__host")[:NAMED]
        )
        yield Check(text, is_ok=False, links=links, advice="Take their protection away first.")
    uses = elsewhere.uses_elsewhere(pool)
    if number := len(_vms_in(uses)):
        seen = uses.filter(Q(host=pool.host_id) | Q(pk__in=uses.visible_to(user).values("pk")))
        named = sorted({f"{printable(use)} on {printable(host)}" for use, host in _names_in(seen)})
        hidden = number - len(_vms_in(seen))
        if hidden:
            named.append(f"{hidden} that you do not see")
        text = f"{_vms_use(number)} through another pool: {some(named)}."
        yield Check(text, is_ok=False, advice="Detach it from them first, also when they are shut off.")


def _names_in(uses: QuerySet[Any]) -> set[tuple[str, str]]:
    return set(uses.order_by().values_list("domain_name", "host__name"))


def _vms(pool: Pool, action: Action) -> Iterator[Check]:
    running = action == "stop"
    vms = devices.vms_of(pool, running=True) if running else devices.vms_of(pool)
    if action in ("overwrite", *(("delete",) if pool.type in devices.ON_DEVICES else ())):
        vms = sorted({*vms, *devices.vms_on_devices(pool)})
    host = printable(pool.host)
    if not vms:
        kind = "running VM" if running else "VM"
        yield Check(f"No {kind} of {host} has a disk here.")
        return
    text = f"{count(len(vms), 'running VM' if running else 'VM')} of {host} with a disk here: {some(vms)}."
    if action in LOSES_DATA:
        yield Check(text, is_ok=False, advice="Detach it from them first, also when they are shut off.")
    elif action == "stop" and pool.type != "dir":
        yield Check(text, is_ok=False, advice="Shut them down or move their disks first.")
    elif action == "stop":
        yield Check(text, advice="They go on running; the directory stays where it is.")
    elif action == "undefine":
        yield Check(text, advice="Those that name the pool do not start any more.")


def _built_on(pool: Pool, action: Action) -> Iterator[Check]:
    if action not in LOSES_DATA:
        return
    found = devices.pools_built_on(pool) | elsewhere.built_on_elsewhere(pool)
    if pool.type in devices.WITH_DEVICES:
        found |= {other.pk for other in devices.pools_on_devices(pool)}
    if found:
        text = f"{_pools_need(len(found))} what is here."
        yield Check(text, is_ok=False, advice="Delete or move what is built on it first.")
    else:
        yield Check("No other pool is built on it, as far as their definitions tell.")


def _jobs(pool: Pool, user: Actor) -> Iterator[Check]:
    """Jobs forbid nothing: this one has its turn after them."""
    here = Q(host_id=pool.host_id, pool_uuid=pool.uuid)
    here |= Q(locks__host_id=pool.host_id, locks__pool_uuid=pool.uuid, locks__is_twin=False)
    jobs = Job.objects.filter(here, state__in=Job.HOLDING, is_free=False).distinct().order_by("id")
    scheduled = [job for job in jobs if job.state == Job.State.SCHEDULED]
    active = [job for job in jobs if job.state != Job.State.SCHEDULED]
    if active:
        text = f"{count(len(active), 'job')} of this pool {'has' if len(active) == 1 else 'have'} not ended."
        yield Check(text, links=_links(active, user), advice="This one waits for them.")
    if scheduled:
        text = f"{count(len(scheduled), 'job')} of this pool {'is' if len(scheduled) == 1 else 'are'} to start later."
        yield Check(text, links=_links(scheduled, user), advice="They fail if the pool is not running then.")
    if not jobs:
        yield Check("No job of this pool runs, waits or is scheduled.")


def _links(jobs: list[Job], user: Actor) -> tuple[tuple[str, str], ...]:
    visible = Job.objects.visible_to(user).filter(pk__in=[job.pk for job in jobs]).order_by("id")[:NAMED]
    return tuple((printable(job.title), job.get_absolute_url()) for job in visible)
