import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from storagemgr.virt import pools, volume_copies, volumes
from storagemgr.virt.connection import Connection, connect
from storagemgr.virt.errors import VirtError

MIB = 1024**2
SIZE_MIB = 512


@pytest.fixture
def source(c: Connection, pool) -> Path:
    path = pool.write("source", SIZE_MIB)
    pools.refresh(c, pool.uuid)
    return path


def make_qcow2(raw: Path, name: str, *options: str) -> Path:
    made = raw.with_name(name)
    subprocess.run(["qemu-img", "convert", "-O", "qcow2", *options, raw, made], check=True)
    return made


def assert_same(one: Path, two: Path) -> None:
    done = subprocess.run(["qemu-img", "compare", one, two], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def copy_of(c: Connection, watch: Connection, pool, source: str, name: str, **options) -> Iterator[int]:
    new = volumes.NewVolume(name=name, **options)
    return volume_copies.copy(c, watch, pool.uuid, source, pool.uuid, new)


def code_of(function, *arguments, **named) -> str:
    with pytest.raises(VirtError) as caught:
        function(*arguments, **named)
    return caught.value.code


@pytest.fixture(autouse=True)
def _look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that also a fast disk is seen at work."""
    monkeypatch.setattr(volume_copies, "_POLL_S", 0.02)


def test_a_raw_copy_shows_how_far_it_is(c, watch, pool, source: Path):
    seen = list(copy_of(c, watch, pool, "source", "copy"))
    assert seen == sorted(seen)
    assert len(set(seen)) >= 3
    assert seen[-1] <= SIZE_MIB * MIB + MIB
    assert_same(source, pool.path / "copy")
    copy = volumes.read_volume(c, pool.uuid, "copy")
    assert (copy.format, copy.capacity) == ("raw", SIZE_MIB * MIB)


def test_a_qcow2_copy_is_like_its_source(c, watch, pool, source: Path):
    image = make_qcow2(source, "image", "-o", "cluster_size=131072,lazy_refcounts=on")
    pools.refresh(c, pool.uuid)
    before = volumes.read_volume(c, pool.uuid, "image")
    seen = list(copy_of(c, watch, pool, "image", "copy"))
    assert seen == sorted(seen)
    assert len(seen) >= 1
    assert all(step <= before.allocation + MIB for step in seen)
    assert_same(image, pool.path / "copy")
    copy = volumes.read_volume(c, pool.uuid, "copy")
    for same in ("format", "capacity", "compat", "cluster_size"):
        assert getattr(copy, same) == getattr(before, same)
    assert copy.cluster_size == 131072


def test_a_sparse_source_makes_a_sparse_copy(c, watch, pool):
    volumes.create(c, pool.uuid, volumes.NewVolume(name="sparse", format="raw", capacity=256 * MIB))
    with (pool.path / "sparse").open("r+b") as file:
        file.seek(128 * MIB)
        file.write(b"x" * MIB)
    list(copy_of(c, watch, pool, "sparse", "copy"))
    assert_same(pool.path / "sparse", pool.path / "copy")
    assert volumes.read_volume(c, pool.uuid, "copy").allocation < 3 * MIB


def answers_during_a_copy(steps, ask) -> list[bool]:
    """What `ask` says, as often as it can, from when the copy is listed until after its end."""
    copying = threading.Thread(target=list, args=[steps])
    copying.start()
    answers = []
    while copying.is_alive():
        try:
            answers.append(ask())
        except VirtError as error:
            if (error.code, answers) != ("no_volume", []):
                raise
    copying.join()
    return [*answers, ask()]


@pytest.mark.parametrize("format", ["raw", "qcow2"])
def test_building_is_true_until_the_copy_ends(c, watch, pool, source: Path, format: str, daemon):
    make_qcow2(source, "source.qcow2")
    pools.refresh(c, pool.uuid)
    name = "source" if format == "raw" else "source.qcow2"
    before = (pool.path / name).stat()
    assert not volumes.is_building(c, pool.uuid, name)
    with connect(daemon.uri) as third:
        steps = copy_of(c, watch, pool, name, "copy")
        answers = answers_during_a_copy(steps, lambda: volumes.is_building(third, pool.uuid, "copy"))
    assert answers[0]
    assert not answers[-1]
    assert answers == sorted(answers, reverse=True)
    after = (pool.path / name).stat()
    assert (before.st_mtime_ns, before.st_size, before.st_ino) == (
        after.st_mtime_ns,
        after.st_size,
        after.st_ino,
    )
    assert_same(pool.path / name, pool.path / "copy")


@pytest.mark.parametrize("format", ["raw", "qcow2"])
def test_asking_whether_it_is_built_changes_nothing(c, pool, format: str):
    volume = volumes.create(c, pool.uuid, volumes.NewVolume(name="v", format=format, capacity=4 * MIB))
    path = pool.path / "v"
    before, content = path.stat(), path.read_bytes()
    for _ in range(20):
        assert not volumes.is_building(c, pool.uuid, "v")
    after = path.stat()
    assert (before.st_mtime_ns, before.st_ctime_ns) == (after.st_mtime_ns, after.st_ctime_ns)
    assert path.read_bytes() == content
    assert volumes.read_volume(c, pool.uuid, "v") == volume


@pytest.mark.parametrize("content", [b"", b"x"])
def test_a_tiny_volume_stays_tiny_when_asked(c, pool, content: bytes):
    path = pool.path / "tiny"
    path.write_bytes(content)
    (pool.path / "folder").mkdir()
    pools.refresh(c, pool.uuid)
    before = path.stat()
    assert not volumes.is_building(c, pool.uuid, "tiny")
    assert not volumes.is_building(c, pool.uuid, "folder")
    assert path.read_bytes() == content
    assert (path.stat().st_mtime_ns, path.stat().st_blocks) == (before.st_mtime_ns, before.st_blocks)


def test_a_volume_that_is_not_there_is_not_building(c, pool):
    assert code_of(volumes.is_building, c, pool.uuid, "missing") == "no_volume"
    pool.write("gone")
    pools.refresh(c, pool.uuid)
    (pool.path / "gone").unlink()
    assert code_of(volumes.is_building, c, pool.uuid, "gone") == "no_volume"
    assert not (pool.path / "gone").exists()


def test_during_a_copy_the_pool_and_both_volumes_are_busy(c, watch, pool, source: Path, daemon):
    steps = copy_of(c, watch, pool, "source", "copy")
    next(steps)
    with connect(daemon.uri) as third:
        assert code_of(pools.refresh, third, pool.uuid) == "pool_busy"
        assert code_of(pools.stop, third, pool.uuid) == "pool_busy"
        assert code_of(volumes.delete, third, pool.uuid, "copy") == "volume_busy"
        assert code_of(volumes.delete, third, pool.uuid, "source") == "volume_busy"
        assert code_of(list, copy_of(third, watch, pool, "copy", "x")) == "volume_busy"
        assert volumes.read_volume(third, pool.uuid, "copy").capacity == SIZE_MIB * MIB
        assert {v.name for v in volumes.list_volumes(third, pool.uuid).volumes} == {"source", "copy"}
    assert_ends(steps)
    assert_same(source, pool.path / "copy")


def assert_ends(steps) -> None:
    for _ in steps:
        pass


def test_leaving_a_copy_early_waits_for_its_end(c, watch, pool, source: Path):
    steps = copy_of(c, watch, pool, "source", "copy")
    next(steps)
    steps.close()
    assert not volumes.is_building(c, pool.uuid, "copy")
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("copy")]
    assert_same(source, pool.path / "copy")


def test_a_copy_goes_on_when_nobody_can_watch(c, pool, source: Path):
    with connect("test:///default") as blind:
        seen = list(copy_of(c, blind, pool, "source", "copy"))
    assert set(seen) == {0}
    assert_same(source, pool.path / "copy")


def test_the_error_of_the_copy_comes_out(c, watch, pool):
    assert code_of(list, copy_of(c, watch, pool, "missing", "copy")) == "no_volume"
    (pool.path / "folder").mkdir()
    broken = pool.path / "broken"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", broken, "1M"], check=True)
    pools.refresh(c, pool.uuid)
    with broken.open("r+b") as file:
        file.seek(40)
        file.write(b"\xff" * 8)
    assert code_of(list, copy_of(c, watch, pool, "broken", "copy")) == "command_failed"
    assert not (pool.path / "copy").exists()


def test_a_daemon_that_dies_mid_copy_is_a_lost_connection(own_daemon, new_pool, tmp_path):
    with connect(own_daemon.uri) as c, connect(own_daemon.uri) as watch:
        pool = new_pool(c, tmp_path / "pool")
        pool.write("source", SIZE_MIB)
        pools.refresh(c, pool.uuid)
        identity = c.daemon_id()
        steps = copy_of(c, watch, pool, "source", "copy")
        while next(steps) == 0:
            pass
        own_daemon.kill()
        began = time.monotonic()
        with pytest.raises(VirtError) as caught:
            assert_ends(steps)
        assert caught.value.code == "connection_lost"
        assert time.monotonic() - began < 2
    own_daemon.start()
    with connect(own_daemon.uri) as c:
        assert c.daemon_id() != identity
        left = volumes.read_volume(c, pool.uuid, "copy")
        assert not volumes.is_building(c, pool.uuid, "copy")
        assert left.capacity == SIZE_MIB * MIB
        assert left.allocation < SIZE_MIB * MIB
