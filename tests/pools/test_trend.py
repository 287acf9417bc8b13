"""When a pool is full: said where the data carry it, in words, as a line and as a table."""

import math
import random
from datetime import UTC, datetime, timedelta

import pytest
from django.core.cache import cache
from django.utils import timezone

from pools import trend
from pools.chart import trend_of
from pools.models import UsageSample
from pools.samples import marks
from pools.trend import about, forecast

NOW = datetime(2026, 3, 17, 10, 42, 18, tzinfo=UTC)
GIB = 1024**3


@pytest.fixture(autouse=True)
def _forgotten():
    cache.clear()
    yield
    cache.clear()


def line(used_at, days=30, now=NOW):
    """Points at the marks; `used_at(age)`: GiB so many days before now."""
    at = reversed(marks(now, timedelta(days=days)))
    return [(one, int(used_at((now - one).total_seconds() / 86400) * GIB)) for one in at]


def plain(text):
    return text.replace("\N{NO-BREAK SPACE}", " ")


def said(points, free=1000):
    return forecast(points, free * GIB, NOW)


def keep(pool, points):
    rows = [
        UsageSample(pool=pool, at=at, capacity=pool.capacity, allocation=n, promised=2 * n)
        for at, n in points
    ]
    UsageSample.objects.bulk_create(rows)


def test_steady_growth_ends_in_weeks():
    found = said(line(lambda age: 5000 - 16 * age))
    assert plain(found.words) == "Full in about 9 weeks at the pace of the last 30 days."
    assert found.pace == pytest.approx(16 * GIB, rel=0.05)
    assert found.sooner(160 * GIB) == pytest.approx(found.days - 10, rel=0.1)


def test_noise_and_single_odd_days_do_not_change_the_pace():
    random.seed(4)
    wild = said(line(lambda age: 5000 - 16 * age + random.uniform(-30, 30) + (3000 if 11 < age < 13 else 0)))
    assert wild.kind == "full"
    assert wild.pace == pytest.approx(16 * GIB, rel=0.1)


@pytest.mark.parametrize(
    "used_at",
    [
        lambda age: 500,
        lambda age: 500 + 3 * age,
        lambda age: 500 + 40 * math.sin(age),
        lambda age: 900 if age < 9 else 500,  # one large copy is no pace
    ],
    ids=["flat", "shrinking", "up and down", "a jump"],
)
def test_what_does_not_grow_is_not_said_to_be_full(used_at):
    assert plain(said(line(used_at)).words) == "Not growing over the last 30 days."


def test_growth_that_takes_longer_than_two_years_gets_no_date():
    assert plain(said(line(lambda age: 500 - age)).words).startswith("Growing so slowly")


def test_less_than_a_week_is_too_little():
    found = said(line(lambda age: 500 - 9 * age, days=6))
    assert found.kind == "few"
    assert said(line(lambda age: 500 - 9 * age, days=9)).kind == "full"
    gaps = [point for point in line(lambda age: 500 - 9 * age, days=20) if not 2 < (NOW - point[0]).days < 19]
    assert said(gaps).kind == "few"
    recent = forecast([(timezone.now() - timedelta(days=3), 1)], GIB, timezone.now())
    weekday = f"{timezone.localtime(recent.since):%A}"
    assert recent.words == f"Too few data yet to say when it is full: since {weekday}."


@pytest.mark.parametrize(
    ("days", "words"),
    [
        (0.4, "within a day"),
        (1.1, "in about 1 day"),
        (13, "in about 13 days"),
        (62, "in about 9 weeks"),
        (300, "in about 10 months"),
    ],
)
def test_times_in_words(days, words):
    assert plain(about(days)) == words


@pytest.mark.django_db
def test_a_pool_grows_in_line_and_table(pool, see_pool):
    now = timezone.now()
    keep(pool, line(lambda age: 40 - age, now=now))
    found = trend_of(pool, "", now)
    assert found.range == "month"
    assert found.forecast.kind == "full"
    wide, narrow = found.drawings
    for drawing in (wide, narrow):
        assert len(drawing.used) == 1
        assert len(drawing.used[0].split()) == len(found.points)
        assert drawing.ahead[0] > drawing.now_x
    html = see_pool(pool)
    assert "Full in about 9" in html
    assert html.count('<tr id="point-') == len(found.points) >= 30
    assert ' style="' not in html


@pytest.mark.django_db
def test_the_range_is_in_the_address_and_nonsense_means_a_month(pool, see_pool):
    keep(pool, line(lambda age: 40, now=timezone.now()))
    assert 'href="?trend=year#trend" aria-current="true"' in see_pool(pool, "?trend=year")
    assert 'href="?trend=month#trend" aria-current="true"' in see_pool(pool, "?trend=<b>")


@pytest.mark.django_db
def test_a_new_pool_shows_its_first_hours(pool, see_pool):
    now = timezone.now()
    keep(pool, [(now - timedelta(hours=3), 40 * GIB)])
    assert "a line takes two points" in see_pool(pool)
    keep(pool, [(now - timedelta(hours=age), 40 * GIB) for age in (1, 2)])
    html = see_pool(pool)
    assert 'href="?trend=day#trend" aria-current="true"' in html
    assert "Too few data yet to say when it is full" in html
    assert 'class="chart chart-w"' in html


@pytest.mark.django_db
def test_a_gap_parts_the_line(pool):
    now = timezone.now()
    points = [p for p in line(lambda age: 40, now=now) if not 8 <= (now - p[0]).days < 13]
    keep(pool, points)
    wide = trend_of(pool, "month", now).drawings[0]
    assert len(wide.used) == len(wide.areas) == 2


@pytest.mark.django_db
def test_a_stopped_pool_has_a_past_and_no_forecast(pool, make_pool, see_pool):
    keep(pool, line(lambda age: 40 - age, now=timezone.now()))
    pool.state = "inactive"
    pool.save()
    assert trend_of(pool, "month").forecast is None
    assert "Full in about" not in see_pool(pool)
    assert trend_of(make_pool("new"), "month") is None
    assert 'id="trend"' not in see_pool(make_pool("newer"))


@pytest.mark.django_db
def test_what_fills_soonest_of_many_takes_few_queries(make_pool, host, django_assert_max_num_queries):
    now = timezone.now()
    soon, late, still = (make_pool(name, host=host) for name in ("soon", "late", "still"))
    make_pool("unknown", host=host)
    keep(soon, line(lambda age: 40 - age, now=now))
    keep(late, line(lambda age: 40 - age / 5, now=now))
    keep(still, line(lambda age: 40 + age / 9, now=now))
    with django_assert_max_num_queries(3):
        found = trend.filling(now)
    assert set(found) == {soon.pk, late.pk}
    assert found[soon.pk].days < found[late.pk].days
    with django_assert_max_num_queries(0):
        assert trend.filling(now) == found


@pytest.mark.django_db
def test_the_same_storage_on_many_hosts_is_one_candidate(make_pool, make_host, client, viewer, monkeypatch):
    now = timezone.now()
    monkeypatch.setattr(trend, "CANDIDATES", 2)
    for number in range(5):
        shared = {"type": "netfs", "source": "nas:/vms", "available": 20 * GIB}
        keep(make_pool("nfs", host=make_host(f"kvm{number}"), **shared), line(lambda age: 40 - age, now=now))
    local = make_pool("local")
    keep(local, line(lambda age: 40 - age, now=now))
    assert len(trend.filling(now)) == 6
    client.force_login(viewer)
    html = plain(client.get("/").content.decode())
    assert "on kvm0 and 4 other hosts is full in about 3 weeks" in html
    assert html.count("is full in about 3 weeks") == 1


@pytest.mark.django_db
def test_what_is_full_within_four_weeks_is_among_the_notices_of_the_fleet(make_pool, host, client, viewer):
    now = timezone.now()
    keep(make_pool("soon", host=host), line(lambda age: 40 - 1.3 * age, now=now))
    keep(make_pool("late", host=host), line(lambda age: 40 - age, now=now))
    client.force_login(viewer)
    html = plain(client.get("/").content.decode())
    assert "is full in about 6 weeks" not in html
    trend.Pool.objects.filter(name="soon").update(available=20 * GIB)
    cache.clear()
    html = plain(client.get("/").content.decode())
    assert "on kvm1 is full in about 2 weeks at the pace of the last 30 days." in html
    assert html.count("at the pace of the last 30 days") == 1


@pytest.fixture
def see_pool(client, viewer):
    client.force_login(viewer)

    def see(pool, query=""):
        response = client.get(pool.get_absolute_url() + query)
        assert response.status_code == 200
        return plain(response.content.decode())

    return see
