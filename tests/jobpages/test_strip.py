import re
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from storagemgr.jobs.models import Job

pytestmark = pytest.mark.django_db
S = Job.State
STRIP = "/jobs/strip/"


@pytest.fixture
def strip(as_operator, htmx):
    def get(**headers):
        response = as_operator.get(STRIP, headers=htmx | headers)
        assert response.status_code == 200
        return response.content.decode()

    return get


def words(html):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", html)).replace("\N{NO-BREAK SPACE}", " ")


def test_it_counts_and_shows_the_newest_that_runs(strip, make_job):
    make_job("Clone old", state=S.RUNNING)
    make_job("Clone new", state=S.RUNNING, done_bytes=47, total_bytes=100)
    make_job("Stop default", is_exclusive=True)
    make_job("Lost", state=S.INTERRUPTED)
    summary = strip().split("</summary>")[0].split("<summary>")[1]
    assert "2 running, 1 waiting, 1 interrupted" in summary
    assert "Clone new" in summary
    assert "Clone old" not in summary
    assert '<rect width="47%"' in summary


def test_each_is_listed_those_that_wait_in_their_turn(strip, make_job):
    for number in range(3):
        make_job(f"Stop {number}", is_exclusive=True)
    rows = re.findall(r'<a class="strong"[^>]*>([^<]*)</a>', strip())
    assert rows == ["Stop 0", "Stop 1", "Stop 2"]
    assert "third, behind Stop 1" in words(strip())


def test_without_jobs_it_says_so_and_is_not_sent_again(as_operator, strip, htmx):
    assert "No job is running" in strip()
    etag = as_operator.get(STRIP, headers=htmx)["ETag"]
    assert as_operator.get(STRIP, headers=htmx | {"If-None-Match": etag}).status_code == 304


def test_a_change_is_sent(as_operator, make_job, htmx):
    etag = as_operator.get(STRIP, headers=htmx)["ETag"]
    make_job()
    assert as_operator.get(STRIP, headers=htmx | {"If-None-Match": etag}).status_code == 200


def test_it_has_no_token_when_polled_and_one_on_the_page(as_operator, strip, make_job):
    make_job("Clone a", state=S.FAILED, error_code="no_space")
    assert "csrf" not in strip()
    page = as_operator.get("/jobs/").content.decode()
    aside = page[page.index('id="jobs-strip"') : page.index("</aside>")]
    assert "csrfmiddlewaretoken" in aside


def test_only_jobs_that_one_may_see(client, make_user, make_job, make_pool, pool, htmx):
    make_job("Clone seen", state=S.RUNNING)
    make_job("Clone secret", of=make_pool("secret"), state=S.RUNNING)
    client.force_login(make_user("paul", "viewer", pool_uuid=pool.uuid))
    html = client.get(STRIP, headers=htmx).content.decode()
    assert "1 running" in html
    assert "Clone seen" in html
    assert "secret" not in html
    client.force_login(make_user("nobody"))
    assert "No job is running" in client.get(STRIP, headers=htmx).content.decode()


def test_notices_are_only_for_the_one_who_asked(client, strip, manager, make_job, htmx):
    make_job("Clone mine", state=S.SUCCEEDED)
    make_job("Clone theirs", state=S.FAILED, error_code="no_space", requested_by=manager)
    html = strip()
    assert "Done: Clone mine." in html
    assert "theirs" not in html


def test_a_success_is_told_for_a_moment_a_failure_until_it_was_seen(strip, make_job):
    before = timezone.now() - timedelta(minutes=5)
    make_job("Clone good", state=S.SUCCEEDED, finished_at=before)
    bad = make_job("Clone bad", state=S.FAILED, error_code="no_space", finished_at=before)
    html = strip()
    assert "good" not in html
    assert f'id="notice-{bad.pk}"' in html
    assert 'data-say="Failed: Clone bad. There is no space left."' in html
    Job.objects.update(acknowledged_at=timezone.now())
    assert "bad" not in words(strip())


def test_the_page_of_the_job_tells_it_itself(strip, make_job):
    job = make_job("Clone a", state=S.FAILED, error_code="no_space")
    assert "Failed" not in strip(**{"HX-Current-URL": f"http://testserver{job.get_absolute_url()}"})
    assert "Failed" in strip(**{"HX-Current-URL": "http://testserver/"})


def test_many_failures_are_one_more_line(strip, make_job):
    for number in range(5):
        make_job(f"Clone {number}", state=S.FAILED, error_code="no_space")
    html = strip()
    assert html.count("data-say") == 3
    assert "More jobs of yours ended" in html


def test_the_number_of_queries_does_not_grow(as_operator, make_job, htmx):
    def add(number):
        for n in range(number):
            make_job(f"waiting {n}", writes=f"v{n}", is_exclusive=n == 0)
            make_job(f"failed {n}", state=S.FAILED, error_code="no_space")

    def queries():
        with CaptureQueriesContext(connection) as captured:
            as_operator.get(STRIP, headers=htmx)
        return len(captured)

    add(1)
    few = queries()
    add(25)
    assert queries() == few <= 10


def test_a_notice_is_closed(as_operator, make_job):
    job = make_job(state=S.FAILED, error_code="no_space")
    response = as_operator.post(reverse("jobs:acknowledge", args=[job.pk]), {"next": "/volumes/?q=a"})
    assert (response.status_code, response.url) == (303, "/volumes/?q=a")
    job.refresh_from_db()
    assert job.acknowledged_at


@pytest.mark.parametrize("there", ["", "https://evil.example/", "//evil.example", "javascript:alert(1)"])
def test_closing_leads_nowhere_else(as_operator, make_job, there):
    job = make_job(state=S.FAILED)
    response = as_operator.post(reverse("jobs:acknowledge", args=[job.pk]), {"next": there})
    assert response.url == "/jobs/"


def test_nobody_closes_the_notice_of_somebody_else_or_of_a_job_that_goes_on(
    client, as_operator, manager, make_job
):
    theirs, running = make_job(state=S.FAILED, requested_by=manager), make_job(state=S.RUNNING)
    for job in (theirs, running):
        as_operator.post(reverse("jobs:acknowledge", args=[job.pk]))
    assert not Job.objects.exclude(acknowledged_at=None).exists()


def test_anonymous_pages_have_none(client, host):
    html = client.get("/accounts/login/").content.decode()
    assert "jobs-strip" not in html
    assert client.get(STRIP).status_code == 302


def test_every_page_has_it(as_operator, make_job):
    make_job("Clone a", state=S.RUNNING)
    for url in ("/", "/jobs/", "/volumes/", "/hosts/"):
        assert "1 running" in as_operator.get(url).content.decode(), url
