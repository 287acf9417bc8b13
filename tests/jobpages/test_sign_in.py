import re
import uuid

import pytest
from allauth.account.forms import default_token_generator
from allauth.account.utils import user_pk_to_url_str
from django.core.cache import cache
from django.urls import reverse
from django.utils.module_loading import import_string
from quick_passwords import QuickArgon2

from storagemgr import settings as product
from storagemgr.access.models import AuditEvent

pytestmark = pytest.mark.django_db
LOGIN = "/accounts/login/"
PASSWORD = "a-fine-long-password"


@pytest.fixture(autouse=True)
def no_tries_yet():
    cache.clear()
    yield
    cache.clear()


@pytest.fixture
def olga(operator):
    operator.set_password(PASSWORD)
    operator.save()
    return operator


def sign_in(client, name, password, **data):
    return client.post(LOGIN, {"login": name, "password": password} | data)


def errors(response):
    return re.findall(r'id="errors".*?</div>', response.content.decode(), re.S)


def test_signing_in_leads_to_the_page_that_was_asked_for(client, olga):
    page = client.get("/jobs/?state=failed")
    assert page.status_code == 302
    html = client.get(page.url).content.decode()
    wanted = re.search(r'name="next" value="([^"]*)"', html)[1]
    response = sign_in(client, "olga", PASSWORD, next=wanted)
    assert (response.status_code, response.url) == (302, "/jobs/?state=failed")


def test_signing_in_does_not_lead_to_other_hosts(client, olga):
    assert sign_in(client, "olga", PASSWORD, next="https://evil.example/").url == "/"


def test_the_answer_does_not_tell_whether_the_account_exists(client, olga):
    wrong, unknown = sign_in(client, "olga", "wrong"), sign_in(client, "nobody-like-this", "wrong")
    assert wrong.status_code == unknown.status_code == 200
    assert errors(wrong) == errors(unknown) != []
    assert "autofocus" in errors(wrong)[0]


def test_after_five_wrong_passwords_the_right_one_waits_too(client, olga):
    for _ in range(5):
        assert "not correct" in errors(sign_in(client, "olga", "wrong"))[0]
    for password in ("wrong", PASSWORD):
        assert "Too many failed" in errors(sign_in(client, "olga", password))[0]
    assert client.get("/jobs/").status_code == 302


def test_a_name_without_account_is_limited_the_same(client, olga):
    for _ in range(5):
        sign_in(client, "nobody-like-this", "wrong")
    assert "Too many failed" in errors(sign_in(client, "nobody-like-this", "wrong"))[0]


def test_a_flood_is_answered_with_a_page_of_ours(client, olga):
    answers = [client.post(LOGIN, {"login": f"n{n}", "password": "x"}) for n in range(31)]
    assert answers[-1].status_code == 429
    assert "Too many tries" in answers[-1].content.decode()


def test_there_is_no_way_to_sign_up_or_to_ask_for_mail(client):
    for path in ("signup/", "password/reset/", "email/"):
        assert client.get(f"/accounts/{path}").status_code == 404


def test_the_password_is_changed(client, olga):
    client.force_login(olga)
    url = reverse("account_change_password")
    bad = client.post(url, {"oldpassword": "wrong", "password1": "x", "password2": "y"})
    assert bad.status_code == 200
    assert 'aria-invalid="true"' in bad.content.decode()
    new = "another-fine-password"
    client.post(url, {"oldpassword": PASSWORD, "password1": new, "password2": new})
    olga.refresh_from_db()
    assert olga.check_password(new)


def test_a_link_sets_a_password_once(client, olga):
    link = reverse(
        "account_reset_password_from_key",
        kwargs={"uidb36": user_pk_to_url_str(olga), "key": default_token_generator.make_token(olga)},
    )
    form = client.get(link, follow=True)
    assert "Set the password" in form.content.decode()
    new = "brand-new-password"
    done = client.post(form.request["PATH_INFO"], {"password1": new, "password2": new}, follow=True)
    assert done.status_code == 200
    olga.refresh_from_db()
    assert olga.check_password(new)
    assert client.get("/jobs/").status_code == 200
    client.logout()
    assert "This link is used up" in client.get(link, follow=True).content.decode()


def test_a_bad_password_is_refused_with_the_reasons(client, olga):
    link = reverse(
        "account_reset_password_from_key",
        kwargs={"uidb36": user_pk_to_url_str(olga), "key": default_token_generator.make_token(olga)},
    )
    form = client.get(link, follow=True)
    page = client.post(form.request["PATH_INFO"], {"password1": "short", "password2": "short"})
    assert "too short" in page.content.decode()


def test_signing_out_asks_first_and_ends_the_session(client, olga):
    client.force_login(olga)
    assert "Jobs that you asked for go on" in client.get("/accounts/logout/").content.decode()
    assert client.get("/jobs/").status_code == 200
    client.post("/accounts/logout/")
    assert client.get("/jobs/").status_code == 302


@pytest.mark.parametrize(("proxies", "is_limited"), [(0, True), (1, False)])
def test_the_limit_is_for_the_person_and_not_for_the_proxy(client, olga, settings, proxies, is_limited):
    """Without a proxy of ours the header is anybody's invention."""
    settings.ALLAUTH_TRUSTED_PROXY_COUNT = proxies
    for number in range(20):
        forwarded = {"X-Forwarded-For": f"6.6.6.6, 10.1.1.{number}"}
        client.post(LOGIN, {"login": f"n{number}", "password": "x"}, headers=forwarded)
    last = client.post(
        LOGIN, {"login": "olga", "password": PASSWORD}, headers={"X-Forwarded-For": "10.1.1.99"}
    )
    assert (last.status_code == 200) == is_limited


def test_the_audit_has_the_address_of_the_person(client, olga, pool, settings):
    settings.ALLAUTH_TRUSTED_PROXY_COUNT = 1
    client.force_login(olga)
    url = reverse("pools:operate", args=[pool.pk, "refresh"])
    client.post(url, {"key": uuid.uuid4()}, headers={"X-Forwarded-For": "6.6.6.6, 10.1.1.7"})
    assert AuditEvent.objects.get().address == "10.1.1.7"


def test_another_case_of_the_name_is_no_new_try(client, olga):
    for name in ("olga", "OLGA", "Olga", "oLga", "olGa"):
        sign_in(client, name, "wrong")
    assert "Too many failed" in errors(sign_in(client, "olga", PASSWORD))[0]


def test_the_products_own_hasher_costs_more_than_that_of_the_tests():
    [name] = product.PASSWORD_HASHERS
    real, quick = import_string(name)(), QuickArgon2()
    made = quick.encode("correct horse battery", quick.salt())
    assert real.verify("correct horse battery", made)
    assert real.must_update(made)
    assert real.memory_cost * real.time_cost >= 1000 * quick.memory_cost * quick.time_cost
