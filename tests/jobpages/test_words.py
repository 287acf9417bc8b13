import itertools
from datetime import timedelta

import pytest

from storagemgr.jobs.models import Job
from storagemgr.jobs.words import blockers_of, duration, ordinal, shown

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0 s"),
        (0, "0 s"),
        (42, "42 s"),
        (60, "1 min"),
        (99, "1 min 39 s"),
        (3600, "1 h"),
        (3659, "1 h"),
        (11_100, "3 h 5 min"),
        (86_400, "1 day"),
        (200_000, "2 days 7 h"),
    ],
)
def test_a_duration_has_its_two_largest_units(seconds, text):
    assert duration(seconds).replace("\N{NO-BREAK SPACE}", " ") == text
    assert duration(timedelta(seconds=seconds)) == duration(seconds)


def test_places_in_a_queue():
    words = [ordinal(number) for number in (1, 2, 10, 11, 12, 13, 21, 22, 23, 111)]
    assert words == ["first", "second", "tenth", "11th", "12th", "13th", "21st", "22nd", "23rd", "111th"]


def test_what_a_job_waits_for_is_what_the_claim_waits_for(make_job, make_pool):
    """Job.blockers() decides in the database, one by one; the pages decide for many at once."""
    other = make_pool("other")
    kinds = [{"is_exclusive": True}, {"reads": "a"}, {"writes": "a"}, {"reads": "b", "writes": "c"}, {}]
    for number, (kind, pool) in enumerate(itertools.product(kinds, (None, other))):
        state = Job.State.RUNNING if number % 3 == 0 else Job.State.QUEUED
        make_job(f"job {number}", state=state, **kind, **({"of": pool} if pool else {}))
        make_job(f"ended {number}", state=Job.State.FAILED, is_exclusive=True)
    waiting = list(Job.objects.filter(state=Job.State.QUEUED))
    found = blockers_of(waiting)
    assert any(found.values())
    assert {pk: [j.pk for j in jobs] for pk, jobs in found.items()} == {
        job.pk: [j.pk for j in job.blockers()] for job in waiting
    }


def test_the_number_of_queries_does_not_grow(make_job, operator, django_assert_num_queries):
    make_job(state=Job.State.RUNNING, is_exclusive=True)
    for number in range(12):
        make_job(f"job {number}", reads="a", writes=f"copy-{number}")
    jobs = list(Job.objects.all())
    with django_assert_num_queries(3):  # the person's grants, the lane, its locks
        rows = shown(operator, jobs)
    assert sum(row.ahead is not None for row in rows) == 12
