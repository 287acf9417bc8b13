"""How interrupted jobs end when the pool cannot be looked at, on a real libvirtd."""

import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from daemon import PrivateDaemon
from django.contrib.auth.models import User
from django.utils import timezone
from sync_tools import close_connections, define_and_start, forget_pool, host_of, pool_row, read_host

from pools.models import Pool
from storagemgr.hosts.models import Host
from storagemgr.hosts.reaching import open_in_time
from storagemgr.jobs.models import Job
from storagemgr.jobs.operations import REGISTRY
from storagemgr.jobs.submit import submit
from storagemgr.jobs.sweep import settle
from storagemgr.virt import pools as virt_pools
from storagemgr.virt.connection import Connection, connect
from volumes.models import Volume

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateDaemon]:
    with PrivateDaemon(tmp_path_factory.mktemp("libvirtd")) as running:
        yield running


@pytest.fixture
def c(daemon: PrivateDaemon) -> Iterator[Connection]:
    with connect(daemon.uri) as connection:
        yield connection


@pytest.fixture
def pool(daemon: PrivateDaemon, c: Connection, db: None, tmp_path: Path) -> Iterator[Pool]:
    found = define_and_start(c, tmp_path / "images", "one.img")
    read_host(host_of(daemon))
    yield pool_row(found)
    close_connections()
    forget_pool(c, found)


@pytest.fixture
def interrupted(operator: User) -> Callable[..., Job]:
    def make(operation: str, name: str, daemon: str) -> Job:
        volume = Volume.objects.get(name="one.img")
        params = {"name": name, "source": volume.name} if operation == "volume.clone" else {}
        job = submit(REGISTRY[operation], volume, actor=operator, params=params, key=uuid.uuid4())
        state = {"state": "interrupted", "daemon": daemon, "next_settle_at": timezone.now()}
        Job.objects.filter(pk=job.pk).update(**state)
        return job

    return make


def settled(job: Job) -> tuple[str, str]:
    settle(job.pk)
    job.refresh_from_db()
    return job.state, job.error_code


def test_a_stopped_pool_keeps_no_job_for_ever(pool, c, interrupted):
    """Nobody could start the pool: that job would wait behind the interrupted one."""
    virt_pools.stop(c, str(pool.uuid))
    clone = interrupted("volume.clone", "copy.img", c.daemon_id())
    assert settled(clone) == ("failed", "end_unknown")
    delete = interrupted("volume.delete", "one.img", c.daemon_id())
    assert settled(delete) == ("failed", "end_unknown")


@pytest.mark.parametrize("is_there", [True, False])
def test_a_copy_found_when_the_pool_starts_again_is_unverified(
    pool, c, interrupted, tmp_path, is_there, settings
):
    settings.VOLUMES_PERIOD = 0  # nobody saw it stop, and it has as many volumes as before
    if is_there:
        (tmp_path / "images" / "copy.img").write_bytes(bytes(4096))
    virt_pools.stop(c, str(pool.uuid))
    clone = interrupted("volume.clone", "copy.img", "the one before")
    assert settled(clone) == ("failed", "unverified")
    virt_pools.start(c, str(pool.uuid))
    read_host(pool.host)
    copy = Volume.objects.filter(name="copy.img").first()
    assert (copy is not None) == is_there
    if copy:
        assert copy.unverified_since
        assert copy.capacity == 4096


def test_a_pool_that_does_not_answer_is_not_asked(pool, c, interrupted):
    job = interrupted("volume.clone", "copy.img", c.daemon_id())
    Pool.objects.update(unreachable_since=timezone.now())
    assert settled(job) == ("interrupted", "")
    assert "has not answered since" in job.finding
    Pool.objects.update(unreachable_since=None)
    Job.objects.update(next_settle_at=timezone.now())
    Host.objects.update(state="silent")
    assert settled(job) == ("interrupted", "")


def test_nobody_else_looks_while_a_look_may_hang(pool, c, interrupted, monkeypatch):
    job = interrupted("volume.clone", "copy.img", c.daemon_id())
    seen = []

    def watch(host: Host) -> Connection:
        seen.append(Job.objects.get(pk=job.pk).next_settle_at)
        return open_in_time(host)

    monkeypatch.setattr("storagemgr.jobs.sweep.open_in_time", watch)
    assert settled(job) == ("failed", "copy_vanished")
    assert seen[0] > timezone.now() + timedelta(seconds=60)
