"""What virsh does beside us becomes rows of Change; what our jobs do does not. An idle reading asks nothing more."""

import uuid
from dataclasses import replace
from datetime import timedelta

import pytest
from daemon import PrivateDaemon
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from sync_tools import (
    Virsh,
    close_connections,
    define_and_start,
    forget_pool,
    host_of,
    names,
    pool_row,
    read_host,
)

from pools import noticing
from storagemgr.hosts import changes
from storagemgr.hosts import sync as host_sync
from storagemgr.hosts.models import Change, Host
from storagemgr.hosts.reaching import open_host
from storagemgr.jobs import runner
from storagemgr.jobs.models import Job, JobLock
from storagemgr.jobs.operations import REGISTRY
from storagemgr.jobs.submit import submit
from storagemgr.virt.connection import connect
from storagemgr.virt.volumes import list_volumes
from volumes import sync as volume_sync
from volumes.models import Volume

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    with PrivateDaemon(tmp_path_factory.mktemp("libvirtd")) as running:
        yield running


@pytest.fixture
def virsh(daemon):
    return Virsh(daemon.uri)


@pytest.fixture
def host(daemon):
    yield host_of(daemon)
    close_connections()


@pytest.fixture
def seen(daemon, host, tmp_path):
    """A pool that was read already, with two volumes."""
    with connect(daemon.uri) as c:
        made = define_and_start(c, tmp_path / "p", "a.raw", "b.raw")
        read_host(host)
        yield pool_row(made)
        forget_pool(c, made)


def texts(**about):
    return [one.text for one in Change.objects.filter(**about).order_by("id")]


def job_on(pool, operation, volume_name="", **fields):
    values = {
        "title": operation,
        "state": "succeeded",
        "finished_at": timezone.now(),
        "volume_name": volume_name,
    }
    job = Job.objects.create(host=pool.host, pool_uuid=pool.uuid, operation=operation, **values | fields)
    if volume_name:
        place = {"host_id": pool.host_id, "pool_uuid": pool.uuid, "volume_name": volume_name}
        JobLock.objects.create(job=job, is_write=True, **place)
    return job


def read_volumes_again(host):
    host.pools.update(is_changed=True)
    return read_host(host)


def test_what_was_there_at_the_first_reading_is_no_change(seen):
    assert names(str(seen.uuid)) == {"a.raw", "b.raw"}
    assert texts() == []


def test_volumes_by_virsh(host, seen, virsh):
    virsh("vol-create-as", seen.name, "new.raw", "3M")
    virsh("vol-resize", "--pool", seen.name, "a.raw", "5M")
    virsh("vol-delete", "--pool", seen.name, "b.raw")
    read_volumes_again(host)
    nbsp = "\N{NO-BREAK SPACE}"
    assert sorted(texts(pool_uuid=seen.uuid)) == [
        f"Volume a.raw grew from 1{nbsp}MiB to 5{nbsp}MiB.",
        "Volume b.raw disappeared.",
        f"Volume new.raw appeared, 3{nbsp}MiB.",
    ]
    assert Change.objects.get(kind="went").volume_name == "b.raw"


def test_volumes_by_a_job_are_not_from_outside(host, seen, virsh):
    job_on(seen, "volume.create", "new.raw")
    job_on(seen, "pool.refresh")
    virsh("vol-create-as", seen.name, "new.raw", "3M")
    virsh("vol-create-as", seen.name, "other.raw", "3M")
    read_volumes_again(host)
    assert [one.volume_name for one in Change.objects.all()] == ["other.raw"]


def test_many_volumes_are_one_row(host, seen, virsh, tmp_path):
    for number in range(changes.SUMMED_UP + 1):
        (tmp_path / "p" / f"n{number}.raw").write_bytes(b"0" * 512)
    virsh("pool-refresh", seen.name)
    read_volumes_again(host)
    assert texts() == ["21\N{NO-BREAK SPACE}volumes appeared."]


def test_a_pool_by_virsh(host, seen, virsh, tmp_path):
    virsh("pool-define-as", "late", "dir", "--target", tmp_path)
    read_host(host)
    late = host.pools.get(name="late")
    virsh("pool-autostart", "late")
    virsh("pool-destroy", seen.name)
    read_host(host)
    virsh("pool-undefine", "late")
    read_host(host)
    assert sorted(texts()) == [
        "Pool late appeared.",
        "Pool late disappeared.",
        "Pool late starts with the host now.",
        f"Pool {seen.name} was stopped.",
    ]
    assert Change.objects.filter(pool_uuid=late.uuid).count() == 3


def test_a_definition_by_virsh(host, seen, virsh, tmp_path):
    xml = virsh("pool-dumpxml", "--inactive", seen.name).replace("/p</path>", "/q</path>")
    (tmp_path / "new.xml").write_text(xml)
    virsh("pool-define", tmp_path / "new.xml")
    read_host(host)
    assert texts() == [f"The configuration of pool {seen.name} was changed."]


def test_a_pool_that_a_job_stopped(host, seen, virsh):
    job_on(seen, "pool.stop", state="running", finished_at=None)
    virsh("pool-destroy", seen.name)
    read_host(host)
    assert texts() == []


def test_a_host_that_goes_and_comes(host, seen):
    host = Host.objects.get(pk=host.pk)
    host_sync._write_failure(host, Host.State.SILENT, "not_answering", "")
    host_sync._write_failure(host, Host.State.DOWN, "no_route", "")
    host_sync._write_answer(host)
    [down, up] = texts(pool_uuid=None)
    assert down.startswith("Host kvm1 stopped answering. ")
    assert up == "Host kvm1 answers again."


def test_an_idle_reading_of_10_000_volumes_asks_nothing_more(host, seen, monkeypatch):
    """Not a query more than for two volumes: the ones that differ are looked at, and none differs."""

    def counted():
        host.pools.update(is_changed=True)
        with CaptureQueriesContext(
            connection,
        ) as asked:
            read_host(host)
        return [
            query["sql"] for query in asked if "hosts_change" in query["sql"] or "jobs_job" in query["sql"]
        ]

    assert counted() == []
    pool = pool_row(str(seen.uuid))
    first = Volume.objects.filter(pool=pool).first()
    info = next(i for i in _listed(pool) if i.name == first.name)
    infos = [replace(info, name=f"v{n}.raw", path=f"/v{n}.raw", key=f"/v{n}.raw") for n in range(10_000)]
    listing = type("Listing", (), {"volumes": infos, "skipped": 0})
    volume_sync._write_listing(pool, listing, timezone.now())
    pool.refresh_from_db()
    with CaptureQueriesContext(connection) as asked:
        volume_sync._write_listing(pool, listing, timezone.now())
    assert len(asked) < 12, [query["sql"][:80] for query in asked]
    assert not [q for q in asked if "hosts_change" in q["sql"] or "jobs_job" in q["sql"]]
    assert Change.objects.get(kind="came").text.startswith("10,000")


def _listed(pool):
    with open_host(pool.host) as c:
        return list_volumes(c, str(pool.uuid)).volumes


def test_two_processes_write_one_row_and_old_ones_go(host, settings):
    rows = [changes.change(host.pk, "state", "Pool p was stopped.", pool_uuid=uuid.uuid4()) for _ in range(2)]
    for row in rows:
        changes.record([row])
        changes.record([changes.change(host.pk, "state", row.text, pool_uuid=row.pool_uuid)])
    assert Change.objects.count() == 2
    Change.objects.filter(pool_uuid=rows[0].pool_uuid).update(at=timezone.now() - timedelta(days=366))
    settings.CHANGES_KEPT = 0
    assert changes.forget_old() == 0
    settings.CHANGES_KEPT = 365
    assert changes.forget_old() == 1


def test_only_those_who_see_the_pool_see_its_changes(host, make_user):
    mine, other = uuid.uuid4(), uuid.uuid4()
    changes.record(
        [changes.change(host.pk, "state", f"Pool {u} was stopped.", pool_uuid=u) for u in (mine, other)]
    )
    user = make_user("vera", "viewer", pool_uuid=mine)
    assert [one.pool_uuid for one in Change.objects.visible_to(user)] == [mine]
    assert noticing.worked_on(host.pk, [mine]) == set()


def test_what_our_own_jobs_make_and_delete_is_not_from_outside(host, seen, administrator):
    """By the real operations, with a reading after each, as the workers do it."""

    def do(operation, target, **params):
        job = submit(REGISTRY[operation], target, actor=administrator, params=params, key=uuid.uuid4())
        runner.run(job.pk)
        job.refresh_from_db()
        assert job.state == "succeeded", job.error_text
        read_volumes_again(host)

    old = Volume.objects.get(pool=seen, name="a.raw")
    do("volume.clone", old, source=old.name, name="copy.raw")
    do("volume.resize", old, capacity=4 * 1024**2, allocate=False, shrink=False)
    do("volume.delete_now", Volume.objects.get(pool=seen, name="copy.raw"))
    do("pool.stop", pool_row(str(seen.uuid)))
    do("pool.start", pool_row(str(seen.uuid)))
    assert texts() == []
