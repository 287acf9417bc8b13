from datetime import timedelta
from uuid import uuid4

import pytest
from django.utils import timezone
from kombu.exceptions import OperationalError

from pools.models import Pool
from storagemgr.hosts.models import Host
from storagemgr.jobs.models import Job
from volumes import tasks
from volumes.models import DiskUse


@pytest.fixture
def rung(monkeypatch, django_capture_on_commit_callbacks):
    """What the tick asks the broker for."""
    messages = []
    for task in (tasks.read_host, tasks.settle_job):
        monkeypatch.setattr(
            task, "apply_async", lambda args, retry, name=task.name: messages.append((name, *args))
        )
    return messages


def tick_at(**passed) -> None:
    tasks.submit_refreshes(timezone.now() + timedelta(**passed))


def refreshes() -> list[str]:
    return list(
        Job.objects.filter(operation="pool.refresh").order_by("id").values_list("pool_name", flat=True)
    )


def test_hosts_that_are_due_are_read(rung, make_host):
    now = timezone.now()
    new, old = make_host("new"), make_host("old", next_read_at=now - timedelta(seconds=1))
    make_host("later", next_read_at=now + timedelta(seconds=5))
    make_host("busy", reading_since=now)
    vanished = make_host("vanished", reading_since=now - timedelta(minutes=2))
    tasks.tick()
    assert sorted(rung) == [("volumes.read_host", host.pk) for host in (new, old, vanished)]


def test_an_interrupted_job_is_settled(rung, pool):
    job = Job.objects.create(
        operation="pool.refresh",
        host=pool.host,
        pool_uuid=pool.uuid,
        pool_name=pool.name,
        state="interrupted",
        next_settle_at=timezone.now(),
    )
    tasks.tick()
    assert ("jobs.settle", job.pk) in rung


def test_a_broker_that_is_down_ends_the_ringing(monkeypatch, make_host, caplog):
    tried = []

    def refuse(args, retry):
        tried.append(args)
        raise OperationalError("refused")

    monkeypatch.setattr(tasks.read_host, "apply_async", refuse)
    for name in ("kvm1", "kvm2", "kvm3"):
        make_host(name)
    tasks.tick()
    assert len(tried) == 1
    assert "the broker did not take volumes.read_host" in caplog.text


def test_a_tick_speaks_no_libvirt(rung, monkeypatch, make_pool):
    def refuse(*_, **__):
        raise AssertionError("the tick opened a connection")

    monkeypatch.setattr("storagemgr.hosts.reaching.connect", refuse)
    monkeypatch.setattr(tasks.host_sync, "reach", refuse)
    make_pool(next_refresh_at=timezone.now())
    tasks.tick()
    assert refreshes() == ["default"]


def test_pools_that_are_due_are_refreshed_once_a_period(make_pool, settings):
    settings.REFRESH_PERIOD = 900
    due = timezone.now() + timedelta(seconds=1)
    make_pool("files", next_refresh_at=due)
    make_pool("lvm", type="logical", next_refresh_at=due)
    make_pool("ceph", type="rbd", next_refresh_at=due)
    make_pool("later", next_refresh_at=due + timedelta(hours=9))
    make_pool("never-read", next_refresh_at=None)
    tick_at(seconds=1)
    assert refreshes() == ["files", "lvm", "ceph"]
    job = Job.objects.first()
    assert (job.requested_by, job.requester_name) == (None, "the schedule")
    Job.objects.update(state="succeeded")
    tick_at(minutes=16)
    assert refreshes()[3:] == ["files"]
    Job.objects.update(state="succeeded")
    tick_at(minutes=30, seconds=30)
    assert refreshes()[4:] == ["lvm"]
    Job.objects.update(state="succeeded")
    tick_at(minutes=61)
    assert sorted(refreshes()[5:]) == ["ceph", "files", "lvm"]


@pytest.mark.parametrize(
    "fields",
    [{"state": "inactive"}, {"state": "building"}, {"unreachable_since": timezone.now()}],
    ids=["stopped", "building", "unreachable"],
)
def test_a_pool_that_cannot_be_refreshed_is_left_alone(make_pool, fields):
    make_pool(next_refresh_at=timezone.now(), **fields)
    tick_at(seconds=1)
    assert refreshes() == []


def test_nothing_is_lost_by_a_refresh_that_nobody_asked_for(make_pool, make_volume):
    due = timezone.now()
    make_pool("transient", persistent=False, next_refresh_at=due)
    luns = {kind: make_volume(f"{kind}-lun", pool=make_pool(kind, type="iscsi")) for kind in ("busy", "idle")}
    for kind, lun in luns.items():
        vm = {"host": lun.pool.host, "domain_uuid": uuid4(), "domain_name": kind, "kind": "disk"}
        DiskUse.objects.create(volume=lun, running=kind == "busy", **vm)
    Pool.objects.update(next_refresh_at=due)
    tick_at(seconds=1)
    assert refreshes() == ["idle"]


@pytest.mark.parametrize("state", [Host.State.DOWN, Host.State.SILENT, Host.State.UNKNOWN])
def test_no_pool_of_a_host_that_does_not_answer_is_refreshed(make_host, make_pool, state):
    make_pool(host=make_host(state=state), next_refresh_at=timezone.now())
    tick_at(seconds=1)
    assert refreshes() == []


def test_a_refresh_does_not_queue_in_front_of_people(make_pool):
    pool = make_pool(next_refresh_at=timezone.now())
    job = Job.objects.create(
        operation="volume.clone", host=pool.host, pool_uuid=pool.uuid, pool_name=pool.name, key=uuid4()
    )
    tick_at(seconds=1)
    assert refreshes() == []
    Job.objects.filter(pk=job.pk).update(state="succeeded")
    tick_at(seconds=30)
    assert refreshes() == []
    tick_at(seconds=62)
    assert refreshes() == [pool.name]


def test_few_refreshes_begin_together(make_pool):
    for number in range(8):
        make_pool(f"pool{number}", next_refresh_at=timezone.now())
    tick_at(seconds=1)
    assert len(refreshes()) == tasks.REFRESHES_PER_TICK
    tick_at(seconds=3)
    assert len(refreshes()) == 8


def test_refreshes_can_be_turned_off(make_pool, settings):
    settings.REFRESH_PERIOD = 0
    make_pool(next_refresh_at=timezone.now())
    tick_at(seconds=1)
    assert not Job.objects.exists()
    assert Pool.objects.get().next_refresh_at < timezone.now()
