import uuid
from datetime import timedelta

import pytest
from django.utils import timezone

from storagemgr.access.models import AuditEvent
from storagemgr.jobs.lease import claim, move, update_running
from storagemgr.jobs.models import Job
from storagemgr.jobs.operations import REGISTRY
from storagemgr.jobs.runner import end
from storagemgr.jobs.submit import submit
from storagemgr.jobs.sweep import sweep

pytestmark = pytest.mark.django_db


def test_a_job_is_claimed_once(ask, volume):
    job = ask("volume.clone", volume, name="copy.qcow2")
    assert claim(job.pk).state == "running"
    assert claim(job.pk) is None


def test_operations_that_go_together_share_the_lane(ask, make_volume, volume):
    first = ask("volume.clone", volume, name="a.qcow2")
    second = ask("volume.delete_now", make_volume("other.qcow2"))
    assert claim(first.pk)
    assert claim(second.pk)


def test_a_refresh_waits_for_the_clone_and_a_later_clone_for_the_refresh(ask, volume, pool):
    clone = ask("volume.clone", volume, name="a.qcow2")
    refresh = ask("pool.refresh", pool)
    later = ask("volume.clone", volume, name="b.qcow2")
    assert claim(clone.pk)
    assert claim(refresh.pk) is None
    assert claim(later.pk) is None
    assert refresh.blockers() == [clone]
    assert later.blockers() == [refresh]
    Job.objects.filter(pk=clone.pk).update(state="succeeded")
    assert claim(refresh.pk)
    assert claim(later.pk) is None


def test_an_interrupted_job_keeps_its_lane(ask, volume, pool):
    clone = ask("volume.clone", volume, name="a.qcow2")
    Job.objects.filter(pk=clone.pk).update(state="interrupted")
    assert claim(ask("pool.refresh", pool).pk) is None


def test_another_pool_does_not_wait(ask, volume, make_pool, pool):
    ask("pool.stop", pool)
    assert claim(ask("pool.refresh", make_pool("other")).pk)


def test_a_worker_without_the_token_cannot_write(ask, volume):
    job = claim(ask("volume.clone", volume, name="a.qcow2").pk)
    assert update_running(job, done_bytes=1)
    job.token = "00000000-0000-0000-0000-000000000000"
    assert not update_running(job, done_bytes=2)
    assert not move(job, from_state="running", to_state="succeeded")
    assert Job.objects.get(pk=job.pk).done_bytes == 1


def test_a_lease_that_ran_out_interrupts_the_job(ask, volume):
    job = claim(ask("volume.clone", volume, name="a.qcow2").pk)
    assert sweep(timezone.now()) == []
    late = job.lease_until + timedelta(seconds=1)
    assert sweep(late) == [job.pk]
    job.refresh_from_db()
    assert job.state == "interrupted"
    assert "died or hangs" in job.finding
    assert not update_running(job, done_bytes=5)


def test_progress_is_at_most_99_percent_until_the_end():
    job = Job(state="running", done_bytes=200, total_bytes=200)
    assert job.percent == 99
    job.state = "succeeded"
    assert job.percent == 100
    assert Job(state="running").percent is None


def test_time_left_comes_from_the_rate_so_far():
    start = timezone.now()
    job = Job(
        state="running",
        started_at=start,
        progress_at=start + timedelta(seconds=10),
        done_bytes=1000,
        total_bytes=3000,
    )
    assert (job.rate, job.seconds_left) == (100, 20)


def test_refreshes_by_schedule_are_forgotten_and_not_audited(pool, ask):
    mine = ask("pool.refresh", pool)
    Job.objects.filter(pk=mine.pk).update(state="succeeded", finished_at=timezone.now() - timedelta(days=1))
    before = AuditEvent.objects.count()
    job = claim(submit(REGISTRY["pool.refresh"], pool, actor=None, params={}, key=uuid.uuid4()).pk)
    end(job, Job.State.SUCCEEDED)
    assert AuditEvent.objects.count() == before
    sweep(timezone.now())
    assert Job.objects.filter(pk=job.pk).exists()
    sweep(timezone.now() + timedelta(hours=2))
    assert list(Job.objects.all()) == [mine]


def test_a_refresh_by_schedule_that_fails_is_audited_and_kept(pool):
    job = claim(submit(REGISTRY["pool.refresh"], pool, actor=None, params={}, key=uuid.uuid4()).pk)
    end(job, Job.State.FAILED, code="io_error")
    assert AuditEvent.objects.get().outcome == "failed"
    sweep(timezone.now() + timedelta(hours=2))
    assert Job.objects.filter(pk=job.pk).exists()
