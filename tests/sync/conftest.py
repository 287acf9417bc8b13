from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from daemon import PrivateDaemon
from sync_tools import Virsh, close_connections, define_and_start, forget_pool, host_of, read_host

from storagemgr.hosts.models import Host
from storagemgr.virt.connection import Connection, connect


@pytest.fixture(scope="session")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateDaemon]:
    with PrivateDaemon(tmp_path_factory.mktemp("libvirtd")) as running:
        yield running


@pytest.fixture
def own_daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateDaemon]:
    """One to kill and freeze, with no pool."""
    with PrivateDaemon(tmp_path_factory.mktemp("own")) as running:
        yield running


@pytest.fixture
def virsh(daemon: PrivateDaemon) -> Virsh:
    return Virsh(daemon.uri)


@pytest.fixture
def c(daemon: PrivateDaemon) -> Iterator[Connection]:
    with connect(daemon.uri) as connection:
        yield connection


@pytest.fixture
def host(db: None, daemon: PrivateDaemon) -> Iterator[Host]:
    yield host_of(daemon)
    close_connections()


@pytest.fixture
def read(host: Host) -> Callable[[], Host]:
    return lambda: read_host(host)


@pytest.fixture
def new_pool(c: Connection, tmp_path: Path) -> Iterator[Callable[..., str]]:
    made = []

    def make(*files: str) -> str:
        made.append(define_and_start(c, tmp_path / f"pool{len(made)}", *files))
        return made[-1]

    yield make
    for uuid in made:
        forget_pool(c, uuid)
