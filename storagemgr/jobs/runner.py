"""Runs one job: claim, check again, do, report. The only place that catches every exception."""

import logging
import os
from typing import Any, NoReturn

from django.conf import settings
from django.db import OperationalError
from django.db.models import Q
from django.utils import timezone

from storagemgr.access import audit
from storagemgr.access.objects import may
from storagemgr.hosts.reaching import open_in_time
from storagemgr.jobs.lease import Lease, claim, move, update_running
from storagemgr.jobs.models import Job
from storagemgr.jobs.operations import (
    REGISTRY,
    Handed,
    Interrupted,
    Operation,
    OperationFailed,
    Progress,
    Run,
    Step,
    Stopped,
)
from storagemgr.jobs.submit import ring
from storagemgr.virt.errors import VirtError

logger = logging.getLogger(__name__)
State = Job.State
STEP_LENGTH = Job._meta.get_field("step").max_length  # some databases refuse what is longer


class LeaseLost(Exception):
    """The sweep took the job back; whoever settles it owns its end."""


def run(job_id: int) -> None:
    job = claim(job_id)
    if job is None:
        return
    operation = REGISTRY[job.operation]
    context = Run(job=job, target=None, connect=lambda: open_in_time(job.host))
    try:
        with Lease(job, settings.JOB_LIMIT if operation.is_limited else None, lambda: _give_up(job)):
            _perform(operation, context)
        end(job, State.SUCCEEDED, details=context.changed)
    except (Handed, Stopped) as left:
        _leave(job, left)
    except LeaseLost:
        logger.warning("job %s was taken back while it ran here", job.pk)
    except Interrupted as error:
        _interrupt(job, str(error))
    except (VirtError, OperationFailed) as error:
        if isinstance(error, VirtError) and error.code == "connection_lost" and job.daemon:
            _interrupt(job, error.detail)
        else:
            end(job, State.FAILED, code=error.code, text=error.detail)
    except OperationalError:
        # What it did is not written down; the sweep takes it back, and settling looks at the host.
        logger.exception("job %s lost the database", job.pk)
    except Exception:
        logger.exception("job %s failed by a fault of ours", job.pk)
        end(job, State.FAILED, code="internal", text="")
    finally:
        for connection in context.connections:
            connection.close()
        ring_next(job)


def _give_up(job: Job) -> NoReturn:
    """Ends the job and this process: nothing else ends a call of libvirt that hangs. Celery starts a new one."""
    logger.error("job %s took more than %s s, its worker process ends", job.pk, settings.JOB_LIMIT)
    text = f"libvirt did not answer within {settings.JOB_LIMIT} seconds."
    try:
        end(job, State.FAILED, code="too_slow", text=text)
        ring_next(job)
    finally:
        # Also where the database is away or locked: the sweep takes the job back then.
        os._exit(1)


def _leave(job: Job, left: Handed | Stopped) -> None:
    if isinstance(left, Stopped):
        end(job, State.CANCELLED)
    # Nothing is open on the host until the first piece comes.
    elif move(job, from_state=State.RUNNING, to_state=State.TRANSFERRING, lease_until=timezone.now()):
        job.log(str(left))


def _perform(operation: Operation, context: Run) -> None:
    job = context.job
    check_again(operation, context)
    if not (operation.tests_the_way or operation.is_free):
        # Written before the first side effect: settling compares it with the daemon it finds.
        with context.connect() as connection:
            job.daemon = connection.daemon_id() or "unknown"
        report(job, daemon=job.daemon)
    events = operation.run(context)
    for event in events:
        if isinstance(event, Step):
            job.log(event.title)
            report(
                job,
                step=event.title[:STEP_LENGTH],
                step_at=timezone.now(),
                total_bytes=event.total,
                done_bytes=0 if event.total else None,
            )
        elif isinstance(event, Progress):
            report(job, done_bytes=event.done, progress_at=timezone.now())
        # Of one that was asked before this run began, the run itself takes back what there is.
        if operation.is_stoppable and not job.cancel_asked_at and _is_cancel_asked(job):
            events.close()
            raise Stopped


def _is_cancel_asked(job: Job) -> bool:
    return Job.objects.filter(pk=job.pk, cancel_asked_at__isnull=False).exists()


def check_again(operation: Operation, context: Run) -> None:
    """Right, target and precondition, as they are now and not as they were when the page was shown."""
    job = context.job
    if not job.is_scheduled and not _may_still(job, operation.right):
        raise OperationFailed("not_permitted_any_more")
    context.target = operation.find(job)
    if context.target is None:
        raise OperationFailed("target_gone")
    if operation.check:
        operation.check(context)
        context.target = operation.find(job)
        if context.target is None:
            raise OperationFailed("target_gone")
    if reason := operation.why_off(context.target):
        raise OperationFailed("changed_since", reason)
    job.log("checked again: right, target, state")


def _may_still(job: Job, right: str) -> bool:
    """Not when the requester's account was deleted meanwhile."""
    requester = job.requested_by
    return requester is not None and may(requester, right, job.host_id, job.pool_uuid)


def report(job: Job, **fields: Any) -> None:
    if not update_running(job, **fields):
        raise LeaseLost


def end(
    job: Job,
    state: State,
    *,
    code: str = "",
    text: str = "",
    details: dict[str, Any] | None = None,
    **fields: Any,
) -> None:
    """running -> succeeded, failed or cancelled, with its last line and its audit entry."""
    from_state = fields.pop("from_state", State.RUNNING)
    if not move(job, from_state=from_state, to_state=state, error_code=code, error_text=text, **fields):
        return
    job.log(_last_line(state, code, text))
    if state == State.SUCCEEDED:
        _forget_failures(job)
        if job.is_scheduled:
            return
    operation = REGISTRY.get(job.operation)
    audit.record(
        job.operation,
        audit.Outcome.DONE if state == State.SUCCEEDED else audit.Outcome.FAILED,
        actor=job.requested_by,
        right=operation.right if operation else "",
        object_text=job.title,
        host_id=job.host_id,
        pool_uuid=job.pool_uuid,
        volume_name=job.volume_name,
        job_id=job.pk,
        details=(details or {}) | ({"code": code} if code else {}),
    )


def _last_line(state: State, code: str, text: str) -> str:
    words = {State.SUCCEEDED: "done", State.CANCELLED: "cancelled"}
    return words.get(state) or f"failed: {code} {text}".rstrip()


def _forget_failures(job: Job) -> None:
    """What failed before and went well now needs no notice any more."""
    same = {name: getattr(job, name) for name in ("operation", "host_id", "pool_uuid", "volume_name")}
    failed = Job.objects.filter(**same, state=State.FAILED, id__lt=job.pk, acknowledged_at=None)
    failed.update(acknowledged_at=timezone.now())


def _interrupt(job: Job, detail: str) -> None:
    text = f"The connection to libvirt broke while it worked: {detail}"
    if move(
        job, from_state=State.RUNNING, to_state=State.INTERRUPTED, finding=text, next_settle_at=timezone.now()
    ):
        job.log(f"interrupted: {text}")


def ring_next(job: Job) -> None:
    """The jobs that waited in this lane, or in the same batch, may now have their turn."""
    behind = Q(host_id=job.host_id, pool_uuid=job.pool_uuid)
    if job.batch_id:
        behind |= Q(batch_id=job.batch_id)
    for waiting in Job.objects.filter(behind, state=State.QUEUED).order_by("id"):
        if not waiting.blockers():
            ring(waiting)
