from collections.abc import Iterator
from pathlib import Path

import pytest
from daemon import PrivateDaemon
from django.core.management import call_command
from django.test import override_settings

from storagemgr.hosts import embedded
from storagemgr.hosts.models import Host
from storagemgr.virt import pools, volumes
from storagemgr.virt.connection import Connection, connect

pytestmark = pytest.mark.django_db

EXAMPLES = {
    "example-disk.qcow2": ("qcow2", 1024 * embedded.MIB),
    "example-full.img": ("raw", 16 * embedded.MIB),
    "example-overlay.qcow2": ("qcow2", 1024 * embedded.MIB),
    "example-sparse.img": ("raw", 64 * embedded.MIB),
}


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateDaemon]:
    with PrivateDaemon(tmp_path_factory.mktemp("libvirt")) as running:
        yield running


@pytest.fixture
def host(daemon: PrivateDaemon) -> Host:
    """This machine, reached through the private daemon."""
    host = embedded.register_host()
    host.socket = str(daemon.socket)
    host.save()
    return host


@pytest.fixture
def connection(host: Host) -> Iterator[Connection]:
    with connect(host.uri) as connection:
        yield connection
        for pool in pools.list_pools(connection):
            if pool.state != "inactive":
                pools.stop(connection, pool.uuid)
            pools.undefine(connection, pool.uuid)


@pytest.fixture(autouse=True)
def data(tmp_path: Path) -> Iterator[Path]:
    with override_settings(DATA_DIR=tmp_path):
        yield tmp_path


def the_examples(connection: Connection) -> pools.PoolStatus | None:
    return next(iter(embedded.named(connection, embedded.EXAMPLES)), None)


def test_this_machine_is_listed_once() -> None:
    assert embedded.register_host() == embedded.register_host()
    host = Host.objects.get()
    assert (host.is_embedded, host.mode) == (True, embedded.mode())


def test_the_examples_are_real_volumes_in_a_pool_that_starts_by_itself(
    host: Host, connection: Connection, data: Path
) -> None:
    embedded.make_examples(host)
    pool = the_examples(connection)
    assert pool
    assert (pool.state, pool.autostart) == ("running", True)
    found = {volume.name: volume for volume in volumes.list_volumes(connection, pool.uuid).volumes}
    assert {name: (volume.format, volume.capacity) for name, volume in found.items()} == EXAMPLES
    assert found["example-overlay.qcow2"].backing_path == str(data / "examples/example-disk.qcow2")
    assert found["example-sparse.img"].allocation == 6 * embedded.MIB
    assert found["example-full.img"].allocation == 16 * embedded.MIB


def test_removed_examples_leave_nothing_and_do_not_come_back(
    host: Host, connection: Connection, data: Path
) -> None:
    embedded.make_examples(host)
    embedded.remove_examples(connection)
    assert the_examples(connection) is None
    assert not (data / "examples").exists()
    call_command("embed_host")
    assert the_examples(connection) is None


def test_examples_of_a_directory_that_is_gone_can_be_removed(
    host: Host, connection: Connection, data: Path
) -> None:
    embedded.make_examples(host)
    pool = the_examples(connection)
    assert pool
    pools.stop(connection, pool.uuid)
    for file in (data / "examples").iterdir():
        file.unlink()
    (data / "examples").rmdir()
    embedded.remove_examples(connection)
    assert the_examples(connection) is None


def test_a_new_data_directory_in_the_same_place_gets_its_examples_back(
    host: Host, connection: Connection, data: Path
) -> None:
    embedded.make_examples(host)
    first = the_examples(connection)
    assert first
    pools.stop(connection, first.uuid)
    embedded.make_examples(host)
    again = the_examples(connection)
    assert again
    assert (again.uuid, again.state, again.volume_count) == (first.uuid, "running", 4)


def test_a_pool_of_somebody_else_with_that_name_stays_as_it_is(
    host: Host, connection: Connection, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    uuid = pools.define(connection, pools.dir_pool_xml(embedded.EXAMPLES, str(elsewhere)))
    assert embedded.make_examples(host) == []
    pool = the_examples(connection)
    assert pool
    assert (pool.uuid, pool.state) == (uuid, "inactive")


def test_a_session_without_pools_gets_one_for_real_images(connection: Connection, data: Path) -> None:
    assert list(embedded.offered_pools("system")) == [embedded.EXAMPLES]
    embedded.offer_pool(connection, "default", embedded.offered_pools("session")["default"])
    [pool] = pools.list_pools(connection)
    assert (pool.name, pool.state, pool.autostart) == ("default", "running", True)
    assert pools.read_config(connection, pool.uuid).target_path == str(data / "images")
