import uuid

import pytest
from django.urls import reverse

from storagemgr.access.models import AuditEvent
from storagemgr.jobs.models import Job, JobLock
from storagemgr.jobs.submit import Held, KeyUsed

pytestmark = pytest.mark.django_db


def test_a_job_its_locks_and_its_audit_entry_come_together(ask, volume, operator):
    job = ask("volume.clone", volume, name="copy.qcow2")
    assert job.state == "queued"
    locks = {(lock.volume_name, lock.is_write) for lock in job.locks.all()}
    assert locks == {("web01.qcow2", False), ("copy.qcow2", True)}
    event = AuditEvent.objects.get(job_id=job.pk)
    assert (event.action, event.outcome, event.actor) == ("volume.clone", "asked", operator)


def test_the_same_key_is_the_same_job(ask, volume):
    key = uuid.uuid4()
    first = ask("volume.clone", volume, key=key, name="copy.qcow2")
    assert ask("volume.clone", volume, key=key, name="copy.qcow2") == first
    assert Job.objects.count() == 1


def test_delete_is_refused_while_a_clone_reads_the_volume(ask, volume):
    clone = ask("volume.clone", volume, name="copy.qcow2")
    with pytest.raises(Held) as held:
        ask("volume.delete_now", volume)
    assert held.value.job == clone
    assert Job.objects.count() == 1
    assert AuditEvent.objects.count() == 1


def test_clone_is_refused_while_a_delete_waits(ask, volume):
    delete = ask("volume.delete_now", volume)
    with pytest.raises(Held) as held:
        ask("volume.clone", volume, name="copy.qcow2")
    assert held.value.job == delete


def test_two_clones_of_one_source_go_together(ask, volume):
    ask("volume.clone", volume, name="a.qcow2")
    ask("volume.clone", volume, name="b.qcow2")
    assert Job.objects.active().count() == 2


def test_one_name_cannot_be_made_twice(ask, pool, volume):
    ask("volume.clone", volume, name="same.qcow2")
    with pytest.raises(Held):
        ask("volume.create", pool, name="same.qcow2", capacity=512, space="sparse", format="raw")


def test_the_locks_of_an_ended_job_hold_nobody(ask, volume):
    clone = ask("volume.clone", volume, name="copy.qcow2")
    Job.objects.filter(pk=clone.pk).update(state="succeeded")
    ask("volume.delete_now", volume)
    assert JobLock.objects.count() == 3


def test_a_waiting_refresh_is_joined(ask, pool, volume):
    ask("volume.clone", volume, name="copy.qcow2")
    first = ask("pool.refresh", pool)
    assert ask("pool.refresh", pool) == first
    Job.objects.filter(pk=first.pk).update(state="running")
    assert ask("pool.refresh", pool) != first


def test_the_broker_hears_of_it_after_the_commit_and_may_be_down(
    ask, volume, django_capture_on_commit_callbacks
):
    with django_capture_on_commit_callbacks(execute=True) as callbacks:
        job = ask("volume.clone", volume, name="copy.qcow2")
    assert len(callbacks) == 1
    job.refresh_from_db()
    assert (job.state, job.published_at) == ("queued", None)


def test_a_key_of_another_request_is_refused(ask, volume, pool, make_user, client):
    key = uuid.uuid4()
    ask("volume.clone", volume, key=key, name="copy.qcow2")
    with pytest.raises(KeyUsed):
        ask("volume.clone", volume, key=key, name="other.qcow2")
    with pytest.raises(KeyUsed):
        ask("pool.refresh", pool, key=key)
    client.force_login(make_user("eve", "operator"))
    page = client.post(reverse("volumes:operate", args=[volume.pk, "clone"]), {"key": key, "name": "mine"})
    assert page.status_code == 422
    assert "was used before" in page.content.decode()
    assert str(key) not in page.content.decode()
    assert Job.objects.count() == 1
