import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from daemon import PrivateDaemon

from storagemgr.virt import pools, streams, volumes
from storagemgr.virt.connection import Connection, connect
from storagemgr.virt.errors import VirtError
from storagemgr.virt.volume_xml import NewVolume

MIB = 1024**2
SIZE = 40 * MIB


def make_empty(c: Connection, pool_uuid: str) -> None:
    volumes.create(c, pool_uuid, NewVolume(name="empty.raw", format="raw", capacity=SIZE, allocation=0))


@pytest.fixture
def empty(c: Connection, pool) -> Path:
    """A sparse raw volume of SIZE bytes in the pool."""
    make_empty(c, pool.uuid)
    return pool.path / "empty.raw"


def write_and_finish(upload: streams.Upload, data: bytes) -> None:
    upload.write(data)
    upload.finish()


def open_files(daemon: PrivateDaemon, name: str) -> int:
    links = Path(f"/proc/{daemon.pid}/fd").iterdir()
    return sum(os.readlink(link).endswith(name) for link in links if link.is_symlink())


def test_bytes_arrive_at_their_offset_and_what_is_skipped_stays_a_hole(c, pool, empty):
    head, middle = os.urandom(3 * MIB), os.urandom(MIB + 1)
    with streams.Upload(c, pool.uuid, empty.name, 5, SIZE - 5) as upload:
        upload.write(head)
        upload.skip(8 * MIB)
        upload.write(middle)
        upload.skip(upload.length)
        upload.finish()
    rest = SIZE - 5 - len(head) - 8 * MIB - len(middle)
    assert empty.read_bytes() == bytes(5) + head + bytes(8 * MIB) + middle + bytes(rest)
    assert empty.stat().st_blocks * 512 < 6 * MIB


@pytest.mark.parametrize(
    ("offset", "length"), [(0, SIZE), (MIB - 3, 9 * MIB + 7), (SIZE - 5, 5), (SIZE - 5, 9)]
)
def test_a_download_gives_the_same_bytes_with_its_holes_as_zeros(c, pool, offset, length):
    path = pool.write("holes.raw")
    with path.open("r+b") as file:
        for place in range(0, SIZE, 4 * MIB):
            file.seek(place)
            file.write(os.urandom(MIB))
        file.truncate(SIZE)
    c.raw.storagePoolLookupByUUIDString(pool.uuid).refresh(0)
    with streams.Download(c, pool.uuid, path.name, offset, length) as download:
        got = hashlib.sha256(b"".join(download)).digest()
    assert got == hashlib.sha256(path.read_bytes()[offset : offset + length]).digest()


def test_a_stream_that_is_left_early_is_let_go_of(c, daemon, pool, empty):
    for kind in (streams.Upload, streams.Download):
        with pytest.raises(KeyError), kind(c, pool.uuid, empty.name, 0, SIZE):
            raise KeyError
    assert open_files(daemon, empty.name) == 0
    empty.write_bytes(os.urandom(SIZE))
    with streams.Download(c, pool.uuid, empty.name, 0, SIZE) as download:
        for _ in download:
            if download.offset > streams.WINDOW - streams.AHEAD + MIB:
                break
        next(iter(download))
        assert open_files(daemon, empty.name) == 2
    assert open_files(daemon, empty.name) == 0


def test_more_than_was_announced_is_refused(c, pool, empty):
    with pytest.raises(VirtError) as refused, streams.Upload(c, pool.uuid, empty.name, 0, MIB) as upload:
        write_and_finish(upload, bytes(2 * MIB))
    assert refused.value.code == "no_space"
    assert empty.stat().st_size == SIZE


@pytest.mark.parametrize("kind", [streams.Upload, streams.Download])
def test_it_says_which_of_them_is_not_there(c, pool, kind: Callable):
    with pytest.raises(VirtError) as refused:
        kind(c, pool.uuid, "nobody.raw", 0, MIB)
    assert refused.value.code == "no_volume"
    c.raw.storagePoolLookupByUUIDString(pool.uuid).destroy()
    with pytest.raises(VirtError) as refused:
        kind(c, pool.uuid, "nobody.raw", 0, MIB)
    assert refused.value.code == "pool_inactive"


def test_a_daemon_that_dies_is_a_lost_connection(own_daemon, tmp_path):
    with connect(own_daemon.uri) as c:
        uuid = pools.define(c, pools.dir_pool_xml("own", str(tmp_path)))
        pools.start(c, uuid)
        make_empty(c, uuid)
        with streams.Upload(c, uuid, "empty.raw", 0, SIZE) as upload:
            upload.write(os.urandom(MIB))
            own_daemon.kill()
            with pytest.raises(VirtError) as lost:
                write_and_finish(upload, bytes(20 * MIB))
    assert lost.value.code == "connection_lost"
