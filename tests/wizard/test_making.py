"""From nothing to a running pool, and back when it fails, on a real libvirtd."""

import uuid
from datetime import timedelta

import pytest
from daemon import PrivateDaemon
from django.urls import reverse
from django.utils import timezone
from sync_tools import Virsh, define_and_start, forget_pool, host_of, read_host
from wizard_tools import words

from pools.configuration import history
from pools.models import NewPool, Pool, PoolDraft
from storagemgr.access.models import AuditEvent
from storagemgr.jobs.models import Job
from storagemgr.jobs.sweep import settle
from storagemgr.virt import pools as virt_pools
from storagemgr.virt.connection import connect

pytestmark = pytest.mark.django_db


@pytest.fixture
def virsh(daemon):
    return Virsh(daemon.uri)


@pytest.fixture(autouse=True)
def _clean_host(daemon):
    yield
    with connect(daemon.uri) as c:
        for found in virt_pools.list_uuids(c):
            forget_pool(c, found)


def test_a_directory_pool_from_nothing_to_running(maker, real_host, virsh, place):
    making = maker()
    assert making.to_review("dir", "web", {"target_path": str(place)}) == "review"
    said = words(making.get("review"))
    assert "Make the pool web on 1 host" in said
    assert f"{place} is made if it is missing." in said
    [job] = making.create()
    assert (job.state, job.error_text) == ("succeeded", "")
    pool = Pool.objects.get(name="web")
    assert (pool.state, pool.autostart, pool.persistent, pool.target_path) == (
        "running",
        True,
        True,
        str(place),
    )
    assert place.is_dir()
    assert "web" in virsh("pool-list", "--autostart")
    assert "Open web" in words(making.get("result"))
    outcomes = AuditEvent.objects.filter(job_id=job.pk).values_list("outcome", flat=True)
    assert set(outcomes) == {"asked", "done"}
    assert str(pool.uuid) == virsh("pool-uuid", "web").strip()
    [first] = history.of(pool)
    assert (first.made_by, first.job_id) == ("mona", job.pk)


def test_the_same_pool_on_two_hosts_and_one_that_is_left_out(maker, real_host, tmp_path, place):
    with PrivateDaemon(tmp_path / "other") as other:
        second = read_host(host_of(other, "kvm2"))
        third = read_host(host_of(other, "kvm3"))
        making = maker(real_host, second, third)
        making.to_review("dir", "web", {"target_path": str(place)})
        news = {new.host.name: new for new in making.news}
        jobs = making.create(hosts=[news["kvm1"].pk, news["kvm2"].pk])
        assert [job.state for job in jobs] == ["succeeded", "succeeded"]
        assert set(Pool.objects.filter(name="web").values_list("host__name", flat=True)) == {"kvm1", "kvm2"}
        assert news["kvm1"].uuid != news["kvm2"].uuid
        page = words(making.get("result"))
        assert "kvm3 was left out." in page
        assert page.count("Open web") == 2
        with connect(other.uri) as c:
            forget_pool(c, str(news["kvm2"].uuid))


def test_a_transient_pool(maker, real_host, virsh, place):
    making = maker()
    options = {"target_path": str(place), "persistent": "no"}
    assert making.to_review("dir", "brief", options) == "review"
    said = words(making.get("review"))
    assert "The pool is transient: it vanishes when it is stopped" in said
    assert "pool-create brief.xml --build" in said
    [job] = making.create()
    assert job.state == "succeeded", job.error_text
    pool = Pool.objects.get(name="brief")
    assert (pool.persistent, pool.autostart, pool.state) == (False, False, "running")


def test_defined_alone_nothing_else_is_done(maker, real_host, place):
    making = maker()
    making.to_review("dir", "later", {"target_path": str(place), "build": "no", "start": "", "autostart": ""})
    [job] = making.create()
    assert job.state == "succeeded", job.error_text
    assert Pool.objects.get(name="later").state == "inactive"
    assert not place.exists()


def fails_at_start(making, place):
    """Its directory is missing and is not to be made."""
    making.to_review("dir", "web", {"target_path": str(place), "build": "no"})
    [job] = making.create()
    return job


def test_what_was_done_is_said_and_undone(client, maker, real_host, virsh, place):
    making = maker()
    job = fails_at_start(making, place)
    assert (job.state, job.error_code) == ("failed", "not_found_on_host")
    assert NewPool.objects.get().done == ["define"]
    assert "web" in virsh("pool-list", "--all")
    assert Pool.objects.get(name="web").state == "inactive"
    page = words(client.get(job.get_absolute_url()))
    assert "Done before that, and still so: Define ." in page.replace("Define.", "Define .")
    assert "Undo what was done" in page
    undo = reverse("pools:undo-creation", args=[making.news[0].pk])
    assert "Makes libvirt forget the pool (undefine)." in words(client.get(undo))
    assert client.post(undo, {"key": str(uuid.uuid4())}).status_code == 303
    [undone] = making.run("pool.undo_creation")
    assert undone.state == "succeeded", undone.error_text
    assert virsh("pool-list", "--all", "--name").strip() == ""
    assert NewPool.objects.get().done == []
    assert not Pool.objects.exists()


def test_undoing_removes_only_the_directory_that_was_made(maker, client, real_host, virsh, tmp_path):
    for there_before in (True, False):
        place = tmp_path / f"vm-{there_before}"
        if there_before:
            place.mkdir()
        making = maker()
        making.to_review("dir", f"p{there_before}", {"target_path": str(place)})
        making.create()
        new = making.news[0]
        NewPool.objects.filter(pk=new.pk).update(done=[name for name in new.done if name != "made"])
        client.post(reverse("pools:undo-creation", args=[new.pk]), {"key": str(uuid.uuid4())})
        [undone] = making.run("pool.undo_creation")
        assert undone.state == "succeeded", undone.error_text
        assert place.exists() == there_before


def test_undoing_keeps_a_directory_with_files(maker, client, real_host, place):
    making = maker()
    making.to_review("dir", "web", {"target_path": str(place)})
    making.create()
    (place / "precious.img").write_bytes(b"data")
    new = making.news[0]
    NewPool.objects.filter(pk=new.pk).update(done=[name for name in new.done if name != "made"])
    client.post(reverse("pools:undo-creation", args=[new.pk]), {"key": str(uuid.uuid4())})
    [undone] = making.run("pool.undo_creation")
    assert undone.state == "succeeded", undone.error_text
    assert (place / "precious.img").read_bytes() == b"data"
    assert not Pool.objects.exists()


def test_after_a_failure_it_can_be_sent_again(maker, real_host, place):
    making = maker()
    assert fails_at_start(making, place).state == "failed"
    place.mkdir()
    [again] = making.create()
    assert again.state == "succeeded", again.error_text
    assert Pool.objects.get(name="web").state == "running"


def test_undoing_leaves_a_directory_that_was_chosen_after_the_first_try(
    maker, client, real_host, place, tmp_path
):
    making, theirs = maker(), tmp_path / "theirs"
    making.to_review("dir", "web", {"target_path": str(place)})
    making.create()
    new = making.news[0]
    done = [name for name in new.done if name not in ("made", "start", "autostart")]
    assert sorted(done) == ["build", "define", "directory"]
    NewPool.objects.filter(pk=new.pk).update(done=done)
    with connect(real_host.uri) as c:
        virt_pools.stop(c, str(new.uuid))
    theirs.mkdir()
    making.to_review("dir", "web", {"target_path": str(theirs)})
    [again] = making.create()
    assert again.state == "succeeded", again.error_text
    assert "directory" not in making.news[0].done
    assert "build" in making.news[0].done
    NewPool.objects.filter(pk=new.pk).update(done=[n for n in making.news[0].done if n != "made"])
    client.post(reverse("pools:undo-creation", args=[new.pk]), {"key": str(uuid.uuid4())})
    making.run("pool.undo_creation")
    assert theirs.exists()


@pytest.mark.parametrize("is_done", [True, False])
def test_a_creation_whose_worker_died_is_settled_by_a_look(maker, real_host, daemon, place, is_done):
    making = maker()
    making.to_review("dir", "web", {"target_path": str(place)})
    [job] = (
        making.create()
        if is_done
        else making.create(run=False) or Job.objects.filter(operation="pool.create")
    )
    NewPool.objects.update(done=["build"] if is_done else [])
    if not is_done:
        with connect(daemon.uri) as c:
            virt_pools.define(c, job.params["xml"])
    now = timezone.now() - timedelta(seconds=1)
    Job.objects.filter(pk=job.pk).update(state="interrupted", daemon="one", next_settle_at=now)
    settle(job.pk)
    job.refresh_from_db()
    new = NewPool.objects.get()
    if is_done:
        assert (job.state, new.done) == ("succeeded", ["define", "build", "start", "autostart", "made"])
    else:
        assert (job.state, job.error_code, new.done) == ("failed", "creation_cut_short", ["define"])


def test_a_draft_that_was_made_is_not_in_the_list_any_more(client, maker, real_host, place):
    making = maker()
    making.to_review("dir", "web", {"target_path": str(place)})
    assert "web" in words(client.get(reverse("pools:drafts")))
    making.create()
    assert "Nothing begun" in words(client.get(reverse("pools:drafts")))
    assert PoolDraft.objects.filter(pk=making.pk).exists()


def test_a_name_taken_meanwhile_is_said_by_libvirt(maker, real_host, daemon, place, tmp_path):
    making = maker()
    making.to_review("dir", "web", {"target_path": str(place)})
    making.create(run=False)
    with connect(daemon.uri) as c:
        virt_pools.define(c, virt_pools.dir_pool_xml("web", str(tmp_path / "another")))
    [job] = making.run("pool.create")
    assert (job.state, job.error_code) == ("failed", "name_taken")
    assert NewPool.objects.get().done == ["directory"] or NewPool.objects.get().done == []


def test_what_is_taken_is_said_in_the_form(maker, real_host, daemon, tmp_path):
    with connect(daemon.uri) as c:
        define_and_start(c, tmp_path / "held")
    read_host(real_host)
    held = Pool.objects.get()
    making = maker()
    making.send("type", type="dir")
    given = {"persistent": "yes", "build": "yes"}
    page = making.post("options", name=held.name, target_path=held.target_path, **given)
    assert page.status_code == 422
    said = words(page)
    assert f"On kvm1 the pool {held.name} has this name already." in said
    assert f"On kvm1 the pool {held.name} is there already." in said
