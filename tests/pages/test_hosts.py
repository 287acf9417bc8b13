import pytest
from django.utils import timezone

pytestmark = pytest.mark.django_db


def text_of(response):
    return " ".join(response.content.decode().replace("\xa0", " ").split())


def test_the_list(see, viewer, make_host, make_pool):
    one = make_host("kvm1", libvirt_version="9.0.0", hypervisor="QEMU", hypervisor_version="7.2.0")
    make_pool("a", host=one)
    make_pool("b", host=one)
    make_host("kvm2", state="silent")
    text = text_of(see(viewer, "/hosts/"))
    assert "9.0.0" in text
    assert "QEMU 7.2.0" in text
    assert 'aria-label="2 pools on kvm1"' in text
    assert "Not answering" in text


def test_a_grant_on_a_pool_shows_its_host_and_counts_that_pool(see, make_user, make_host, make_pool):
    host = make_host("kvm1")
    pool = make_pool("mine", host=host)
    make_pool("theirs", host=host)
    olga = make_user("olga", "operator", host=host, pool_uuid=pool.uuid)
    assert 'aria-label="1 pool on kvm1"' in text_of(see(olga, "/hosts/"))
    text = text_of(see(olga, f"/hosts/{host.pk}/"))
    assert "mine" in text
    assert "theirs" not in text


def test_a_host(see, viewer, make_host, make_pool):
    host = make_host("kvm1", libvirt_version="9.0.0", pool_types={"dir": True, "netfs": True, "zfs": False})
    make_pool("images", host=host)
    text = text_of(see(viewer, f"/hosts/{host.pk}/"))
    assert "Directory, NFS export." in text
    assert "Not in this libvirt: ZFS." in text
    assert host.uri in text
    assert ">images</a>" in text


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"state": "unknown"}, "is being read for the first time"),
        ({"state": "silent"}, "has not answered since"),
        ({"state": "silent", "error_code": "not_answering"}, "libvirt on this host does not answer."),
        (
            {"state": "down", "error_code": "host_unreachable", "error_text": "No such file"},
            "cannot be reached",
        ),
    ],
)
def test_what_is_wrong_with_a_host(see, viewer, make_host, fields, words):
    host = make_host("kvm1", next_read_at=timezone.now(), **fields)
    text = text_of(see(viewer, f"/hosts/{host.pk}/"))
    assert words in text
    assert "has no words for" not in text
    if "error_text" in fields:
        assert fields["error_text"] in text


def test_no_host_to_see(see, outsider, host):
    assert "No host to see" in text_of(see(outsider, "/hosts/"))


@pytest.mark.parametrize("path", ["/hosts/", "/hosts/{}/"])
def test_queries_do_not_grow(see, viewer, host, make_host, make_pool, count_queries, path):
    url = path.format(host.pk)
    make_pool("first", host=host)
    few = count_queries(lambda: see(viewer, url, poll=True))
    for number in range(20):
        make_pool(f"more{number}", host=host)
        make_pool("far", host=make_host(f"h{number}"))
    assert count_queries(lambda: see(viewer, url, poll=True)) == few


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("", ["kvm1", "kvm2", "kvm3"]),
        ("sort=-name", ["kvm3", "kvm2", "kvm1"]),
        ("sort=state", ["kvm3", "kvm2", "kvm1"]),
        ("sort=-pools", ["kvm2", "kvm3", "kvm1"]),
        ("sort=password", ["kvm1", "kvm2", "kvm3"]),
        ("state=silent&sort=name", ["kvm2", "kvm3"]),
        ("state=up", ["kvm1"]),
        ("state=%27", ["kvm1", "kvm2", "kvm3"]),
        ("q=RACK-2", ["kvm2"]),
        ("q=%00", ["kvm1", "kvm2", "kvm3"]),
        ("q=nothing", []),
        ("page=99", ["kvm1", "kvm2", "kvm3"]),
    ],
)
def test_sorted_and_filtered_by_the_url(see, viewer, make_host, make_pool, query, names):
    make_host("kvm1")
    make_pool("a", host=make_host("kvm2", state="silent", hostname="rack-2"))
    make_host("kvm3", state="down")
    page = see(viewer, f"/hosts/?{query}")
    assert [host.name for host, _ in page.context["rows"]] == names
    assert ("No host that you see fits" in text_of(page)) == (not names)


def test_fifty_hosts_a_page(see, viewer, make_host):
    for number in range(53):
        make_host(f"h{number:02}")
    assert "1–50 of 53 hosts" in text_of(see(viewer, "/hosts/"))
    assert [host.name for host, _ in see(viewer, "/hosts/?page=2").context["rows"]] == ["h50", "h51", "h52"]
