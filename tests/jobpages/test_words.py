import itertools
from datetime import timedelta

import pytest

from storagemgr.jobs.models import Job
from storagemgr.jobs.words import blockers_of, duration, ordinal, shown

pytestmark = pytest.mark.django_db
S = Job.State


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "less than a second"),
        (0, "less than a second"),
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
    reads, writes, alone = {"reads": "a"}, {"writes": "a"}, {"is_exclusive": True}
    kinds = [
        reads,
        reads,
        writes,
        {"writes": "b"},
        reads,
        {"reads": "b", "writes": "c"},
        alone,
        reads,
        {},
        alone,
    ]
    for number, (kind, pool) in enumerate(itertools.product(kinds, (None, make_pool("other")))):
        of = {"of": pool} if pool else {}
        make_job(f"job {number}", state=S.RUNNING if number < 4 else S.QUEUED, **kind, **of)
        make_job(f"ended {number}", state=S.FAILED, **alone, **of)
    waiting = list(Job.objects.filter(state=S.QUEUED))
    found = {pk: [job.pk for job in jobs] for pk, jobs in blockers_of(waiting).items()}
    assert found == {job.pk: [other.pk for other in job.blockers()] for job in waiting}
    assert sorted({len(jobs) for jobs in found.values()}) == [0, 1, 2, 6, 9]


def test_the_number_of_queries_does_not_grow(make_job, operator, django_assert_num_queries):
    make_job(state=S.RUNNING, is_exclusive=True)
    for number in range(12):
        make_job(f"job {number}", reads="a", writes=f"copy-{number}")
    jobs = list(Job.objects.all())
    with django_assert_num_queries(4):  # the person's grants, their locks, the lanes, the locks in them
        rows = shown(operator, jobs)
    assert sum(row.ahead is not None for row in rows) == 12
