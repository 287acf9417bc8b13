"""The steps on rows alone: what is offered, kept, refused and said."""

import re
import uuid
from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone
from wizard_tools import words

from pools.making.plans import fingerprint
from pools.models import NewPool, PoolDraft
from storagemgr.access.models import AuditEvent, Grant
from storagemgr.jobs.models import Job
from storagemgr.virt import pool_xml

pytestmark = pytest.mark.django_db

OPTIONS = {"name": "web", "persistent": "yes", "build": "yes", "start": "on", "autostart": "on"}
NFS = {"source_host": "nas1", "source_dir": "/export/vm", "format": "nfs"}


@pytest.fixture
def kvm2(host, make_host):
    return make_host("kvm2")


def key_of(page):
    return re.search(r'name="key" value="([0-9a-f-]{36})"', page.content.decode())[1]


def test_a_draft_is_resumed_where_it_was_left(client, maker, host, kvm2):
    making = maker(host)
    draft = reverse("pools:draft", args=[making.pk])
    assert client.get(draft).url == making.url("type")
    making.send("type", type="netfs")
    assert client.get(draft).url == making.url("source")
    assert making.get("review").url == making.url("source")
    making.send("source", **NFS)
    assert client.get(draft).url == making.url("options")
    making.send("options", **OPTIONS, target_path="/srv/vm")
    assert client.get(draft).url == making.url("test")
    assert "NFS export on kvm1" in words(client.get(reverse("pools:drafts")))


def test_going_back_loses_nothing(maker, host, kvm2):
    making = maker(host)
    making.to_review(
        "netfs", "web", {"target_path": "/srv/vm", "mount_options": "noatime\nnconnect=4"}, **NFS
    )
    assert 'value="nas1"' in making.get("source").content.decode()
    assert "noatime\nnconnect=4</textarea>" in making.get("options").content.decode()
    making.send("hosts", hosts=[host.pk, kvm2.pk])
    making.send("type", type="netfs")
    values = making.draft.values
    assert (values["source_dir"], values["target_path"], values["mount_options"]) == (
        "/export/vm",
        "/srv/vm",
        ["noatime", "nconnect=4"],
    )
    assert [new.name for new in making.news] == ["web", "web"]


def test_another_type_keeps_what_both_have(maker, host):
    making = maker(host)
    making.send("type", type="netfs")
    making.send("source", **NFS)
    making.send("type", type="gluster")
    assert making.draft.values["source_host"] == "nas1"
    assert "format" not in making.draft.values


def test_discarding(client, maker, host):
    making = maker(host)
    assert client.post(reverse("pools:draft_discard", args=[making.pk])).url == reverse("pools:drafts")
    assert not PoolDraft.objects.exists()
    assert not NewPool.objects.exists()


def test_what_was_begun_on_a_host_outlives_its_draft(client, maker, host):
    making = maker(host)
    new = making.news[0]
    NewPool.objects.update(done=["define"], name="web")
    client.post(reverse("pools:draft_discard", args=[making.pk]))
    undo = client.get(reverse("pools:undo-creation", args=[new.pk]))
    assert undo.status_code == 200
    assert "Makes libvirt forget the pool" in words(undo)


def test_old_drafts_are_removed(client, maker, host):
    making = maker(host)
    PoolDraft.objects.update(updated_at=timezone.now() - timedelta(days=29))
    client.get(reverse("pools:drafts"))
    assert PoolDraft.objects.filter(pk=making.pk).exists()
    PoolDraft.objects.update(updated_at=timezone.now() - timedelta(days=31))
    client.get(reverse("pools:drafts"))
    assert not PoolDraft.objects.exists()


def test_who_may_define_nowhere_begins_nothing(client, operator, host):
    client.force_login(operator)
    assert client.post(reverse("pools:new")).status_code == 403
    denied = AuditEvent.objects.get(outcome="denied")
    assert (denied.right, denied.actor) == ("pool.define", operator)
    assert "New pool</button>" not in client.get(reverse("pools:fleet")).content.decode()
    assert "may not define pools on any host" in words(client.get(reverse("pools:drafts")))


def test_without_a_host_it_says_so_and_not_that_a_role_is_missing(as_manager):
    assert "There is no host yet" in words(as_manager.get(reverse("pools:drafts")))
    refusal = as_manager.post(reverse("pools:new"))
    assert refusal.status_code == 403
    assert "There is no host yet" in words(refusal)


def test_only_hosts_where_pools_may_be_defined_are_offered(client, make_user, maker, host, kvm2, make_host):
    third = make_host("kvm3", state="down")
    person = make_user("piet", "manager", host=host)
    Grant.objects.create(user=person, role="viewer", host=kvm2)
    Grant.objects.create(user=person, role="manager", host=third)
    client.force_login(person)
    making = maker()
    page = words(making.get("hosts"))
    assert "kvm1" in page
    assert "kvm2" not in page
    assert "It does not answer now" in page
    assert making.post("hosts", hosts=[kvm2.pk]).status_code == 422
    assert making.post("hosts", hosts=["x", "99999", ""]).status_code == 422
    assert making.send("hosts", hosts=[host.pk, third.pk]) == "type"


def test_a_right_that_is_taken_away_takes_the_host_out(client, make_user, maker, host, kvm2):
    person = make_user("piet", "manager", host=host)
    grant = Grant.objects.create(user=person, role="manager", host=kvm2)
    client.force_login(person)
    making = maker(host, kvm2)
    grant.delete()
    assert "kvm2" not in words(making.get("type"))
    assert "kvm2" not in words(client.get(reverse("pools:drafts")))
    NewPool.objects.update(done=["define"])
    assert "kvm2" not in words(making.get("type"))
    Grant.objects.create(user=person, role="viewer", host=kvm2)
    assert "kvm2" in words(making.get("type"))


def test_types_that_a_host_lacks_say_why(maker, host, kvm2):
    host.pool_types = {"dir": True, "netfs": True, "zfs": False}
    host.libvirt_version = "9.0.0"
    host.save()
    making = maker(host, kvm2)
    page = words(making.get("type"))
    assert "libvirt 9.0.0 on kvm1 is built or installed without it." in page
    assert "libvirt 9.0.0 on kvm1 does not know this type." in page
    assert "Sheepdog" not in page
    answer = making.post("type", type="zfs")
    assert answer.status_code == 422
    assert "is built or installed without it" in words(answer)
    assert making.post("type", type="nonsense").status_code == 422
    host.pool_types = {"sheepdog": True}
    host.save()
    assert "Sheepdog" in words(making.get("type"))


@pytest.mark.parametrize("step", ["source", "test", "result"])
def test_the_polled_fragment_has_no_form_and_no_token(maker, host, step):
    making = maker(host)
    making.to_review("netfs", "web", {"target_path": "/srv/vm"}, **NFS)
    if step == "result":
        making.create(run=False)
    fragment = making.get(step, headers={"HX-Request": "true"}).content.decode()
    assert "csrf" not in fragment
    assert "<form" not in fragment
    assert "<html" not in fragment


def looked_at(new, draft, **said):
    result = {"of": fingerprint(draft), "how": "look"} | said
    NewPool.objects.filter(pk=new.pk).update(tested=result, tested_at=timezone.now())


def to_overwrite(maker, host):
    making = maker(host)
    making.send("type", type="fs")
    making.send("source", device="/dev/sdb", format="ext4")
    options = OPTIONS | {"build": "overwrite", "target_path": "/srv/vm"}
    assert making.send("options", **options) == "test"
    return making


def test_overwriting_wants_a_look_first_and_the_word_typed(maker, host, settings):
    making = to_overwrite(maker, host)
    assert making.post("test", next="1").status_code == 422
    page = making.get("review")
    assert "Look first at what is on the device there: step Test." in words(page)
    new = making.news[0]
    on_it = {"path": "/dev/sdb", "verdict": "data", "text": "XFS file system “photos”"}
    looked_at(new, making.draft, devices={"/dev/sdb": on_it})
    assert making.send("test", next="1") == "review"
    page = making.get("review")
    assert "This is lost: kvm1: /dev/sdb: XFS file system “photos”" in words(page)
    data = {"key": key_of(page), "hosts": [new.pk]}
    for typed in ({}, {"typed_name": "web"}, {"typed_name": "Overwrite"}):
        assert making.post("review", **data | typed).status_code == 422
    settings.REAUTHENTICATE_AFTER = 300
    assert (
        making.post("review", **data | {"typed_name": "overwrite"}).status_code == 403
    )  # no password to ask for
    assert not Job.objects.exists()
    settings.REAUTHENTICATE_AFTER = 0
    assert making.send("review", **data | {"typed_name": "overwrite"}) == "result"
    assert Job.objects.get().params["build"] == "overwrite"


def test_a_test_is_of_no_use_after_a_change(maker, host):
    making = to_overwrite(maker, host)
    looked_at(
        making.news[0],
        making.draft,
        devices={"/dev/sdb": {"path": "/dev/sdb", "verdict": "empty", "text": "empty"}},
    )
    assert "empty" in words(making.get("test"))
    making.send("source", device="/dev/sdc", format="ext4")
    assert "It was changed since the test." in words(making.get("test"))
    assert making.post("test", next="1").status_code == 422


def test_a_transient_pool_is_not_formatted(maker, host):
    making = maker(host)
    making.send("type", type="fs")
    making.send("source", device="/dev/sdb", format="ext4")
    page = making.post("options", **OPTIONS | {"build": "keep", "persistent": "no", "target_path": "/srv/vm"})
    assert page.status_code == 422
    assert "A transient pool cannot be formatted" in words(page)


def test_a_skipped_test_is_said_at_the_review(maker, host):
    making = maker(host)
    making.to_review("netfs", "web", {"target_path": "/srv/vm"}, **NFS)
    page = words(making.get("review"))
    assert "Not tested. Test it first , or go on." in page
    assert "from nas1:/export/vm, mounted at /srv/vm" in page


def test_a_second_click_makes_no_second_job(maker, host):
    making = maker(host)
    making.to_review("dir", "web", {"target_path": "/srv/vm"})
    page = making.get("review")
    data = {"key": key_of(page), "hosts": [making.news[0].pk]}
    assert making.send("review", **data) == "result"
    assert making.send("review", **data) == "result"
    assert Job.objects.filter(operation="pool.create").count() == 1


@pytest.mark.parametrize("key", ["", "1' OR 1", None])
def test_a_lost_number_is_said(maker, host, key):
    making = maker(host)
    making.to_review("dir", "web", {"target_path": "/srv/vm"})
    data = {"hosts": [making.news[0].pk]} | ({} if key is None else {"key": key})
    page = making.post("review", **data)
    assert page.status_code == 422
    assert "had lost its number" in words(page)
    assert not Job.objects.exists()


def test_a_host_with_a_conflict_has_to_be_left_out(maker, host, kvm2, make_pool):
    making = maker(host, kvm2)
    making.to_review("netfs", "web", {"target_path": "/srv/vm"}, **NFS)
    xml = pool_xml.build("netfs", "held", str(uuid.uuid4()), NFS | {"target_path": "/srv/held"})
    make_pool("held", kvm2, type="netfs", xml=xml)
    page = making.get("review")
    assert "On kvm2 the pool held uses this source already." in words(page)
    one, two = making.news
    answer = making.post("review", key=key_of(page), hosts=[one.pk, two.pk])
    assert answer.status_code == 422
    assert not Job.objects.exists()
    assert making.send("review", key=key_of(page), hosts=[one.pk]) == "result"
    assert [job.host.name for job in Job.objects.all()] == ["kvm1"]
    assert making.draft.options["left_out"] == [kvm2.pk]


def test_the_review_shows_xml_virsh_and_each_step(maker, host):
    making = maker(host)
    making.to_review("netfs", "web", {"target_path": "/srv/vm"}, **NFS)
    page = making.get("review")
    said = words(page)
    assert '<span class="x-tag">host</span> <span class="x-att">name</span>' in page.content.decode()
    for step in ("(define)", "(build)", "(start)", "(autostart)"):
        assert step in said
    for line in ("pool-define web.xml", "pool-build web", "pool-start web", "pool-autostart web"):
        assert line in said


def test_the_tick_removes_old_drafts_too(maker, host):
    from volumes.tasks import tick

    making = maker(host)
    making.send("type", type="iscsi")
    making.send(
        "source",
        source_host="san1",
        target_iqn="iqn.2026-01.com.example:a",
        auth_user="u",
        auth_password="p" * 12,
    )
    PoolDraft.objects.update(updated_at=timezone.now() - timedelta(days=31))
    host.delete()
    tick()
    assert not PoolDraft.objects.exists()


@pytest.mark.parametrize(("state", "stays"), [("running", True), ("interrupted", True), ("queued", False)])
def test_what_is_being_made_can_still_be_undone_when_its_draft_is_gone(client, maker, host, state, stays):
    making = maker(host)
    making.to_review("dir", "web", {"target_path": "/srv/vm"})
    making.create(run=False)
    Job.objects.update(state=state)
    new = making.news[0]
    client.post(reverse("pools:draft_discard", args=[making.pk]))
    assert NewPool.objects.filter(pk=new.pk, draft=None).exists() == stays


def test_a_host_on_which_it_is_being_made_stays(maker, host, kvm2):
    making = maker(host, kvm2)
    making.to_review("dir", "web", {"target_path": "/srv/vm"})
    making.create(run=False)
    Job.objects.filter(host=host).update(state="running")
    making.send("hosts", hosts=[kvm2.pk])
    assert {new.host for new in making.news} == {host, kvm2}


def test_no_pool_has_a_name_under_which_it_would_not_be_listed(maker, host):
    making = maker(host)
    making.send("type", type="dir")
    given = OPTIONS | {"name": "storagemgr-look-mine", "target_path": "/srv/vm"}
    page = making.post("options", **given)
    assert page.status_code == 422
    assert "which are not listed" in words(page)


def test_a_type_that_this_version_does_not_know_is_chosen_anew(client, maker, host):
    making = maker(host)
    making.to_review("dir", "web", {"target_path": "/srv/vm"})
    PoolDraft.objects.update(type="of-a-newer-version")
    for step in ("source", "options", "test", "review", "result"):
        assert making.get(step).url == making.url("type")
        assert making.post(step, key=uuid.uuid4()).url == making.url("type")
    for slug in ("create", "test", "find-sources", "undo-creation"):
        url = reverse(f"pools:{slug}", args=[making.news[0].pk])
        assert client.get(url).status_code == 200
        assert client.post(url, {"key": uuid.uuid4()}).status_code in (409, 422)
    assert client.get(reverse("pools:drafts")).status_code == 200
    assert making.send("type", type="dir") == "options"
    assert not Job.objects.exists()


@pytest.mark.parametrize("typed", ["x" * 100_000, "a\0b"])
def test_what_can_not_be_kept_is_not(maker, host, typed):
    making = maker(host)
    making.send("type", type="netfs")
    making.send("source", **NFS)
    for wrong in ({"source_host": typed}, {"format": typed}):
        assert making.post("source", **NFS | wrong).status_code == 422
    wrong = {"target_path": "/srv/vm", "mount_options": typed}
    assert making.post("options", **OPTIONS, **wrong).status_code == 422
    assert typed not in str(making.draft.values)
    assert "\\x00" not in str(making.draft.values)


def test_a_colleague_undoes_what_was_begun_and_does_not_go_on_with_it(client, maker, host, make_user):
    making = maker(host)
    making.to_review("dir", "files", {"target_path": "/srv/files"})
    new = making.news[0]
    NewPool.objects.filter(pk=new.pk).update(done=["define"])
    client.force_login(make_user("colleague", "manager"))
    statuses = [
        client.get(reverse(f"pools:{slug}", args=[new.pk])).status_code for slug in ("create", "test")
    ]
    assert statuses == [404, 404]
    assert client.get(reverse("pools:undo-creation", args=[new.pk])).status_code == 200
