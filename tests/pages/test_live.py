"""What the polled fragments promise: the same check, only the fragment, 304 while nothing changed."""

import re
from datetime import timedelta
from html import unescape

import pytest
from django.urls import reverse
from django.utils import timezone

from pools.models import Pool

pytestmark = pytest.mark.django_db


@pytest.fixture
def pages(volume, make_job, use):
    use(volume)
    make_job(volume.pool, state="succeeded")
    pool = volume.pool
    return [
        reverse("pools:fleet"),
        reverse("pools:fleet") + "?state=running&sort=-used&q=d",
        reverse("pools:pool", args=[pool.pk]),
        reverse("volumes:of_pool", args=[pool.pk]),
        reverse("volumes:all") + "?q=web",
        reverse("volumes:volume", args=[volume.pk]),
        reverse("hosts:list"),
        reverse("hosts:host", args=[pool.host_id]),
    ]


def test_the_guard_of_these_tests_refuses_libvirt():
    from storagemgr.virt import connection

    with pytest.raises(AssertionError, match="asked libvirt"):
        connection.connect("test:///default")


def test_a_page_and_its_fragment(see, operator, pages):
    for url in pages:
        page, fragment = see(operator, url), see(operator, url, poll=True)
        whole, part = page.content.decode(), fragment.content.decode()
        assert whole.startswith("<!doctype html>")
        assert "<html" not in part
        assert "jobs-strip" not in part
        asked = re.search(r'<div id="live" hx-get="([^"]+)" hx-trigger="every 2s"', whole)[1]
        assert re.sub(r"[?&]rows=[\d-]*$", "", unescape(asked)) == url
        assert part.strip() in whole, url
        assert see(operator, unescape(asked), poll=True).content == fragment.content
        for answer in (page, fragment):
            assert answer["Cache-Control"] == "private, no-cache"
            assert "HX-Request" in answer["Vary"]


def test_an_unchanged_fragment_is_a_304(see, operator, pages):
    for url in pages:
        first = see(operator, url, poll=True)
        again = see(operator, url, poll=True, **{"If-None-Match": first["ETag"]})
        assert (again.status_code, again.content) == (304, b""), url


def test_a_reading_that_found_nothing_new_changes_nothing(see, operator, pages):
    Pool.objects.update(seen_at=timezone.now() - timedelta(seconds=6))
    before = {url: see(operator, url, poll=True)["ETag"] for url in pages}
    Pool.objects.update(seen_at=timezone.now())
    assert {url: see(operator, url, poll=True)["ETag"] for url in pages} == before


def test_a_changed_fragment_is_sent(see, operator, pool):
    url = reverse("pools:pool", args=[pool.pk])
    first = see(operator, url, poll=True)
    Pool.objects.update(allocation=77 * 1024**3)
    again = see(operator, url, poll=True, **{"If-None-Match": first["ETag"]})
    assert again.status_code == 200
    assert "77" in again.content.decode()


def test_fragments_hold_no_token_and_no_form_that_needs_one(see, operator, pages):
    for url in pages:
        part = see(operator, url, poll=True).content.decode()
        assert "csrf" not in part.lower()
        assert not re.search(r'<form[^>]*method="post"', part)


def test_every_row_and_details_has_its_own_id(see, operator, pages):
    for url in pages:
        page = see(operator, url).content.decode()
        ids = re.findall(r'\sid="([^"]+)"', page)
        assert len(ids) == len(set(ids)), (url, sorted(ids))
        assert not re.search(r"<tr role=\"row\"(?![^>]* id=)[^>]*>\s*<th role=\"rowheader\"", page), url
        live = page.split('<div id="live"')[1].split("</main>")[0]
        assert not re.search(r"<details(?![^>]* id=)", live), url


def test_one_click_buttons_work_without_script(see, operator, pool, client):
    part = see(operator, reverse("pools:pool", args=[pool.pk]), poll=True).content.decode()
    form = re.search(r'<form method="get" action="([^"]+)" hx-post="([^"]+)" hx-vals=\'([^\']+)\'', part)
    assert form[1] == form[2] == reverse("pools:operate", args=[pool.pk, "refresh"])
    assert client.get(form[1]).status_code == 200


@pytest.mark.parametrize("name", ["pools:pool", "volumes:of_pool", "volumes:volume", "hosts:host"])
def test_a_fragment_is_hidden_like_its_page(see, outsider, volume, name):
    pk = {"volumes:volume": volume.pk, "hosts:host": volume.pool.host_id}.get(name, volume.pool.pk)
    assert see(outsider, reverse(name, args=[pk]), poll=True).status_code == 404


def test_pages_only_read(client, operator, pages):
    client.force_login(operator)
    for url in pages:
        assert client.post(url).status_code == 405
        assert client.head(url).status_code == 200
