"""The helpdesk's page: a person who may only look answers a caller from it, and changes nothing."""

import re
import uuid
from datetime import timedelta

import pytest
from django.contrib.auth.models import Group
from django.core.cache import cache
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from pools.models import Pool, PoolNotes, UsageSample
from pools.samples import marks
from storagemgr.access.models import Grant
from volumes.identity import identity_of
from volumes.models import DiskUse, VolumeNotes

pytestmark = pytest.mark.django_db
GIB = 1024**3
URL = "/helpdesk/"


@pytest.fixture(autouse=True)
def _forgotten():
    cache.clear()
    yield
    cache.clear()


@pytest.fixture
def ask(client, viewer):
    def page(query="", user=viewer, status=200):
        client.force_login(user)
        response = client.get(URL + query)
        assert response.status_code == status
        return words(response)

    return page


def words(response):
    """What a person reads, on one line."""
    html = re.sub(r"(?s)<script.*?</script>|<option[^>]*>[^<]*", " ", response.content.decode())
    text = re.sub(r"<[^>]+>", " ", html).replace("\N{NO-BREAK SPACE}", " ").replace("&#x27;", "'")
    return re.sub(r"\s+([.,:;])", r"\1", " ".join(text.split()))


def use(volume, vm, *, running=True, target="vda", vm_uuid=None, host=None, **fields):
    values = {"domain_uuid": vm_uuid or uuid.uuid4(), "running": running, "target": target, "kind": "disk"}
    where = {"host": host or volume.pool.host, "volume": volume, "path": volume.path}
    return DiskUse.objects.create(domain_name=vm, **where | values | fields)


def note(pool, volume=None, team="web", **fields):
    owner = Group.objects.get_or_create(name=team)[0]
    place = {"host": pool.host, "pool_uuid": pool.uuid, "owner": owner}
    if volume is None:
        return PoolNotes.objects.create(pool=pool, **place | fields)
    return VolumeNotes.objects.create(volume=volume, volume_name=volume.name, **place | fields)


def growing(pool, gib_a_day):
    now = timezone.now()
    UsageSample.objects.bulk_create(
        UsageSample(
            pool=pool,
            at=at,
            capacity=pool.capacity,
            allocation=pool.allocation - int(gib_a_day * GIB * (now - at).total_seconds() / 86400),
            promised=0,
        )
        for at in marks(now, timedelta(days=30))
    )


def test_how_full_a_pool_is_that_three_hosts_see(ask, make_host, make_pool):
    for name in ("kvm1", "kvm2", "kvm3"):
        nfs = make_pool("web-nfs", host=make_host(name), type="netfs", source="nas:/web")
        growing(nfs, 1)
    note(nfs, note="Ask before 75 percent", ticket="https://tickets.example/7")
    text = ask("?q=web-nfs")
    assert text.count("web-nfs on kvm1, kvm2 and kvm3") >= 1
    assert "Running since" in text
    assert "40 % of 100 GiB is really used, 60 GiB is free. Full in about 9 weeks" in text
    assert "Owner team web" in text
    assert "Ask before 75 percent" in text
    # Also found by the note and the owner.
    assert "40 % of 100 GiB" in ask("?q=75+percent")
    assert "40 % of 100 GiB" in ask("?q=WEB")


def test_which_vm_uses_a_volume_and_who_owns_it(ask, pool, make_volume):
    disk = make_volume("crm-disk.qcow2")
    use(disk, "crm01")
    note(pool, disk, team="crm", ticket="OPS-771")
    free = make_volume("old.img")
    note(pool, team="storage")
    text = ask("?q=crm-disk")
    assert "VM crm01 uses it and is running. It takes 2 GiB and can grow to 10 GiB." in text
    assert "Owner team crm" in text
    assert "Where default on kvm1" in text
    assert "OPS-771" in text
    other = ask(f"?q={free.name}")
    assert "No VM that we know of uses it." in other
    assert "Owner nobody is named, its pool belongs to team storage" in other
    assert "No VM uses it" in other
    make_volume("overlay.qcow2", backing_path=free.path)
    base = ask(f"?q={free.name}")
    assert "No VM uses it itself; 1 volume is built on it." in base
    assert "In use" in base


def test_the_disks_of_a_vm_and_whether_its_host_is_up(ask, host, pool, make_volume):
    vm = uuid.uuid4()
    use(make_volume("a.qcow2"), "web05", vm_uuid=vm)
    use(make_volume("b.qcow2"), "web05", vm_uuid=vm, target="vdb")
    text = ask("?q=web05")
    assert "It is running on kvm1 and has 2 disks." in text
    assert "vda a.qcow2, in default, 2 GiB of 10 GiB used" in text
    assert "vdb b.qcow2" in text
    host.state, host.state_since = "silent", timezone.now() - timedelta(minutes=11)
    host.save()
    assert re.search(r"has not answered since \d+ \w{3} \d\d:\d\d; this", ask("?q=web05"))
    host_text = ask("?q=kvm1")
    assert "Not answering since" in host_text
    assert "Its VMs may run normally; we cannot see them." in host_text


def test_something_of_exactly_this_name_comes_first(ask, make_pool, make_volume):
    pool = make_pool("web")
    use(make_volume("webmail.img", pool=pool), "webmail")
    text = ask("?q=webmail")
    assert text.index("VMs VM webmail on") < text.index("Volumes Volume webmail.img in")
    text = ask("?q=web")
    assert text.index("Pools Pool web on") < text.index("VM webmail on")


def test_the_same_bytes_are_one_answer(ask, make_host, make_pool, make_volume):
    for name in ("kvm1", "kvm2"):
        nfs = make_pool("nfs", host=make_host(name), type="netfs", source="nas:/vms")
        made = make_volume(
            "disk1.img", pool=nfs, identity=identity_of(nfs, "disk1.img", "/srv/nfs/disk1.img")
        )
    use(made, "vm9")
    text = ask("?q=disk1")
    assert text.count("VM vm9 uses it and is running.") == 2  # the answer, and its text for the ticket


def test_nothing_found_says_where_it_was_looked(ask, volume):
    assert "Nothing is called “zzzz”." in ask("?q=zzzz")
    assert "<b>" not in ask("?q=%3Cb%3Ezzzz").split("Nothing is called")[1][:20]


def test_a_disk_fits_with_a_text_for_the_ticket(ask, make_host, make_pool):
    make_pool("wide", host=make_host("kvm1"), capacity=1000 * GIB, available=960 * GIB)
    make_pool("tight", host=make_host("kvm2"))
    text = ask("?size=50&unit=GiB")
    assert "Yes: wide on kvm1." in text
    assert "Ask first: tight on kvm2: it would be 90 % full" in text
    assert "Question: does a 50 GiB disk fit anywhere?" in text
    assert (
        "- wide on kvm1: yes: 910 GiB free after that; nothing promised beyond it. 4 % of 1000 GiB used"
        in text
    )
    assert "No. Nothing that you can see has room for 5 TiB." in ask("?size=5&unit=TiB")
    assert "Yes, but ask first: tight on kvm2." in ask(
        f"?size=50&where=host:{Pool.objects.get(name='tight').host_id}"
    )


def test_a_question_about_one_pool_names_its_team_and_better_places(ask, make_pool):
    tight = make_pool("tight")
    make_pool("wide", capacity=1000 * GIB, available=960 * GIB)
    note(tight, team="storage")
    text = ask(f"?size=50&unit=GiB&where=pool:{tight.pk}")
    assert "Yes, but ask team storage first." in text
    assert "Better places for 50 GiB wide" in text
    assert "does a 50 GiB disk fit on tight on kvm1?" in text


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("?size=", "This field is required."),
        ("?size=many", "Not a size."),
        ("?size=0", "It must be more than nothing."),
        ("?size=9&unit=parsecs", "Select a valid choice."),
        ("?size=9&where=host:99", "That is not there any more."),
        ("?size=9&how=magic", "Select a valid choice."),
    ],
)
def test_a_wrong_question_is_said_beside_its_field(ask, pool, client, query, says):
    assert says in ask(query, status=422)
    if query == "?size=many":
        assert 'value="many"' in client.get(URL + query).content.decode()


def test_what_is_wrong_and_what_is_full_or_will_be(ask, make_host, make_pool):
    up = make_host("kvm1")
    make_pool("good", host=up)
    assert "Everything works: 1 pool on 1 host runs normally." in ask()
    away = {"type": "netfs", "source": "nas:/away", "unreachable_since": timezone.now()}
    make_pool("away", host=up, **away)
    make_pool("away", host=make_host("kvm3"), **away)
    make_pool("unseen", host=make_host("kvm2", state="silent"), allocation=99 * GIB, available=GIB)
    make_pool("brim", host=up, allocation=93 * GIB, available=7 * GIB)
    growing(make_pool("grows", host=up), 1)
    cache.clear()
    text = ask()
    assert "Host kvm2 does not answer. Its VMs may run normally" in text
    assert "away on kvm1 and kvm3 cannot be reached." in text
    assert "Everything else works: 3 pools on 1 host run normally." in text
    assert "brim on kvm1 is 93 % full, 7 GiB is free." in text
    assert "grows on kvm1 is 40 % full, 60 GiB is free; full in about 9 weeks." in text
    assert "unseen on kvm2: not answering, last seen 99 % full of 100 GiB." in text
    assert "good on kvm1: 40 % full, 60 GiB is free." in text


def test_a_person_sees_nothing_of_what_is_not_theirs(ask, make_user, make_host, make_pool, make_volume):
    """Neither names nor counts: in search, in the answers, in the choices, in what fits and in what is wrong."""
    mine, other = make_host("kvm1"), make_host("secret-host", state="silent")
    shown = make_pool("shown", host=mine)
    hidden = make_pool(
        "secret-pool", host=mine, capacity=9000 * GIB, available=8000 * GIB, unreachable_since=None
    )
    make_pool("secret-full", host=other, allocation=99 * GIB, available=GIB)
    note(hidden, team="secret-team")
    vm = uuid.uuid4()
    disk = make_volume("disk.img", pool=shown)
    use(disk, "vm1", vm_uuid=vm)
    use(make_volume("secret-disk.img", pool=hidden), "vm1", vm_uuid=vm, target="vdb")
    use(make_volume("secret-too.img", pool=hidden), "secret-vm")
    person = make_user("petra", "viewer", host=mine, pool_uuid=shown.uuid)
    for query in ("", "?q=vm1", "?q=kvm1", "?q=e", "?size=10", "?size=10&where=team:shown", "?q=disk"):
        status = 422 if "team:" in query else 200
        assert "secret" not in ask(query, user=person, status=status), query
    assert "Nothing is called “secret”." in ask("?q=secret", user=person)
    assert "has 1 disk." in ask("?q=vm1", user=person)
    assert "It has 1 pool that you can see." in ask("?q=kvm1", user=person)
    assert "Everything works: 1 pool on 1 host runs normally." in ask(user=person)
    nobody = make_user("nobody")
    assert "There is nothing that you may see yet." in ask(user=nobody)


def test_nothing_on_the_page_changes_anything(client, viewer, volume, pool):
    use(volume, "web01")
    make = {"pool": pool, "host": pool.host, "pool_uuid": pool.uuid}
    PoolNotes.objects.create(note="n", **make)
    client.force_login(viewer)
    for query in ("", "?q=web01", "?q=default", "?q=kvm1", "?size=10&unit=GiB", f"?where=pool:{pool.pk}"):
        main = client.get(URL + query).content.decode()
        main = main[main.index("<main") : main.index("</main>")]
        assert 'method="post"' not in main
        assert "hx-post" not in main
        links = set(re.findall(r'<a [^>]*href="(/[^"#?]*)', main))
        pages = r"/helpdesk/|/pools/\d+/|/volumes/\d+/|/hosts/\d+/|/volumes/|/"
        assert {link for link in links if not re.fullmatch(pages, link)} == set()
        assert not re.search(r"\b(undefine|destroy|libvirt|virsh|mount|refresh)\b", main, re.I)
    assert client.post(URL).status_code == 405


def test_the_page_asks_a_bounded_number_of_queries(
    client, viewer, make_host, make_pool, make_volume, django_assert_max_num_queries
):
    client.force_login(viewer)
    for number in range(12):
        pool = make_pool(f"web{number}", host=make_host(f"web-host{number}"), type="netfs", source="nas:/web")
        for disk in range(3):
            use(make_volume(f"web{number}-{disk}.img", pool=pool), f"web-vm{number}")
    for query, most in (("", 14), ("?q=web", 28), ("?size=10", 12)):
        client.get(URL + query)
        with django_assert_max_num_queries(most):
            assert client.get(URL + query).status_code == 200


def test_who_may_only_look_starts_here(viewer, operator, make_user, make_host):
    both = make_user("both", "viewer")
    Grant.objects.create(user=both, role="operator", host=make_host("kvm7"))
    for user, path in (
        (viewer, URL),
        (operator, reverse("pools:fleet")),
        (both, reverse("pools:fleet")),
        (make_user("nobody"), reverse("pools:fleet")),
    ):
        user.set_password("correct horse battery")
        user.save()
        browser, form = Client(), {"login": user.username, "password": "correct horse battery"}
        response = browser.post(reverse("account_login"), form)
        assert (user.username, response["Location"]) == (user.username, path)
        html = browser.get("/").content.decode()
        leads_here = f'role="search" aria-label="Everything" action="{URL}"' in html
        assert leads_here == (user == viewer)
        assert f'<a href="{URL}">Helpdesk</a>' in html
    form["login"] = viewer.username
    wanted = Client().post(f"{reverse('account_login')}?next=/volumes/", form | {"next": "/volumes/"})
    assert wanted["Location"] == "/volumes/"
