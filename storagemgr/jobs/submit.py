"""How a job comes to be. Row, locks and audit entry are one transaction; the broker hears of it afterwards."""

import logging
import uuid
from typing import Any

from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.utils import timezone
from kombu.exceptions import OperationalError

from storagemgr.access import audit
from storagemgr.hosts.models import Host
from storagemgr.jobs.models import SCHEDULE, Batch, Job, JobLock, conflicting
from storagemgr.jobs.operations import Operation, Place, place_of
from storagemgr.jobs.sealed import seal

logger = logging.getLogger(__name__)


class Held(Exception):
    """Another job has the volume: `job` says which, by whom and since when."""

    def __init__(self, job: Job) -> None:
        super().__init__(job.title)
        self.job = job


class NoRoom(Exception):
    """Another job was promised the room meanwhile; the form says the same when it is looked at again."""


class KeyUsed(Exception):
    """The key came with another request before: of somebody else, or for something else."""


def submit(
    operation: Operation,
    target: Any,
    *,
    actor: User | None,
    params: dict[str, Any],
    key: uuid.UUID,
    secrets: dict[str, str] | None = None,
    batch: Batch | None = None,
    address: str | None = None,
) -> Job:
    """The job for this request: the same one when `key` was seen before (a double click, a reload, the back button).

    Raises Held when an active job has a lock that does not go together with the ones this job needs, NoRoom, KeyUsed.
    """
    place = place_of(target)
    if known := Job.objects.filter(key=key).first():
        return _same(known, operation, place, actor, params)
    try:
        with transaction.atomic():
            Host.objects.select_for_update().get(pk=place.host_id)
            if operation.is_coalesced and batch is None and (waiting := _waiting(operation, place)):
                return waiting
            job = _insert(operation, target, actor, params, key=key, sealed=seal(secrets or {}), batch=batch)
            _audit_asked(operation, job, actor, address)
            # The others of a batch have their turn when the one before them ends.
            is_first = batch is None or not batch.jobs.active().exclude(pk=job.pk).exists()
            if is_first and job.state == Job.State.QUEUED:
                transaction.on_commit(lambda: ring(job))
            return job
    except IntegrityError:
        # The same key, committed by the other click while this one waited for the lock.
        return _same(Job.objects.get(key=key), operation, place, actor, params)


def _same(known: Job, operation: Operation, place: Place, actor: User | None, params: dict[str, Any]) -> Job:
    asked = (operation.name, place.host_id, place.pool_uuid, actor.pk if actor else None, params)
    if asked != (known.operation, known.host_id, known.pool_uuid, known.requested_by_id, known.params):
        raise KeyUsed
    return known


def _waiting(operation: Operation, place: Place) -> Job | None:
    queued = Job.objects.in_lane(place.host_id, place.pool_uuid).filter(
        operation=operation.name, state=Job.State.QUEUED
    )
    return queued.first()


def _insert(
    operation: Operation, target: Any, actor: User | None, params: dict[str, Any], **fields: Any
) -> Job:
    place = place_of(target)
    locks = operation.locks(target, params)
    if clash := conflicting(locks).select_related("job").order_by("job_id").first():
        raise Held(clash.job)
    if reason := operation.why_no_room(target, params):
        raise NoRoom(reason)
    delay = operation.delay()
    job = Job.objects.create(
        operation=operation.name,
        state=Job.State.SCHEDULED if delay else Job.State.QUEUED,
        due_at=timezone.now() + delay if delay else None,
        title=operation.label(target, params),
        host_id=place.host_id,
        pool_uuid=place.pool_uuid,
        pool_name=place.pool_name,
        volume_name=operation.volume_of(target, params),
        params=params,
        is_exclusive=operation.is_exclusive,
        is_free=operation.is_free,
        requested_by=actor,
        requester_name=actor.get_username() if actor else SCHEDULE,
        **fields,
    )
    for lock in locks:
        lock.job = job
    JobLock.objects.bulk_create(locks)
    job.log(f"asked by {job.requester_name}")
    return job


def _audit_asked(operation: Operation, job: Job, actor: User | None, address: str | None) -> None:
    if job.is_scheduled:
        return
    audit.record(
        operation.name,
        audit.Outcome.ASKED,
        actor=actor,
        right=operation.right,
        object_text=job.title,
        host_id=job.host_id,
        pool_uuid=job.pool_uuid,
        volume_name=job.volume_name,
        job_id=job.id,
        address=address,
        details={"params": job.params},
    )


def ring(job: Job) -> bool:
    """Publish the job. A broker that is down is no error: the tick rings again for what was not heard."""
    from storagemgr.jobs.tasks import run_job

    try:
        run_job.apply_async(args=[job.pk], retry=False)
    except (OperationalError, OSError) as error:
        logger.warning("job %s waits, the broker did not take it: %s", job.pk, error)
        return False
    Job.objects.filter(pk=job.pk).update(published_at=timezone.now())
    return True
