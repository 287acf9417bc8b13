"""Jobs that begin later, go on elsewhere, are stopped in the middle, or need no lane."""

import uuid
from dataclasses import replace
from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from storagemgr.jobs.lease import claim
from storagemgr.jobs.models import Job, JobLock
from storagemgr.jobs.operations import REGISTRY, Handed, Progress, Step, Stopped
from storagemgr.jobs.runner import run
from storagemgr.jobs.submit import Held, submit
from storagemgr.jobs.sweep import sweep
from storagemgr.jobs.words import blockers_of

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)


def changed(monkeypatch, name, **fields):
    operation = replace(REGISTRY[name], check=None, **fields)
    monkeypatch.setitem(REGISTRY, name, operation)
    return operation


def post(client, user, job, action="cancel"):
    client.force_login(user)
    return client.post(reverse(f"jobs:{action}", args=[job.pk]))


@pytest.fixture
def scheduled(monkeypatch, volume, operator):
    operation = changed(monkeypatch, "volume.clone", delay=lambda: DAY)
    params = {"name": "later.qcow2", "source": volume.name}
    return submit(operation, volume, actor=operator, params=params, key=uuid.uuid4())


def test_a_scheduled_job_waits_for_its_time_and_not_for_its_turn(scheduled, ask, pool):
    assert (scheduled.state, scheduled.published_at) == ("scheduled", None)
    assert scheduled.due_at - scheduled.created_at == pytest.approx(DAY, abs=timedelta(seconds=5))
    assert claim(scheduled.pk) is None
    assert claim(ask("pool.refresh", pool).pk), "it holds up nobody meanwhile"
    sweep(timezone.now() + DAY - timedelta(minutes=1))
    assert Job.objects.get(pk=scheduled.pk).state == "scheduled"
    sweep(timezone.now() + DAY)
    assert Job.objects.get(pk=scheduled.pk).state == "queued"


def test_a_scheduled_job_keeps_others_off_its_volume(scheduled, ask, volume):
    with pytest.raises(Held) as held:
        ask("volume.delete", volume)
    assert held.value.job == scheduled


def test_a_scheduled_job_can_be_undone(client, operator, scheduled, ask, volume):
    assert post(client, operator, scheduled).status_code == 303
    scheduled.refresh_from_db()
    assert scheduled.state == "cancelled"
    assert ask("volume.delete", volume)


@pytest.fixture
def into_other_pool(ask, volume, make_pool):
    """A copy from `volume` into another pool."""
    other = make_pool("other")
    copy = ask("volume.clone", volume, name="copy.qcow2")
    JobLock.objects.create(
        job=copy, host_id=other.host_id, pool_uuid=other.uuid, volume_name="copy.qcow2", is_write=True
    )
    return copy, other


def both_ways(job):
    """The job's blockers, which the pages work out for many jobs at once."""
    assert blockers_of([job])[job.pk] == job.blockers()
    return job.blockers()


def test_a_copy_is_in_the_lanes_of_both_pools(into_other_pool, ask, pool):
    copy, other = into_other_pool
    assert both_ways(ask("pool.refresh", other)) == [copy]
    assert both_ways(ask("pool.refresh", pool)) == [copy]


def test_a_copy_waits_for_what_has_its_target_pool_alone(ask, volume, make_pool):
    other = make_pool("other")
    refresh = ask("pool.refresh", other)
    copy = ask("volume.clone", volume, name="copy.qcow2")
    JobLock.objects.create(
        job=copy, host_id=other.host_id, pool_uuid=other.uuid, volume_name="copy.qcow2", is_write=True
    )
    assert both_ways(copy) == [refresh]


def test_a_transfer_that_rests_lets_others_have_the_pool(ask, volume, pool):
    transfer = ask("volume.clone", volume, name="up.img")
    refresh = ask("pool.refresh", pool)
    now = timezone.now()
    for lease, expected in ((now + timedelta(seconds=9), [transfer]), (now - timedelta(seconds=1), [])):
        Job.objects.filter(pk=transfer.pk).update(state="transferring", lease_until=lease)
        assert both_ways(refresh) == expected
    with pytest.raises(Held):
        ask("volume.clone", volume, name="up.img")


def test_what_changes_our_rows_alone_waits_for_nothing(monkeypatch, ask, pool, volume, operator):
    refresh = ask("pool.refresh", pool)
    claim(refresh.pk)
    free = changed(monkeypatch, "volume.accept", is_free=True, applies=lambda volume: True)
    job = submit(free, volume, actor=operator, params={}, key=uuid.uuid4())
    JobLock.objects.all().delete()
    assert both_ways(job) == []
    assert both_ways(ask("pool.stop", pool)) == [refresh]


def test_a_job_without_need_of_its_host_opens_no_connection(monkeypatch, volume, operator):
    def refuse(host):
        raise AssertionError("it opened a connection")

    monkeypatch.setattr("storagemgr.jobs.runner.open_in_time", refuse)
    did = []
    steps = lambda run: (did.append(run.target) or step for step in [Step("Write it down")])  # noqa: E731
    free = changed(monkeypatch, "volume.accept", is_free=True, run=steps)
    job = submit(free, volume, actor=operator, params={}, key=uuid.uuid4())
    run(job.pk)
    job.refresh_from_db()
    assert (job.state, did) == ("succeeded", [volume])


def test_a_job_goes_on_elsewhere_and_comes_back(monkeypatch, ask, volume):
    def work(context):
        yield Step("Make the volume")
        if context.job.lines.filter(text="it is there").exists():
            return
        raise Handed("it is there")

    changed(monkeypatch, "volume.clone", run=work, tests_the_way=True)
    job = ask("volume.clone", volume, name="up.img")
    run(job.pk)
    job.refresh_from_db()
    assert (job.state, job.finished_at) == ("transferring", None)
    assert job.lease_until <= timezone.now()
    begun = job.started_at
    sweep(timezone.now() + DAY)
    assert Job.objects.get(pk=job.pk).state == "transferring", "nobody's lease ran out"
    Job.objects.filter(pk=job.pk).update(state="queued")
    run(job.pk)
    job.refresh_from_db()
    assert (job.state, job.started_at) == ("succeeded", begun)


def test_what_can_be_stopped_is_stopped_between_two_steps(monkeypatch, client, operator, ask, volume):
    left = []

    def work(context):
        try:
            yield Step("Send", total=3)
            for done in range(3):
                Job.objects.filter(pk=context.job.pk, cancel_asked_at=None).update(
                    cancel_asked_at=timezone.now()
                )
                yield Progress(done)
        finally:
            left.append(done)

    changed(monkeypatch, "volume.clone", run=work, tests_the_way=True, is_stoppable=True)
    job = ask("volume.clone", volume, name="copy.qcow2")
    run(job.pk)
    job.refresh_from_db()
    assert (job.state, left) == ("cancelled", [0])
    assert job.lines.last().text == "cancelled"


@pytest.mark.parametrize(("can_stop", "status"), [(True, 303), (False, 409)])
def test_cancelling_what_runs(monkeypatch, client, operator, ask, volume, can_stop, status):
    changed(monkeypatch, "volume.clone", is_stoppable=can_stop)
    job = claim(ask("volume.clone", volume, name="copy.qcow2").pk)
    assert post(client, operator, job).status_code == status
    job.refresh_from_db()
    assert (job.state, job.cancel_asked_at is not None) == ("running", can_stop)


def test_cancelling_a_transfer_lets_a_worker_clean_up(monkeypatch, client, operator, ask, volume):
    def work(context):
        yield Step("Take it away")
        raise Stopped

    changed(monkeypatch, "volume.clone", run=work, tests_the_way=True)
    job = ask("volume.clone", volume, name="up.img")
    Job.objects.filter(pk=job.pk).update(state="transferring")
    assert post(client, operator, job).status_code == 303
    job.refresh_from_db()
    assert (job.state, job.cancel_asked_at is not None) == ("queued", True)
    run(job.pk)
    job.refresh_from_db()
    assert job.state == "cancelled"
