"""The chain of the audit: what was done to the table behind the program's back is told in words."""

import threading
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import connections
from django.utils import timezone

from storagemgr.access import audit, retention, sealing
from storagemgr.access.models import AuditEvent
from storagemgr.access.sealing import Head, head_in_database, head_in_file, parse_head, seal_new
from storagemgr.access.verifying import verify

pytestmark = pytest.mark.django_db
BEHIND_OUR_BACK = AuditEvent._base_manager


@pytest.fixture(autouse=True)
def own_directory(settings, tmp_path):
    settings.DATA_DIR = tmp_path


def write(count, **fields):
    rows = [
        audit.record(
            "pool.start", audit.Outcome.DONE, actor=None, object_text=f"Start {n}", details={"n": [n, 1.5]}
        )
        for n in range(count)
    ]
    BEHIND_OUR_BACK.filter(pk__in=[row.pk for row in rows]).update(**fields) if fields else None
    return rows


def sealed(count, **fields):
    write(count, **fields)
    assert seal_new() == count


def test_an_honest_chain_is_whole_and_goes_on():
    sealed(5)
    sealed(3)
    write(1)
    found = verify()
    assert found.is_whole, found.problems
    assert (found.checked, found.first, found.waiting, found.head.number) == (8, 1, 1, 8)
    assert found.head == head_in_database() == head_in_file() == parse_head(str(found.head))
    assert found.sentences == ["8 events, numbers 1 to 8: none missing, none changed."]


def test_an_event_that_commits_late_gets_a_later_number():
    late, other = write(2)
    BEHIND_OUR_BACK.filter(pk=late.pk).update(number=-1)  # not to be seen yet
    seal_new()
    BEHIND_OUR_BACK.filter(pk=late.pk).update(number=None)
    seal_new()
    assert list(AuditEvent.objects.order_by("number").values_list("pk", flat=True)) == [other.pk, late.pk]
    assert verify().is_whole


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda rows: rows.filter(number=3).delete(), "Missing between 2 and 4: number 3."),
        (lambda rows: rows.filter(number__in=[3, 4]).delete(), "numbers 3 to 4 (2 events)."),
        (lambda rows: rows.filter(number=3).update(actor_name="olga"), "another key: number 3."),
        (lambda rows: rows.filter(number=3).update(details={}), "another key: number 3."),
        (lambda rows: rows.filter(number=3).update(seal="0" * 64), "another key: numbers 3 to 4"),
        (lambda rows: rows.filter(number__gt=4).delete(), "The end is missing: numbers 5 to 6"),
        (lambda rows: rows.filter(number__lt=3).delete(), "The beginning is missing: numbers 1 to 2"),
        (lambda rows: rows.all().delete(), "The end is missing: numbers 1 to 6"),
    ],
)
def test_what_was_done_to_it_is_told(harm, said):
    sealed(6)
    harm(BEHIND_OUR_BACK)
    [told] = verify().problems
    assert said in told


def test_a_cut_end_stays_seen_when_the_chain_goes_on():
    sealed(6)
    BEHIND_OUR_BACK.filter(number__gt=4).delete()
    sealed(2)
    assert head_in_database().number == 8
    assert verify().problems == ["Missing between 4 and 7: numbers 5 to 6 (2 events)."]


def test_a_head_that_was_written_down_tells_what_no_file_does(tmp_path):
    sealed(6)
    noted = head_in_database()
    assert verify(head=noted).is_whole
    BEHIND_OUR_BACK.filter(number__gt=4).delete()
    (tmp_path / "audit-head").unlink()
    sealed(2)
    assert verify().is_whole
    assert verify(head=noted).problems == ["Number 6 has another seal than the one that was written down."]
    assert verify(head=Head(9, "x")).problems == ["The end is missing: numbers 7 to 9 (3 events)."]


def test_a_new_key_needs_the_former_one(settings):
    sealed(3)
    former, settings.SECRET_KEY = settings.SECRET_KEY, "another"
    assert "SECRET_KEY_FALLBACKS" in verify().problems[-1]
    settings.SECRET_KEY_FALLBACKS = [former]
    sealed(3)
    assert verify().is_whole


def test_events_are_written_once_and_accounts_may_go():
    user = User.objects.create_user("gone")
    audit.record("pool.start", audit.Outcome.DONE, actor=user)
    seal_new()
    event = AuditEvent.objects.get()
    for act in (
        lambda: AuditEvent.objects.update(actor_name="x"),
        lambda: AuditEvent.objects.all().delete(),
        lambda: AuditEvent.objects.bulk_update([event], ["right"]),
        event.save,
        event.delete,
    ):
        with pytest.raises(ValueError, match="audit event"):
            act()
    user.delete()
    event.refresh_from_db()
    assert (event.actor_id, event.actor_name) == (None, "gone")
    assert verify().is_whole


def test_what_is_old_goes_and_the_chain_says_so(settings):
    settings.AUDIT_KEPT = 10
    sealed(4, at=timezone.now() - timedelta(days=11))
    sealed(2)
    assert retention.cut_old() == 4
    assert retention.cut_old() == 0
    seal_new()
    found = verify()
    assert (found.problems, found.first, found.checked) == ([], 5, 3)
    cut = AuditEvent.objects.get(action="audit.cut")
    assert (cut.details["number"], cut.details["count"]) == (4, 4)
    BEHIND_OUR_BACK.filter(number=5).delete()
    assert verify().problems == ["The beginning is missing: numbers 1 to 5 (5 events), and no cut says why."]


def test_a_cut_that_somebody_else_wrote_proves_nothing(settings):
    settings.AUDIT_KEPT = 0
    sealed(4, at=timezone.now() - timedelta(days=5000))
    assert retention.cut_old() == 0
    details = {"number": 2, "seal": AuditEvent.objects.get(number=2).seal, "count": 2, "mark": "0" * 64}
    audit.record("audit.cut", audit.Outcome.DONE, actor=None, details=details)
    seal_new()
    BEHIND_OUR_BACK.filter(number__lte=2).delete()
    assert "The beginning is missing" in verify().problems[0]


@pytest.mark.django_db(transaction=True)
def test_two_processes_seal_at_once():
    """Each event gets one number, whoever is first; the other one tries again at its next tick."""
    write(3 * sealing.BATCH // 2)
    start = threading.Barrier(2)

    def seal():
        start.wait()
        seal_new()
        connections.close_all()

    threads = [threading.Thread(target=seal) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    while seal_new():
        pass
    found = verify()
    assert (found.problems, found.checked, found.waiting) == ([], 3 * sealing.BATCH // 2, 0)
