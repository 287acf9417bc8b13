from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
import time_machine
from django.utils import timezone

from storagemgr.access.models import Grant
from storagemgr.templatetags import storage

NBSP = "\xa0"
NOON = datetime(2026, 3, 17, 12, 0, tzinfo=ZoneInfo("UTC"))


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (1023, "1023 bytes"),
        (1536, "1.5 KiB"),
        (1024**2 - 1, "1 MiB"),
        (int(12.44 * 1024**3), "12.4 GiB"),
        (8 * 1024**4, "8 TiB"),
        (int(99.96 * 1024**3), "100 GiB"),
        (2**63 - 1, "8 EiB"),
        (None, ""),
    ],
)
def test_sizes(number, text):
    assert storage.size(number).replace(NBSP, " ") == text


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("web01.qcow2", "web01.qcow2"),
        ("two\nlines", r"two\nlines"),
        (" edges  ", r"\x20edges\x20\x20"),
        ("   ", r"\x20\x20\x20"),
        ("exe.\u202egnp", r"exe.\u202egnp"),
        ("zero\u200bwidth", r"zero\u200bwidth"),
        ("not-utf8-\udcff", r"not-utf8-\xff"),
        ("escape\x1b[2J\x7f", r"escape\x1b[2J\x7f"),
        ("שלום.img", "שלום.img"),
        ("日本", "日本"),
        ("", ""),
    ],
)
def test_names_show_what_would_hide(name, shown):
    assert storage.printable(name) == shown
    storage.printable(name).encode()


@time_machine.travel(NOON, tick=False)
@pytest.mark.parametrize(
    ("ago", "short", "long"),
    [
        (timedelta(hours=1), "11:00", "today 11:00"),
        (timedelta(days=14), "3 Mar", "3 Mar 12:00"),
        (timedelta(days=365), "17 Mar 2025", "17 Mar 2025 12:00"),
    ],
)
def test_moments(ago, short, long):
    value = NOON - ago
    assert storage.moment(value).replace(NBSP, " ") == short
    assert storage.moment_long(value).replace(NBSP, " ") == long


def test_moments_are_in_the_time_zone_of_the_settings():
    value = datetime(2026, 1, 1, 23, 30, tzinfo=ZoneInfo("UTC"))
    with timezone.override("Europe/Berlin"), time_machine.travel(value + timedelta(hours=1), tick=False):
        assert storage.moment(value) == "00:30"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-3, "0 s"), (59, "59 s"), (61, "1 min"), (3 * 3600, "3 h"), (47 * 3600, "47 h"), (49 * 3600, "2 days")],
)
def test_spans(seconds, text):
    assert storage.span(seconds).replace(NBSP, " ") == text


def test_fresh_is_now_so_that_a_page_stays_the_same():
    assert storage.as_of(timezone.now() - timedelta(seconds=5)) == "now"
    assert storage.as_of(timezone.now() - timedelta(seconds=21)) != "now"
    assert storage.as_of(None) == "never"


@pytest.mark.parametrize(("number", "text"), [(0, "0 pools"), (1, "1 pool"), (1234, "1,234 pools")])
def test_counts(number, text):
    assert storage.count(number, "pool").replace(NBSP, " ") == text


@pytest.mark.django_db
def test_the_role_of_a_person(make_user, host, pool):
    assert storage.role_of(make_user("otto")).title == "no role"
    assert storage.role_of(make_user("vera", "viewer")).sentence == "You are Viewer of everything."
    olga = make_user("olga", "operator", host=host)
    assert storage.role_of(olga).sentence.replace(NBSP, " ") == "You are Operator on 1 host."
    mona = make_user("mona", "manager", host=host, pool_uuid=pool.uuid)
    assert storage.role_of(mona).sentence.replace(NBSP, " ") == "You are Manager on 1 pool."
    vera = make_user("veronika", "viewer")
    Grant.objects.create(user=vera, role="operator", host=host, pool_uuid=pool.uuid)
    said = "You are Operator on 1 pool, and Viewer of everything."
    assert storage.role_of(vera).sentence.replace(NBSP, " ") == said
