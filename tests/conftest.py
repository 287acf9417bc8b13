import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from playwright.sync_api import Browser, sync_playwright

from pools.models import Pool
from storagemgr.access.models import Grant
from storagemgr.hosts.models import Host
from volumes.models import Volume

GIB = 1024**3


def pytest_addoption(parser: pytest.Parser) -> None:
    parts = ["all", "quick", "browser", "chaos", "hosts", "product"]
    words = "on the lab's hosts: hosts, and product, which is all of it in a browser; chaos wants the machine alone"
    parser.addoption("--part", choices=parts, default="all", help=words)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if (wanted := config.getoption("--part")) == "all":
        return
    parts: dict[bool, list[pytest.Item]] = {True: [], False: []}
    for item in items:
        parts[_part_of(item) == wanted].append(item)
    items[:] = parts[True]
    config.hook.pytest_deselected(items=parts[False])


def _part_of(item: pytest.Item) -> str:
    marks = {mark.name for mark in item.iter_markers()}
    if "lab" in marks:
        return "product" if "product" in getattr(item, "fixturenames", ()) else "hosts"
    return next((part for part in ("chaos", "browser") if part in marks), "quick")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """Playwright runs an event loop in this thread; Django would refuse the database there."""
    quiet = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
    with pytest.MonkeyPatch.context() as patch, sync_playwright() as playwright:
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
        yield playwright.chromium.launch(executable_path="/usr/bin/chromium", args=quiet)


@pytest.fixture
def make_user(db: None) -> Callable[..., User]:
    def make(name: str, role: str = "", **where: Any) -> User:
        user = User.objects.create_user(name)
        if role:
            Grant.objects.create(user=user, role=role, **where)
        return user

    return make


@pytest.fixture
def viewer(make_user: Callable[..., User]) -> User:
    return make_user("vera", "viewer")


@pytest.fixture
def operator(make_user: Callable[..., User]) -> User:
    return make_user("olga", "operator")


@pytest.fixture
def manager(make_user: Callable[..., User]) -> User:
    return make_user("mona", "manager")


@pytest.fixture
def administrator(make_user: Callable[..., User]) -> User:
    return make_user("ada", "administrator")


@pytest.fixture
def outsider(make_user: Callable[..., User]) -> User:
    return make_user("otto")


@pytest.fixture
def make_host(db: None) -> Callable[..., Host]:
    def make(name: str = "kvm1", **fields: Any) -> Host:
        return Host.objects.create(**{"name": name, "state": "up", "seen_at": timezone.now()} | fields)

    return make


@pytest.fixture
def make_pool(make_host: Callable[..., Host]) -> Callable[..., Pool]:
    def make(name: str = "default", host: Host | None = None, **fields: Any) -> Pool:
        now = timezone.now()
        values = {
            "host": host or Host.objects.first() or make_host(),
            "uuid": uuid.uuid4(),
            "name": name,
            "type": "dir",
            "state": "running",
            "state_since": now,
            "capacity": 100 * GIB,
            "allocation": 40 * GIB,
            "available": 60 * GIB,
            "target_path": f"/srv/{name}",
            "seen_at": now,
        }
        return Pool.objects.create(**values | fields)

    return make


@pytest.fixture
def make_volume(make_pool: Callable[..., Pool]) -> Callable[..., Volume]:
    def make(name: str = "web01.qcow2", pool: Pool | None = None, **fields: Any) -> Volume:
        pool = pool or Pool.objects.first() or make_pool()
        path = f"{pool.target_path}/{name}"
        values = {
            "pool": pool,
            "name": name,
            "key": path,
            "path": path,
            "type": "file",
            "format": "qcow2",
            "capacity": 10 * GIB,
            "allocation": 2 * GIB,
            "seen_at": timezone.now(),
        }
        return Volume.objects.create(**values | fields)

    return make


@pytest.fixture
def host(make_host: Callable[..., Host]) -> Host:
    return make_host()


@pytest.fixture
def pool(host: Host, make_pool: Callable[..., Pool]) -> Pool:
    return make_pool()


@pytest.fixture
def volume(pool: Pool, make_volume: Callable[..., Volume]) -> Volume:
    return make_volume()
