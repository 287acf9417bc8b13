from datetime import timedelta

import pytest
import time_machine
from allauth.usersessions.models import UserSession
from django.test import Client
from django.utils import timezone

from storagemgr.access.models import AuditEvent

pytestmark = pytest.mark.django_db
POLL = {"HX-Request": "true"}


def minutes(number):
    return time_machine.travel(timezone.now() + timedelta(minutes=number), tick=False)


def test_an_unused_session_ends_and_polls_do_not_use_it(ada):
    for at in (20, 40, 59):
        with minutes(at):
            assert ada.get("/jobs/", headers=POLL).status_code == 200
    with minutes(61):
        answer = ada.get("/jobs/", headers=POLL)
        assert answer.url.startswith("/accounts/login/")
        assert ada.get("/jobs/").status_code == 302
    ended = AuditEvent.objects.get(action="account.session-ended")
    assert (ended.actor_name, ended.details["why"]) == ("ada", "not used")
    assert not UserSession.objects.exists()


def test_a_used_session_ends_after_twelve_hours(ada):
    for at in range(50, 12 * 60, 50):
        with minutes(at):
            assert ada.get("/jobs/").status_code == 200, at
    with minutes(12 * 60 + 1):
        assert ada.get("/jobs/").status_code == 302


def test_use_is_written_once_a_minute(ada):
    before = ada.session["seen"]
    with minutes(2):
        ada.get("/jobs/")
        seen = ada.session["seen"]
    with minutes(2.5):
        ada.get("/jobs/")
        assert ada.session["seen"] == seen > before


def test_another_password_ends_the_other_sessions(ada, sign_in):
    other = Client()
    sign_in(other, "ada")
    assert other.get("/jobs/").status_code == 200
    new = "another-fine-password"
    data = {"oldpassword": "a-fine-long-password", "password1": new, "password2": new}
    ada.post("/accounts/password/change/", data)
    assert other.get("/jobs/").status_code == 302
    assert ada.get("/jobs/").status_code == 200
    assert AuditEvent.objects.filter(action="account.password", actor_name="ada").count() == 1


def test_ones_own_sessions_are_listed_and_ended(ada, sign_in, make_user, with_password):
    page = "/accounts/security/sessions/"
    others = [Client(headers={"User-Agent": f"Firefox {number}"}) for number in range(2)]
    for other in others:
        sign_in(other, "ada")
    stranger = Client()
    with_password(make_user("eve"))
    sign_in(stranger, "eve")
    html = ada.get(page).content.decode()
    assert html.count('name="session"') == 2
    assert "Firefox 1" in html
    first = UserSession.objects.get(user_agent="Firefox 0")
    stranger.post(page, {"session": first.pk})
    assert others[0].get("/jobs/").status_code == 200
    ada.post(page, {"session": first.pk})
    assert [other.get("/jobs/").status_code for other in others] == [302, 200]
    ada.post(page)
    assert [client.get("/jobs/").status_code for client in (others[1], ada, stranger)] == [302, 200, 200]
    assert AuditEvent.objects.filter(action="account.session-ended").count() == 2


def test_signing_in_and_out_is_in_the_audit(ada, sign_in):
    sign_in(Client(), "ada", "wrong")
    ada.post("/accounts/logout/")
    events = AuditEvent.objects.order_by("id").values_list(
        "action", "outcome", "actor_name", "object_text", "address"
    )
    assert list(events) == [
        ("account.sign-in", "done", "ada", "", "127.0.0.1"),
        ("account.sign-in-failed", "failed", "not signed in", "Sign in as ada", "127.0.0.1"),
        ("account.sign-out", "done", "ada", "", "127.0.0.1"),
    ]


def test_a_session_that_somebody_planted_or_kept_is_nobodys(client, administrator, with_password, sign_in):
    """Fixation, and a cookie that was copied before its owner signed out."""
    with_password(administrator)
    client.get("/accounts/sso/again/")
    planted = client.session
    planted["theirs"] = "x"
    planted.save()
    client.cookies["sessionid"] = planted.session_key
    thief = Client()
    thief.cookies["sessionid"] = planted.session_key
    sign_in(client, "ada")
    kept = client.cookies["sessionid"].value
    assert kept != planted.session_key
    assert thief.get("/jobs/").status_code == 302
    thief.cookies["sessionid"] = kept
    assert thief.get("/jobs/").status_code == 200
    client.post("/accounts/logout/")
    assert thief.get("/jobs/").status_code == 302


def test_the_cookie_is_hidden_from_scripts_and_from_other_sites(
    client, administrator, with_password, sign_in
):
    with_password(administrator)
    cookie = sign_in(client, "ada").cookies["sessionid"]
    assert (cookie["httponly"], cookie["samesite"]) == (True, "Lax")
