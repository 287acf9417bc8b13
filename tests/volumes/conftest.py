"""A directory of images beside a secret, on a libvirtd of its own."""

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from daemon import PrivateDaemon
from django.utils import timezone
from image_tools import overlay, qemu_img
from sync_tools import close_connections, define_and_start, forget_pool, host_of, pool_row, read_host

from pools.models import Pool
from storagemgr.jobs.models import Job
from storagemgr.jobs.operations import REGISTRY
from storagemgr.jobs.runner import run
from storagemgr.jobs.submit import submit
from storagemgr.virt.connection import connect
from volumes.identity import identity_of
from volumes.models import Volume


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateDaemon]:
    with PrivateDaemon(tmp_path_factory.mktemp("libvirtd")) as running:
        yield running


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A directory with base <- middle <- top, beside a secret."""
    (tmp_path / "images").mkdir()
    (tmp_path / "secret").write_bytes(b"secret" * 10_000)
    qemu_img("create", "-f", "qcow2", tmp_path / "images" / "base", "1M")
    overlay(tmp_path / "images" / "middle", "base")
    overlay(tmp_path / "images" / "top", tmp_path / "images" / "middle")
    return tmp_path / "images"


@pytest.fixture
def read(db: None, daemon: PrivateDaemon) -> Iterator[Callable[..., Pool]]:
    made = []

    def start(*directories: Path) -> Pool:
        with connect(daemon.uri) as connection:
            made.extend(define_and_start(connection, directory) for directory in directories)
        read_host(host_of(daemon))
        return pool_row(made[0])

    yield start
    close_connections()
    with connect(daemon.uri) as connection:
        for uuid_ in made:
            forget_pool(connection, uuid_)


@pytest.fixture
def ask(operator: Any) -> Callable[..., Job]:
    """Has a worker do an operation, and gives the job back as it ended."""

    def ask(operation: str, volume: Volume, person: Any = None, **params: Any) -> Job:
        key = uuid.uuid4()
        job = submit(REGISTRY[operation], volume, actor=person or operator, params=params, key=key)
        run(job.pk)
        return Job.objects.get(pk=job.pk)

    return ask


@pytest.fixture
def clone(ask: Callable[..., Job]) -> Callable[..., Job]:
    def clone(name: str, person: Any = None) -> Job:
        volume = Volume.objects.get(name=name)
        return ask("volume.clone", volume, person, name=f"copy-of-{name}", source=name)

    return clone


@pytest.fixture
def shared(make_host, make_pool, make_volume) -> tuple[Volume, Volume]:
    """One export in the pools of two hosts, mounted at different places."""
    found = []
    for name in ("kvm1", "kvm2"):
        host = make_host(name, uses_read_at=timezone.now())
        fields: dict[str, Any] = {"type": "netfs", "source": "nas:/export/vm", "target_path": f"/mnt/{name}"}
        pool = make_pool("vms", host, **fields)
        path = f"/mnt/{name}/web.qcow2"
        found.append(make_volume("web.qcow2", pool, path=path, identity=identity_of(pool, "web.qcow2", path)))
    return found[0], found[1]
