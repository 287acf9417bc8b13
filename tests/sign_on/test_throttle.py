import threading
from datetime import timedelta

import pytest
import time_machine
from django.core.cache import cache
from django.db import connections
from django.test import Client
from django.utils import timezone

from storagemgr.access import throttle
from storagemgr.access.models import AuditEvent, FailedSignIn

pytestmark = pytest.mark.django_db


@pytest.fixture
def olga(operator, with_password):
    return with_password(operator)


def text_of(response):
    return response.content.decode() if response.status_code == 200 else ""


def fail(sign_in, name, times, **more):
    """From a new browser each time, and as if another process answered each time."""
    answers = []
    for _ in range(times):
        cache.clear()
        answers.append(text_of(sign_in(Client(), name, "wrong", **more)))
    return answers


def is_in(response):
    return response.status_code == 302


def minutes(number):
    return time_machine.travel(timezone.now() + timedelta(minutes=number), tick=False)


@pytest.mark.parametrize("name", ["olga", "nobody-like-this", "OLGA"])
def test_five_wrong_passwords_lock_a_name_whether_it_exists_or_not(client, olga, sign_in, name):
    answers = fail(sign_in, name, 6)
    assert ["not correct" in answer for answer in answers] == [True] * 5 + [False]
    assert "Too many failed" in answers[-1]
    assert "Too many failed" in text_of(sign_in(client, name))
    locked = AuditEvent.objects.get(action="account.locked")
    assert (locked.object_text, locked.outcome, locked.address) == (
        f"Sign in as {name}",
        "denied",
        "127.0.0.1",
    )


def test_the_pause_grows_and_ends(client, olga, sign_in):
    fail(sign_in, "olga", 5)
    with minutes(4):
        assert not is_in(sign_in(client, "olga"))
    with minutes(6):
        fail(sign_in, "olga", 5)
    with minutes(13):
        assert not is_in(sign_in(client, "olga"))
    with minutes(17):
        assert is_in(sign_in(client, "olga"))
    assert throttle.locked_until("olga") is None


def test_an_address_is_locked_for_all_names_and_a_forged_header_is_no_other_address(client, olga, sign_in):
    for number in range(20):
        headers = {"X-Forwarded-For": f"6.6.6.{number}"}
        fail(sign_in, f"n{number}", 1, headers=headers)
    assert "Too many failed" in text_of(sign_in(client, "olga", headers={"X-Forwarded-For": "7.7.7.7"}))
    assert is_in(sign_in(client, "olga", REMOTE_ADDR="10.9.9.9"))


def test_behind_a_proxy_only_what_the_proxy_wrote_counts(client, olga, sign_in, settings):
    settings.ALLAUTH_TRUSTED_PROXY_COUNT = 1
    for number in range(20):
        fail(sign_in, f"n{number}", 1, headers={"X-Forwarded-For": f"6.6.6.{number}, 10.1.1.1"})
    assert not is_in(sign_in(client, "olga", headers={"X-Forwarded-For": "10.9.9.9, 10.1.1.1"}))
    assert is_in(sign_in(client, "olga", headers={"X-Forwarded-For": "10.1.1.1, 10.9.9.9"}))


def test_neighbours_in_an_ipv6_network_are_one(client, olga, sign_in):
    for number in range(20):
        fail(sign_in, f"n{number}", 1, REMOTE_ADDR=f"2001:db8::{number:x}")
    assert not is_in(sign_in(client, "olga", REMOTE_ADDR="2001:db8::ffff"))
    assert is_in(sign_in(client, "olga", REMOTE_ADDR="2001:db8:0:1::1"))


def test_the_right_password_forgets_the_wrong_ones_of_this_name_alone(client, olga, sign_in):
    fail(sign_in, "eve", 4)
    fail(sign_in, "olga", 4)
    assert is_in(sign_in(client, "olga"))
    assert set(FailedSignIn.objects.values_list("name", flat=True)) == {"eve"}


def test_a_lock_is_listed_and_lifted_and_old_rows_go(client, olga, sign_in):
    fail(sign_in, "olga", 5)
    lock = throttle.locks()[0]
    assert (lock.kind, lock.what, lock.failures) == ("name", "olga", 5)
    throttle.lift("olga")
    assert throttle.locks() == []
    assert is_in(sign_in(client, "olga"))
    fail(sign_in, "olga", 1)
    throttle.forget_old(timezone.now())
    assert FailedSignIn.objects.count() == 1
    throttle.forget_old(timezone.now() + timedelta(hours=25))
    assert FailedSignIn.objects.count() == 0


def test_a_person_who_is_switched_off_is_answered_like_a_wrong_password(client, olga, sign_in):
    olga.is_active = False
    olga.save()
    assert "not correct" in text_of(sign_in(client, "olga"))


def test_a_name_in_other_letters_is_the_same_name(operator):
    """PostgreSQL finds an account by its capitals, and the dotless i has those of the i."""
    assert {throttle._name(name) for name in ("mirko", "MIRKO", "mırko", "mir\u212ao")} == {"mirko"}


@pytest.mark.django_db(transaction=True)
def test_many_wrong_passwords_at_the_same_moment_are_as_many_as_one_after_another(monkeypatch):
    """All of them look at the lock before any of them is counted."""
    together = threading.Barrier(12)
    count, looked_at = throttle._count, []

    def at_once(*words):
        together.wait(10)
        return count(*words)

    monkeypatch.setattr(throttle, "_count", at_once)

    def attempt():
        looked_at.append(throttle.begins("olga", "10.1.1.1"))
        connections.close_all()

    threads = [threading.Thread(target=attempt) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(looked_at) == 12
    assert sum(looked_at) <= throttle.FREE["name"]
