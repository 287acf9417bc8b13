import pytest
from django.urls import reverse

from storagemgr.access.models import AuditEvent
from storagemgr.jobs.models import Job

pytestmark = pytest.mark.django_db


@pytest.fixture
def interrupted(make_job):
    return make_job(state=Job.State.INTERRUPTED, daemon="1", finding="Cannot look yet.")


def give_up(client, job):
    return client.post(reverse("jobs:give_up", args=[job.pk]))


def test_it_ends_the_job_and_frees_its_lane(as_operator, operator, interrupted, make_job):
    waiting = make_job(is_exclusive=True)
    assert waiting.blockers() == [interrupted]
    assert give_up(as_operator, interrupted).status_code == 303
    interrupted.refresh_from_db()
    assert (interrupted.state, interrupted.error_code) == (Job.State.FAILED, "end_unknown")
    assert "gave up looking" in interrupted.finding
    assert waiting.blockers() == []
    assert AuditEvent.objects.get(action="job.give_up").actor == operator


def test_the_page_offers_it_only_to_who_may(client, viewer, as_operator, interrupted):
    assert "Give up looking" in as_operator.get(interrupted.get_absolute_url()).content.decode()
    client.force_login(viewer)
    assert "Give up looking" not in client.get(interrupted.get_absolute_url()).content.decode()
    assert give_up(client, interrupted).status_code == 403
    interrupted.refresh_from_db()
    assert interrupted.state == Job.State.INTERRUPTED


def test_one_that_was_settled_meanwhile_keeps_its_end(as_operator, make_job):
    job = make_job(state=Job.State.SUCCEEDED)
    assert give_up(as_operator, job).status_code == 409
    job.refresh_from_db()
    assert job.state == Job.State.SUCCEEDED
