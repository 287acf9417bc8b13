"""One operation for many volumes: one form for all, what stands in the way of one is told beside it."""

import re
import uuid

import pytest
from django.contrib.auth.models import Group
from django.urls import reverse

from storagemgr.jobs.models import Batch, Job, JobLock
from storagemgr.jobs.operations import REGISTRY
from volumes.models import DiskUse

pytestmark = pytest.mark.django_db


def url(slug):
    return reverse("volumes:selected", args=[slug])


def text(response):
    return " ".join(re.sub(r"<[^>]*>", " ", response.content.decode()).replace("\xa0", " ").split())


@pytest.fixture
def as_(client):
    def sign_in(user):
        client.force_login(user)
        return client

    return sign_in


@pytest.fixture
def three(pool, make_volume):
    return [make_volume(f"disk{number}", pool=pool) for number in range(3)]


def posted(volumes, **fields):
    return {"volume": [volume.pk for volume in volumes], "key": str(uuid.uuid4())} | fields


def test_what_is_offered_needs_no_fields_to_know_its_locks(volume):
    offered = {o.name: o for o in REGISTRY.values() if o.is_for_many and o.name.startswith("volume.")}
    assert {"volume.delete", "volume.wipe", "volume.protect", "volume.own", "volume.keep"} <= offered.keys()
    for operation in offered.values():
        assert all(lock.volume_name for lock in operation.locks(volume, {}))


def test_deleted_later_one_job_for_each(as_, operator, three):
    page = as_(operator).get(url("delete"), {"volume": [volume.pk for volume in three]})
    said = text(page)
    for volume in three:
        assert f"{volume.name} in default on kvm1" in said
    data = posted(three, typed_name=page.context["typed_text"])
    answer = as_(operator).post(url("delete"), data)
    batch = Batch.objects.get()
    assert (answer.status_code, answer.url) == (303, batch.get_absolute_url())
    jobs = Job.objects.order_by("id").values_list("volume_name", "state", "batch")
    assert list(jobs) == [(volume.name, "scheduled", batch.pk) for volume in three]
    assert as_(operator).post(url("delete"), data).url == answer.url
    assert Job.objects.count() == 3


def test_one_that_is_used_and_one_that_a_job_has_are_left_out(as_, operator, three, host):
    DiskUse.objects.create(
        host=host, volume=three[0], domain_uuid=uuid.uuid4(), domain_name="web01", running=False, kind="disk"
    )
    where = {"host_id": host.pk, "pool_uuid": three[1].pool.uuid}
    job = Job.objects.create(operation="volume.clone", title="Clone disk1", requester_name="paul", **where)
    JobLock.objects.create(job=job, volume_name="disk1", is_write=False, **where)
    page = as_(operator).get(url("delete"), {"volume": [volume.pk for volume in three]})
    said = text(page)
    assert page.context["possible"] == [three[2]]
    assert "web01" in said
    assert "disk1 in default on kvm1 : A job has it: Clone disk1, asked by paul." in said
    answer = as_(operator).post(url("delete"), posted(three, typed_name="delete 3 volumes"))
    assert answer.status_code == 409
    assert Job.objects.count() == 1


def test_a_form_is_asked_once_for_all(as_, operator, three):
    team = Group.objects.create(name="web team")
    operator.groups.add(team)
    page = as_(operator).get(url("own"), {"volume": [volume.pk for volume in three]})
    assert page.content.decode().count('name="owner"') == 1
    answer = as_(operator).post(url("own"), posted(three, owner=team.pk))
    assert answer.status_code == 303, text(answer)
    assert [job.params["owner_id" if "owner_id" in job.params else "owner"] for job in Job.objects.all()] == [
        team.pk
    ] * 3


def test_a_wrong_field_is_told_and_what_was_typed_is_kept(as_, operator, three):
    answer = as_(operator).post(url("keep"), posted(three, reason=""))
    assert answer.status_code == 422
    assert "This field is required." in text(answer) or "invalid-feedback" in answer.content.decode()
    answer = as_(operator).post(url("keep"), posted(three, reason="<b>for the audit"))
    assert answer.status_code == 303
    assert {job.params["reason"] for job in Job.objects.all()} == {"<b>for the audit"}


def test_the_same_key_for_something_else_starts_nothing(as_, operator, three):
    data = posted(three, reason="one")
    as_(operator).post(url("keep"), data)
    answer = as_(operator).post(url("keep"), data | {"reason": "two"})
    assert answer.status_code == 422
    assert "had lost its number" in text(answer)
    assert Job.objects.count() == 3


def test_hidden_volumes_are_like_none_and_a_viewer_is_refused(
    as_, viewer, make_user, make_host, make_pool, three
):
    paul = make_user("paul", "operator", host=make_host("other"))
    page = as_(paul).get(url("delete"), {"volume": [volume.pk for volume in three]})
    assert "No volume is chosen." in text(page)
    assert as_(viewer).post(url("delete"), posted(three)).status_code == 403
    assert 'name="volume"' not in as_(viewer).get("/volumes/").content.decode()
    assert not Job.objects.exists()


def test_boxes_and_the_bar_stand_in_both_lists(as_, operator, three):
    for page in ("/volumes/", f"/pools/{three[0].pool.pk}/volumes/"):
        html = as_(operator).get(page).content.decode()
        assert html.count('type="checkbox" name="volume"') == 3
        assert f'formaction="{url("delete")}"' in html
