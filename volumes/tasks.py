"""The clock's tick, which speaks no libvirt, and the reading of a host, which does."""

import logging
import uuid
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import Q
from django.utils import timezone
from kombu.exceptions import OperationalError

from pools import sync as pool_sync
from pools.drafts.steps import remove_old_drafts
from pools.models import Pool
from pools.samples import keep_samples
from storagemgr.access import checking, throttle
from storagemgr.access.retention import cut_if_due
from storagemgr.access.sealing import seal_new
from storagemgr.celery import app
from storagemgr.hosts import changes
from storagemgr.hosts import sync as host_sync
from storagemgr.hosts.models import Host
from storagemgr.jobs.models import Job
from storagemgr.jobs.operations import REGISTRY
from storagemgr.jobs.submit import submit
from storagemgr.jobs.sweep import sweep
from storagemgr.jobs.tasks import settle_job
from storagemgr.virt.errors import VirtError
from volumes import labels, sync
from volumes.models import DiskUse
from volumes.transfer.sweep import sweep as sweep_transfers

logger = logging.getLogger(__name__)

REFRESHES_PER_TICK = 5
LANE_IS_TAKEN = timedelta(minutes=1)
RECORDS_PERIOD = timedelta(hours=1)
_records_due: list[datetime] = []


@app.task(name="volumes.tick")
def tick() -> None:
    """Seal the audit, settle lost jobs, have hosts read, refresh pools, end transfers that nobody goes on with,
    forget old drafts, write down how full the pools are.

    The first message that the broker refuses ends the ringing.
    """
    now = timezone.now()
    keep_records(now)
    messages = [(settle_job, job_id) for job_id in sweep(now)]
    messages += [(read_host, host_id) for host_id in host_sync.due(now).values_list("pk", flat=True)]
    for task, argument in messages:
        if not _publish(task, argument):
            return
    submit_refreshes(now)
    sweep_transfers(now)
    remove_old_drafts()
    throttle.forget_old(now)
    keep_samples(now)


def _publish(task: Any, argument: int) -> bool:
    try:
        task.apply_async(args=[argument], retry=False)
    except (OperationalError, OSError) as error:
        logger.warning("the broker did not take %s(%s): %s", task.name, argument, error)
        return False
    return True


def keep_records(now: datetime) -> None:
    """Seal what was audited since. Each hour see whether old records are to go, and whether a check is due."""
    seal_new()
    if _records_due and now < _records_due[0]:
        return
    _records_due[:] = [now + RECORDS_PERIOD]
    cut_if_due()
    changes.forget_old()
    if checking.is_due():
        _publish(check_audit, 0)


@app.task(name="volumes.check_audit", time_limit=1800)
def check_audit(user_id: int) -> None:
    """`user_id`: of who asked for it, 0 for nobody."""
    checking.check(user_id)


def submit_refreshes(now: datetime) -> None:
    """Ask for libvirt's rescan of the pools whose turn it is; never while people's jobs are in the pool's lane."""
    if not settings.REFRESH_PERIOD:
        return
    due = Pool.objects.filter(
        next_refresh_at__lte=now,
        state__in=pool_sync.ACTIVE,
        unreachable_since=None,
        host__state=Host.State.UP,
    )
    for pool in (
        due.exclude(_cannot_bear_a_stop())
        .select_related("host")
        .order_by("next_refresh_at")[:REFRESHES_PER_TICK]
    ):
        is_taken = Job.objects.active().in_lane(pool.host_id, pool.uuid).exists()
        pause = LANE_IS_TAKEN if is_taken else pool_sync.refresh_period(pool.type)
        Pool.objects.filter(pk=pool.pk).update(next_refresh_at=now + pause)
        if not is_taken:
            submit(REGISTRY["pool.refresh"], pool, actor=None, params={}, key=uuid.uuid4())


def _cannot_bear_a_stop() -> Q:
    """libvirt stops a pool whose refresh fails: that forgets a transient one and logs out of an iSCSI target.

    Such pools are refreshed when a person asks for it.
    """
    used = DiskUse.objects.filter(running=True, volume__pool__type="iscsi")
    return Q(persistent=False) | Q(pk__in=used.values("volume__pool"))


@app.task(name="volumes.read_host", time_limit=45, expires=10)
def read_host(host_id: int) -> None:
    host = host_sync.claim(host_id)
    if host is None:
        return
    pause_s: float = host_sync.LONGEST_PAUSE_S
    try:
        _read(host)
        pause_s = host_sync.pause_s(host)
    finally:
        host_sync.release(host, pause_s)


def _read(host: Host) -> None:
    connection = host_sync.reach(host)
    if connection is None:
        return
    reading = host_sync.Reading(host, connection)
    try:
        host_sync.read_facts(reading)
        pools = pool_sync.read_pools(reading)
        were_read = sync.read_volumes_due(reading, pools)
        sync.read_uses_due(reading, at_once=were_read)
        labels.read_due(reading)
    except VirtError as error:
        host_sync.fail(host, error)
