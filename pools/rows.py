"""Pools as the pages list them. The number of queries does not depend on the number of pools."""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from django.db.models import QuerySet

from pools.capacity import Space, space_of
from pools.models import Pool, PoolNotes
from pools.states import pool_state
from storagemgr.access.scopes import Actor
from storagemgr.hosts.states import State
from storagemgr.jobs.bulk import Many
from storagemgr.jobs.models import Job
from storagemgr.jobs.words import shown_of
from storagemgr.templatetags.storage import as_of

# What a row shows; the rest of a pool is wide, and its many times are slow to read.
LISTED = (
    *(
        "host",
        "uuid",
        "name",
        "type",
        "state",
        "state_since",
        "seen_at",
        "unreachable_since",
        "refresh_error",
        "autostart",
    ),
    *("capacity", "allocation", "available", "promised", "volume_allocation", "volume_count"),
)


@dataclass(frozen=True)
class PoolRow:
    pool: Pool
    state: State
    space: Space
    jobs: list[Job] = field(default_factory=list)
    notes: PoolNotes | None = None

    @property
    def shown(self) -> Hashable:
        """All that pools/_row.html shows of it."""
        pool = self.pool
        return (
            *(pool.pk, pool.name, pool.type, pool.host.name, pool.answers, pool.is_active, pool.volume_count),
            *(as_of(pool.seen_at), self.state, self.space, self.waiting),
            self.running and shown_of(self.running),
            self.notes and (self.notes.is_protected, self.notes.is_expired and self.notes.expires_on),
        )

    @property
    def running(self) -> Job | None:
        """The job to name in the row: one that runs, else none."""
        return next((job for job in self.jobs if job.state != Job.State.QUEUED), None)

    @property
    def waiting(self) -> int:
        return sum(job.state == Job.State.QUEUED for job in self.jobs)


def rows_of(user: Actor, pools: Sequence[Pool]) -> list[PoolRow]:
    jobs = active_jobs(user, pools)
    notes = {found.pool_id: found for found in PoolNotes.objects.filter(pool__in=[pool.pk for pool in pools])}
    return [
        PoolRow(pool, pool_state(pool), space_of(pool), jobs[pool.host_id, pool.uuid], notes.get(pool.pk))
        for pool in pools
    ]


def active_jobs(user: Actor, pools: Sequence[Pool]) -> dict[tuple[int, UUID], list[Job]]:
    # The same UUID may live on two hosts; the keys tell them apart.
    here = {pool.uuid for pool in pools}
    found: dict[tuple[int, UUID], list[Job]] = defaultdict(list)
    for job in Job.objects.visible_to(user).active().filter(pool_uuid__in=here).order_by("id"):
        found[job.host_id, job.pool_uuid].append(job)
    return found


def _choosable(user: Actor) -> QuerySet[Pool]:
    rows = Pool.objects.visible_to(user).select_related("host")
    return rows.order_by("host__name", "name", "pk")


def _of_jobs(rows: QuerySet[Pool], jobs: Sequence[Job]) -> Iterable[Pool]:
    wanted = {(job.host_id, job.pool_uuid) for job in jobs}
    found = rows.filter(uuid__in={uuid for _, uuid in wanted})
    return [pool for pool in found if (pool.host_id, pool.uuid) in wanted]


MANY = Many("pool", "pools:fleet", _choosable, _of_jobs)
