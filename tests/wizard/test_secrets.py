"""A password goes from the form to a private secret of libvirt, and is nowhere else to be read."""

import io
import json
import logging
import subprocess
import uuid

import pytest
from django.apps import apps
from django.core import serializers
from django.urls import reverse
from sync_tools import Virsh
from wizard_tools import words

from pools.models import NewPool
from storagemgr.jobs import sealed, tasks
from storagemgr.jobs.models import Job

pytestmark = pytest.mark.django_db

PASSWORD = "Hunter2-and-a-half"
SOURCE = {
    "source_host": "127.0.0.1",
    "target_iqn": "iqn.2026-01.test:none",
    "auth_user": "labuser",
    "auth_password": PASSWORD,
}
OPTIONS = {"target_path": "/dev/disk/by-path", "build": "no", "start": ""}


def rows() -> str:
    """All rows of all tables, as text."""
    return "\n".join(serializers.serialize("json", model.objects.all()) for model in apps.get_models())


@pytest.fixture
def heard():
    """What all loggers said."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    root, level = logging.getLogger(), logging.getLogger().level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield stream
    root.removeHandler(handler)
    root.setLevel(level)


def test_a_password_is_nowhere_but_in_libvirts_secret(
    maker, client, real_host, daemon, heard, monkeypatch, django_capture_on_commit_callbacks
):
    sent = []
    monkeypatch.setattr(tasks.run_job, "apply_async", lambda *args, **kwargs: sent.append((args, kwargs)))
    making = maker()
    pages = []
    with django_capture_on_commit_callbacks(execute=True):
        making.to_review("iscsi", "luns", OPTIONS, **SOURCE)
        pages += [making.get(step) for step in ("source", "options", "test", "review")]
        wrong = making.post("source", **SOURCE | {"source_host": "not a host"})
        assert wrong.status_code == 422
        making.send("source", **SOURCE | {"auth_password": ""})
        assert sealed.unseal(making.draft.sealed) == {"auth_password": PASSWORD}
        assert PASSWORD not in rows()
        [job] = making.create()
    assert job.state == "succeeded", job.error_text
    pages += [wrong, making.get("result"), client.get(job.get_absolute_url())]
    assert "Open luns" in words(pages[-2])
    assert "One is kept; leave this empty to go on using it." in words(pages[0])
    assert all(PASSWORD not in page.content.decode() for page in pages)
    everything = rows() + heard.getvalue() + repr(sent) + json.dumps(job.params) + daemon.log.read_text()
    assert sent
    assert "labuser" in everything
    assert PASSWORD not in everything
    assert (making.draft.sealed, job.sealed) == ("", "")
    said = Virsh(daemon.uri)
    xml = said("pool-dumpxml", "luns")
    assert PASSWORD not in xml
    [secret] = [line.split()[0] for line in said("secret-list").splitlines() if line.strip()]
    assert f"<secret uuid='{secret}'/>" in xml
    assert "private='yes'" in said("secret-dumpxml", secret)
    asked = ["virsh", "-c", daemon.uri, "secret-get-value", secret]
    refused = subprocess.run(asked, capture_output=True, text=True)
    assert refused.returncode != 0
    assert "private" in refused.stderr
    undo(client, making)
    assert said("secret-list").strip() == ""


def undo(client, making):
    new = making.news[0]
    NewPool.objects.filter(pk=new.pk).update(done=["secret", "define"])
    client.post(reverse("pools:undo-creation", args=[new.pk]), {"key": str(uuid.uuid4())})
    [undone] = making.run("pool.undo_creation")
    assert undone.state == "succeeded", undone.error_text


def test_without_its_user_a_kept_password_goes(maker, host):
    making = maker(host)
    making.send("type", type="iscsi")
    making.send("source", **SOURCE)
    assert making.draft.sealed
    making.send("source", **SOURCE | {"auth_user": "", "auth_password": ""})
    assert making.draft.sealed == ""


def test_another_type_forgets_the_password(maker, host):
    making = maker(host)
    making.send("type", type="iscsi")
    making.send("source", **SOURCE)
    making.send("type", type="dir")
    assert making.draft.sealed == ""


def test_a_password_that_was_lost_is_asked_for_again(maker, real_host):
    """As when the SECRET_KEY was changed between the review and the job."""
    making = maker()
    making.to_review("iscsi", "luns", OPTIONS, **SOURCE)
    making.create(run=False)
    Job.objects.update(sealed="")
    [job] = making.run("pool.create")
    assert (job.state, job.error_code) == ("failed", "secret_missing")
    assert "type it once more" in job.error_text
    assert NewPool.objects.get().done == []


def test_a_password_among_the_options_is_refused_and_not_kept(maker, host):
    making = maker(host)
    making.send("type", type="netfs")
    making.send("source", source_host="nas1", source_dir="share", format="cifs")
    given = {"name": "web", "persistent": "yes", "build": "yes", "target_path": "/srv/vm"}
    page = making.post("options", **given, mount_options=f"vers=3.0\npassword={PASSWORD}")
    assert page.status_code == 422
    assert "could be read by everybody who sees the pool" in words(page)
    assert PASSWORD not in rows()
    assert making.send("options", **given, mount_options="vers=3.0\ncredentials=/etc/share.cred") == "test"
