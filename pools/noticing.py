"""Pools that came, went or changed without a job of ours: what the reading found becomes rows of Change."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from uuid import UUID

from django.db.models import Q
from django.utils import timezone

from pools.models import Pool
from storagemgr.hosts import changes
from storagemgr.hosts.models import Change, Host
from storagemgr.jobs.models import Job

WATCHED = ("name", "state", "autostart", "unreachable_since")
# A reading may have begun before a job ended, and be written after it.
JUST_NOW = timedelta(minutes=1)
_STATES = {
    Pool.State.INACTIVE: "was stopped",
    Pool.State.BUILDING: "is being built",
    Pool.State.RUNNING: "was started",
    Pool.State.DEGRADED: "is degraded",
    Pool.State.INACCESSIBLE: "is inaccessible",
}
Facts = tuple[object, ...]


def facts_of(pool: Pool) -> Facts:
    return tuple(getattr(pool, name) for name in WATCHED)


def worked_on(
    host_id: int, uuids: Iterable[UUID], harmless: Sequence[str] = ("pool.refresh",)
) -> set[UUID | None]:
    """Those of the pools that a job of ours changes, or has just changed. `harmless`: these do not, if they go well."""
    works = Q(state__in=Job.ACTIVE) | Q(finished_at__gte=timezone.now() - JUST_NOW)
    jobs = Job.objects.filter(
        works, host_id=host_id, pool_uuid__in=list(uuids), operation__startswith="pool."
    )
    jobs = jobs.exclude(operation__in=harmless, state=Job.State.SUCCEEDED)
    return set(jobs.order_by().values_list("pool_uuid", flat=True))


def pools_came(pools: Iterable[Pool]) -> None:
    _record([_of(pool, "came", f"Pool {pool} appeared.") for pool in pools])


def pools_went(pools: Iterable[Pool]) -> None:
    _record([_of(pool, "went", f"Pool {pool} disappeared.") for pool in pools])


def pool_is_silent(pool: Pool) -> None:
    changes.record([_of(pool, "silent", f"Pool {pool} does not answer.")])


def pools_changed(host: Host, pools: Iterable[Pool], were: Mapping[int, Facts]) -> None:
    """`were`: what facts_of said before, by the row's id."""
    found = []
    for pool in pools:
        name, state, autostart, unreachable = were[pool.pk]
        if pool.name != name:
            found.append(_of(pool, "name", f"Pool {name} is called {pool} now."))
        if pool.state != state:
            found.append(_of(pool, "state", f"Pool {pool} {_STATES.get(pool.state, 'changed')}."))
        if pool.autostart != autostart:
            now = "starts with the host now" if pool.autostart else "starts with the host no more"
            found.append(_of(pool, "autostart", f"Pool {pool} {now}."))
        if unreachable and pool.unreachable_since is None:
            # No job makes a pool answer.
            changes.record([_of(pool, "answers", f"Pool {pool} answers again.")])
    _record(found)


def pools_configured(host_id: int, uuids: Iterable[UUID]) -> None:
    uuids = list(uuids)
    if uuids:
        pools = Pool.objects.filter(host_id=host_id, uuid__in=uuids).only("uuid", "host_id", "name")
        _record([_of(pool, "config", f"The configuration of pool {pool} was changed.") for pool in pools])


def _of(pool: Pool, kind: str, text: str) -> Change:
    return changes.change(pool.host_id, kind, text, pool_uuid=pool.uuid)


def _record(found: list[Change]) -> None:
    """Without those that a job of ours may have made."""
    if not found:
        return
    ours = worked_on(found[0].host_id, {one.pool_uuid for one in found if one.pool_uuid})
    changes.record([one for one in found if one.pool_uuid not in ours])
