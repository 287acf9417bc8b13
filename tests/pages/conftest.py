import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth import SESSION_KEY
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from pools.models import Pool
from storagemgr.jobs.models import Job, JobLock
from volumes.models import DiskUse, Volume

POLL = {"HX-Request": "true", "HX-Target": "div#live"}


@pytest.fixture
def see(client: Client) -> Callable[..., Any]:
    """Opens a page as somebody; `poll=True` asks for its fragment as the page itself does every 2 s."""

    def open_page(user: User, url: str, *, poll: bool = False, **headers: str) -> Any:
        if client.session.get(SESSION_KEY) != str(user.pk):
            client.force_login(user)
        return client.get(url, headers=(POLL if poll else {}) | headers)

    return open_page


@pytest.fixture
def make_job(db: None) -> Callable[..., Job]:
    def make(pool: Pool, operation: str = "volume.clone", **fields: Any) -> Job:
        values = {
            "title": "Clone web01.qcow2 to web02.qcow2",
            "host": pool.host,
            "pool_uuid": pool.uuid,
            "pool_name": pool.name,
            "requester_name": "olga",
            "state": "running",
            "started_at": timezone.now(),
        }
        return Job.objects.create(operation=operation, **values | fields)

    return make


@pytest.fixture
def lock(db: None) -> Callable[..., JobLock]:
    def make(job: Job, name: str, *, is_write: bool) -> JobLock:
        where = {"host_id": job.host_id, "pool_uuid": job.pool_uuid, "volume_name": name}
        return JobLock.objects.create(job=job, is_write=is_write, **where)

    return make


@pytest.fixture
def use(db: None) -> Callable[..., DiskUse]:
    def make(volume: Volume, vm: str = "web01", **fields: Any) -> DiskUse:
        values = {"host": volume.pool.host, "domain_uuid": uuid.uuid4(), "running": True}
        values |= {"target": "vda", "kind": "disk"}
        return DiskUse.objects.create(volume=volume, domain_name=vm, **values | fields)

    return make


@pytest.fixture(autouse=True)
def _no_libvirt(monkeypatch: pytest.MonkeyPatch) -> None:
    """No page asks libvirt: an attempt fails the test."""

    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("a page asked libvirt")

    monkeypatch.setattr("storagemgr.virt.connection.connect", refuse)
    monkeypatch.setattr("libvirt.open", refuse)
    monkeypatch.setattr("libvirt.openAuth", refuse)


@pytest.fixture
def count_queries() -> Callable[[Callable[[], Any]], int]:
    """How many queries a page takes, without the session, the person and the grants."""

    def count(page: Callable[[], Any]) -> int:
        page()
        with CaptureQueriesContext(connection) as captured:
            response = page()
        assert response.status_code == 200
        signing_in = ("django_session", 'FROM "auth_user"', 'FROM "access_grant"')
        return sum(not any(table in query["sql"] for table in signing_in) for query in captured)

    return count
