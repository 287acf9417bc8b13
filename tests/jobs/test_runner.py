"""What a worker refuses to run, and how a job ends that cannot be settled."""

import pytest
from django.utils import timezone

from storagemgr.access.models import AuditEvent
from storagemgr.jobs.models import Job
from storagemgr.jobs.runner import run
from storagemgr.jobs.sweep import settle

pytestmark = pytest.mark.django_db


def test_a_job_of_somebody_who_was_deleted_meanwhile_is_refused(ask, pool, operator):
    job = ask("pool.autostart_on", pool)
    operator.delete()
    run(job.pk)
    job.refresh_from_db()
    assert (job.state, job.error_code) == ("failed", "not_permitted_any_more")


def test_a_job_of_an_unknown_operation_waits_for_a_worker_that_knows_it(ask, pool):
    job = ask("pool.autostart_on", pool)
    Job.objects.update(operation="pool.of_another_version")
    run(job.pk)
    job.refresh_from_db()
    assert (job.state, job.worker) == ("queued", "")


def test_an_interrupted_job_of_an_unknown_operation_lets_the_lane_go(ask, pool):
    job = ask("pool.autostart_on", pool)
    Job.objects.update(
        operation="pool.of_another_version",
        state="interrupted",
        daemon="1:2:3",
        next_settle_at=timezone.now(),
    )
    settle(job.pk)
    job.refresh_from_db()
    assert (job.state, job.error_code) == ("failed", "end_unknown")
    assert AuditEvent.objects.filter(job_id=job.pk, outcome="failed").exists()
