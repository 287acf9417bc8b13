"""Resize and wipe on a real libvirtd; the bytes are read beside it."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from storagemgr.virt import pools, volume_changes, volumes
from storagemgr.virt.connection import Connection
from storagemgr.virt.errors import VirtError

MIB = 1024**2
RANDOM = pytest.param("random", marks=pytest.mark.skipif(not shutil.which("scrub"), reason="no scrub here"))
SECRET = b"the old bytes of a customer "


def image_info(path: Path) -> dict:
    done = subprocess.run(["qemu-img", "info", "--output=json", path], check=True, capture_output=True)
    return json.loads(done.stdout)


def code_of(function, *arguments, **named) -> str:
    with pytest.raises(VirtError) as caught:
        function(*arguments, **named)
    return caught.value.code


def test_raw_grows_is_filled_and_shrinks(c: Connection, pool):
    path = pool.write("disk.img")
    pools.refresh(c, pool.uuid)
    before = path.read_bytes()
    volume_changes.resize(c, pool.uuid, "disk.img", 4 * MIB)
    assert path.read_bytes() == before + bytes(3 * MIB)
    volume_changes.resize(c, pool.uuid, "disk.img", 3 * MIB, shrink=True)
    assert image_info(path)["virtual-size"] == 3 * MIB
    assert code_of(volume_changes.resize, c, pool.uuid, "disk.img", 2 * MIB) == "invalid"
    volume_changes.resize(c, pool.uuid, "disk.img", 5 * MIB, allocate=True)
    assert image_info(path)["actual-size"] >= 5 * MIB
    assert path.read_bytes() == before + bytes(4 * MIB)
    # All of it is taken, so libvirt makes it no smaller.
    assert code_of(volume_changes.resize, c, pool.uuid, "disk.img", 3 * MIB, shrink=True) == "invalid"


@pytest.mark.parametrize("format", ["qcow2", "qed", "qcow", "vmdk", "vdi", "vpc"])
def test_which_formats_can_be_resized(c: Connection, pool, format: str):
    path = pool.path / "image"
    subprocess.run(["qemu-img", "create", "-q", "-f", format, path, "8M"], check=True)
    pools.refresh(c, pool.uuid)
    size = volumes.read_volume(c, pool.uuid, "image").capacity
    if format in GROWS:
        volume_changes.resize(c, pool.uuid, "image", size + 8 * MIB)
        assert image_info(path)["virtual-size"] == size + 8 * MIB
    else:
        assert code_of(volume_changes.resize, c, pool.uuid, "image", size + 8 * MIB) == "command_failed"
        return
    if format in SHRINKS:
        volume_changes.resize(c, pool.uuid, "image", size, shrink=True)
        assert image_info(path)["virtual-size"] == size
    else:
        shrink = (c, pool.uuid, "image", size)
        assert code_of(volume_changes.resize, *shrink, shrink=True) == "command_failed"


GROWS, SHRINKS = {"qcow2", "qed"}, {"qcow2"}


@pytest.mark.parametrize("algorithm", ["zero", RANDOM])
def test_a_wiped_file_has_nothing_of_what_was_in_it(c: Connection, pool, algorithm: str):
    path = pool.path / "disk.img"
    path.write_bytes(SECRET * (4 * MIB // len(SECRET)))
    size = path.stat().st_size
    pools.refresh(c, pool.uuid)
    volume_changes.wipe(c, pool.uuid, "disk.img", algorithm)
    left = path.read_bytes()
    assert SECRET not in left
    # Both write whole blocks of the file system.
    assert len(left) - size < 4096
    assert (left == bytes(len(left))) == (algorithm == "zero")


def test_an_image_is_raw_after_it_was_wiped(c: Connection, pool):
    path = pool.path / "image.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", path, "64M"], check=True)
    pools.refresh(c, pool.uuid)
    length = path.stat().st_size
    volume_changes.wipe(c, pool.uuid, "image.qcow2", "zero")
    pools.refresh(c, pool.uuid)
    volume = volumes.read_volume(c, pool.uuid, "image.qcow2")
    assert volume.format == "raw"
    assert length <= volume.capacity < length + 4096


def test_what_is_no_algorithm_here_is_refused(c: Connection, pool):
    pool.write("disk.img")
    pools.refresh(c, pool.uuid)
    assert code_of(volume_changes.wipe, c, pool.uuid, "disk.img", "trim") == "no_support"
    assert code_of(volume_changes.wipe, c, pool.uuid, "gone.img", "zero") == "no_volume"
    pools.stop(c, pool.uuid)
    assert code_of(volume_changes.wipe, c, pool.uuid, "disk.img", "zero") == "pool_inactive"


@pytest.fixture
def disk(tmp_path: Path, daemon):
    """A file system of 32 MiB below the daemon's directory, as (the bytes of its device, where it is mounted)."""
    if not daemon.system:
        pytest.skip("only root mounts")
    device, mounted = daemon.directory / "device.img", daemon.directory / "mounted"
    mounted.mkdir()
    with device.open("wb") as file:
        file.truncate(32 * MIB)
    subprocess.run(["mkfs.ext4", "-q", "-O", "^has_journal", device], check=True)
    subprocess.run(["mount", "-o", "loop", device, mounted], check=True)
    yield device, mounted
    subprocess.run(["umount", "--lazy", mounted], check=True)
    device.unlink()
    mounted.rmdir()


@pytest.mark.parametrize("way", ["zero", RANDOM, "fill and zero"])
def test_what_a_wipe_of_a_sparse_file_leaves_on_the_disk(c: Connection, disk, new_pool, way: str):
    """The claims of the page about sparse files: zeros alone only free the blocks."""
    device, mounted = disk
    path = mounted / "sparse.img"
    with path.open("wb") as file:
        file.write(SECRET * (MIB // len(SECRET)))
        file.truncate(8 * MIB)
        os.fsync(file.fileno())
    pool = new_pool(c, mounted)
    try:
        assert SECRET in device.read_bytes()
        if way == "fill and zero":
            volume_changes.resize(c, pool.uuid, path.name, 8 * MIB, allocate=True)
        volume_changes.wipe(c, pool.uuid, path.name, way.split()[-1])
        subprocess.run(["sync", "--file-system", mounted], check=True)
        assert SECRET not in path.read_bytes()
        assert (SECRET in device.read_bytes()) == (way == "zero")
    finally:
        pools.stop(c, pool.uuid)
        pools.undefine(c, pool.uuid)
