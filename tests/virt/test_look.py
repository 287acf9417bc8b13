"""Looking at devices, against a real libvirtd: on loop devices, without links to them; with links: tests/lab."""

import hashlib
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from storagemgr.virt import pools
from storagemgr.virt.connection import Connection
from storagemgr.virt.content import inspect
from storagemgr.virt.errors import VirtError
from storagemgr.virt.look import LIFE_S, LOOK_PREFIX, look_into, remove_leftovers

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="devices take root")

MIB = 1024**2


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "disk.img"
    with path.open("wb") as file:
        file.truncate(64 * MIB)
    return path


@pytest.fixture
def attach(image: Path) -> Iterator[Callable[[], str]]:
    """The image as a loop device. What was written to the image before is on it."""
    devices: list[str] = []

    def run() -> str:
        done = subprocess.run(
            ["losetup", "--find", "--show", image], capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            pytest.skip(f"no loop devices here: {done.stderr}")
        devices.append(done.stdout.strip())
        return devices[-1]

    yield run
    for device in devices:
        subprocess.run(["losetup", "--detach", device], check=True)


def mkfs(image: Path) -> None:
    subprocess.run(["mkfs.ext4", "-q", image], check=True)


def label(image: Path) -> None:
    if not shutil.which("parted"):
        pytest.skip("parted is not installed")
    subprocess.run(["parted", "-s", image, "mklabel", "gpt", "mkpart", "a", "1MiB", "9MiB"], check=True)


def looks(c: Connection) -> list[str]:
    return [pool.name() for pool in c.raw.listAllStoragePools(0) if pool.name().startswith(LOOK_PREFIX)]


@pytest.mark.parametrize(
    ("prepare", "verdict", "text"),
    [
        (lambda image: None, "unknown", "nothing that blkid on the host knows"),
        (mkfs, "data", "something that blkid on the host knows and that is no GPT or MBR partition table"),
        (label, "data", "GPT partition table"),
    ],
    ids=["blank", "ext4", "gpt"],
)
def test_a_look_tells_what_libvirt_knows_and_writes_nothing(
    c: Connection,
    image: Path,
    attach: Callable[[], str],
    prepare: Callable[[Path], None],
    verdict: str,
    text: str,
) -> None:
    prepare(image)
    before = hashlib.sha256(image.read_bytes()).hexdigest()
    device = attach()
    content = inspect(c, device)
    os.sync()
    assert (content.verdict, content.text.partition(",")[0]) == (verdict, text)
    assert hashlib.sha256(image.read_bytes()).hexdigest() == before
    assert looks(c) == []


def test_what_could_not_be_seen_is_said(c: Connection, attach: Callable[[], str]) -> None:
    content = inspect(c, attach())
    assert content.finding is None
    assert content.seen == ("blkid on the host finds nothing on it.",)
    assert content.unseen[-1].startswith("Its bytes could not be read from here.")


def test_a_device_that_is_not_there(c: Connection) -> None:
    with pytest.raises(VirtError) as caught:
        inspect(c, "/dev/sdzzz")
    assert caught.value.code == "not_found_on_host"
    assert looks(c) == []


@pytest.mark.parametrize(
    "path",
    [
        "/dev/watchdog",
        "/dev/mapper/control",
        "/dev/net/tun",
        "/dev/disk/by-id/../../watchdog",
        "/dev/disk/by-id/a/b",
        "/dev/../etc/shadow",
        "/etc/shadow",
        "/dev/sda\n",
        "sda",
        "",
    ],
)
def test_only_block_devices_are_opened(c: Connection, path: str) -> None:
    with pytest.raises(VirtError) as caught:
        inspect(c, path)
    assert caught.value.code == "invalid"
    assert caught.value.number is None, "libvirt was asked"


def test_a_device_that_a_pool_has(c: Connection, attach: Callable[[], str]) -> None:
    device = attach()
    xml = (
        f"<pool type='fs'><name>held</name><source><device path='{device}'/></source>"
        "<target><path>/mnt/held</path></target></pool>"
    )
    uuid = pools.define(c, xml)
    try:
        content = inspect(c, device)
        assert (content.verdict, content.pools) == ("data", ("held",))
        assert content.text == "in use by pool held"
        assert inspect(c, device, pool_uuids=[uuid]).pools == ("held",)
    finally:
        pools.undefine(c, uuid)


def test_only_old_looks_are_cleared_away(c: Connection, tmp_path: Path) -> None:
    """One that runs belongs to another process; one that is defined is no look of ours."""
    now = int(time.time())
    old, ahead = (
        f"{LOOK_PREFIX}{now - LIFE_S - 9:08x}0badcafe",
        f"{LOOK_PREFIX}{now + LIFE_S + 9:08x}0badcafe",
    )
    kept = {f"{LOOK_PREFIX}{now - 60:08x}0badcafe", f"{LOOK_PREFIX}of-somebody", f"{LOOK_PREFIX}{'z' * 16}"}
    defined = f"{LOOK_PREFIX}{now - LIFE_S - 9:08x}deadbeef"
    made = {}
    for number, name in enumerate(sorted({old, ahead, *kept, defined})):
        path = tmp_path / str(number)
        path.mkdir()
        xml = pools.dir_pool_xml(name, str(path))
        made[name] = (
            c.raw.storagePoolDefineXML(xml, 0) if name == defined else c.raw.storagePoolCreateXML(xml, 0)
        )
    made[defined].create(0)
    try:
        assert remove_leftovers(c) == 2
        assert set(looks(c)) == {*kept, defined}
    finally:
        for name in (*kept, defined):
            made[name].destroy()
        made[defined].undefine()


def test_no_other_folder_is_opened(c: Connection) -> None:
    for folder in ("/dev", "/dev/mapper", "/dev/disk", "/etc"):
        with pytest.raises(ValueError, match="not a folder of block devices"):
            look_into(c, folder, lambda name: True)
