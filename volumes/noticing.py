"""Volumes that came, went, grew or shrank without a job of ours: what a listing found becomes rows of Change."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta

from django.db.models import Q
from django.utils import timezone

from pools.models import Pool
from pools.noticing import worked_on
from storagemgr.hosts import changes
from storagemgr.hosts.models import Change
from storagemgr.jobs.models import Job, JobLock
from storagemgr.templatetags.storage import size
from storagemgr.virt.volumes import VolumeInfo

# A listing may have begun before a job ended, and a pool is not read while its jobs hold it up.
LATELY = timedelta(minutes=2)
PART = 1000
# Jobs on the pool that leave its volumes alone.
HARMLESS = (
    "pool.refresh",
    "pool.start",
    "pool.stop",
    "pool.autostart_on",
    "pool.autostart_off",
    "pool.configure",
)


def volumes_changed(
    pool: Pool, were: Mapping[str, int], now: Iterable[VolumeInfo], gone: Sequence[str]
) -> None:
    """`were`: the capacities of the last listing, by name; `now`: the volumes that are not as they were then."""
    found = [_of(pool, name, "went", f"Volume {name} disappeared.") for name in gone]
    for info in now:
        before = were.get(info.name)
        if before is None:
            text = f"Volume {info.name} appeared, {size(info.capacity)}."
            found.append(_of(pool, info.name, "came", text))
        elif before != info.capacity:
            kind = "grew" if before < info.capacity else "shrank"
            text = f"Volume {info.name} {kind} from {size(before)} to {size(info.capacity)}."
            found.append(_of(pool, info.name, kind, text))
    if found and not worked_on(pool.host_id, [pool.uuid], HARMLESS):
        ours = _of_jobs(pool, [one.volume_name for one in found])
        changes.record([one for one in found if one.volume_name not in ours])


def _of(pool: Pool, name: str, kind: str, text: str) -> Change:
    return changes.change(pool.host_id, kind, text, pool_uuid=pool.uuid, volume_name=name)


def _of_jobs(pool: Pool, names: Sequence[str]) -> set[str]:
    """Those that a job of ours changes, or changed lately, by this pool or by another one of the same bytes."""
    since = (pool.volumes_read_at or timezone.now()) - LATELY
    works = Q(job__state__in=Job.ACTIVE) | Q(job__finished_at__gte=since)
    here = JobLock.objects.filter(works, host_id=pool.host_id, pool_uuid=pool.uuid, is_write=True)
    found: set[str] = set()
    for start in range(0, len(names), PART):
        some = here.filter(volume_name__in=names[start : start + PART])
        found |= set(some.values_list("volume_name", flat=True))
    return found
