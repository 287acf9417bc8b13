import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from browsing import Browsing
from daemon import PrivateDaemon
from django.contrib.auth.models import User
from kept_stack import KeptStack
from playwright.sync_api import Browser
from stack import Stack, wait_for

from pools.models import Pool
from storagemgr.hosts.models import Host
from storagemgr.jobs.models import Job
from storagemgr.jobs.operations import REGISTRY
from storagemgr.jobs.submit import submit
from storagemgr.virt import pools as virt_pools
from storagemgr.virt.connection import connect

WORKERS = ("redis", "jobs", "sync", "tick")


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[PrivateDaemon]:
    with PrivateDaemon(tmp_path / "libvirt") as daemon:
        yield daemon


@pytest.fixture(scope="module")
def kept_stack(django_db_setup: None) -> Iterator[KeptStack]:
    stack = KeptStack()
    yield stack
    stack.stop()


@pytest.fixture
def stack(kept_stack: KeptStack, transactional_db: None) -> Iterator[Stack]:
    yield kept_stack
    kept_stack.rest()


@pytest.fixture
def images(tmp_path: Path) -> Path:
    directory = tmp_path / "images"
    directory.mkdir()
    return directory


@pytest.fixture
def pool(daemon: PrivateDaemon, images: Path, stack: Stack) -> Callable[[], Pool]:
    """Starts a pool on `images` and waits until the workers have read it."""
    mode = "system" if daemon.system else "session"
    Host.objects.create(name="kvm1", mode=mode, socket=str(daemon.socket))

    def start() -> Pool:
        with connect(daemon.uri) as connection:
            uuid_ = virt_pools.define(connection, virt_pools.dir_pool_xml("images", str(images)))
            virt_pools.start(connection, uuid_)
        return wait_for(Pool.objects.select_related("host").filter(uuid=uuid_).first, 60, stack.log("sync"))

    return start


@pytest.fixture
def ask(transactional_db: None) -> Callable[..., Job]:
    def ask_for(operation: str, target: Any, **params: Any) -> Job:
        actor, _ = User.objects.get_or_create(username="ada", is_superuser=True)
        if operation == "volume.clone":
            params["source"] = target.name
        return submit(REGISTRY[operation], target, actor=actor, params=params, key=uuid.uuid4())

    return ask_for


@pytest.fixture
def browsing(stack: Stack, chromium: Browser) -> Iterator[Browsing]:
    """The whole product, running, and browsers signed in to it."""
    stack.collect_static()
    stack.start(*WORKERS, "web")
    browsing = Browsing(chromium, stack.url)
    yield browsing
    browsing.close()
