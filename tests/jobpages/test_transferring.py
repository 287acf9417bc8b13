"""A job whose bytes the transfer process moves, as the pages of jobs show it."""

from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from storagemgr.jobs.models import Job
from storagemgr.jobs.words import ShownJob

pytestmark = pytest.mark.django_db
GIB = 1024**3


@pytest.fixture
def transferring(make_job):
    figures = {"done_bytes": GIB, "total_bytes": 4 * GIB, "step": "Receive web.iso", "daemon": "1"}
    began = timezone.now() - timedelta(minutes=5)
    return make_job("Upload web.iso", state=Job.State.TRANSFERRING, started_at=began, **figures)


def test_it_is_work_with_figures_and_no_time_left(transferring):
    row = ShownJob(transferring)
    transferring.progress_at = timezone.now()
    assert (row.is_working, row.percent, row.left) == (True, 25, "")
    assert (transferring.rate, transferring.seconds_left) == (None, None)
    assert ("Receive web.iso", "now", "25\N{NO-BREAK SPACE}%") in row.steps


def test_lists_and_the_strip_know_it(as_operator, transferring):
    page = as_operator.get(reverse("jobs:list"), {"state": "transferring"}).content.decode()
    assert "Upload web.iso" in page
    assert "1 transferring" in page


def test_one_that_was_stopped_does_not_say_that_nothing_was_done(as_operator, transferring):
    Job.objects.update(state=Job.State.CANCELLED, finished_at=timezone.now())
    page = as_operator.get(transferring.get_absolute_url()).content.decode()
    assert "What it had made by then was deleted" in page
    assert "before it began" not in page


def test_the_rate_is_that_of_the_step(make_job):
    now = timezone.now()
    times = {
        "started_at": now - timedelta(hours=1),
        "step_at": now - timedelta(seconds=10),
        "progress_at": now,
    }
    job = make_job("Copy", state=Job.State.RUNNING, done_bytes=GIB, total_bytes=2 * GIB, **times)
    assert (job.rate, job.seconds_left) == (GIB // 10, 10)
