import re
import time
from datetime import timedelta

import pytest
import time_machine
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value
from django.core.cache import cache
from django.test import Client
from django.utils import timezone

from storagemgr.access import second_factor, tokens
from storagemgr.access.models import AuditEvent, Role

pytestmark = pytest.mark.django_db
SECURITY = "/accounts/security/"


def code_of(secret, step=0):
    return format_hotp_value(hotp_value(secret, int(time.time()) // 30 + step))


@pytest.fixture
def app(ada, django_capture_on_commit_callbacks):
    """The secret of an authenticator app that ada set up in the pages."""
    page = ada.get(f"{SECURITY}app/").content.decode()
    assert 'src="data:image/svg+xml;base64,' in page
    secret = re.search(r'id="secret">([A-Z2-7]+)<', page)[1]
    wrong = ada.post(f"{SECURITY}app/", {"code": "000000"})
    assert "Incorrect code" in wrong.content.decode()
    with django_capture_on_commit_callbacks(execute=True):
        done = ada.post(f"{SECURITY}app/", {"code": code_of(secret)})
    assert done.url == f"{SECURITY}codes/"
    return secret


def actions():
    return list(AuditEvent.objects.order_by("id").values_list("action", "outcome", "object_text"))


def test_the_code_of_the_app_is_the_second_step_and_works_once(ada, app, sign_in):
    assert app not in str(Authenticator.objects.get(type="totp").data)
    assert ("account.mfa-on", "done", "TOTP Authenticator") in actions()
    code = code_of(app, 1)
    one, other = Client(), Client()
    for browser in (one, other):
        assert sign_in(browser, "ada").url == f"{SECURITY}code/"
        assert browser.get("/jobs/").status_code == 302
    assert one.post(f"{SECURITY}code/", {"code": code}).url == "/"
    assert one.get("/jobs/").status_code == 200
    # Another process of the web server, which knows nothing of this one's memory.
    cache.clear()
    again = other.post(f"{SECURITY}code/", {"code": code})
    assert "Incorrect code" in again.content.decode()
    assert AuditEvent.objects.filter(action="account.sign-in").first().details == {"by": ["password", "totp"]}


def test_a_recovery_code_lets_in_once(ada, app, sign_in):
    codes = re.findall(r"<code>(\d{8})</code>", ada.get(f"{SECURITY}codes/").content.decode())
    assert len(codes) == 10
    assert codes[0] in ada.get(f"{SECURITY}codes/download/").content.decode()
    for status in (302, 200):
        browser = Client()
        sign_in(browser, "ada")
        assert browser.post(f"{SECURITY}code/", {"code": codes[0]}).status_code == status


def test_wrong_codes_are_counted_like_wrong_passwords(ada, app, sign_in):
    browser = Client()
    sign_in(browser, "ada")
    answers = [browser.post(f"{SECURITY}code/", {"code": "000000"}).content.decode() for _ in range(6)]
    assert "Incorrect code" in answers[0]
    assert "Too many failed" in answers[-1]
    assert "Too many failed" in browser.post(f"{SECURITY}code/", {"code": code_of(app, 1)}).content.decode()


def test_the_app_is_removed_with_a_fresh_proof_alone(ada, app, settings, django_capture_on_commit_callbacks):
    settings.REAUTHENTICATE_AFTER = 300
    with time_machine.travel(timezone.now() + timedelta(minutes=6), tick=False):
        for page in ("app/remove/", "codes/", "codes/new/", "keys/new/"):
            assert ada.get(SECURITY + page).url.startswith("/accounts/reauthenticate/"), page
        ada.post("/accounts/reauthenticate/", {"password": "a-fine-long-password"})
        with django_capture_on_commit_callbacks(execute=True):
            assert ada.post(f"{SECURITY}app/remove/").url == SECURITY
    assert not Authenticator.objects.exists()
    assert [event[0] for event in actions()].count("account.mfa-off") == 2


class TestRequired:
    @pytest.fixture
    def required(self):
        Role.objects.create(name="administrator", title="Administrator", needs_mfa=True)

    def test_nothing_else_opens_before_one_is_set_up(self, ada, required, pool):
        for path in ("/", "/jobs/", "/hosts/new/", f"/pools/{pool.pk}/", "/accounts/tokens/"):
            assert ada.get(path).url == SECURITY, path
        assert ada.post(f"/pools/{pool.pk}/stop/").url == SECURITY
        assert ada.get("/jobs/", headers={"HX-Request": "true"})["HX-Refresh"] == "true"
        page = ada.get(SECURITY).content.decode()
        assert "Your role asks for a second factor" in page
        secret = re.search(r'id="secret">([A-Z2-7]+)<', ada.get(f"{SECURITY}app/").content.decode())[1]
        ada.post(f"{SECURITY}app/", {"code": code_of(secret)})
        assert ada.get("/jobs/").status_code == 200

    def test_signing_out_is_possible(self, ada, required):
        assert ada.get("/accounts/logout/").status_code == 200
        assert ada.post("/accounts/logout/").status_code == 302

    def test_other_roles_are_not_asked(self, client, viewer, required):
        client.force_login(viewer)
        assert client.get("/").status_code == 200

    @pytest.mark.parametrize(("asks", "is_led"), [("manager", True), ("viewer", True), ("night", False)])
    def test_who_holds_more_is_asked_too(self, ada, make_user, client, asks, is_led):
        Role.objects.create(name=asks, title=asks, rights=["pool.view", "access.manage"], needs_mfa=True)
        client.force_login(make_user("mona", "manager"))
        assert (client.get("/").status_code == 302) == is_led

    def test_a_grant_that_is_over_asks_for_nothing(self, client, viewer, make_user, required):
        past = timezone.now() - timedelta(minutes=1)
        client.force_login(make_user("paul", "administrator", expires_at=past))
        assert client.get("/").status_code == 200

    def test_a_superuser_holds_every_role(self, client, viewer, required):
        viewer.is_superuser = True
        viewer.save()
        client.force_login(viewer)
        assert client.get("/").url == SECURITY


def test_secrets_survive_a_new_secret_key_and_are_nothing_without_it(settings):
    sealed = second_factor.MFAAdapter().encrypt("JBSWY3DP")
    settings.SECRET_KEY_FALLBACKS, settings.SECRET_KEY = [settings.SECRET_KEY], "another-key"
    assert second_factor.MFAAdapter().decrypt(sealed) == "JBSWY3DP"


def test_a_new_factor_ends_the_sessions_that_know_the_password_alone(
    ada, sign_in, django_capture_on_commit_callbacks
):
    """Somebody else may have the password; the factor of its owner must not become theirs."""
    thief = Client()
    assert sign_in(thief, "ada").status_code == 302
    secret = re.search(r'id="secret">([A-Z2-7]+)<', ada.get(f"{SECURITY}app/").content.decode())[1]
    with django_capture_on_commit_callbacks(execute=True):
        ada.post(f"{SECURITY}app/", {"code": code_of(secret)})
    assert thief.get("/jobs/").status_code == 302
    assert ada.get("/jobs/").status_code == 200


def test_a_token_is_worth_no_more_than_a_session_without_the_factor(ada, administrator, app):
    bearer = f"Bearer {tokens.make(administrator, 'backup', 1)[1]}"
    Role.objects.create(name="administrator", title="Administrator", needs_mfa=True)
    assert tokens.user_of(bearer) == administrator
    Authenticator.objects.all().delete()
    assert tokens.user_of(bearer) is None
