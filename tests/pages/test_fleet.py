from datetime import timedelta

import pytest
from django.utils import timezone

pytestmark = pytest.mark.django_db
GIB = 1024**3
LONG_AGO = timezone.now() - timedelta(days=400)


def names(response):
    return [row.pool.name for row in response.context["rows"]]


def text_of(response):
    return " ".join(response.content.decode().replace("\xa0", " ").split())


def test_all_pools_of_all_hosts(see, viewer, make_host, make_pool):
    for host in ("kvm1", "kvm2"):
        make_pool(f"default-{host}", host=make_host(host))
    page = see(viewer, "/")
    assert names(page) == ["default-kvm1", "default-kvm2"]
    text = text_of(page)
    assert "2 pools on 2 hosts." in text
    assert "40 % of 200 GiB is really used" in text
    assert 'aria-sort="ascending"' in text


def test_only_what_one_may_see(see, make_user, make_host, make_pool):
    mine, theirs = make_host("mine"), make_host("theirs")
    make_pool("seen", host=mine)
    make_pool("not-for-you", host=theirs)
    page = see(make_user("olga", "operator", host=mine), "/")
    assert names(page) == ["seen"]
    assert "not-for-you" not in text_of(page)
    assert "theirs" not in text_of(page)


@pytest.mark.parametrize(
    ("sort", "first"),
    [
        ("name", "a-full"),
        ("-name", "d-empty"),
        ("host", "a-full"),
        ("-host", "b-many"),
        ("type", "a-full"),
        ("used", "d-empty"),
        ("-used", "a-full"),
        ("state", "c-stopped"),
        ("-volumes", "b-many"),
    ],
)
def test_sorting(see, viewer, make_host, make_pool, sort, first):
    one, two = make_host("kvm1"), make_host("kvm2")
    make_pool("a-full", host=one, allocation=95 * GIB, available=5 * GIB)
    make_pool("b-many", host=two, volume_count=99)
    make_pool("c-stopped", host=one, state="inactive", type="netfs")
    make_pool("d-empty", host=one, allocation=0, available=100 * GIB)
    assert names(see(viewer, f"/?sort={sort}"))[0] == first


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("q=web", {"web"}),
        ("q=kvm2", {"remote"}),
        ("q=nas1", {"remote"}),
        ("host=kvm1", {"web", "stopped", "full"}),
        ("host=kvm1&host=kvm2", {"web", "stopped", "full", "remote"}),
        ("type=netfs", {"remote"}),
        ("state=running", {"web", "full", "remote"}),
        ("state=stopped", {"stopped"}),
        ("state=attention", {"full", "dead"}),
        ("state=silent", {"dead"}),
        ("state=running&type=dir&q=ful", {"full"}),
    ],
)
def test_filters(see, viewer, make_host, make_pool, query, found):
    one = make_host("kvm1")
    make_pool("web", host=one)
    make_pool("stopped", host=one, state="inactive")
    make_pool("full", host=one, allocation=90 * GIB, available=10 * GIB)
    make_pool("remote", host=make_host("kvm2"), type="netfs", source="nas1:/export")
    make_pool("dead", host=make_host("kvm3", state="silent"))
    page = see(viewer, f"/?{query}")
    assert set(names(page)) == found
    assert f"{len(found)} pool" in text_of(page)


def test_chips_count_what_they_would_show(see, viewer, make_host, make_pool):
    make_pool("one")
    make_pool("two", state="inactive")
    make_pool("dead", host=make_host("kvm9", state="down"))
    chips = {chip.title: chip.count for chip in see(viewer, "/").context["chips"]}
    assert chips == {"All": 3, "Needs attention": 1, "Running": 1, "Stopped": 1, "Not answering": 1}
    for chip in see(viewer, "/").context["chips"]:
        assert len(names(see(viewer, f"/?state={chip.value}"))) == chip.count


def test_pages_of_fifty(see, viewer, make_pool):
    for number in range(51):
        make_pool(f"pool{number:02}")
    assert len(names(see(viewer, "/?sort=name"))) == 50
    last = see(viewer, "/?sort=name&page=2")
    assert names(last) == ["pool50"]
    assert "sort=name" in last.content.decode()
    assert "51–51 of 51 pools" in text_of(last)


def test_a_silent_host_keeps_its_last_figures_in_grey(see, viewer, make_host, make_pool):
    host = make_host("kvm1", state="silent")
    make_pool(host=host, seen_at=LONG_AGO)
    text = text_of(see(viewer, "/"))
    assert "Not answering" in text
    assert 'class="is-past"' in text
    assert "cap-still" in text
    assert "has not answered since" in text
    assert "Its pool shows what was last seen." in text


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"unreachable_since": LONG_AGO}, "does not answer, its host does"),
        ({"refresh_error": "mount failed", "state": "inactive"}, "and so libvirt stopped it"),
        ({"allocation": 93 * GIB, "available": 7 * GIB}, "is 93 % full"),
        ({"allocation": 85 * GIB, "available": 15 * GIB}, "is 85 % full"),
        ({"state": "degraded"}, "is degraded"),
        ({"state": "inaccessible"}, "is inaccessible"),
        ({"state": "inactive", "autostart": True}, "is stopped, though it should start with its host."),
    ],
)
def test_needs_attention(see, viewer, make_pool, fields, words):
    make_pool("sick", **fields)
    assert words in text_of(see(viewer, "/"))
    assert names(see(viewer, "/?state=attention")) == ["sick"]


def test_an_unverified_copy_needs_attention(see, viewer, volume):
    volume.unverified_since = timezone.now()
    volume.save()
    text = text_of(see(viewer, "/"))
    assert "is an unverified copy" in text
    assert f'href="/volumes/{volume.pk}/"' in text


def test_nothing_needs_attention(see, viewer, pool, make_pool):
    make_pool("stopped-by-hand", state="inactive")
    assert "Nothing. All hosts answer" in text_of(see(viewer, "/"))


@pytest.mark.parametrize("kind", ["iscsi", "scsi"])
def test_fixed_luns_are_not_full(see, viewer, make_pool, kind):
    make_pool(type=kind, allocation=100 * GIB, available=0, volume_count=6)
    page = see(viewer, "/")
    assert "6 fixed LUNs" in text_of(page)
    assert "100 %" not in text_of(page)
    assert page.context["notices"] == []
    assert names(see(viewer, "/?state=attention")) == []


def test_a_silent_host_is_said_once_not_once_a_pool(see, viewer, make_host, make_pool):
    host = make_host("kvm1", state="silent")
    for number in range(3):
        make_pool(f"full{number}", host=host, allocation=99 * GIB, available=1 * GIB)
    [notice] = see(viewer, "/").context["notices"]
    assert "Its 3 pools show what was last seen." in notice.text


def test_jobs_show_in_the_row_of_their_pool(see, viewer, make_pool, make_job):
    make_pool("idle")
    busy = make_pool("busy")
    make_job(busy, done_bytes=47, total_bytes=100)
    make_job(busy, "pool.refresh", state="queued")
    make_job(busy, "pool.refresh", state="succeeded")
    page = see(viewer, "/?sort=name")
    chips = {
        row.pool.name: (row.running and row.running.percent, row.waiting) for row in page.context["rows"]
    }
    assert chips == {"busy": (47, 1), "idle": (None, 0)}
    assert "Clone 47 %" in text_of(page)


def test_the_empty_page_says_what_to_do(see, viewer, outsider, make_host):
    assert "An administrator adds it." in text_of(see(viewer, "/"))
    assert "Ask an administrator" in text_of(see(outsider, "/"))
    make_host("kvm1", state="unknown")
    assert "is being read for the first time" in text_of(see(viewer, "/"))
    assert "Ask an administrator" in text_of(see(outsider, "/"))


def test_without_a_host_an_administrator_is_led_to_add_one(client, administrator):
    client.force_login(administrator)
    for page in ("/", "/hosts/"):
        text = text_of(client.get(page))
        assert "No host yet" in text
        assert "An administrator adds" not in text
        assert 'href="/hosts/new/"' in client.get(page).content.decode()


def test_no_match_offers_the_way_back(see, viewer, pool):
    text = text_of(see(viewer, "/?q=nowhere"))
    assert "Nothing matches" in text
    assert "Show all 1 pool" in text


def test_queries_do_not_grow_with_the_pools(
    see, viewer, make_host, make_pool, make_volume, make_job, count_queries
):
    def grow(number):
        for index in range(number):
            pool = make_pool(f"p{number}-{index}", host=make_host(f"h{number}-{index}"))
            make_volume(f"v{number}-{index}", pool=pool)
            make_job(pool)

    grow(2)
    few = count_queries(lambda: see(viewer, "/", poll=True))
    grow(20)
    many = count_queries(lambda: see(viewer, "/", poll=True))
    assert few == many
    assert many <= 8
