from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from daemon import PrivateDaemon
from django.contrib.auth.models import User
from django.utils import timezone
from sync_tools import close_connections, forget_pool, host_of, pool_row, read_host

from pools.models import Pool
from storagemgr.hosts.models import Host
from storagemgr.jobs import runner, sweep
from storagemgr.jobs.models import Job
from storagemgr.jobs.operations import REGISTRY
from storagemgr.jobs.submit import submit
from storagemgr.virt import pools as virt_pools
from storagemgr.virt.connection import Connection, connect


@pytest.fixture(scope="session")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateDaemon]:
    with PrivateDaemon(tmp_path_factory.mktemp("libvirtd")) as running:
        yield running


@pytest.fixture
def c(daemon: PrivateDaemon) -> Iterator[Connection]:
    with connect(daemon.uri) as connection:
        yield connection


@pytest.fixture
def real_host(db: None, daemon: PrivateDaemon) -> Iterator[Host]:
    yield host_of(daemon)
    close_connections()


@pytest.fixture
def real_pool(c: Connection, real_host: Host) -> Iterator[Callable[[str], Pool]]:
    """Defines a pool of this XML on the real daemon and reads it into its row."""
    made = []

    def define(xml: str) -> Pool:
        made.append(virt_pools.define(c, xml))
        read_host(real_host)
        return pool_row(made[-1])

    yield define
    for uuid in made:
        forget_pool(c, uuid)


@pytest.fixture
def dir_pool(real_pool: Callable[[str], Pool], tmp_path: Path) -> Pool:
    """Defined, not built and not started."""
    return real_pool(virt_pools.dir_pool_xml(f"p{uuid4().hex[:8]}", str(tmp_path / "images")))


@pytest.fixture
def device(tmp_path: Path) -> Path:
    """An empty file. libvirt takes one for a device in all but mount and LVM."""
    path = tmp_path / "device"
    with path.open("wb") as file:
        file.truncate(16 * 1024**2)
    return path


@pytest.fixture
def run(administrator: User) -> Callable[..., Job]:
    """Asks for an operation and does it here and now, as a worker would."""

    def ask_and_do(operation: str, pool: Pool, **params: Any) -> Job:
        job = submit(REGISTRY[operation], pool, actor=administrator, params=params, key=uuid4())
        runner.run(job.pk)
        return Job.objects.get(pk=job.pk)

    return ask_and_do


@pytest.fixture
def settled(administrator: User) -> Callable[..., Job]:
    """A job whose worker died at its work, after a look at the host."""

    def settle(operation: str, pool: Pool, **params: Any) -> Job:
        job = submit(REGISTRY[operation], pool, actor=administrator, params=params, key=uuid4())
        now = timezone.now()
        Job.objects.filter(pk=job.pk).update(
            state=Job.State.INTERRUPTED, daemon="1", started_at=now, next_settle_at=now
        )
        sweep.settle(job.pk)
        return Job.objects.get(pk=job.pk)

    return settle
