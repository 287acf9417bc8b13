"""A security key in a real browser, whose authenticator Chromium plays."""

import pytest
from allauth.mfa.models import Authenticator
from browsing import Browsing, breaches

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
PASSWORD = "a-fine-long-password"


@pytest.fixture
def browsing(chromium, live_server):
    """Browsers give keys to localhost, not to 127.0.0.1."""
    browsing = Browsing(chromium, live_server.url.replace("127.0.0.1", "localhost"))
    yield browsing
    browsing.close()


def plug_in_a_key(page):
    """Its owner touches it each time."""
    devtools = page.context.new_cdp_session(page)
    devtools.send("WebAuthn.enable")
    kind = {"protocol": "ctap2", "transport": "usb", "hasUserVerification": True, "isUserVerified": True}
    made = devtools.send("WebAuthn.addVirtualAuthenticator", {"options": kind})
    return devtools, made["authenticatorId"]


def type_password(page):
    page.goto("/accounts/login/")
    page.get_by_label("Username").fill("vera")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()


def test_a_security_key_is_added_and_is_the_second_step(browsing, viewer, with_password, settings):
    settings.REAUTHENTICATE_AFTER = 300
    with_password(viewer)
    page = browsing.as_(None)
    plug_in_a_key(page)
    type_password(page)
    page.goto("/accounts/security/")
    page.get_by_role("link", name="Add a key").click()
    page.get_by_label("Name").fill("Blue key")
    page.get_by_role("button", name="Add it").click()
    page.get_by_role("link", name="I have kept them").click()
    assert page.get_by_text("Blue key").is_visible()
    page.goto("/accounts/security/keys/new/")
    page.get_by_role("button", name="Add it").click()
    page.get_by_text("You added this key before.").wait_for()
    assert Authenticator.objects.filter(type="webauthn").count() == 1

    page.context.clear_cookies()
    type_password(page)
    page.get_by_role("heading", name="Second step").wait_for()
    page.get_by_role("button", name="Use a security key").click()
    page.get_by_role("link", name="Pools", exact=True).wait_for()
    assert breaches(page) == []


def test_another_key_lets_nobody_in(browsing, viewer, with_password):
    with_password(viewer)
    page = browsing.as_(None)
    devtools, key = plug_in_a_key(page)
    type_password(page)
    page.goto("/accounts/security/keys/new/")
    page.get_by_role("button", name="Add it").click()
    page.get_by_role("link", name="I have kept them").wait_for()
    page.context.clear_cookies()
    devtools.send("WebAuthn.removeVirtualAuthenticator", {"authenticatorId": key})
    plug_in_a_key(page)
    type_password(page)
    page.get_by_role("button", name="Use a security key").click()
    page.get_by_text("The key did not answer, or you said no.").wait_for()
    page.goto("/jobs/")
    assert "/accounts/security/code/" in page.url
