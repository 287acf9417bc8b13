"""The transitions of a job. Each is a conditional UPDATE; a caller that gets False has lost the race."""

import logging
import math
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any, NoReturn

from django.conf import settings
from django.db import OperationalError, connection, transaction
from django.utils import timezone

from storagemgr.hosts.models import Host
from storagemgr.jobs.models import Job
from storagemgr.jobs.operations import REGISTRY

logger = logging.getLogger(__name__)
State = Job.State


def claim(job_id: int) -> Job | None:
    """The job, now running and leased to this process; None when it is not its turn or somebody has it."""
    with transaction.atomic():
        # What another version of the program asked for waits for a worker that knows it.
        job = Job.objects.filter(pk=job_id, state=State.QUEUED, operation__in=list(REGISTRY)).first()
        if job is None:
            return None
        Host.objects.select_for_update().get(pk=job.host_id)
        if job.blockers():
            return None
        now = timezone.now()
        claimed = Job.objects.filter(pk=job_id, state=State.QUEUED).update(
            state=State.RUNNING,
            token=uuid.uuid4(),
            started_at=job.started_at or now,
            updated_at=now,
            lease_until=now + timedelta(seconds=settings.LEASE),
            worker=f"{socket.gethostname()}:{os.getpid()}",
        )
    return Job.objects.get(pk=job_id) if claimed else None


def update_running(job: Job, **fields: Any) -> bool:
    """Write what a running job reports. False: it was taken from this worker, which must stop."""
    fields["updated_at"] = timezone.now()
    return bool(Job.objects.filter(pk=job.pk, token=job.token, state=State.RUNNING).update(**fields))


def move(job: Job, *, from_state: str, to_state: str, **fields: Any) -> bool:
    now = timezone.now()
    if to_state not in Job.HOLDING:
        fields["finished_at"] = now
    rows = Job.objects.filter(pk=job.pk, state=from_state, token=job.token)
    return bool(rows.update(state=to_state, updated_at=now, sealed="", **fields))


class Lease(threading.Thread):
    """Renews the lease while the job's own thread is inside a long libvirt call (C code, the GIL is free).

    After `limit_s` seconds it calls `when_over` instead, which does not return.
    """

    def __init__(self, job: Job, limit_s: float | None, when_over: Callable[[], NoReturn]) -> None:
        super().__init__(name=f"lease of job {job.pk}", daemon=True)
        self.job = job
        self.over_at = time.monotonic() + limit_s if limit_s else math.inf
        self.when_over = when_over
        self.is_lost = False
        self._ended = threading.Event()

    def __enter__(self) -> "Lease":
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._ended.set()
        self.join()

    def run(self) -> None:
        try:
            while not self._ended.wait(min(settings.LEASE / 4, max(0, self.over_at - time.monotonic()))):
                if time.monotonic() >= self.over_at:
                    self.when_over()
                until = timezone.now() + timedelta(seconds=settings.LEASE)
                try:
                    self.is_lost = not update_running(self.job, lease_until=until)
                except OperationalError as error:
                    # Locked or away: three more tries before the lease runs out.
                    logger.warning("the lease of job %s was not renewed: %s", self.job.pk, error)
                    connection.close()
                if self.is_lost:
                    return
        finally:
            connection.close()
