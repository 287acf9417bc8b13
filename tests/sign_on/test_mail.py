import re
import time

import pytest
from django.core import mail

from storagemgr.access.models import AuditEvent

pytestmark = pytest.mark.django_db
FORGOTTEN = "/accounts/password/reset/"


@pytest.fixture(autouse=True)
def mail_is_set(settings):
    settings.MAIL_IS_SET = True


@pytest.fixture
def olga(operator, with_password):
    operator.email = "Olga@example.org"
    return with_password(operator)


def outbox(number):
    """The mail leaves in a thread."""
    deadline = time.monotonic() + 2
    while len(mail.outbox) < number and time.monotonic() < deadline:
        time.sleep(0.01)
    return mail.outbox


def without_what_differs(response):
    text = re.sub(r'(content|value)="[A-Za-z0-9]{64}"', "", response.content.decode())
    return re.sub(r"\S+@example.org", "", text)


def test_a_link_comes_by_mail_and_sets_the_password(client, olga):
    assert FORGOTTEN in client.get("/accounts/login/").content.decode()
    client.post(FORGOTTEN, {"email": "olga@EXAMPLE.org"})
    message = outbox(1)[0]
    assert (message.to, message.subject) == (["Olga@example.org"], "Your password for testserver")
    link = re.search(r"http://testserver(/accounts/password/reset/key/\S+)", message.body)[1]
    form = client.get(link, follow=True)
    new = "brand-new-password"
    client.post(form.request["PATH_INFO"], {"password1": new, "password2": new})
    olga.refresh_from_db()
    assert olga.check_password(new)
    assert AuditEvent.objects.get(action="account.password-link").object_text.endswith("for olga")
    assert AuditEvent.objects.filter(action="account.password", actor=olga).exists()


def test_the_answer_is_the_same_for_an_address_that_nobody_has(client, olga, make_user):
    shut = make_user("shut")
    shut.email, shut.is_active = "shut@example.org", False
    shut.set_password("x")
    shut.save()
    elsewhere = make_user("elsewhere")  # no password here: it is the provider's
    elsewhere.email = "elsewhere@example.org"
    elsewhere.save()
    pages = [
        client.post(FORGOTTEN, {"email": f"{name}@example.org"})
        for name in ("olga", "nobody", "shut", "elsewhere")
    ]
    assert {page.status_code for page in pages} == {200}
    assert len({without_what_differs(page) for page in pages}) == 1
    assert [message.to for message in outbox(1)] == [["Olga@example.org"]]
    time.sleep(0.1)
    assert len(mail.outbox) == 1


def test_a_mail_server_that_is_down_shows_nothing(client, olga, settings):
    settings.EMAIL_BACKEND, settings.EMAIL_HOST, settings.EMAIL_PORT = (
        "django.core.mail.backends.smtp.EmailBackend",
        "127.0.0.1",
        1,
    )
    assert "Look into your mail" in client.post(FORGOTTEN, {"email": "olga@example.org"}).content.decode()


def test_a_wrong_address_is_told_beside_the_field(client):
    page = client.post(FORGOTTEN, {"email": "no address"})
    assert page.status_code == 422
    assert 'aria-invalid="true"' in page.content.decode()


def test_the_link_never_leads_to_a_forged_host(client, olga, settings):
    settings.ALLOWED_HOSTS = ["storage.example"]
    for headers in ({"Host": "evil.example"}, {"Host": "storage.example@evil.example"}):
        assert client.post(FORGOTTEN, {"email": "olga@example.org"}, headers=headers).status_code == 400
    headers = {"Host": "storage.example", "X-Forwarded-Host": "evil.example"}
    assert client.post(FORGOTTEN, {"email": "olga@example.org"}, headers=headers).status_code == 200
    assert "http://storage.example/" in outbox(1)[0].body
    assert "evil" not in mail.outbox[0].body
    assert len(mail.outbox) == 1


def test_without_mail_there_is_no_such_page(client, settings):
    settings.MAIL_IS_SET = False
    assert client.get(FORGOTTEN).status_code == 404
    assert FORGOTTEN not in client.get("/accounts/login/").content.decode()
