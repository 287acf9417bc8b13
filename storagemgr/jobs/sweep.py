"""Finds jobs whose doorbell was not heard and jobs whose worker died, and settles what they left."""

import logging
from datetime import datetime, timedelta

from django.db.models import Q
from django.utils import timezone

from storagemgr.hosts.reaching import open_in_time
from storagemgr.jobs.lease import move
from storagemgr.jobs.models import SCHEDULE, Job
from storagemgr.jobs.operations import REGISTRY, Finding, Run
from storagemgr.jobs.runner import end, ring_next
from storagemgr.jobs.submit import ring
from storagemgr.virt.errors import VirtError

logger = logging.getLogger(__name__)
State = Job.State
SETTLE_EVERY = timedelta(seconds=3)
LOOK_ENDS = timedelta(seconds=90)  # the task that looks is killed well before
RING_AGAIN = timedelta(seconds=10)
FORGET_SCHEDULED = timedelta(hours=1)  # hundreds of pools refreshed by themselves would bury what people did


def sweep(now: datetime) -> list[int]:
    """Take back jobs whose lease ran out, ring again for those that wait; return the jobs to settle now."""
    for job in Job.objects.filter(state=State.RUNNING, lease_until__lt=now):
        text = f"The worker {job.worker} died or hangs. libvirt may still be working; looking at the host."
        if move(job, from_state=State.RUNNING, to_state=State.INTERRUPTED, finding=text, next_settle_at=now):
            job.log(f"interrupted: {text}")
    for job in Job.objects.filter(state=State.SCHEDULED, due_at__lte=now).order_by("id"):
        if move(job, from_state=State.SCHEDULED, to_state=State.QUEUED):
            job.log("its time has come")
    unheard = Q(published_at=None) | Q(published_at__lt=now - RING_AGAIN)
    for job in Job.objects.filter(unheard, state=State.QUEUED).order_by("id"):
        # A broker that refuses one refuses all, and each refusal may take seconds.
        if not job.blockers() and not ring(job):
            break
    dull = Job.objects.filter(requester_name=SCHEDULE, requested_by=None, state=State.SUCCEEDED)
    dull.filter(finished_at__lt=now - FORGET_SCHEDULED).delete()
    due = Job.objects.filter(state=State.INTERRUPTED, next_settle_at__lte=now)
    return list(due.values_list("pk", flat=True))


def settle(job_id: int) -> None:
    """Look at the host and decide how an interrupted job ended; look again later while libvirt works on it."""
    now = timezone.now()
    due = Job.objects.filter(pk=job_id, state=State.INTERRUPTED, next_settle_at__lte=now)
    # One look at a time: a repeated message finds the next one in the future and goes. A look can hang, and one
    # that is killed leaves its call behind in libvirtd.
    if not due.update(next_settle_at=now + LOOK_ENDS):
        return
    job = Job.objects.get(pk=job_id)
    finding = _look(job)
    if finding.text != job.finding:
        Job.objects.filter(pk=job.pk).update(finding=finding.text, updated_at=timezone.now())
        job.log(finding.text)
    if finding.state is None:
        waiting = Job.objects.filter(pk=job.pk, state=State.INTERRUPTED)
        waiting.update(next_settle_at=timezone.now() + SETTLE_EVERY)
        return
    end(
        job,
        finding.state,
        code=finding.code,
        from_state=State.INTERRUPTED,
        is_recovered=finding.state == State.SUCCEEDED,
        finding=finding.text,
    )
    ring_next(job)


def _look(job: Job) -> Finding:
    operation = REGISTRY.get(job.operation)
    if not job.daemon:
        return Finding(
            State.FAILED, "Nothing was done: the worker died before it asked libvirt.", "nothing_done"
        )
    if operation is None or operation.settle is None:
        return Finding(State.FAILED, "How it ended is not known; look at the pool.", "end_unknown")
    context = Run(job=job, target=operation.find(job), connect=lambda: open_in_time(job.host))
    try:
        return operation.settle(context)
    except VirtError as error:
        return Finding(None, f"Cannot look yet: {error.detail or error.code}")
    finally:
        for connection in context.connections:
            connection.close()
