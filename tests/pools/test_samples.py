"""How full the pools were: points are taken once, and get rarer with age in bounded space."""

from datetime import UTC, datetime, timedelta

import pytest
from django.core.cache import cache

from pools import samples
from pools.models import UsageSample
from volumes import tasks

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 3, 17, 10, 42, 18, tzinfo=UTC)
SLOT = datetime(2026, 3, 17, 10, 40, tzinfo=UTC)
GIB = 1024**3


@pytest.fixture(autouse=True)
def _forgotten():
    cache.clear()
    yield
    cache.clear()


def points(pool, *ages):
    """Of these ages in seconds, before NOW."""
    rows = [
        UsageSample(pool=pool, at=NOW - timedelta(seconds=age), capacity=1, allocation=1, promised=1)
        for age in ages
    ]
    UsageSample.objects.bulk_create(rows)


def test_a_point_of_each_pool_that_runs_answers_and_has_a_size(make_host, make_pool):
    silent = make_host("silent", state="silent")
    good = make_pool("good", host=make_host("kvm1"), promised=70 * GIB)
    make_pool("degraded", host=good.host, state="degraded")
    make_pool("stopped", host=good.host, state="inactive")
    make_pool("away", host=good.host, unreachable_since=NOW)
    make_pool("luns", host=good.host, type="iscsi")
    make_pool("empty", host=good.host, capacity=0)
    make_pool("unheard", host=silent)
    samples.keep_samples(NOW)
    assert set(UsageSample.objects.values_list("pool__name", flat=True)) == {"good", "degraded"}
    assert UsageSample.objects.filter(at=SLOT).count() == 2
    row = UsageSample.objects.get(pool=good)
    assert (row.capacity, row.allocation, row.promised) == (100 * GIB, 40 * GIB, 70 * GIB)


def test_two_ticks_take_no_point_twice(pool):
    samples.keep_samples(NOW)
    cache.clear()  # as another process, which remembers nothing
    pool.allocation += GIB
    pool.save()
    samples.keep_samples(NOW + timedelta(seconds=40))
    assert UsageSample.objects.get().allocation == 40 * GIB
    samples.keep_samples(NOW + timedelta(seconds=200))
    assert UsageSample.objects.count() == 2


def test_two_ticks_that_look_before_either_writes_take_no_point_twice(pool, monkeypatch):
    manager = type(UsageSample.objects)
    write = manager.bulk_create

    def late(self, points, **how):
        write(self, [UsageSample(pool=pool, at=SLOT, capacity=1, allocation=1, promised=1)])
        return write(self, points, **how)

    monkeypatch.setattr(manager, "bulk_create", late)
    samples.take(SLOT)
    assert UsageSample.objects.get().allocation == 1


def test_a_tick_in_the_same_piece_of_time_asks_the_database_nothing(pool, django_assert_num_queries):
    samples.keep_samples(NOW)
    with django_assert_num_queries(0):
        samples.keep_samples(NOW + timedelta(seconds=2))


def test_no_point_is_taken_where_the_setting_says_so(pool, settings):
    settings.SAMPLE_PERIOD = 0
    samples.keep_samples(NOW)
    assert not UsageSample.objects.exists()


@pytest.mark.parametrize("period", [60, 300, 420, 7000])
def test_every_six_hours_there_is_a_point_whatever_the_period(settings, period):
    settings.SAMPLE_PERIOD = period
    midnight = datetime(2026, 3, 17, 6, tzinfo=UTC)
    assert samples.slot_of(midnight + timedelta(seconds=3)) == midnight
    assert samples.marks(NOW, timedelta(days=1))[0] == midnight


def test_points_get_rarer_with_age_and_end(pool, settings):
    hour, day = 3600, 86400
    settings.SAMPLE_PERIOD = samples.TURN  # one turn: every pool has it each time
    points(pool, 300, 600, 900)
    points(pool, *range(2 * day, 2 * day + 4 * hour, 300))
    points(pool, *range(20 * day, 20 * day + day, hour))
    points(pool, *range(100 * day, 100 * day + 4 * day, 6 * hour))
    points(pool, 731 * day, 800 * day)
    samples.thin(samples.slot_of(NOW), NOW)
    ages = [(NOW - at).total_seconds() for at in UsageSample.objects.values_list("at", flat=True)]

    def number(begin, end):
        return sum(begin * day <= age < end * day for age in ages)

    assert [number(0, 1), number(1, 14), number(14, 90), number(90, 730), number(730, 9999)] == [
        3,
        5,
        5,
        5,
        0,
    ]


def test_a_tick_deletes_a_bounded_number_and_the_next_goes_on(pool, monkeypatch, settings):
    settings.SAMPLE_PERIOD = samples.TURN
    monkeypatch.setattr(samples, "DELETES_PER_TICK", 4)
    points(pool, *(86400 * (800 + n) for n in range(10)))
    left = []
    for second in range(4):
        samples.keep_samples(NOW + timedelta(seconds=second))
        left.append(UsageSample.objects.count() - 1)
    assert left == [6, 2, 0, 0]


def test_the_points_of_a_pool_stay_below_the_bound_for_ever():
    """Generated: a pool that is read for more than two years, thinned later than its turn is: once a day."""
    kept, most, day = [], 0, 86400
    begin = int(NOW.timestamp()) // day * day
    for now in range(begin, begin + 760 * day, day):
        kept += [(1, at, at) for at in range(now - day, now, 300)]
        most = max(most, len(kept))
        gone = set(samples.surplus(kept, now))
        kept = [point for point in kept if point[2] not in gone]
    late = (day - samples.TURN) // 300
    assert 1_500 < len(kept) < most <= samples.rows_at_most(300) + late
    assert samples.rows_at_most(300) < 1_720
    assert 728 * day < now - kept[0][1] <= 730 * day


def test_the_tick_writes_them_down(pool, monkeypatch):
    for task in (tasks.read_host, tasks.settle_job):
        monkeypatch.setattr(task, "apply_async", lambda args, retry: None)
    tasks.tick()
    assert UsageSample.objects.get().pool == pool
