from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from pools.models import Pool
from storagemgr.jobs.models import Job, JobLock


@pytest.fixture
def make_job(operator: User, pool: Pool) -> Callable[..., Job]:
    """A job row as a worker would leave it. `reads` and `writes` name volumes that it locks."""

    def make(title: str = "Refresh default", *, reads: str = "", writes: str = "", **fields: Any) -> Job:
        of = fields.pop("of", pool)
        state = fields.get("state", Job.State.QUEUED)
        times: dict[str, datetime] = {}
        if state not in (Job.State.QUEUED, Job.State.CANCELLED):
            times["started_at"] = timezone.now() - timedelta(seconds=90)
        if state not in Job.ACTIVE:
            times["finished_at"] = timezone.now()
        defaults = {"operation": "pool.refresh", "title": title, "host": of.host, "pool_uuid": of.uuid}
        person = {"requested_by": operator, "requester_name": operator.username, "pool_name": of.name}
        job = Job.objects.create(**defaults | person | times | fields)
        for names, is_write in ((reads, False), (writes, True)):
            for name in names.split():
                place = {"host_id": of.host_id, "pool_uuid": of.uuid, "volume_name": name}
                JobLock.objects.create(job=job, is_write=is_write, **place)
        return job

    return make


@pytest.fixture
def as_operator(client: Client, operator: User) -> Client:
    client.force_login(operator)
    return client


@pytest.fixture
def as_manager(client: Client, manager: User) -> Client:
    client.force_login(manager)
    return client


@pytest.fixture
def htmx() -> dict[str, str]:
    """The header that htmx sends."""
    return {"HX-Request": "true"}
