import uuid

import pytest
from django.urls import reverse
from django.utils import timezone

from pools.models import Pool
from pools.operations import REFRESH
from storagemgr.jobs.models import Batch, Job
from storagemgr.jobs.submit import submit
from storagemgr.jobs.words import blockers_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def jobs(host, operator, make_pool):
    batch = Batch.objects.create(title="Refresh 3 pools", requested_by=operator)
    pools = [make_pool(f"p{number}", host) for number in range(3)]
    return [submit(REFRESH, p, actor=operator, params={}, key=uuid.uuid4(), batch=batch) for p in pools]


def test_one_after_the_other(jobs):
    assert [len(job.blockers()) for job in jobs] == [0, 1, 2]
    assert [len(found) for found in blockers_of(jobs).values()] == [0, 1, 2]


def test_one_that_is_interrupted_does_not_hold_up_the_rest(jobs):
    Job.objects.filter(pk=jobs[0].pk).update(state=Job.State.INTERRUPTED)
    assert jobs[1].blockers() == []
    assert blockers_of([jobs[1]])[jobs[1].pk] == []


def test_jobs_of_other_batches_do_not_wait(jobs, host, operator, make_pool):
    alone = submit(REFRESH, make_pool("other", host), actor=operator, params={}, key=uuid.uuid4())
    assert alone.blockers() == []


def test_a_refresh_of_a_batch_is_a_job_of_its_own(jobs, operator):
    pool = Pool.objects.get(name="p0")
    batch = Batch.objects.create(title="again", requested_by=operator)
    again = submit(REFRESH, pool, actor=operator, params={}, key=uuid.uuid4(), batch=batch)
    assert again.pk not in [job.pk for job in jobs]


def test_the_page_names_each_result(client, operator, jobs):
    client.force_login(operator)
    Job.objects.filter(pk=jobs[0].pk).update(state=Job.State.FAILED, error_code="no_space")
    page = client.get(reverse("jobs:batch", args=[jobs[0].batch_id])).content.decode()
    assert all(name in page for name in ("p0", "p1", "p2"))
    assert "2 waiting" in page
    assert "1 failed" in page


def test_who_sees_none_of_its_jobs_does_not_see_the_batch(client, outsider, jobs):
    client.force_login(outsider)
    assert client.get(reverse("jobs:batch", args=[jobs[0].batch_id])).status_code == 404


def notices(client, url="/"):
    return client.get(url).content.decode().count('class="sm-note sm-toast" id="notice-')


def test_of_a_batch_only_failures_are_told_elsewhere_and_all_closed_at_once(client, operator, jobs):
    client.force_login(operator)
    ended = {"finished_at": timezone.now()}
    Job.objects.filter(pk=jobs[0].pk).update(state=Job.State.SUCCEEDED, **ended)
    assert notices(client) == 0
    Job.objects.exclude(pk=jobs[0].pk).update(state=Job.State.FAILED, **ended)
    assert notices(client) == 2
    assert notices(client, jobs[0].batch.get_absolute_url()) == 0
    client.post(reverse("jobs:acknowledge", args=[jobs[1].pk]))
    assert notices(client) == 0
