import pytest
from django.urls import reverse

from storagemgr.access.models import AuditEvent
from storagemgr.jobs.models import Job

pytestmark = pytest.mark.django_db
S = Job.State


def cancel(client, job, **extra):
    return client.post(reverse("jobs:cancel", args=[job.pk]), **extra)


def test_the_requester_cancels_a_waiting_job(as_operator, operator, make_job):
    job = make_job()
    response = cancel(as_operator, job)
    assert (response.status_code, response.url) == (303, job.get_absolute_url())
    job.refresh_from_db()
    assert job.state == S.CANCELLED
    assert job.finished_at
    assert job.lines.last().text == "cancelled by olga"
    event = AuditEvent.objects.get(action="job.cancel")
    assert (event.outcome, event.actor, event.job_id) == ("done", operator, job.pk)


def test_the_requester_may_cancel_after_losing_the_right(client, make_user, pool, make_job):
    user = make_user("rolf", "viewer")
    client.force_login(user)
    assert cancel(client, make_job(requested_by=user)).status_code == 303


def test_somebody_with_the_right_cancels(client, manager, make_job):
    client.force_login(manager)
    assert cancel(client, make_job()).status_code == 303
    assert Job.objects.get().state == S.CANCELLED


def test_a_viewer_is_refused_audited_and_told_who_could(client, viewer, make_job):
    client.force_login(viewer)
    job = make_job()
    assert cancel(client, job).status_code == 403
    assert Job.objects.get().state == S.QUEUED
    event = AuditEvent.objects.get(outcome="denied")
    assert (event.action, event.actor, event.right) == ("job.cancel", viewer, "pool.refresh")
    html = client.get(job.get_absolute_url()).content.decode()
    assert "Cancel is off: You are Viewer here." in html
    assert "jobs:cancel" not in html
    assert reverse("jobs:cancel", args=[job.pk]) not in html


def test_a_stranger_finds_nothing(client, outsider, make_job):
    client.force_login(outsider)
    assert cancel(client, make_job()).status_code == 404
    assert Job.objects.get().state == S.QUEUED


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (S.RUNNING, "It began already."),
        (S.INTERRUPTED, "It began already."),
        (S.SUCCEEDED, "It was too late"),
        (S.FAILED, "It was too late"),
    ],
)
def test_too_late_is_a_conflict_that_says_why(as_operator, make_job, state, said):
    job = make_job(state=state)
    response = cancel(as_operator, job)
    assert response.status_code == 409
    assert said in response.content.decode()
    assert Job.objects.get().state == state
    assert not AuditEvent.objects.filter(action="job.cancel").exists()


def test_a_claim_between_look_and_click_wins(as_operator, make_job, monkeypatch):
    """The page was read while the job waited; the worker took it before the UPDATE."""
    from storagemgr.jobs import cancelling, lease

    job = make_job()

    def claimed_first(*args, **kwargs):
        assert lease.claim(job.pk)
        return lease.move(*args, **kwargs)

    monkeypatch.setattr(cancelling, "move", claimed_first)
    assert cancel(as_operator, job).status_code == 409
    assert Job.objects.get().state == S.RUNNING


def test_twice_is_once(as_operator, make_job):
    job = make_job()
    assert cancel(as_operator, job).status_code == cancel(as_operator, job).status_code == 303
    assert AuditEvent.objects.filter(action="job.cancel").count() == 1


def test_get_cancels_nothing(as_operator, make_job):
    assert as_operator.get(reverse("jobs:cancel", args=[make_job().pk])).status_code == 405
    assert Job.objects.get().state == S.QUEUED


def test_htmx_gets_nothing_or_the_page_that_says_why(as_operator, make_job, htmx):
    assert cancel(as_operator, make_job(), headers=htmx).status_code == 204
    late = cancel(as_operator, make_job(state=S.RUNNING), headers=htmx)
    assert (late.status_code, late["HX-Retarget"]) == (409, "#main")
    assert 'id="main"' in late.content.decode()


def test_htmx_is_refused_in_words(client, viewer, make_job, htmx):
    client.force_login(viewer)
    response = cancel(client, make_job(), headers=htmx)
    assert (response.status_code, response["HX-Reselect"]) == (403, "#main")


@pytest.mark.django_db(transaction=True)
def test_those_that_waited_behind_it_have_their_turn(as_operator, make_job):
    """Broker or not: nothing blocks them any more."""
    job, behind = make_job(is_exclusive=True), make_job("second", is_exclusive=True)
    assert behind.blockers() == [job]
    cancel(as_operator, job)
    assert behind.blockers() == []
