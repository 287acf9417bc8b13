from collections.abc import Iterator
from pathlib import Path

import pytest
from daemon import PrivateDaemon
from django.contrib.auth.models import User
from stack import Stack, wait_for

from pools.models import Pool
from storagemgr.access import tokens
from storagemgr.access.models import Grant
from storagemgr.hosts.models import Host
from storagemgr.virt import pools as virt_pools
from storagemgr.virt.connection import connect

SERVICES = ("redis", "jobs", "sync", "tick", "transfer")


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[PrivateDaemon]:
    with PrivateDaemon(tmp_path / "libvirt") as daemon:
        yield daemon


@pytest.fixture
def images(daemon: PrivateDaemon) -> Path:
    """Where the daemon sees what is mounted later."""
    directory = daemon.directory / "images"
    directory.mkdir()
    return directory


@pytest.fixture
def stack(transactional_db: None) -> Iterator[Stack]:
    stack = Stack(JOB_PROCESSES="2", SYNC_PROCESSES="1")
    yield stack
    stack.stop()


@pytest.fixture
def live_pool(daemon: PrivateDaemon, images: Path, stack: Stack) -> Pool:
    """A directory pool that the running workers have read."""
    mode = "system" if daemon.system else "session"
    Host.objects.create(name="kvm1", mode=mode, socket=str(daemon.socket))
    with connect(daemon.uri) as connection:
        uuid_ = virt_pools.define(connection, virt_pools.dir_pool_xml("images", str(images)))
        virt_pools.start(connection, uuid_)
    stack.start(*SERVICES)
    return wait_for(Pool.objects.select_related("host").filter(uuid=uuid_).first, 60, stack.log("sync"))


@pytest.fixture
def token(transactional_db: None) -> str:
    """Of an operator."""
    user = User.objects.create_user("olga")
    Grant.objects.create(user=user, role="operator")
    return tokens.make(user, "tus", 1)[1]
