"""Who may write to the database, and does not have the key, tries to get a false audit past the check."""

from datetime import timedelta

import pytest
from django.utils import timezone

from storagemgr.access import audit, retention
from storagemgr.access.models import AuditEvent
from storagemgr.access.sealing import seal_new
from storagemgr.access.verifying import verify

pytestmark = pytest.mark.django_db
BEHIND_OUR_BACK = AuditEvent._base_manager
FORGED = {"actor_name": "olga", "action": "pool.delete", "outcome": "done", "object_text": "Forged"}


@pytest.fixture(autouse=True)
def own_directory(settings, tmp_path):
    settings.DATA_DIR = tmp_path
    settings.AUDIT_KEPT = 10


def sealed(count, **fields):
    rows = [audit.record("pool.start", audit.Outcome.DONE, actor=None).pk for _ in range(count)]
    BEHIND_OUR_BACK.filter(pk__in=rows).update(**fields) if fields else None
    assert seal_new() == count


def problems():
    seal_new()
    return verify().problems


def test_what_was_made_to_look_old_is_not_cut():
    sealed(6)
    long_ago = timezone.now() - timedelta(days=100)
    BEHIND_OUR_BACK.filter(number__lte=4).update(at=long_ago)
    assert retention.cut_old() == 0
    assert AuditEvent.objects.filter(number__lte=4).count() == 4
    assert "Changed" in problems()[0]


@pytest.mark.parametrize("number", [0, -1, -(2**63)])
def test_an_event_with_a_number_that_nobody_gives_is_told(number):
    sealed(3)
    BEHIND_OUR_BACK.create(number=number, seal="f" * 64, **FORGED)
    assert any("no seal gives" in text for text in problems())


@pytest.mark.parametrize("number", [4, 3])
def test_nothing_comes_in_where_the_chain_was_cut(number):
    sealed(4, at=timezone.now() - timedelta(days=11))
    sealed(2)
    assert retention.cut_old() == 4
    assert problems() == []
    known = AuditEvent.objects.get(action="audit.cut").details["seal"]
    BEHIND_OUR_BACK.create(number=number, seal=known, **FORGED)
    assert any("What was cut is there" in text for text in problems())
    # As what is left of a cut that was broken off, too.
    retention.cut_if_due()
    assert problems() == []


def test_a_forged_end_that_the_next_seal_builds_on_is_told():
    sealed(3)
    BEHIND_OUR_BACK.create(number=4, seal="f" * 64, **FORGED)
    sealed(2)
    assert "another key: number 4" in problems()[0]


@pytest.mark.parametrize("details", [[], "x", {"number": "x"}, {"number": None, "count": [], "mark": 1}])
def test_a_cut_of_nonsense_stops_no_check(details):
    sealed(2)
    BEHIND_OUR_BACK.create(**FORGED | {"action": "audit.cut"}, details=details)
    assert problems() == []
