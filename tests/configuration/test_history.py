"""The pages of what a pool was defined as before."""

from datetime import timedelta

import pytest
from config_tools import sent_by, text_of, url
from django.urls import reverse
from django.utils import timezone
from lxml import html

from pools.models import PoolConfiguration
from storagemgr.jobs.models import Job
from storagemgr.listing import PAGE_SIZE

pytestmark = pytest.mark.django_db


@pytest.fixture
def versions(nfs, make_configured):
    """A pool with three: the first reading, one by mona, one by virsh."""
    pool = make_configured(nfs, nfs.replace("noatime", "ro"), nfs.replace("/export/vm", "/export/new"))
    rows = list(PoolConfiguration.objects.filter(pool_uuid=pool.uuid))
    job = Job.objects.create(
        operation="pool.configure", title="Configure vmstore", host=pool.host, state="succeeded"
    )
    PoolConfiguration.objects.filter(pk=rows[1].pk).update(made_by="mona", job_id=job.pk)
    return pool, rows


def at(pool, row):
    return reverse("pools:configuration_at", args=[pool.pk, row.pk])


def rows_of(response):
    table = html.fromstring(response.content.decode()).xpath("//tbody/tr")
    return [" ".join("".join(row.itertext()).split()) for row in table]


def test_the_list_says_when_who_and_what(as_manager, versions):
    pool, _ = versions
    response = as_manager.get(reverse("pools:configurations", args=[pool.pk]))
    last, second, first = rows_of(response)
    assert "current" in last
    assert "Export: /export/new instead of /export/vm." in last
    assert "Mount options: noatime added, ro removed." in last
    assert "outside this program" in last
    assert "Mount options: ro added, noatime removed." in second
    assert second.endswith("mona")
    assert "The first one that was seen." in first


def test_a_pool_that_was_made_here_begins_with_that(as_manager, versions):
    pool, (first, *_) = versions
    PoolConfiguration.objects.filter(pk=first.pk).update(made_by="mona")
    response = as_manager.get(reverse("pools:configurations", args=[pool.pk]))
    assert "The pool was made. mona" in rows_of(response)[-1]
    assert "With it the pool was made" in text_of(as_manager.get(at(pool, first)))


def test_it_sorts_and_pages_by_the_url(as_manager, versions, nfs):
    pool, rows = versions
    address = reverse("pools:configurations", args=[pool.pk])
    by_who = rows_of(as_manager.get(f"{address}?sort=-by"))
    assert by_who[0].endswith("mona")
    oldest_first = rows_of(as_manager.get(f"{address}?sort=at"))
    assert "first one" in oldest_first[0]
    PoolConfiguration.objects.bulk_create(
        PoolConfiguration(host=pool.host, pool_uuid=pool.uuid, xml=nfs.replace("/srv/vm", f"/srv/{number}"))
        for number in range(PAGE_SIZE)
    )
    second = as_manager.get(f"{address}?page=2&sort=at")
    assert len(rows_of(second)) == 3
    assert f"Mount point: /srv/{PAGE_SIZE - 1} instead of /srv/{PAGE_SIZE - 2}." in rows_of(second)[-1]


def test_the_list_takes_few_queries(as_manager, versions, nfs, django_assert_max_num_queries):
    pool, _ = versions
    PoolConfiguration.objects.bulk_create(
        PoolConfiguration(host=pool.host, pool_uuid=pool.uuid, xml=nfs.replace("/srv/vm", f"/srv/{number}"))
        for number in range(PAGE_SIZE)
    )
    with django_assert_max_num_queries(25):
        as_manager.get(reverse("pools:configurations", args=[pool.pk]))


def test_one_beside_the_one_before_and_beside_the_one_in_use(as_manager, versions):
    pool, (first, second, last) = versions
    response = as_manager.get(at(pool, second))
    assert text_of(response, "words") == "Mount options: ro added, noatime removed."
    marked = [line[0] for line in text_of(response, "diff").splitlines() if line[0] in "+-"]
    assert marked == ["-", "+"]
    assert "fs:option name = 'ro'" in text_of(response, "xml-text")
    now = as_manager.get(f"{at(pool, second)}?beside=now")
    assert "Export: /export/new instead of /export/vm." in text_of(now, "words")
    assert "It is the first one that was seen" in text_of(as_manager.get(at(pool, first)))
    assert "bring-back" not in as_manager.get(at(pool, last)).content.decode()


def test_bringing_back_is_reviewed_first(as_manager, versions):
    pool, (first, _, last) = versions
    response = as_manager.post(at(pool, first))
    assert response.status_code == 200
    sent = sent_by(response, "operation-form")
    assert (sent["version"], sent["restores"]) == (str(last.pk), str(first.pk))
    assert "Export: /export/vm instead of /export/new." in text_of(response, "words")
    assert not Job.objects.filter(state="queued").exists()


def test_a_policy_that_came_since_holds_for_what_is_brought_back(as_manager, versions, settings):
    pool, (first, *_) = versions
    PoolConfiguration.objects.filter(pk=first.pk).update(xml=first.xml.replace("/srv/vm", "/etc"))
    response = as_manager.post(at(pool, first))
    assert response.status_code == 422
    assert "belongs to the host's system" in text_of(response, "errors")


def test_the_one_in_use_is_not_brought_back(as_manager, versions):
    pool, (*_, last) = versions
    assert as_manager.post(at(pool, last)).status_code == 409


def test_who_may_look_may_not_bring_back(client, viewer, versions):
    pool, (first, *_) = versions
    client.force_login(viewer)
    page = client.get(at(pool, first))
    assert page.status_code == 200
    assert "You are Viewer here." in text_of(page, "why-back")
    assert client.post(at(pool, first)).status_code == 403


def test_the_history_of_another_pool_is_not_shown_under_this_one(as_manager, versions, make_pool):
    _, (first, *_) = versions
    other = make_pool("other")
    assert as_manager.get(reverse("pools:configuration_at", args=[other.pk, first.pk])).status_code == 404
    assert as_manager.get(f"/pools/{other.pk}/configuration/{2**70}/").status_code == 404


def test_the_page_of_the_pool_leads_to_it(as_manager, versions):
    pool, _ = versions
    assert url(pool) in as_manager.get(pool.get_absolute_url()).content.decode()
    page = text_of(as_manager.get(url(pool)))
    assert "outside this program, current" in page


def test_times_are_those_of_the_rows(as_manager, versions):
    pool, (first, *_) = versions
    PoolConfiguration.objects.filter(pk=first.pk).update(at=timezone.now() - timedelta(days=800))
    year = (timezone.now() - timedelta(days=800)).year
    assert str(year) in text_of(as_manager.get(at(pool, first)))
