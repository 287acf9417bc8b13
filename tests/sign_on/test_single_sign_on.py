"""The whole way to a real provider on loopback and back."""

import time
import uuid
from datetime import timedelta
from urllib.parse import urlsplit

import httpx
import pytest
import time_machine
from django.contrib.auth.models import Group, User
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from oidc_provider_mock import run_server_in_thread

from storagemgr.access.models import AuditEvent, Grant, Team
from storagemgr.jobs.models import Job

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def provider():
    with run_server_in_thread() as server:
        yield f"http://localhost:{server.server_port}"


@pytest.fixture(autouse=True)
def at_the_provider(settings, provider):
    settings.OIDC_ISSUER, settings.OIDC_NAME = provider, "Example ID"
    app = {"provider_id": "oidc", "name": "Example ID", "client_id": "storagemgr", "secret": "s"}
    settings.SOCIALACCOUNT_PROVIDERS = {
        "openid_connect": {
            "OAUTH_PKCE_ENABLED": True,
            "SCOPE": ["openid", "profile", "email"],
            "APPS": [app | {"settings": {"server_url": provider}}],
        }
    }


@pytest.fixture
def teams():
    found = {}
    for name, outside in (("Web", "cn=web"), ("Storage", "cn=storage"), ("Local", "")):
        found[name] = Group.objects.create(name=name)
        Team.objects.create(group=found[name], outside_name=outside)
    Grant.objects.create(group=found["Web"], role="viewer")
    return found


class Person:
    """Somebody whom the provider knows, in a browser."""

    def __init__(self, provider, **claims):
        self.provider, self.browser, self.sub = provider, Client(), uuid.uuid4().hex
        self.claim(
            **{"preferred_username": "wendy", "email": "wendy@example.org", "email_verified": True} | claims
        )

    def claim(self, **claims):
        httpx.put(f"{self.provider}/users/{self.sub}", json=claims).raise_for_status()

    def goes(self, url="/accounts/sso/", **form):
        """From our page to the provider, signs in there, and is led back: our answer."""
        self.asked = self.browser.get(url).url
        assert self.asked.startswith(f"{self.provider}/oauth2/authorize?")
        back = httpx.post(self.asked, data={"sub": self.sub} | form).headers["location"]
        parts = urlsplit(back)
        assert parts.path == "/accounts/sso/back/"
        return self.browser.get(f"{parts.path}?{parts.query}")

    @property
    def is_in(self):
        return self.browser.get("/jobs/").status_code == 200


@pytest.fixture
def wendy(provider):
    return Person(provider, groups=["cn=web", "cn=unknown"])


def test_a_new_person_gets_an_account_and_the_teams_of_their_groups(wendy, teams, provider):
    assert "Sign in with Example ID" in wendy.browser.get("/accounts/login/?next=/jobs/").content.decode()
    assert wendy.goes("/accounts/sso/?next=/jobs/").url == "/jobs/"
    assert "code_challenge=" in wendy.asked
    user = User.objects.get()
    assert (user.username, user.email, user.has_usable_password()) == ("wendy", "wendy@example.org", False)
    assert [group.name for group in user.groups.all()] == ["Web"]
    user.groups.add(teams["Local"])
    wendy.claim(preferred_username="wendy", groups=["cn=storage"])
    wendy.goes()
    assert sorted(group.name for group in user.groups.all()) == ["Local", "Storage"]
    events = AuditEvent.objects.filter(action__startswith="team.").order_by("id")
    assert [(event.action, event.object_text) for event in events] == [
        ("team.join", "wendy in team Web"),
        ("team.join", "wendy in team Storage"),
        ("team.leave", "wendy in team Web"),
    ]
    assert events[0].address == "127.0.0.1"


@pytest.mark.parametrize("groups", [None, [], "cn=storage", [1, {"a": 2}]])
def test_claims_of_any_shape_leave_no_team_behind(wendy, teams, groups):
    wendy.goes()
    wendy.claim(preferred_username="wendy", **({} if groups is None else {"groups": groups}))
    wendy.goes()
    names = [group.name for group in User.objects.get().groups.all()]
    assert names == (["Storage"] if groups == "cn=storage" else [])


def test_an_account_here_is_not_taken_over_by_its_mail_address_or_name(wendy, make_user, provider):
    local = make_user("wendy", "administrator")
    local.email = "Wendy@Example.org"
    local.save()
    answer = wendy.goes()
    assert answer.status_code == 403
    assert "not linked" in answer.content.decode()
    assert not wendy.is_in
    other = Person(provider, email="else@example.org")
    other.goes()
    assert other.is_in
    assert set(User.objects.values_list("username", flat=True)) > {"wendy"}
    assert User.objects.count() == 2


@pytest.mark.parametrize("verified", [True, False, "true", None])
def test_it_is_linked_where_the_setting_says_so_and_the_address_is_verified(
    provider, make_user, settings, verified
):
    settings.OIDC_LINK_BY_MAIL = True
    local = make_user("w.local", "viewer")
    local.email = "Wendy@Example.org"
    local.save()
    wendy = Person(provider, email_verified=verified)
    wendy.goes()
    assert wendy.is_in == (verified is True)
    assert User.objects.count() == 1
    assert AuditEvent.objects.filter(action="account.linked", actor=local).exists() == (verified is True)


def test_they_get_no_password_here_beside_the_providers(wendy):
    wendy.goes()
    new = "brand-new-password"
    for url in ("/accounts/password/set/", "/accounts/password/change/"):
        answer = wendy.browser.post(url, {"password1": new, "password2": new}, follow=True)
        assert answer.status_code == 403
    assert not User.objects.get().has_usable_password()


def test_who_is_switched_off_stays_out(wendy):
    wendy.goes()
    User.objects.update(is_active=False)
    answer = wendy.goes()
    assert (answer.status_code, wendy.is_in) == (403, False)
    assert "switched off" in answer.content.decode()


def test_strangers_stay_out_where_accounts_are_made_by_hand(wendy, settings):
    settings.OIDC_CREATE = False
    answer = wendy.goes()
    assert (answer.status_code, User.objects.count()) == (403, 0)


def test_cancelled_forged_and_silent_are_told_in_words(wendy, settings):
    assert "cancelled it" in wendy.goes(action="deny").content.decode()
    forged = wendy.browser.get("/accounts/sso/back/?code=x&state=y")
    assert (forged.status_code, wendy.is_in) == (401, False)
    app = settings.SOCIALACCOUNT_PROVIDERS["openid_connect"]["APPS"][0]
    app["settings"]["server_url"] = "http://localhost:1"
    assert "does not answer" in wendy.browser.get("/accounts/sso/").content.decode()


def test_it_leads_to_no_other_host(wendy):
    assert wendy.goes("/accounts/sso/?next=https://evil.example/").url == "/"


class TestProvingItAgain:
    @pytest.fixture
    def asked(self, wendy, volume, settings):
        """What destroys a volume waits."""
        settings.REAUTHENTICATE_AFTER = 300
        wendy.goes()
        Grant.objects.create(user=User.objects.get(), role="administrator")
        with time_machine.travel(timezone.now() + timedelta(minutes=6), tick=False):
            url = reverse("volumes:operate", args=[volume.pk, "delete-now"])
            data = {"key": uuid.uuid4(), "typed_name": volume.name}
            answer = wendy.browser.post(url, data)
            assert answer.url.startswith("/accounts/sso/again/?next=")
            page = wendy.browser.get(answer.url).content.decode()
            assert "Sign in with Example ID" in page
            yield f"/accounts/sso/?again=1&{answer.url.partition('?')[2]}"

    def test_the_same_person_goes_on(self, wendy, asked):
        on = wendy.goes(asked)
        assert "prompt=login" in wendy.asked
        assert "max_age=0" in wendy.asked
        assert wendy.browser.get(on.url).url.startswith("/jobs/")
        assert Job.objects.count() == 1

    def test_somebody_else_does_not(self, wendy, asked, provider):
        wendy.sub = Person(provider, preferred_username="eve", email="eve@example.org").sub
        on = wendy.goes(asked)
        assert wendy.browser.get(on.url).url.startswith("/accounts/sso/again/")
        assert (Job.objects.count(), User.objects.count()) == (0, 1)

    def test_a_session_of_this_morning_at_the_provider_is_no_proof(self, wendy, asked):
        wendy.claim(preferred_username="wendy", auth_time=time.time() - 3600)
        on = wendy.goes(asked)
        assert wendy.browser.get(on.url).url.startswith("/accounts/sso/again/")
        assert not Job.objects.exists()


def test_without_a_provider_there_is_nothing_of_it(client, settings):
    settings.OIDC_ISSUER = ""
    assert "Sign in with" not in client.get("/accounts/login/").content.decode()
    for path in ("", "back/"):
        assert client.get(f"/accounts/sso/{path}").status_code == 404
