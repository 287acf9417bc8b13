"""The rows of an open list stay where they are; what is new or gone is said above them."""

import re
from html import unescape

import pytest
from django.urls import reverse

from pools.models import Pool
from storagemgr.hosts.models import Host
from volumes.models import Volume

pytestmark = pytest.mark.django_db
MIB = 1024**2


def text_of(response):
    return " ".join(re.sub(r"<[^>]*>", " ", response.content.decode()).replace("\xa0", " ").split())


def shown(response):
    return re.findall(r'role="rowheader"[^>]*>\s*<a href="[^"]*">([^<]*)</a>', response.content.decode())


@pytest.fixture
def follow(see, viewer):
    """Opens a list; what it returns asks for its fragment as the open page does."""

    def open_page(url):
        page = see(viewer, url)
        asked = unescape(re.search(r'id="live" hx-get="([^"]+)"', page.content.decode())[1])
        return page, lambda: see(viewer, asked, poll=True)

    return open_page


def test_pools_sorted_by_a_figure_that_moves(follow, make_pool):
    low, high = make_pool("low", allocation=10), make_pool("high", allocation=90)
    page, poll = follow("/?sort=-used")
    assert shown(page) == ["high", "low"]
    Pool.objects.filter(pk=low.pk).update(allocation=95)
    assert shown(poll()) == ["high", "low"]
    assert "Since this page was opened" not in text_of(poll())
    assert "rows=" not in poll().content.decode()
    make_pool("new", allocation=99)
    high.delete()
    fragment = poll()
    assert shown(fragment) == ["low", "new"]
    assert "Since this page was opened: 1 pool more, at the end; 1 pool gone." in text_of(fragment)
    assert 'href="/?sort=-used">Sort again' in fragment.content.decode()
    assert shown(follow("/?sort=-used")[0]) == ["new", "low"]


def test_a_row_that_no_longer_fits_the_filter_stays(follow, make_pool):
    pool = make_pool("images")
    page, poll = follow("/?state=running")
    Pool.objects.filter(pk=pool.pk).update(state="inactive")
    assert shown(page) == shown(poll()) == ["images"]
    assert "Stopped" in text_of(poll())


@pytest.mark.parametrize("of_all", [True, False])
def test_volumes(follow, pool, make_volume, of_all):
    first, second = make_volume("b", allocation=9 * MIB), make_volume("c", allocation=MIB)
    path = reverse("volumes:all") if of_all else reverse("volumes:of_pool", args=[pool.pk])
    page, poll = follow(f"{path}?sort=-allocation")
    assert shown(page) == ["b", "c"]
    Volume.objects.filter(pk=second.pk).update(allocation=20 * MIB)
    make_volume("a", allocation=30 * MIB)
    assert shown(poll()) == ["b", "c", "a"]
    assert "1 volume more, at the end." in text_of(poll())
    first.delete()
    assert shown(poll()) == ["c", "a"]


def test_hosts(follow, make_host):
    make_host("b")
    make_host("c")
    page, poll = follow("/hosts/?sort=state")
    Host.objects.filter(name="c").update(state="down")
    make_host("a")
    assert shown(page) == ["b", "c"]
    assert shown(poll()) == ["b", "c", "a"]


def test_a_page_that_was_empty_fills(follow, pool, make_volume):
    page, poll = follow(reverse("volumes:of_pool", args=[pool.pk]))
    make_volume("first")
    assert (shown(page), shown(poll())) == ([], ["first"])
    assert "Since this page was opened" not in text_of(poll())


def test_rows_open_nothing_hidden(see, make_user, make_host, make_pool):
    mine, theirs = make_pool("mine", host=make_host("a")), make_pool("theirs", host=make_host("b"))
    olga = make_user("olga", "operator", host=mine.host)
    assert shown(see(olga, f"/?rows={mine.pk}-{theirs.pk}", poll=True)) == ["mine"]
    assert shown(see(olga, f"/hosts/?rows={mine.host_id}-{theirs.host_id}", poll=True)) == ["a"]


@pytest.mark.parametrize("rows", ["", "-", "x", "1--2", "9" * 19, "9" * 400, "%00", "1-" * 5000])
def test_rows_that_make_no_sense_are_ignored(see, viewer, make_pool, rows):
    make_pool("images")
    assert shown(see(viewer, f"/?rows={rows}", poll=True)) == ["images"]
