"""The room in a pool that jobs will still take: it is free now, and promised."""

from collections.abc import Callable

from django.db.models import Q

from pools.models import Pool
from storagemgr.jobs.models import Job
from storagemgr.templatetags.storage import size

# By operation: where the job makes its volume, and the bytes that this still takes there.
Promise = Callable[[Job], tuple[Pool | None, int]]
PROMISES: dict[str, Promise] = {}


def promising(operation: str) -> Callable[[Promise], Promise]:
    def declare(promise: Promise) -> Promise:
        PROMISES[operation] = promise
        return promise

    return declare


def promised_in(pool: Pool) -> int:
    jobs = Job.objects.filter(operation__in=PROMISES, state__in=Job.HOLDING).select_related("transfer")
    found = 0
    # A copy from another host is a job there.
    for job in jobs.filter(Q(host=pool.host_id) | Q(params__pool=str(pool.pk))):
        place, left = PROMISES[job.operation](job)
        found += left if place == pool else 0
    return found


def left_of(job: Job, needed: int) -> int:
    """What a job that tells its progress did not write yet."""
    return max(0, needed - job.done_bytes) if job.total_bytes else needed


def why_none(pool: Pool, needed: int) -> str:
    """Why that many bytes do not fit, "" where they do or where the pool cannot say. The shortage, in words."""
    if pool.kind.numbers != "normal" or not needed:
        return ""
    promised = promised_in(pool)
    if needed <= pool.available - promised:
        return ""
    others = f", of which other jobs need {size(promised)}" if promised else ""
    return f"{size(pool.available)} is free in {pool}{others}."
