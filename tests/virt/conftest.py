import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest
from daemon import PrivateDaemon

from storagemgr.virt import pools
from storagemgr.virt.connection import Connection, connect
from storagemgr.virt.errors import VirtError

MIB = 1024**2


@dataclass(frozen=True)
class Pool:
    uuid: str
    name: str
    path: Path

    def write(self, name: str, size_mib: int = 1) -> Path:
        """A raw file of real data, which libvirt sees after a refresh."""
        block = os.urandom(MIB)
        with (self.path / name).open("wb") as file:
            for _ in range(size_mib):
                file.write(block)
        return self.path / name


@pytest.fixture(scope="session")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateDaemon]:
    with PrivateDaemon(tmp_path_factory.mktemp("libvirtd")) as running:
        yield running


@pytest.fixture
def own_daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateDaemon]:
    """One to kill and freeze."""
    with PrivateDaemon(tmp_path_factory.mktemp("own")) as running:
        yield running


@pytest.fixture
def c(daemon: PrivateDaemon) -> Iterator[Connection]:
    with connect(daemon.uri) as connection:
        yield connection


@pytest.fixture
def watch(daemon: PrivateDaemon) -> Iterator[Connection]:
    with connect(daemon.uri) as connection:
        yield connection


def define_and_start(c: Connection, path: Path) -> Pool:
    path.mkdir(parents=True, exist_ok=True)
    name = f"p{uuid4().hex[:8]}"
    uuid = pools.define(c, pools.dir_pool_xml(name, str(path)))
    pools.start(c, uuid)
    return Pool(uuid, name, path)


@pytest.fixture
def pool(c: Connection, tmp_path: Path) -> Iterator[Pool]:
    pool = define_and_start(c, tmp_path / "pool")
    yield pool
    for end in (pools.stop, pools.undefine):
        try:
            end(c, pool.uuid)
        except VirtError as error:
            if error.code not in ("pool_inactive", "no_pool"):
                raise


@pytest.fixture
def new_pool():
    return define_and_start
