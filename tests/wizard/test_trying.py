"""Searches and tests on a real libvirtd: what they leave, what they say, and that they end."""

import threading
import time
import uuid
from datetime import timedelta

import libvirt
import pytest
from django.utils import timezone
from stack import wait_for
from sync_tools import forget_pool
from wizard_tools import words

from pools.making import trying
from pools.making.limits import limited
from pools.models import Look, NewPool
from storagemgr.hosts import calls
from storagemgr.jobs.models import Job
from storagemgr.jobs.operations import OperationFailed, Run
from storagemgr.jobs.sweep import settle
from storagemgr.virt import pool_xml, secrets
from storagemgr.virt import pools as virt_pools
from storagemgr.virt.connection import connect

pytestmark = pytest.mark.django_db

NFS = {"source_host": "127.0.0.1", "source_dir": "/export/vm", "format": "nfs"}


@pytest.fixture
def run(real_host, daemon):
    job = Job.objects.create(operation="pool.test", title="Test", host=real_host, pool_uuid=uuid.uuid4())
    opened = []

    def open_one():
        opened.append(connect(daemon.uri))
        return opened[-1]

    return Run(job=job, target=None, connect=open_one), opened


def test_a_call_that_hangs_ends_its_job_and_is_left_alone(run):
    """Its connection stays open until it comes back: closing it under the call would be worse."""
    context, opened = run
    comes_back = threading.Event()
    begun = time.monotonic()
    with pytest.raises(OperationFailed) as failed:
        limited(context, 0.3, lambda c: comes_back.wait(30))
    assert failed.value.code == "too_slow"
    assert time.monotonic() - begun < 5
    assert calls.overdue_since(("job", context.job.pk))
    assert opened[0].alive
    comes_back.set()
    wait_for(lambda: not calls.overdue_since(("job", context.job.pk)), 10, "the call comes back")
    wait_for(lambda: is_closed(opened[0]), 10, "its connection is closed")


def is_closed(connection):
    try:
        connection.raw.getLibVersion()
    except libvirt.libvirtError as error:
        return "invalid connection" in str(error) or "closed" in str(error)
    return False


def test_a_call_in_time_closes_its_connection(run):
    context, opened = run
    assert limited(context, 10, lambda c: c.facts().hostname)
    with pytest.raises(Exception, match="invalid connection|closed"):
        opened[0].raw.getLibVersion()


def test_a_mount_that_fails_leaves_nothing_behind(maker, real_host, daemon, tmp_path):
    """This machine mounts no NFS: define and build go well, and start fails."""
    making = maker()
    making.to_review("netfs", "web", {"target_path": str(tmp_path / "vm")}, **NFS)
    assert making.send("test", test="1") == "test"
    [job] = making.run("pool.test")
    assert job.state == "failed"
    with connect(daemon.uri) as c:
        assert [virt_pools.read_pool(c, found).name for found in virt_pools.list_uuids(c)] == []
    assert list(tmp_path.glob("vm*")) == []
    page = words(making.get("test"))
    assert "does not work" in page
    assert "Skip the test" in page
    assert NewPool.objects.get().tested is None


def test_a_test_that_died_is_cleaned_up_when_it_is_settled(maker, real_host, daemon, tmp_path):
    making = maker()
    making.to_review("netfs", "web", {"target_path": str(tmp_path / "vm")}, **NFS)
    making.send("test", test="1")
    job = Job.objects.get(operation="pool.test")
    begun = timezone.now() - timedelta(seconds=1)
    left = tmp_path / "vm.left"
    with connect(daemon.uri) as c:
        here = {"target_path": str(left)}
        look = virt_pools.define(c, pool_xml.build("dir", trying.look_name(), trying.look_of(job), here))
        usage = {"usage_type": "iscsi", "usage_id": secrets.usage_id(look)}
        secrets.put_secret(c, value="not to stay", **usage)
        theirs = {"target_path": str(tmp_path / "running")}
        running = virt_pools.define(c, pool_xml.build("dir", trying.look_name(), "", theirs))
        virt_pools.build(c, look)
        virt_pools.start(c, look)
        other = virt_pools.define(c, virt_pools.dir_pool_xml("somebodys", str(tmp_path / "theirs")))
        dead = {"state": "interrupted", "daemon": "one", "next_settle_at": begun, "started_at": begun}
        dead["params"] = job.params | {"type": "iscsi"}
        Job.objects.filter(pk=job.pk).update(**dead)
        settle(job.pk)
        job.refresh_from_db()
        assert (job.state, job.error_code) == ("failed", "nothing_done")
        assert set(virt_pools.list_uuids(c)) == {other, running}
        assert secrets.find_secret(c, **usage) is None
        forget_pool(c, other)
        forget_pool(c, running)
    assert not left.exists()


def test_a_device_that_is_not_there_is_said(maker, real_host):
    making = maker()
    making.send("type", type="fs")
    making.send("source", device="/dev/disk/by-id/nothing-like-it", format="ext4")
    given = {
        "name": "web",
        "persistent": "yes",
        "build": "overwrite",
        "start": "on",
        "target_path": "/srv/vm",
    }
    making.send("options", **given)
    making.send("test", test="1")
    [job] = making.run("pool.test")
    if job.state == "failed":
        assert job.error_code in ("not_found_on_host", "invalid")
        assert "does not work" in words(making.get("test"))
    else:
        assert Look.objects.get().content["verdict"] == "unknown"
        assert "could not be read" in words(making.get("test"))


def test_the_disks_of_this_host_are_listed(maker, real_host):
    making = maker()
    making.send("type", type="disk")
    making.send("source", find="1")
    [job] = making.run("pool.find_sources")
    assert job.state == "succeeded", job.error_text
    found = NewPool.objects.get().found
    assert found["asked"]["type"] == "disk"
    assert all(source["values"]["device"].startswith("/dev/") for source in found["sources"])
    page = words(making.get("source"))
    assert f"{len(found['sources'])} found" in page
    assert "are not listed." in page


def test_a_search_that_libvirt_cannot_do_says_what_it_lacks(maker, real_host):
    """Nothing serves NFS here, and showmount may not be installed."""
    making = maker()
    making.send("type", type="netfs")
    making.send("source", find="1", source_host="127.0.0.1")
    [job] = making.run("pool.find_sources")
    assert job.state == "failed"
    page = words(making.get("source"))
    assert "kvm1:" in page
    assert "The path can be typed instead." in page


def test_what_a_test_left_whose_worker_died_goes_with_the_next_one(run, real_host, daemon, tmp_path):
    context, _ = run
    late = Job.objects.create(
        operation="pool.test",
        title="Test",
        host=real_host,
        pool_uuid=uuid.uuid4(),
        state=Job.State.FAILED,
        error_code="too_slow",
    )
    look = trying.look_of(late)
    with connect(daemon.uri) as c:
        xml = pool_xml.build("dir", trying.look_name(), look, {"target_path": str(tmp_path / "left")})
        virt_pools.build(c, virt_pools.define(c, xml))
        virt_pools.start(c, look)
        trying._end_late_looks(context)
        assert look not in virt_pools.list_uuids(c)
    assert not (tmp_path / "left").exists()
