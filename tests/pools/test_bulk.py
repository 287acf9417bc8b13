"""One operation for many pools: who may, what is left out, what comes of a double click."""

import re
import uuid

import pytest
from django.urls import reverse

from pools.models import Pool
from pools.rows import MANY
from storagemgr.access.models import AuditEvent
from storagemgr.jobs import bulk
from storagemgr.jobs.models import Batch, Job
from storagemgr.jobs.operations import REGISTRY

pytestmark = pytest.mark.django_db


def url(slug="stop"):
    return reverse("pools:selected", args=[slug])


def text(response):
    words = " ".join(re.sub(r"<[^>]*>", " ", response.content.decode()).replace("\xa0", " ").split())
    return re.sub(r"\d\d:\d\d:\d\d", "TIME", words)


def posted(pools, **fields):
    return {"pool": [pool.pk for pool in pools], "key": str(uuid.uuid4())} | fields


@pytest.fixture
def three(make_pool):
    return [make_pool(f"p{number}") for number in range(3)]


@pytest.fixture
def as_(client):
    def sign_in(user):
        client.force_login(user)
        return client

    return sign_in


def test_every_operation_for_many_takes_no_locks(pool):
    offered = [o for o in REGISTRY.values() if o.is_for_many and o.name.startswith("pool.")]
    assert {"pool.start", "pool.stop", "pool.refresh", "pool.autostart_on"} <= {o.name for o in offered}
    for operation in offered:
        assert operation.locks(pool, {}) == []


def test_the_page_says_what_happens_to_each_and_why_one_is_left_out(as_, operator, three):
    three[1].state = "inactive"
    three[1].save()
    page = as_(operator).get(url(), {"pool": [pool.pk for pool in three]})
    assert page.status_code == 200
    said = text(page)
    assert "Stop 2 pools" in said
    assert "Directory: 2 pools p0 on kvm1 p2 on kvm1" in said
    assert three[0].kind.stop in said
    assert "p1 on kvm1 : It is stopped already." in said
    assert not Job.objects.exists()


def test_one_job_for_each_in_one_batch_in_the_order_of_the_page(as_, operator, three):
    answer = as_(operator).post(url(), posted(three))
    batch = Batch.objects.get()
    assert (answer.status_code, answer.url) == (303, batch.get_absolute_url())
    jobs = Job.objects.order_by("id")
    assert [(job.pool_name, job.operation, job.batch) for job in jobs] == [
        (name, "pool.stop", batch) for name in ("p0", "p1", "p2")
    ]
    assert [len(job.blockers()) for job in jobs] == [0, 1, 2]
    assert (batch.title, batch.requested_by) == ("Stop 3 pools", operator)
    asked = AuditEvent.objects.filter(outcome="asked")
    assert sorted(asked.values_list("job_id", flat=True)) == sorted(job.pk for job in jobs)


def test_the_same_form_twice_is_one_batch(as_, operator, three):
    data = posted(three)
    first, second = as_(operator).post(url(), data), as_(operator).post(url(), data)
    assert first.url == second.url
    assert (Batch.objects.count(), Job.objects.count()) == (1, 3)
    Pool.objects.update(state="inactive")
    Job.objects.update(state="succeeded")
    assert as_(operator).post(url(), data).url == first.url


def test_two_that_come_at_once_are_one_batch(as_, operator, three, rf):
    """The second has looked for the first's jobs before there were any."""
    request = rf.post(url())
    request.user, key = operator, uuid.uuid4()
    stop = REGISTRY["pool.stop"]
    filled = [(pool, bulk.NoForm({"key": key}, target=pool)) for pool in three]
    assert all(form.is_valid() for _, form in filled)
    first = bulk._submit(request, stop, MANY, filled, key)
    assert bulk._submit(request, stop, MANY, filled, key) == first
    assert Batch.objects.count() == 1


def test_a_key_of_somebody_else_starts_nothing(as_, operator, manager, three):
    data = posted(three)
    as_(operator).post(url(), data)
    answer = as_(manager).post(url(), data)
    assert answer.status_code == 422
    assert "had lost its number" in text(answer)
    assert (Batch.objects.count(), Job.objects.count()) == (1, 3)


@pytest.mark.parametrize("key", ["", "x", "1' OR 1"])
def test_a_lost_key(as_, operator, three, key):
    answer = as_(operator).post(url(), posted(three, key=key))
    assert answer.status_code == 422
    assert "had lost its number" in text(answer)
    assert not Job.objects.exists()


def test_without_the_right_a_pool_is_left_out_and_a_try_is_audited(as_, make_user, three):
    user = make_user("paul", "viewer")
    mixed = make_user("olga", "operator", pool_uuid=three[0].uuid)
    answer = as_(user).post(url(), posted(three))
    assert answer.status_code == 403
    assert AuditEvent.objects.filter(outcome="denied", actor=user, action="pool.stop").count() == 3
    mixed.groups.clear()
    from storagemgr.access.models import Grant

    Grant.objects.create(user=mixed, role="viewer")
    page = as_(mixed).get(url(), {"pool": [pool.pk for pool in three]})
    assert "p1 on kvm1 : You are Viewer here." in text(page)
    answer = as_(mixed).post(url(), posted(three))
    assert answer.status_code == 409
    assert AuditEvent.objects.filter(outcome="denied", actor=mixed).count() == 2
    assert not Job.objects.exists()
    assert as_(mixed).post(url(), posted(three[:1])).status_code == 303


def test_a_hidden_pool_is_like_one_that_is_not_there(as_, make_user, three):
    paul = make_user("paul", "operator", pool_uuid=three[0].uuid)
    hidden = as_(paul).get(url(), {"pool": [three[0].pk, three[1].pk]})
    missing = as_(paul).get(url(), {"pool": [three[0].pk, 999_999]})
    assert text(hidden) == text(missing)
    assert "p1" not in text(hidden)
    answer = as_(paul).post(url(), posted([three[0], three[1]]))
    assert answer.status_code == 303
    assert Job.objects.get().pool_name == "p0"
    assert not AuditEvent.objects.filter(outcome="denied").exists()


def test_what_changed_meanwhile_is_shown_again_and_nothing_starts(as_, operator, three):
    Pool.objects.filter(pk=three[2].pk).update(state="inactive")
    answer = as_(operator).post(url(), posted(three))
    assert answer.status_code == 409
    assert "Not started." in text(answer)
    assert "p2 on kvm1 : It is stopped already." in text(answer)
    assert not Job.objects.exists()


@pytest.mark.parametrize("pools", [[], ["x"], ["-1"], ["9" * 40], ["²"], ["999999"]])
def test_nothing_chosen(as_, operator, pools):
    page = as_(operator).get(url(), {"pool": pools})
    assert page.status_code == 200
    assert "No pool is chosen." in text(page)
    assert 'id="ask"' not in page.content.decode()
    assert as_(operator).post(url(), {"pool": pools, "key": uuid.uuid4()}).status_code == 409


def test_too_many(as_, operator, three, monkeypatch):
    monkeypatch.setattr(bulk, "LIMIT", 2)
    page = as_(operator).get(url(), {"pool": [pool.pk for pool in three]})
    assert "Choose at most 2 pools at once." in text(page)
    assert as_(operator).post(url(), posted(three)).status_code == 409
    assert not Job.objects.exists()


@pytest.mark.parametrize("slug", ["nothing", "remove-examples", "autostart_on", "build-overwrite"])
def test_what_is_not_for_many_is_not_there(as_, operator, slug):
    assert as_(operator).get(url(slug)).status_code == 404


def test_those_that_failed_can_be_asked_for_again_together(as_, operator, three):
    as_(operator).post(url(), posted(three))
    batch = Batch.objects.get()
    Job.objects.filter(pool_name="p0").update(state="succeeded")
    Job.objects.exclude(pool_name="p0").update(state="failed", error_code="pool_busy")
    page = as_(operator).get(batch.get_absolute_url())
    link = re.search(
        r'href="([^"]+)">(?:<svg.*?</svg>)?Ask again for the 2 that failed', page.content.decode()
    )
    assert link[1] == f"{url()}?again={batch.pk}"
    again = as_(operator).get(link[1])
    assert "Stop 2 pools" in text(again)
    assert "p1 on kvm1 p2 on kvm1" in text(again)


def test_again_shows_nothing_of_hidden_pools(as_, operator, make_user, three):
    as_(operator).post(url(), posted(three))
    Job.objects.update(state="failed")
    paul = make_user("paul", "operator", pool_uuid=three[0].uuid)
    page = text(as_(paul).get(url(), {"again": Batch.objects.get().pk}))
    assert "Stop 1 pool" in page
    assert "p1" not in page


def test_a_broker_that_is_away_costs_one_try_and_no_batch(as_, operator, three, monkeypatch, settings):
    tried = []
    monkeypatch.setattr("storagemgr.jobs.submit.ring", lambda job: tried.append(job.pool_name))
    from django.test import TestCase

    with TestCase.captureOnCommitCallbacks(execute=True):
        as_(operator).post(url(), posted(three))
    assert tried == ["p0"]


def test_boxes_and_bar_are_for_those_who_can_do_something(as_, operator, viewer, pool):
    box = f'type="checkbox" name="pool" value="{pool.pk}"'
    page = as_(operator).get("/").content.decode()
    assert box in page
    assert f'formaction="{url()}"' in page
    nothing = as_(viewer).get("/").content.decode()
    assert box not in nothing
    assert 'id="bulk"' not in nothing


def test_hostile_names_are_only_text(as_, operator, make_pool):
    pool = make_pool('<img src=x onerror=alert(1)>"\u202e')
    for html in (as_(operator).get("/"), as_(operator).get(url(), {"pool": pool.pk})):
        assert "<img" not in html.content.decode()
        assert "\u202e" not in html.content.decode()
