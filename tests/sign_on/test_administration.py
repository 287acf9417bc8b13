import pytest
from allauth.mfa.models import Authenticator
from allauth.usersessions.models import UserSession
from django.test import Client

from storagemgr.access import throttle
from storagemgr.access.models import AuditEvent

pytestmark = pytest.mark.django_db


@pytest.fixture
def olga(operator, with_password, sign_in):
    """Signed in in two browsers, with a second factor."""
    with_password(operator)
    for _ in range(2):
        sign_in(Client(), "olga")
    Authenticator.objects.create(user=operator, type="totp", data={"secret": "x"})
    return operator


def throttle_of_a_name(name):
    assert all(throttle.begins(name, "10.1.1.1") for _ in range(5))


def actions():
    return [event.action for event in AuditEvent.objects.filter(actor_name="ada").order_by("id")]


def test_an_administrator_ends_sessions_and_removes_lost_factors(ada, olga):
    page = f"/people/{olga.pk}/sign-in/"
    html = ada.get(page).content.decode()
    assert html.count('name="session"') == 2
    assert "TOTP Authenticator" in html
    first = UserSession.objects.filter(user=olga).first()
    ada.post(page, {"session": first.pk})
    assert UserSession.objects.filter(user=olga).count() == 1
    ada.post(page, {"do": "factors"})
    assert not Authenticator.objects.filter(user=olga).exists()
    assert not UserSession.objects.filter(user=olga).exists()
    assert actions() == ["account.sign-in"] + ["account.session-ended"] * 2 + ["account.mfa-off"]


def test_a_lock_is_seen_and_lifted(ada, olga, sign_in):
    for _ in range(5):
        sign_in(Client(), "olga", "wrong")
    page = f"/people/{olga.pk}/sign-in/"
    assert "Locked until" in ada.get(page).content.decode()
    assert 'value="olga"' in ada.get("/people/locks/").content.decode()
    ada.post("/people/locks/", {"kind": "name", "what": "olga"})
    assert throttle.locks() == []
    for _ in range(5):
        sign_in(Client(), "olga", "wrong")
    ada.post(page, {"do": "lift"})
    assert throttle.locked_until("olga") is None
    assert actions()[1:] == ["account.lift"] * 2


def test_who_may_not_manage_the_person_changes_nothing(client, olga, make_user, pool):
    client.force_login(make_user("pia", "administrator", pool_uuid=pool.uuid))
    page = f"/people/{olga.pk}/sign-in/"
    # Nor do they learn where from somebody signs in, or what was typed for a name.
    throttle_of_a_name("a-password-typed-as-name")
    assert "127.0.0.1" not in client.get(page).content.decode()
    assert "a-password-typed" not in client.get("/people/locks/").content.decode()
    for data in ({"do": "factors"}, {"do": "end"}, {"do": "lift"}):
        assert client.post(page, data).status_code == 403
    assert client.post("/people/locks/", {"kind": "name", "what": "olga"}).status_code == 403
    assert Authenticator.objects.filter(user=olga).exists()
    assert UserSession.objects.filter(user=olga).count() == 2
