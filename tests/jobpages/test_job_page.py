import re
from datetime import timedelta

import pytest
from django.utils import timezone

from storagemgr.jobs.models import Job

pytestmark = pytest.mark.django_db
S = Job.State
GIB = 1024**3
CLONE = {"operation": "volume.clone", "params": {"name": "copy.qcow2", "source": "web01.qcow2"}}


def page_of(client, job, **extra):
    response = client.get(job.get_absolute_url(), **extra)
    assert response.status_code == 200
    return response.content.decode()


def words(html):
    text = re.sub(r"<[^>]*>", " ", html).replace("\N{NO-BREAK SPACE}", " ")
    return re.sub(r" ([.,;:])", r"\1", re.sub(r"\s+", " ", text))


def polls(html):
    return 'hx-trigger="every 2s"' in re.search(r'<div id="job-live"[^>]*>', html)[0]


def test_a_copy_shows_its_figures(as_operator, make_job, volume):
    now = timezone.now()
    figures = {"done_bytes": 5 * GIB, "total_bytes": 10 * GIB, "progress_at": now}
    started = now - timedelta(seconds=50)
    job = make_job("Clone web01.qcow2", state=S.RUNNING, started_at=started, step="Copy", **figures, **CLONE)
    job.log("copy created with no space taken yet")
    html = page_of(as_operator, job)
    said = words(html)
    assert "50 % copied, about 50 s left." in said
    assert "Copied 5 GiB of 10 GiB" in said
    assert "Rate 102.4 MiB/s" in said or "Rate 102 MiB/s" in said
    assert re.search(r"Running for 5\d s", said)
    assert "Done at about" in said
    assert '<rect width="50%"' in html
    assert "copy created with no space taken yet" in html
    assert polls(html)
    assert "Cancel is off: libvirt cannot stop a copy once it runs." in said
    assert f'href="{volume.get_absolute_url()}"' in html


def test_work_without_figures_has_a_moving_bar_and_no_percentage(as_operator, make_job):
    html = page_of(as_operator, make_job(state=S.RUNNING, step="Refresh the pool"))
    assert re.search(r"Refresh the pool, running for 1 min 3\d s\.", words(html))
    assert "prog-unknown" in html
    assert "libvirt gives no figures" in html
    assert " %" not in words(html.split('id="jobs-strip"')[0])
    assert polls(html)


def test_a_waiting_job_says_what_it_waits_for(as_operator, make_job):
    first = make_job("Clone <web01>", state=S.RUNNING, writes="a")
    job = make_job("Refresh default", is_exclusive=True)
    html = page_of(as_operator, job)
    assert "Waits for its turn: second, behind Clone &lt;web01&gt;." in words(html)
    assert f'<a href="{first.get_absolute_url()}">Clone &lt;web01&gt;</a>' in html
    assert polls(html)
    behind = words(page_of(as_operator, first))
    assert "Behind it 1 waiting: Refresh default" in behind


def test_a_job_that_no_worker_takes_says_so(as_operator, make_job):
    job = make_job()
    assert "Its turn is next." in words(page_of(as_operator, job))
    Job.objects.update(created_at=timezone.now() - timedelta(minutes=2))
    assert "no worker has taken it for 2 min" in words(page_of(as_operator, job))


def test_an_interrupted_job_says_the_finding_and_what_happens_next(as_operator, make_job):
    html = page_of(as_operator, make_job(state=S.INTERRUPTED, finding="libvirt goes on with it.", daemon="x"))
    assert "Interrupted. libvirt goes on with it." in words(html)
    assert "It is not started a second time by itself." in words(html)
    assert polls(html)


def test_a_failed_job_says_why_and_what_next_and_keeps_the_words_of_libvirt(as_operator, make_job, volume):
    job = make_job(state=S.FAILED, error_code="no_space", error_text="ENOSPC <here>", **CLONE)
    html = page_of(as_operator, job)
    said = words(html)
    assert "Failed: There is no space left." in said
    assert "libvirt removes what it had begun to write." in said
    assert "ENOSPC &lt;here&gt;" in html
    assert f'href="/volumes/{volume.pk}/clone/?again={job.pk}"' in html
    assert not polls(html)


def test_our_own_reason_is_in_the_sentence(as_operator, make_job):
    job = make_job(state=S.FAILED, error_code="changed_since", error_text="It is stopped; start it first.")
    html = page_of(as_operator, job)
    assert "Failed: It changed since you looked. It is stopped; start it first." in words(html)
    assert "own words" not in html


def test_there_is_no_again_without_target_or_right(client, as_operator, viewer, make_job, volume):
    job = make_job(state=S.FAILED, error_code="no_space", **CLONE)
    client.force_login(viewer)
    html = page_of(client, job)
    assert "again=" not in html
    assert "takes a right that you do not have" in html
    volume.delete()
    assert "is not there any more" in page_of(as_operator, job)


def test_a_job_that_made_something_leads_to_it(as_operator, make_job, volume, make_volume):
    made = make_volume("copy.qcow2")
    html = page_of(as_operator, make_job(state=S.SUCCEEDED, **CLONE))
    assert "Done in 1 min 30 s. copy.qcow2 is ready." in words(html)
    assert f'href="{made.get_absolute_url()}"' in html
    assert not polls(html)


def test_a_recovered_job_says_so(as_operator, make_job):
    html = page_of(
        as_operator, make_job(state=S.SUCCEEDED, is_recovered=True, finding="libvirt finished it.")
    )
    assert "Recovered. It was cut off while libvirt worked. libvirt finished it." in words(html)


def test_a_cancelled_job(as_operator, make_job):
    html = page_of(as_operator, make_job(state=S.CANCELLED, finished_at=timezone.now()))
    assert "Cancelled before it began. Nothing was changed." in words(html)
    assert not polls(html)


def test_what_was_asked_is_in_the_words_of_the_form(as_operator, make_job):
    params = {"name": "data", "format": "qcow2", "capacity": 20 * GIB, "space": "falloc"}
    said = words(page_of(as_operator, make_job(operation="volume.create", params=params)))
    assert "Name data Format qcow2 Size 20 GiB Space Take all of it now" in said


def test_what_was_asked_holds_no_hidden_field_and_says_yes_or_no(as_operator, make_job):
    params = {"version": 4711, "restart": False}
    said = words(page_of(as_operator, make_job(operation="pool.configure", params=params)))
    assert "so that it takes effect no" in said
    assert "4711" not in said


def test_the_fragment_is_the_same_url_without_token_and_not_sent_twice(as_operator, make_job, htmx):
    job = make_job(state=S.FAILED, error_code="no_space", acknowledged_at=timezone.now())
    first = as_operator.get(job.get_absolute_url(), headers=htmx)
    html = first.content.decode()
    assert html.lstrip().startswith('<div id="job-live"')
    assert "csrf" not in html
    again = as_operator.get(job.get_absolute_url(), headers=htmx | {"If-None-Match": first["ETag"]})
    assert again.status_code == 304


@pytest.mark.parametrize("state", list(S))
def test_no_state_puts_a_token_into_the_fragment(as_operator, make_job, htmx, state):
    html = page_of(as_operator, make_job(state=state, error_code="no_space"), headers=htmx)
    assert "csrf" not in html


def test_hostile_text_is_only_text(as_operator, make_job, volume):
    bad = "<script>alert(1)</script>\u202e"
    job = make_job(bad, state=S.RUNNING, step=bad, pool_name=bad, finding=bad, requester_name=bad, worker=bad)
    job.log(bad)
    html = page_of(as_operator, job)
    assert "<script>alert" not in html
    assert "&lt;script&gt;alert" in html


def test_a_job_of_a_hidden_pool_is_not_there(client, outsider, make_job):
    client.force_login(outsider)
    assert client.get(make_job().get_absolute_url()).status_code == 404


def test_others_are_told_the_end_by_the_page(client, viewer, as_operator, make_job):
    """The requester hears it from the notice; said twice would be once too often."""
    job = make_job(state=S.SUCCEEDED)
    assert "data-say" not in re.search(r'<div id="job-live"[^>]*>', page_of(as_operator, job))[0]
    client.force_login(viewer)
    assert 'data-say="Done: Refresh default"' in page_of(client, job)
