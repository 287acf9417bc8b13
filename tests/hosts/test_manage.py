import uuid

import pytest
from django.utils import timezone

from storagemgr.access.models import AuditEvent, Grant
from storagemgr.hosts.models import Host
from storagemgr.jobs.models import Job
from storagemgr.virt.ssh import host_key

pytestmark = pytest.mark.django_db

ED25519 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBRQcgkOQpsgyHhGWzZoK3pCxPbPfA1Xf1Xt5AcO4tJg"
OTHER = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMc4QwVU/5ci1qiYUXi9KfxbqsRnF5OEJgiLklSf3d64"
SSH = {"transport": "ssh", "name": "kvm1", "address": "kvm1.example", "username": "storage", "mode": "system"}


@pytest.fixture
def ada(client, administrator):
    client.force_login(administrator)
    return client


def text_of(response):
    return " ".join(response.content.decode().replace("\xa0", " ").split())


def audited():
    return [(event.action, event.outcome, event.actor_name) for event in AuditEvent.objects.order_by("id")]


def test_a_host_is_added_and_its_page_says_what_is_next(ada):
    response = ada.post("/hosts/new/", SSH | {"note": "rack 4"}, follow=True)
    host = Host.objects.get()
    assert response.redirect_chain == [(f"/hosts/{host.pk}/", 303)]
    assert (host.uri, host.state, host.note) == (
        "qemu+ssh://storage@kvm1.example/system",
        "unknown",
        "rack 4",
    )
    assert host.needs_key
    text = text_of(response)
    assert "The host is being asked for it." in text
    assert "Key not confirmed" in text
    assert audited() == [("host.add", "done", "ada")]
    assert AuditEvent.objects.get().details == {"uri": host.uri}


def test_a_wrong_form_is_shown_again_with_everything_typed(ada):
    response = ada.post("/hosts/new/", SSH | {"address": "a b", "note": "rack 4"})
    assert response.status_code == 422
    text = text_of(response)
    assert "Type a host name or an IP address" in text
    for typed in ('value="a b"', 'value="storage"', ">rack 4</textarea>"):
        assert typed in text.replace("&gt;", ">").replace("> rack", ">rack")
    assert not Host.objects.exists()
    assert audited() == []


def test_what_the_form_does_not_have_is_not_set(ada):
    ada.post("/hosts/new/", SSH | {"confirmed_key": ED25519, "is_embedded": "1", "state": "up", "id": "77"})
    host = Host.objects.get()
    assert (host.confirmed_key, host.is_embedded, host.state) == ("", False, "unknown")


def test_the_key_is_compared_and_confirmed(ada, ssh_host):
    host = ssh_host(shown_key=ED25519, shown_key_at=timezone.now(), state="down", error_code="port_refused")
    fingerprint = host_key(ED25519).fingerprint
    text = text_of(ada.get(f"/hosts/{host.pk}/key/"))
    assert fingerprint in text
    assert "ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub" in text
    assert ada.post(f"/hosts/{host.pk}/key/", {"fingerprint": fingerprint}).status_code == 303
    host.refresh_from_db()
    assert (host.confirmed_key, host.confirmed_by, host.needs_key) == (ED25519, "ada", False)
    assert (host.state, host.error_code, host.next_read_at) == ("unknown", "", None)
    assert audited() == [("host.confirm_key", "done", "ada")]
    assert AuditEvent.objects.get().details == {"before": "", "after": fingerprint}


def test_a_key_that_is_not_the_compared_one_is_not_confirmed(ada, ssh_host):
    host = ssh_host(shown_key=OTHER, shown_key_at=timezone.now())
    response = ada.post(f"/hosts/{host.pk}/key/", {"fingerprint": host_key(ED25519).fingerprint})
    assert response.status_code == 409
    assert "shows another key by now" in text_of(response)
    host.refresh_from_db()
    assert host.confirmed_key == ""


def test_nothing_is_confirmed_before_the_host_showed_a_key(ada, ssh_host):
    host = ssh_host()
    response = ada.post(f"/hosts/{host.pk}/key/", {"fingerprint": "SHA256:x"})
    assert "has not shown its key yet" in text_of(response)
    host.refresh_from_db()
    assert host.confirmed_key == ""


def test_a_changed_key_is_said_and_confirmed_only_on_purpose(ada, ssh_host):
    host = ssh_host(
        confirmed_key=ED25519,
        confirmed_by="bob",
        confirmed_at=timezone.now(),
        shown_key=OTHER,
        shown_key_at=timezone.now(),
        state="down",
        error_code="host_key_changed",
    )
    page = text_of(ada.get(f"/hosts/{host.pk}/"))
    assert "The host shows another key than the one that was confirmed." in page
    assert "bob confirmed that one (today" in page
    assert f"/hosts/{host.pk}/key/" in page
    text = text_of(ada.get(f"/hosts/{host.pk}/key/"))
    assert "another key than the one that bob confirmed (today" in text
    for key in (ED25519, OTHER):
        assert host_key(key).fingerprint in text
    new = {"fingerprint": host_key(OTHER).fingerprint}
    refused = ada.post(f"/hosts/{host.pk}/key/", new)
    assert refused.status_code == 422
    assert "Find out why first" in text_of(refused)
    assert Host.objects.get().confirmed_key == ED25519
    assert ada.post(f"/hosts/{host.pk}/key/", new | {"is_known_why": "on"}).status_code == 303
    host.refresh_from_db()
    assert (host.confirmed_key, host.confirmed_by, host.error_code) == (OTHER, "ada", "")


@pytest.mark.parametrize(
    ("change", "keeps_key"),
    [({"username": "other"}, True), ({"address": "kvm2.example"}, False), ({"port": "2222"}, False)],
)
def test_a_change_of_the_way_starts_anew(ada, ssh_host, change, keeps_key):
    host = ssh_host(
        confirmed_key=ED25519, confirmed_by="bob", state="down", error_code="key_refused", failures=4
    )
    Host.objects.update(next_read_at=timezone.now())
    assert ada.post(f"/hosts/{host.pk}/edit/", SSH | change).status_code == 303
    host.refresh_from_db()
    assert bool(host.confirmed_key) is keeps_key
    assert (host.state, host.error_code, host.failures, host.next_read_at) == ("unknown", "", 0, None)
    [event] = AuditEvent.objects.all()
    assert (event.action, list(event.details["after"])) == ("host.edit", list(change))


def test_another_name_changes_nothing_else(ada, ssh_host):
    host = ssh_host(confirmed_key=ED25519, state="up")
    ada.post(f"/hosts/{host.pk}/edit/", SSH | {"name": "kvm1-old"})
    host.refresh_from_db()
    assert (host.name, host.state, host.confirmed_key) == ("kvm1-old", "up", ED25519)


def test_saving_without_a_change_leaves_no_record(ada, ssh_host):
    host = ssh_host()
    assert ada.post(f"/hosts/{host.pk}/edit/", SSH).status_code == 303
    assert audited() == []


@pytest.fixture
def job(ssh_host):
    host = ssh_host(state="up", confirmed_key=ED25519)
    return Job.objects.create(operation="pool.refresh", title="Refresh", host=host, pool_uuid=uuid.uuid4())


def test_while_jobs_run_the_way_stays_and_the_name_may_change(ada, job):
    url = f"/hosts/{job.host_id}/edit/"
    refused = ada.post(url, SSH | {"port": "2222"})
    assert refused.status_code == 409
    assert "Jobs run on this host" in text_of(refused)
    assert ada.post(url, SSH | {"name": "other"}).status_code == 303
    assert Host.objects.get().port is None


def test_a_host_is_removed_with_its_rows_and_the_record_stays(ada, host, make_pool, make_volume, make_user):
    make_volume(pool=make_pool(host=host))
    other = make_pool("far", host=Host.objects.create(name="kvm2", state="up"))
    Job.objects.create(operation="host.test", title="Test", host=host, state="failed")
    make_user("vera", "viewer", host=host)
    page = text_of(ada.get(f"/hosts/{host.pk}/remove/"))
    assert "1 pool, 1 volume, 1 job, 1 role given on it" in page
    assert "Nothing on the host itself." in page
    wrong = ada.post(f"/hosts/{host.pk}/remove/", {"typed_name": "KVM1"})
    assert wrong.status_code == 422
    assert "Upper and lower case count" in text_of(wrong)
    assert ada.post(f"/hosts/{host.pk}/remove/", {"typed_name": host.name}).url == "/hosts/"
    assert f"{host.name} was removed here." in text_of(ada.get("/hosts/"))
    assert list(Host.objects.values_list("name", flat=True)) == ["kvm2"]
    assert other.__class__.objects.get() == other
    assert not Job.objects.exists()
    assert not Grant.objects.filter(user__username="vera").exists()
    event = AuditEvent.objects.get(action="host.remove")
    assert (event.outcome, event.object_text, event.details["rows"]["volume"]) == ("done", "kvm1", 1)


def test_a_host_with_jobs_is_kept(ada, job):
    for response in (
        ada.get(f"/hosts/{job.host_id}/remove/"),
        ada.post(f"/hosts/{job.host_id}/remove/", {"typed_name": "kvm1"}),
    ):
        assert "1 job is not over yet" in text_of(response)
    assert response.status_code == 409
    assert Host.objects.exists()


def test_a_host_that_somebody_else_removes_meanwhile(ada, host, monkeypatch):
    """Two people at once: the second one gets the page for what is not there."""
    monkeypatch.setattr("storagemgr.hosts.manage.rows_of", lambda found: Host.objects.all().delete() and {})
    ada.raise_request_exception = False
    assert ada.post(f"/hosts/{host.pk}/remove/", {"typed_name": host.name}).status_code == 404


def test_this_machine_is_kept_while_the_program_lists_it(ada, make_host, settings):
    host = make_host("here", is_embedded=True)
    url = f"/hosts/{host.pk}/remove/"
    refused = ada.post(url, {"typed_name": "here"})
    assert refused.status_code == 409
    assert "EMBEDDED_HOST=0" in text_of(refused)
    settings.EMBEDDED_HOST = False
    assert ada.post(url, {"typed_name": "here"}).status_code == 303
    assert not Host.objects.exists()


def test_who_administers_one_host_changes_none(client, make_user, host):
    """What a host is reached as decides what everybody's jobs are done to."""
    client.force_login(make_user("hugo", "administrator", host=host))
    for action in ("edit", "key", "remove"):
        assert client.post(f"/hosts/{host.pk}/{action}/", {"typed_name": "kvm1"}).status_code == 403
    assert client.get("/hosts/new/").status_code == 403
    assert Host.objects.exists()
    page = text_of(client.get(f"/hosts/{host.pk}/"))
    assert f"/hosts/{host.pk}/edit/" not in page
    assert f"/hosts/{host.pk}/test/" in page
    assert "/hosts/new/" not in text_of(client.get("/hosts/"))
