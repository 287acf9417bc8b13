"""What somebody may not see is not named to them, and nobody inherits what was meant for another volume."""

import uuid

import pytest
from django.urls import reverse

from storagemgr.access.models import Grant
from storagemgr.jobs.models import Job, JobLock
from storagemgr.jobs.operations import REGISTRY, OperationFailed, Run
from volumes import safety
from volumes.models import Volume
from volumes.operations import deleting

pytestmark = pytest.mark.django_db


@pytest.fixture
def one_pool_user(make_user, pool):
    user = make_user("pia")
    Grant.objects.create(user=user, role="manager", host=pool.host, pool_uuid=pool.uuid)
    return user


@pytest.fixture
def hidden_job(volume, make_pool):
    """It has the same bytes, in a pool that is hidden."""
    other = make_pool("vault")
    job = Job.objects.create(
        operation="volume.clone",
        title="Clone TOPSECRET",
        host=other.host,
        pool_uuid=other.uuid,
        pool_name=other.name,
        requester_name="zoe",
        state="running",
    )
    place = {"host_id": volume.pool.host_id, "pool_uuid": volume.pool.uuid, "volume_name": volume.name}
    JobLock.objects.create(job=job, is_write=True, **place)
    return job


def test_a_job_of_a_hidden_pool_is_not_named(client, one_pool_user, volume, hidden_job):
    client.force_login(one_pool_user)
    url = reverse("volumes:operate", args=[volume.pk, "delete"])
    page = client.post(url, {"key": str(uuid.uuid4())})
    assert page.status_code == 409
    many = client.get(f"{reverse('volumes:selected', args=['delete'])}?volume={volume.pk}")
    for text in (page.content.decode(), many.content.decode()):
        assert "a pool that you do not see" in text
        assert not any(word in text for word in ("TOPSECRET", "zoe", "vault"))


def test_its_own_people_are_told(client, manager, volume, hidden_job):
    client.force_login(manager)
    url = reverse("volumes:operate", args=[volume.pk, "delete"])
    assert "Clone TOPSECRET" in client.post(url, {"key": str(uuid.uuid4())}).content.decode()


@pytest.mark.parametrize(
    "change", [{"capacity": 1}, {"format": "raw"}, {"key": "another"}, {"backing_path": "/b"}]
)
def test_another_volume_of_the_name_is_not_deleted_a_day_later(client, operator, volume, monkeypatch, change):
    client.force_login(operator)
    url = reverse("volumes:operate", args=[volume.pk, "delete"])
    assert client.post(url, {"key": str(uuid.uuid4())}).status_code == 303
    job = Job.objects.get(state="scheduled")
    monkeypatch.setattr(safety, "read_again", lambda run: None)
    run = Run(job=job, target=volume, connect=lambda: None)
    check = REGISTRY["volume.delete"].check
    check(run)
    Volume.objects.filter(pk=volume.pk).update(**change)
    with pytest.raises(OperationFailed, match="changed_since"):
        check(run)
    assert deleting.DELETE.check is check
