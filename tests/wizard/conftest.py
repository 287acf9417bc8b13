from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from daemon import PrivateDaemon
from django.test import Client
from django.urls import reverse
from sync_tools import close_connections, host_of, read_host
from wizard_tools import Maker

from storagemgr.hosts.models import Host


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateDaemon]:
    with PrivateDaemon(tmp_path_factory.mktemp("libvirtd")) as running:
        yield running


@pytest.fixture
def real_host(daemon: PrivateDaemon, db: None) -> Iterator[Host]:
    yield read_host(host_of(daemon))
    close_connections()


@pytest.fixture
def as_manager(client: Client, manager: Any) -> Client:
    client.force_login(manager)
    return client


@pytest.fixture
def maker(as_manager: Client) -> Callable[..., Maker]:
    """Begins a draft as the manager, on these hosts."""

    def begin(*hosts: Host) -> Maker:
        answer = as_manager.post(reverse("pools:new"))
        maker = Maker(as_manager, int(answer.url.rstrip("/").rpartition("/")[2]))
        if hosts:
            maker.send("hosts", hosts=[host.pk for host in hosts])
        return maker

    return begin


@pytest.fixture
def place(tmp_path: Path, settings: Any) -> Path:
    """A directory that does not exist yet, where pools may be."""
    return tmp_path / "vm"
