from datetime import timedelta

import pytest
from django.utils import timezone

from storagemgr.listing import ordered
from volumes.models import Volume
from volumes.ordering import SORTS

pytestmark = pytest.mark.django_db
NOTHING = "No pool, volume or VM that you see fits these filters."
GIB = 1024**3


def text_of(response):
    return " ".join(response.content.decode().replace("\xa0", " ").split())


def names(response):
    return [row.volume.name for row in response.context["rows"]]


@pytest.fixture
def mixed(pool, make_volume, use):
    """Four volumes that differ in everything a list can sort or filter by."""
    now = timezone.now()
    use(make_volume("b.qcow2", capacity=20 * GIB, allocation=1 * GIB, modified=now), "web01")
    make_volume("a.raw", format="raw", capacity=5 * GIB, allocation=4 * GIB, modified=now - timedelta(days=9))
    make_volume("c.iso", format="iso", capacity=1 * GIB, allocation=3 * GIB, modified=now - timedelta(days=5))
    make_volume("d.qcow2", unverified_since=now, capacity=9 * GIB, allocation=2 * GIB)
    return pool


@pytest.mark.parametrize(
    ("sort", "first"),
    [
        ("name", "a.raw"),
        ("-name", "d.qcow2"),
        ("format", "c.iso"),
        ("capacity", "c.iso"),
        ("-capacity", "b.qcow2"),
        ("allocation", "b.qcow2"),
        ("-allocation", "a.raw"),
        ("-modified", "b.qcow2"),
    ],
)
def test_sorting(see, viewer, mixed, sort, first):
    for page in (f"/pools/{mixed.pk}/volumes/", "/volumes/"):
        assert names(see(viewer, f"{page}?sort={sort}"))[0] == first


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("q=a.", ["a.raw"]),
        ("q=WEB01", ["b.qcow2"]),
        ("format=qcow2", ["b.qcow2", "d.qcow2"]),
        ("format=raw&format=iso", ["a.raw", "c.iso"]),
        ("state=used", ["b.qcow2"]),
        ("state=unused", ["a.raw", "c.iso", "d.qcow2"]),
        ("state=unverified", ["d.qcow2"]),
        ("state=unused&format=qcow2", ["d.qcow2"]),
    ],
)
def test_filters(see, viewer, mixed, query, found):
    for page in (f"/pools/{mixed.pk}/volumes/", "/volumes/"):
        answer = see(viewer, f"{page}?{query}")
        assert names(answer) == found
        assert answer.context["page"].paginator.count == len(found)


def test_chips_count_what_they_would_show(see, viewer, mixed):
    url = f"/pools/{mixed.pk}/volumes/?format=qcow2"
    chips = see(viewer, url).context["chips"]
    assert [(chip.title, chip.count) for chip in chips] == [
        ("All", 2),
        ("In use", 1),
        ("No VM uses it", 1),
        ("Unverified", 1),
    ]
    for chip in chips:
        assert len(names(see(viewer, f"{url}&state={chip.value}"))) == chip.count


def test_a_percent_sign_is_a_character(see, viewer, make_volume):
    make_volume("100%.img")
    make_volume("100x.img")
    assert names(see(viewer, "/volumes/?q=100%25")) == ["100%.img"]


def test_what_a_row_says(see, viewer, pool, make_volume, use, make_job, lock):
    base = make_volume("base.qcow2")
    make_volume("overlay.qcow2", backing_path=base.path)
    use(make_volume("shared.iso", format="iso"), "web01")
    use(Volume.objects.get(name="shared.iso"), "web02")
    make_volume("folder", type="dir", format="", capacity=0, allocation=0)
    make_volume("copy.qcow2")
    job = make_job(pool, volume_name="copy.qcow2", done_bytes=47, total_bytes=100)
    lock(job, "copy.qcow2", is_write=True)
    lock(job, "base.qcow2", is_write=False)
    page = see(viewer, f"/pools/{pool.pk}/volumes/")
    rows = {row.volume.name: row for row in page.context["rows"]}
    assert {name: row.kind.title for name, row in rows.items()} == {
        "base.qcow2": "Base image",
        "copy.qcow2": "Disk",
        "folder": "Folder",
        "overlay.qcow2": "Overlay",
        "shared.iso": "ISO",
    }
    assert rows["copy.qcow2"].writer == job
    assert rows["base.qcow2"].is_read
    text = text_of(page)
    for words in ("Clone 47 %", "being copied", "1 overlay", "2 VMs", "Not usable as a disk"):
        assert words in text


def test_a_lock_of_another_pool_marks_nothing(see, viewer, volume, make_pool, make_job, lock):
    lock(make_job(make_pool("other")), volume.name, is_write=True)
    [row] = see(viewer, f"/pools/{volume.pool.pk}/volumes/").context["rows"]
    assert row.writer is None


def test_the_search_finds_pools_and_volumes(see, viewer, make_pool, make_volume):
    make_volume("web.img", pool=make_pool("web-store"))
    for number in range(6):
        make_pool(f"webpool{number}")
    text = text_of(see(viewer, "/volumes/?q=web"))
    assert "web-store" in text
    assert "web.img" in text
    assert 'href="/?q=web"' in text


def test_all_pools_means_all_that_one_may_see(see, make_user, make_host, make_pool, make_volume):
    mine, theirs = make_host("mine"), make_host("theirs")
    make_volume("seen", pool=make_pool("p", host=mine))
    make_volume("not-for-you", pool=make_pool("q", host=theirs))
    olga = make_user("olga", "operator", host=mine)
    for query in ("", "?q=e", "?q=not-for", "?state=unused"):
        page = see(olga, f"/volumes/{query}")
        assert names(page) == ([] if "not" in query else ["seen"]), query
        assert "not-for-you" not in text_of(page)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "No volumes yet"),
        ({"state": "inactive"}, "This pool is stopped"),
        ({"type": "iscsi"}, "cannot be made here"),
    ],
)
def test_an_empty_list_says_what_to_do(see, operator, make_pool, fields, words):
    pool = make_pool(**fields)
    assert words in text_of(see(operator, f"/pools/{pool.pk}/volumes/"))


def test_the_empty_list_of_all(see, viewer):
    assert "No pool that you see holds a volume" in text_of(see(viewer, "/volumes/"))


@pytest.fixture
def many(make_pool):
    """10,000 volumes, one in twenty used by a VM."""
    pool = make_pool("big")
    Volume.objects.bulk_create(
        Volume(
            pool=pool,
            name=f"disk{number:05}",
            key=f"/big/{number}",
            path=f"/big/{number}",
            type="file",
            format=("qcow2", "raw")[number % 2],
            capacity=GIB + number,
            allocation=number,
            modified=timezone.now(),
            seen_at=timezone.now(),
        )
        for number in range(10_000)
    )
    return pool


def test_ten_thousand_volumes(see, operator, many, use, count_queries):
    for volume in Volume.objects.all()[:40]:
        use(volume, f"vm-{volume.name}")
    queries = (
        "",
        "?sort=-allocation",
        "?page=200",
        "?q=disk0777",
        "?state=unused&sort=capacity",
        "?format=raw&page=9",
    )
    for query in queries:
        url = f"/pools/{many.pk}/volumes/{query}"
        assert count_queries(lambda url=url: see(operator, url, poll=True)) <= 28, query
    last = see(operator, f"/pools/{many.pk}/volumes/?page=200")
    assert names(last)[-1] == "disk09999"
    assert "9951–10000 of 10,000 volumes" in text_of(last)


def test_sorted_pages_are_read_from_an_index(many, viewer):
    of_columns = [key for key, columns in SORTS.items() if columns and isinstance(columns[0], str)]
    assert {"name", "format", "capacity", "allocation", "modified", "backing"} == set(of_columns)
    for rows in (Volume.objects.filter(pool=many), Volume.objects.all()):
        for key in of_columns:
            for sort in (key, f"-{key}"):
                plan = ordered(rows, sort, SORTS).values_list("pk", flat=True)[:50].explain()
                assert "USE TEMP B-TREE" not in plan or key == "backing", (sort, plan)


def test_queries_do_not_grow_with_the_rows(see, viewer, pool, make_volume, use, count_queries):
    for page in (f"/pools/{pool.pk}/volumes/", "/volumes/"):
        make_volume(f"first-{len(page)}")
        few = count_queries(lambda url=page: see(viewer, url, poll=True))
        for number in range(30):
            use(make_volume(f"{len(page)}-{number}"), f"vm{number}")
        assert count_queries(lambda url=page: see(viewer, url, poll=True)) == few


def test_a_search_that_finds_nothing_says_what_was_searched(see, viewer, pool, make_volume):
    make_volume("web01.qcow2")
    assert NOTHING in text_of(see(viewer, "/volumes/?q=zzzz"))
    assert NOTHING not in text_of(see(viewer, f"/volumes/?q={pool.name}"))
    assert "No volume in this pool fits" in text_of(see(viewer, f"/pools/{pool.pk}/volumes/?q=zzzz"))
