"""What stands around each page: errors, theme, account menu."""

import pytest
from django.test import Client

pytestmark = pytest.mark.django_db


def test_a_refusal_says_why(see, viewer, operator, pool):
    page = see(viewer, f"/pools/{pool.pk}/refresh/")
    assert page.status_code == 403
    assert "You are Viewer here. These can: olga (Operator)." in page.content.decode()


def test_an_error_of_ours_says_so_and_no_more(see, viewer, pool, monkeypatch):
    def broken(*args, **kwargs):
        raise RuntimeError("the secret is 42")

    monkeypatch.setattr("pools.views.rows_of", broken)
    client = Client(raise_request_exception=False)
    client.force_login(viewer)
    page = client.get("/")
    assert page.status_code == 500
    assert "Something is broken on our side" in page.content.decode()
    assert "42" not in page.content.decode()


def test_a_form_without_a_token_is_refused_in_words(viewer):
    client = Client(enforce_csrf_checks=True)
    client.force_login(viewer)
    page = client.post("/theme/", {"theme": "dark"})
    assert page.status_code == 403
    assert "This form was too old" in page.content.decode()


def test_an_unknown_address(see, viewer):
    page = see(viewer, "/nowhere/")
    assert page.status_code == 404
    assert "Nothing is here" in page.content.decode()


@pytest.mark.parametrize(
    ("chosen", "attributes"),
    [
        ("dark", 'data-bs-theme="dark" data-theme="dark"'),
        ("light", 'data-bs-theme="light" data-theme="light"'),
        ("system", 'data-bs-theme="light" data-theme="system"'),
    ],
)
def test_the_theme_is_a_cookie(client, viewer, chosen, attributes):
    client.force_login(viewer)
    answer = client.post("/theme/", {"theme": chosen, "next": "/hosts/"})
    assert (answer.status_code, answer["Location"]) == (302, "/hosts/")
    assert attributes in client.get("/").content.decode()


@pytest.mark.parametrize("target", ["https://evil.example/", "//evil.example/", "javascript:alert(1)", ""])
def test_the_theme_leads_nowhere_else(client, viewer, target):
    client.force_login(viewer)
    assert client.post("/theme/", {"theme": "dark", "next": target})["Location"] == "/"


def test_a_theme_that_is_none(client, viewer):
    client.force_login(viewer)
    assert client.post("/theme/", {"theme": "<b>"}).status_code == 400
    client.cookies["theme"] = '"><script>'
    assert 'data-theme="system"' in client.get("/").content.decode()


def test_the_account_menu(see, viewer):
    page = see(viewer, "/").content.decode()
    assert "You are Viewer of everything." in page
    assert '<form method="post" action="/accounts/logout/">' in page
    assert 'href="/accounts/password/change/"' in page


@pytest.mark.parametrize(
    ("path", "current"), [("/", "Pools"), ("/volumes/", "Volumes"), ("/hosts/", "Hosts"), ("/jobs/", "Jobs")]
)
def test_the_navigation_says_where_one_is(see, viewer, path, current):
    page = see(viewer, path).content.decode()
    assert page.count('aria-current="page"') == 1
    assert f'aria-current="page">{current}</a>' in page


def test_the_navigation_counts_a_pool_as_pools(see, viewer, pool):
    assert '<a href="/" aria-current="page">Pools</a>' in see(viewer, f"/pools/{pool.pk}/").content.decode()
