"""The timeline of a host, a pool and a volume: jobs, what was seen from outside, roles, notes. Each sees their part."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from storagemgr.access import audit
from storagemgr.hosts import changes
from storagemgr.hosts.models import Change
from storagemgr.jobs.models import SCHEDULE, Job
from storagemgr.jobs.timeline import LIMIT, Place, newest

pytestmark = pytest.mark.django_db


def job(pool, minutes_ago, title, operation="pool.start", **fields):
    at = timezone.now() - timedelta(minutes=minutes_ago)
    values = {"state": "succeeded", "finished_at": at, "requester_name": "olga", "pool_uuid": pool.uuid}
    return Job.objects.create(host=pool.host, operation=operation, title=title, **values | fields)


def seen(host, minutes_ago, kind, text, **about):
    changes.record([changes.change(host.pk, kind, text, **about)])
    Change.objects.filter(text=text).update(at=timezone.now() - timedelta(minutes=minutes_ago))


@pytest.fixture
def full(host, pool, volume, administrator):
    """One of each kind at each place."""
    job(pool, 50, "Start default")
    job(pool, 40, "Clone web01.qcow2", "volume.clone", volume_name=volume.name)
    job(pool, 30, "Notes on default", "pool.note")
    job(pool, 25, "Refresh default", "pool.refresh", requester_name=SCHEDULE)
    job(pool, 20, "Refresh default, in vain", "pool.refresh", requester_name=SCHEDULE, state="failed")
    job(pool, 19, "Not over", state="running", finished_at=None)
    seen(host, 10, "state", "Pool default was stopped.", pool_uuid=pool.uuid)
    seen(host, 9, "grew", "Volume web01.qcow2 grew.", pool_uuid=pool.uuid, volume_name=volume.name)
    seen(host, 8, "silent", "Host kvm1 stopped answering.")
    done = audit.Outcome.DONE
    place = {"host_id": host.pk, "pool_uuid": pool.uuid}
    audit.record("access.grant", done, actor=administrator, object_text="Viewer for vera", **place)
    audit.record("access.grant", audit.Outcome.DENIED, actor=administrator, object_text="Refused", **place)
    audit.record("host.edit", done, actor=administrator, object_text=host.name, host_id=host.pk)


def texts(user, *place):
    return [entry.text for entry in newest(user, Place(*place))]


def test_each_place_mixes_what_happened_there(full, host, pool, volume, administrator):
    assert texts(administrator, host.pk, pool.uuid) == [
        "Granted: Viewer for vera",
        "Volume web01.qcow2 grew.",
        "Pool default was stopped.",
        "Refresh default, in vain",
        "Notes on default",
        "Clone web01.qcow2",
        "Start default",
    ]
    assert texts(administrator, host.pk, pool.uuid, volume.name) == [
        "Granted: Viewer for vera",
        "Volume web01.qcow2 grew.",
        "Clone web01.qcow2",
    ]
    assert texts(administrator, host.pk)[:3] == [
        "Its settings were changed",
        "Host kvm1 stopped answering.",
        "Pool default was stopped.",
    ]


def test_who_sees_one_pool_sees_neither_others_nor_who_was_given_what(full, host, pool, make_user, make_pool):
    other = make_pool("other")
    job(other, 1, "Start other")
    seen(host, 1, "state", "Pool other was stopped.", pool_uuid=other.uuid)
    vera = make_user("vera", "viewer", pool_uuid=pool.uuid)
    assert not [text for text in texts(vera, host.pk) if "other" in text or "kvm1" in text]
    assert "Pool default was stopped." in texts(vera, host.pk)
    assert "Granted: Viewer for vera" not in texts(vera, host.pk, pool.uuid)


@pytest.mark.parametrize("name", ["hosts", "pools", "volumes"])
def test_pages_show_it_and_lead_to_all_of_it(client, full, host, pool, volume, administrator, name):
    client.force_login(administrator)
    row = {"hosts": host, "pools": pool, "volumes": volume}[name]
    url = reverse(f"{name}:timeline", args=[row.pk])
    page = client.get(row.get_absolute_url())
    assert url in page.text
    assert "Clone web01.qcow2" in page.text
    whole = client.get(url)
    assert "Clone web01.qcow2" in whole.text
    jobs = client.get(url, {"kind": "job"}).context["page"].object_list
    assert {entry.kind for entry in jobs} == {"job"}
    assert client.get(url, {"kind": "seen"}).context["page"].object_list
    assert client.get(url, {"kind": "nonsense", "page": "x"}).status_code == 200


def test_a_long_timeline_is_paged_and_the_card_asks_little(client, host, pool, administrator):
    now = timezone.now()
    rows = [
        Job(host=host, pool_uuid=pool.uuid, operation="pool.start", title=f"Start {n}", state="succeeded")
        for n in range(LIMIT + 5)
    ]
    for number, row in enumerate(rows):
        row.finished_at = now - timedelta(seconds=LIMIT - number)
    Job.objects.bulk_create(rows)
    seen(host, 0, "state", "Pool default was stopped.", pool_uuid=pool.uuid)
    with CaptureQueriesContext(connection) as asked:
        assert len(newest(administrator, Place(host.pk, pool.uuid))) == 8
    assert len(asked) <= 7  # the grants of the person, jobs by state, changes, roles
    client.force_login(administrator)
    page = client.get(reverse("pools:timeline", args=[pool.pk]), {"page": 20}).context["page"]
    assert page.paginator.count == LIMIT
    assert page.object_list[0].text == f"Start {LIMIT + 4 - 949}"
