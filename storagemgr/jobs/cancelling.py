"""Ending a job before it is done, where that is possible."""

from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone

from storagemgr.access import audit
from storagemgr.jobs.lease import move
from storagemgr.jobs.models import Job
from storagemgr.jobs.operations import REGISTRY
from storagemgr.jobs.runner import ring_next
from storagemgr.jobs.submit import ring

State = Job.State


def cancel_right(job: Job) -> str:
    """That of the operation; of one that is not known any more, the right to administer hosts."""
    operation = REGISTRY.get(job.operation)
    return operation.right if operation else "host.manage"


def can_be_cancelled(job: Job) -> bool:
    return _waits(job) or _can_be_stopped(job)


def cancel(job: Job, user: User, address: str | None) -> bool:
    """False: it was too late. Who may do it was looked at before."""
    with transaction.atomic():
        if not (_take_out(job) or _ask_to_stop(job)):
            return False
        job.log(f"cancelled by {user.get_username()}")
        audit.record(
            "job.cancel",
            audit.Outcome.DONE,
            actor=user,
            right=cancel_right(job),
            object_text=job.title,
            host_id=job.host_id,
            pool_uuid=job.pool_uuid,
            volume_name=job.volume_name,
            job_id=job.pk,
            address=address,
        )
        transaction.on_commit(lambda: ring_next(job))
        if Job.objects.filter(pk=job.pk, state=State.QUEUED).exists():
            transaction.on_commit(lambda: ring(job))
    return True


def _waits(job: Job) -> bool:
    """For its first turn: nothing was begun."""
    return job.state in (State.SCHEDULED, State.QUEUED) and job.started_at is None


def _can_be_stopped(job: Job) -> bool:
    operation = REGISTRY.get(job.operation)
    is_stoppable = operation is not None and operation.is_stoppable
    has_begun = job.state in (State.RUNNING, State.QUEUED) and is_stoppable
    return job.cancel_asked_at is None and (job.state == State.TRANSFERRING or has_begun)


def _take_out(job: Job) -> bool:
    return _waits(job) and move(job, from_state=job.state, to_state=State.CANCELLED)


def _ask_to_stop(job: Job) -> bool:
    """The worker that has it ends it; one that waits for bytes, or for its last turn, is given to a worker for that."""
    if not _can_be_stopped(job):
        return False
    now = timezone.now()
    if job.state == State.TRANSFERRING:
        return move(job, from_state=State.TRANSFERRING, to_state=State.QUEUED, cancel_asked_at=now)
    rows = Job.objects.filter(pk=job.pk, state=job.state, cancel_asked_at=None)
    return bool(rows.update(cancel_asked_at=now))
