"""What a worker refuses to run, and how a job ends that cannot be settled."""

import time
from dataclasses import replace
from datetime import timedelta

import pytest
from django.db import OperationalError
from django.utils import timezone

from storagemgr.access.models import AuditEvent
from storagemgr.jobs import lease, runner
from storagemgr.jobs.models import Job
from storagemgr.jobs.operations import REGISTRY, Step
from storagemgr.jobs.runner import run
from storagemgr.jobs.sweep import settle, sweep

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


def test_a_job_that_lost_the_database_is_settled_and_not_called_failed(ask, pool, monkeypatch):
    def find(job):
        raise OperationalError("database is locked")

    job = ask("pool.autostart_on", pool)
    monkeypatch.setitem(REGISTRY, job.operation, replace(REGISTRY[job.operation], find=find))
    run(job.pk)
    job.refresh_from_db()
    assert (job.state, job.error_code) == ("running", "")
    assert sweep(timezone.now() + timedelta(minutes=5)) == [job.pk]


def test_a_lease_outlives_a_locked_database(ask, pool, monkeypatch, settings):
    settings.LEASE = 0.08
    answers = [OperationalError("database is locked"), True, False]

    def update(job, **fields):
        answer = answers.pop(0)
        if isinstance(answer, OperationalError):
            raise answer
        return answer

    monkeypatch.setattr(lease, "update_running", update)
    held = lease.Lease(ask("pool.autostart_on", pool), None, lambda: None)
    with held:
        deadline = time.monotonic() + 5
        while held.is_alive() and time.monotonic() < deadline:
            time.sleep(0.01)
    assert held.is_lost
    assert answers == []


def test_a_worker_whose_call_hangs_ends_also_without_its_database(ask, pool, monkeypatch):
    def end(job, state, **fields):
        raise OperationalError("database is locked")

    ended = []
    monkeypatch.setattr(runner, "end", end)
    monkeypatch.setattr(runner.os, "_exit", ended.append)
    with pytest.raises(OperationalError):
        runner._give_up(ask("pool.autostart_on", pool))
    assert ended == [1]


def test_a_step_with_a_long_title_fits_into_its_column(ask, pool, monkeypatch):
    """That of a look at a volume group names five devices by their stable links."""
    title = "Look at " + ", ".join(f"/dev/disk/by-id/{'x' * 60}{number}" for number in range(5))
    job = ask("pool.autostart_on", pool)
    easy = {"run": lambda run: iter([Step(title)]), "check": None, "tests_the_way": True}
    monkeypatch.setitem(REGISTRY, job.operation, replace(REGISTRY[job.operation], **easy))
    run(job.pk)
    job.refresh_from_db()
    assert (job.state, job.step) == ("succeeded", title[:255])
    assert job.lines.filter(text=title).exists()


def test_what_went_well_at_last_takes_the_notice_of_its_failure_away(ask, pool, make_pool):
    failed, elsewhere = ask("pool.refresh", pool), ask("pool.refresh", make_pool("other"))
    Job.objects.update(state="failed", error_code="no_space")
    again = ask("pool.refresh", pool)
    Job.objects.filter(pk=again.pk).update(state="running")
    again.refresh_from_db()
    runner.end(again, Job.State.FAILED, code="io_error")
    failed.refresh_from_db()
    assert failed.acknowledged_at is None
    last = ask("pool.refresh", pool)
    Job.objects.filter(pk=last.pk).update(state="running")
    last.refresh_from_db()
    runner.end(last, Job.State.SUCCEEDED)
    seen = Job.objects.exclude(acknowledged_at=None)
    assert set(seen) == {failed, again}
    elsewhere.refresh_from_db()
    assert elsewhere.acknowledged_at is None
