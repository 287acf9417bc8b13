import re
import uuid

import pytest
from django.urls import reverse

from storagemgr.jobs.models import Job

pytestmark = pytest.mark.django_db
S = Job.State
LIST = "/jobs/"
BY_ANNA = {"requester_name": "anna"}
FROM_A = {"params": {"source": "a"}}


def titles(response):
    return re.findall(r'role="rowheader"[^>]*><a href="[^"]*">([^<]*)</a>', response.content.decode())


@pytest.fixture
def jobs(make_job, manager, make_pool):
    """Six jobs in two pools, of two people."""
    return {
        "clone": make_job(
            "Clone a to b", operation="volume.clone", state=S.RUNNING, volume_name="b", **FROM_A
        ),
        "refresh": make_job("Refresh default", is_exclusive=True),
        "failed": make_job("Delete old", operation="volume.delete", state=S.FAILED, error_code="no_volume"),
        "theirs": make_job(
            "Start 100%_sure", operation="pool.start", state=S.SUCCEEDED, **BY_ANNA, requested_by=manager
        ),
        "cancelled": make_job("Stop default", operation="pool.stop", state=S.CANCELLED),
        "elsewhere": make_job("Refresh other", of=make_pool("other"), state=S.INTERRUPTED),
    }


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", ["elsewhere", "cancelled", "theirs", "failed", "refresh", "clone"]),
        ("state=running", ["clone"]),
        ("state=queued", ["refresh"]),
        ("state=interrupted", ["elsewhere"]),
        ("state=failed", ["failed"]),
        ("state=succeeded", ["theirs"]),
        ("state=cancelled", ["cancelled"]),
        ("operation=pool.refresh", ["elsewhere", "refresh"]),
        ("operation=pool.refresh&operation=pool.stop", ["elsewhere", "cancelled", "refresh"]),
        ("operation=pool.refresh&state=queued", ["refresh"]),
        ("mine=1", ["elsewhere", "cancelled", "failed", "refresh", "clone"]),
        ("q=REFRESH", ["elsewhere", "refresh"]),
        ("q=0%25_s", ["theirs"]),
        ("q=other", ["elsewhere"]),
        ("volume=b", ["clone"]),
        ("volume=a", ["clone"]),
        ("state=running&q=nothing", []),
    ],
)
def test_filters(as_operator, jobs, query, expected):
    response = as_operator.get(f"{LIST}?{query}")
    assert response.status_code == 200
    assert titles(response) == [jobs[name].title for name in expected]


def test_filter_by_the_row_of_a_pool(as_operator, jobs, pool):
    response = as_operator.get(LIST, {"pool": pool.pk})
    assert len(titles(response)) == 5
    assert "Pool: default" in response.content.decode()


def test_the_chips_count_what_the_other_filters_leave(as_operator, jobs):
    html = as_operator.get(f"{LIST}?operation=pool.refresh&state=queued").content.decode()
    chips = dict(re.findall(r'class="sm-chip"[^>]*>\s*(\w+)\s*<span class="num">(\d+)</span>', html))
    assert (chips["All"], chips["Waiting"], chips["Interrupted"], chips["Running"]) == ("2", "1", "1", "0")


@pytest.mark.parametrize(
    "query",
    [
        "state=nonsense",
        "operation=rm+-rf",
        "mine=yes",
        "mine=0",
        "pool=x",
        "pool=-1",
        "pool=99999999999999999999999999",
        "page=-4",
        "page=x",
        "page=99999",
        "q=%00",
        "q=" + "a" * 300,
        "volume=%00",
        "state=running&state=%27",
        "sort=password",
        "rows=1-x-%00",
    ],
)
def test_values_that_make_no_sense_are_ignored(as_operator, jobs, query):
    response = as_operator.get(f"{LIST}?{query}")
    assert response.status_code == 200
    assert titles(response)


def test_only_jobs_of_pools_that_one_may_see(client, make_user, jobs, pool):
    client.force_login(make_user("paul", "viewer", pool_uuid=pool.uuid))
    assert jobs["elsewhere"].title not in titles(client.get(LIST))
    assert len(titles(client.get(LIST))) == 5
    client.force_login(make_user("nobody"))
    assert titles(client.get(LIST)) == []
    assert "No job yet" in client.get(LIST).content.decode()


@pytest.mark.parametrize(
    ("sort", "first", "last"),
    [
        ("title", "clone", "cancelled"),
        ("-title", "cancelled", "clone"),
        ("pool", "clone", "elsewhere"),
        ("-pool", "elsewhere", "clone"),
        ("state", "cancelled", "theirs"),
        ("requester", "theirs", "elsewhere"),
        ("asked", "clone", "elsewhere"),
        ("-asked", "elsewhere", "clone"),
    ],
)
def test_sorted_by_the_url(as_operator, jobs, sort, first, last):
    response = as_operator.get(f"{LIST}?sort={sort}")
    found = titles(response)
    assert (found[0], found[-1], len(found)) == (jobs[first].title, jobs[last].title, 6)
    assert "aria-sort=" in response.content.decode()


def test_a_sorted_page_keeps_its_order(as_operator, make_job, htmx):
    b, a = make_job("b", state=S.RUNNING), make_job("a", state=S.RUNNING)
    poll = f"{LIST}?sort=title&rows={a.pk}-{b.pk}"
    Job.objects.filter(pk=a.pk).update(title="z")
    assert titles(as_operator.get(poll, headers=htmx)) == ["z", "b"]


def test_fifty_a_page(as_operator, make_job):
    for number in range(53):
        make_job(f"job {number}", state=S.SUCCEEDED)
    assert titles(as_operator.get(LIST)) == [f"job {n}" for n in range(52, 2, -1)]
    assert titles(as_operator.get(f"{LIST}?page=2")) == ["job 2", "job 1", "job 0"]


def test_the_rows_of_an_open_page_stay(as_operator, make_job, htmx):
    """What is polled has the rows that were shown, also one that no longer fits, and says what is new."""
    first, second = make_job("first", state=S.RUNNING), make_job("second", state=S.RUNNING)
    page = as_operator.get(f"{LIST}?state=running").content.decode()
    poll = re.search(r'hx-get="([^"]+)"', page)[1].replace("&amp;", "&")
    Job.objects.filter(pk=first.pk).update(state=S.FAILED, error_code="no_space")
    make_job("third", state=S.RUNNING)
    fragment = as_operator.get(poll, headers=htmx)
    assert titles(fragment) == ["second", "first"]
    html = fragment.content.decode()
    assert "There is no space left." in html
    assert "1 newer job since" in html.replace("\N{NO-BREAK SPACE}", " ")
    assert "rows=" not in html
    assert f'id="job-{second.pk}"' in html


def test_pinned_rows_do_not_open_hidden_pools(client, make_user, jobs, pool, htmx):
    client.force_login(make_user("paul", "viewer", pool_uuid=pool.uuid))
    rows = "-".join(str(job.pk) for job in jobs.values())
    assert jobs["elsewhere"].title not in titles(client.get(f"{LIST}?rows={rows}", headers=htmx))


def test_the_fragment_has_no_token_and_an_unchanged_one_is_not_sent_again(as_operator, make_job, htmx):
    make_job("done", state=S.SUCCEEDED)
    first = as_operator.get(LIST, headers=htmx)
    assert "csrf" not in first.content.decode()
    again = as_operator.get(LIST, headers=htmx | {"If-None-Match": first["ETag"]})
    assert again.status_code == 304
    assert "HX-Request" in first["Vary"]


def test_hostile_titles_are_only_text(as_operator, make_job):
    make_job("Clone <script>alert(1)</script> \u202egpj", state=S.SUCCEEDED)
    html = as_operator.get(LIST).content.decode()
    assert "<script>alert" not in html
    assert "\u202e" not in html


def test_a_job_of_a_pool_that_is_gone_or_of_an_old_operation_is_still_listed(as_operator, make_job, host):
    make_job("Vacuum it", operation="pool.vacuum", pool_uuid=uuid.uuid4(), pool_name="gone")
    assert titles(as_operator.get(LIST)) == ["Vacuum it"]
    assert as_operator.get(reverse("jobs:job", args=[Job.objects.get().pk])).status_code == 200


def test_the_number_of_queries_does_not_grow(as_operator, make_job, django_assert_max_num_queries):
    for number in range(30):
        make_job(f"waiting {number}", writes=f"v{number}", is_exclusive=number == 0)
        make_job(f"running {number}", state=S.RUNNING, reads="v0")
        make_job(f"failed {number}", state=S.FAILED, error_code="no_space")
    with django_assert_max_num_queries(15):
        assert len(titles(as_operator.get(LIST))) == 50
