"""What goes wrong while a pool is made on a real host, and how a person gets on from there."""

import uuid
from collections.abc import Iterator

import pytest
from django.urls import reverse
from lab.labs import CHAP_PASSWORD, CHAP_TARGET, CHAP_USER
from sync_tools import Virsh, close_connections, read_host
from wizard_tools import Maker, words

from pools.models import NewPool, Pool
from storagemgr.hosts.models import Host
from storagemgr.jobs.models import Job

pytestmark = pytest.mark.django_db

SERVER, NOBODY = "10.99.0.2", "10.99.0.99"
CHAP = {"source_host": SERVER, "target_iqn": CHAP_TARGET, "auth_user": CHAP_USER}
LUNS = {"target_path": "/dev/disk/by-path", "build": "no"}


@pytest.fixture
def making(client, manager, lab1, lab2) -> Iterator[Maker]:
    """A draft on lab2."""
    client.force_login(manager)
    read_host(Host.objects.create(name="lab2", socket=str(lab2.socket)))
    answer = client.post(reverse("pools:new"))
    yield Maker(client, int(answer.url.rstrip("/").rpartition("/")[2]))
    close_connections()


def undo(making: Maker) -> Job:
    url = reverse("pools:undo-creation", args=[making.news[0].pk])
    assert making.client.post(url, {"key": str(uuid.uuid4())}).status_code == 303
    [job] = making.run("pool.undo_creation")
    return job


def test_a_wrong_password_then_the_right_one(making, lab1, lab2):
    virsh = Virsh(lab2.socket_uri)
    making.to_review("iscsi", "luns", LUNS, **CHAP, auth_password="not-the-password")
    [job] = making.create()
    assert (job.state, job.error_code) == ("failed", "login_refused"), job.error_text
    assert NewPool.objects.get().done == ["secret", "define"]
    said = words(making.get("result"))
    assert "The target refused the user or the password." in said
    assert "Undo what was done" in said
    making.send("source", **CHAP, auth_password=CHAP_PASSWORD)
    making.send("test", test="1")
    [tested] = making.run("pool.test")
    assert tested.state == "succeeded", tested.error_text
    assert "offers the target" in words(making.get("review"))
    [job] = making.create()
    assert job.state == "succeeded", job.error_text
    assert CHAP_TARGET in lab2.run("iscsiadm -m session")
    assert making.draft.sealed == ""
    assert Pool.objects.get(name="luns").state == "running"
    assert len(virsh("secret-list").split()) == 3
    virsh("pool-destroy", "luns")
    assert CHAP_TARGET not in lab2.run("iscsiadm -m session", check=False)


def test_what_a_wrong_password_left_is_undone(making, lab2):
    virsh = Virsh(lab2.socket_uri)
    making.to_review("iscsi", "luns", LUNS, **CHAP, auth_password="not-the-password")
    making.create()
    job = undo(making)
    assert job.state == "succeeded", job.error_text
    assert virsh("pool-list", "--all", "--name").split() == []
    assert virsh("secret-list").split() == []


def test_a_target_that_is_not_offered(making):
    making.to_review("iscsi", "luns", LUNS, source_host=SERVER, target_iqn="iqn.2026-01.lab:nothing")
    making.send("test", test="1")
    [job] = making.run("pool.test")
    assert (job.state, job.error_code) == ("failed", "not_found_on_host")
    assert CHAP_TARGET in words(making.get("test"))


def seconds(job: Job) -> float:
    assert job.started_at
    assert job.finished_at
    return (job.finished_at - job.started_at).total_seconds()


def test_a_server_that_nobody_answers_for(making, lab2):
    """Search, test and creation end within their limits and say so; nothing of them stays."""
    making.send("type", type="netfs")
    making.send("source", find="1", source_host=NOBODY)
    [job] = making.run("pool.find_sources")
    assert job.state == "failed"
    assert seconds(job) < 30
    assert f"{NOBODY} named no NFS export" in words(making.get("source")) or job.error_code == "too_slow"
    options = {"target_path": "/vm_data/dead", "mount_options": "retry=0"}
    making.to_review("netfs", "dead", options, source_host=NOBODY, source_dir="/x", format="nfs")
    making.send("test", test="1")
    [job] = making.run("pool.test")
    assert (job.state, job.error_code) == ("failed", "command_failed"), job.error_text
    assert seconds(job) < 60
    assert lab2.run("ls -A /vm_data") == ""
    [job] = making.create()
    assert (job.state, job.error_code) == ("failed", "command_failed"), job.error_text
    assert NewPool.objects.get().done == ["directory", "define", "build"]
    assert undo(making).state == "succeeded"
    assert lab2.run("ls -A /vm_data") == ""
    assert Virsh(lab2.socket_uri)("pool-list", "--all", "--name").split() == []


def test_an_export_that_may_only_be_read_is_said(making, lab2):
    making.to_review(
        "netfs",
        "iso",
        {"target_path": "/vm_data/iso"},
        source_host=SERVER,
        source_dir="/srv/iso",
        format="nfs",
    )
    making.send("test", test="1")
    [job] = making.run("pool.test")
    assert job.state == "succeeded", job.error_text
    review = words(making.get("review"))
    assert "reads only" in review
    assert "an NFS export has to allow that (rw,no_root_squash)" in review
    assert lab2.run("ls -A /vm_data; mount -t nfs,nfs4") == ""


def test_data_on_a_device_is_shown_before_it_is_overwritten(making, lab2):
    lab2.run("mkfs.ext4 -q -L photos /dev/ubdb")
    options = {"target_path": "/vm_data/over", "build": "keep"}
    making.to_review("fs", "over", options, device="/dev/ubdb", format="ext4")
    [job] = making.create()
    assert (job.state, job.error_code) == ("failed", "already_formatted"), job.error_text
    assert undo(making).state == "succeeded"
    making.send("options", name="over", persistent="yes", start="on", **options | {"build": "overwrite"})
    assert making.post("test", next="1").status_code == 422
    making.send("test", test="1")
    [job] = making.run("pool.test")
    assert job.state == "succeeded", job.error_text
    assert "/dev/ubdb" in words(making.get("review"))
    [job] = making.create(typed_name="overwrite")
    assert job.state == "succeeded", job.error_text
    assert "photos" not in lab2.run("blkid -p /dev/ubdb")
    assert "/dev/ubdb" in lab2.run("findmnt -n -o SOURCE /vm_data/over")
