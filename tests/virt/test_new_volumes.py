"""What a new volume can have, as qemu-img finds it."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from storagemgr.virt import pools, secrets, volume_copies, volumes
from storagemgr.virt.connection import Connection
from storagemgr.virt.errors import VirtError
from storagemgr.virt.volume_formats import CREATABLE, ON_BACKING
from storagemgr.virt.volumes import NewVolume

MIB = 1024**2


def info(path: Path) -> dict:
    done = subprocess.run(["qemu-img", "info", "--output=json", path], check=True, capture_output=True)
    return json.loads(done.stdout)


def create(c: Connection, pool, **wanted) -> Path:
    volume = volumes.create(c, pool.uuid, NewVolume(**{"name": "v", "capacity": 8 * MIB} | wanted))
    return Path(volume.path)


def code_of(function, *arguments, **named) -> str:
    with pytest.raises(VirtError) as caught:
        function(*arguments, **named)
    return caught.value.code


@pytest.mark.parametrize("format", CREATABLE)
def test_every_format_is_made(c: Connection, pool, format: str):
    path = create(c, pool, format=format, mode="0640", owner=1, group=2)
    status = path.stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o777) == (1, 2, 0o640)
    if format == "dir":
        assert os.listdir(path) == []
        return
    found = info(path)
    assert found["format"] == {"iso": "raw"}.get(format, format)
    # VHD knows cylinders only.
    assert 8 * MIB <= found["virtual-size"] < 8 * MIB + 64 * 1024
    assert found["actual-size"] < MIB


@pytest.mark.parametrize("format", sorted(ON_BACKING))
def test_what_is_built_on_another_takes_its_size_and_says_its_format(c: Connection, pool, format: str):
    base = pool.write("base.raw", 3)
    path = create(c, pool, format=format, capacity=0, backing_path=str(base), backing_format="raw")
    found = info(path)
    assert (found["backing-filename"], found["virtual-size"]) == (str(base), 3 * MIB)
    # The first qcow has no place for it.
    assert found.get("backing-filename-format") == (None if format == "qcow" else "raw")
    assert subprocess.run(["qemu-img", "compare", base, path], capture_output=True).returncode == 0


def test_a_backing_file_that_is_not_there_is_refused(c: Connection, pool):
    code = code_of(create, c, pool, format="qcow2", backing_path="/nonexistent", backing_format="raw")
    assert (code, os.listdir(pool.path)) == ("not_found_on_host", [])


@pytest.mark.parametrize(
    ("wanted", "compat", "cluster", "lazy"),
    [
        ({}, "1.1", 65536, False),
        ({"cluster_size": 512}, "1.1", 512, False),
        ({"cluster_size": 2 * MIB, "lazy_refcounts": True}, "1.1", 2 * MIB, True),
        ({"compat": "0.10", "cluster_size": 4096}, "0.10", 4096, None),
    ],
)
def test_the_settings_of_qcow2(c: Connection, pool, wanted, compat, cluster, lazy):
    found = info(create(c, pool, format="qcow2", nocow=True, **wanted))
    data = found["format-specific"]["data"]
    assert (data["compat"], found["cluster-size"], data.get("lazy-refcounts")) == (compat, cluster, lazy)


def test_tables_alone_are_made_before(c: Connection, pool):
    plain = info(create(c, pool, name="plain", format="qcow2", capacity=256 * MIB))["actual-size"]
    path = create(c, pool, name="tables", format="qcow2", capacity=256 * MIB, preallocation="metadata")
    assert plain < info(path)["actual-size"] < 2 * MIB
    assert path.stat().st_size > 256 * MIB


@pytest.mark.parametrize(("preallocation", "is_written"), [("falloc", False), ("full", True)])
def test_zeros_are_written_where_that_was_asked(c: Connection, pool, preallocation: str, is_written: bool):
    path = create(c, pool, format="raw", preallocation=preallocation)
    assert path.stat().st_blocks * 512 >= 8 * MIB
    # Before they are read: pages that are in memory count as written.
    extents = json.loads(subprocess.check_output(["qemu-img", "map", "-f", "raw", "--output=json", path]))
    assert all(extent["data"] for extent in extents) == is_written
    assert path.read_bytes() == bytes(8 * MIB)


def opened(path: Path, format: str, passphrase: str) -> list[str]:
    """The options with which qemu-img reads an encrypted image."""
    driver, key = ("luks", "key-secret") if format == "raw" else ("qcow2", "encrypt.key-secret")
    secret = f"secret-{path.name}"
    return [f"secret,id={secret},data={passphrase}", f"driver={driver},file.filename={path},{key}={secret}"]


def are_same(*images: list[str]) -> bool:
    objects = [word for image in images for word in ("--object", image[0])]
    command = ["qemu-img", "compare", *objects, "--image-opts", *[image[1] for image in images]]
    return subprocess.run(command, capture_output=True).returncode == 0


@pytest.mark.chaos
def test_an_encrypted_volume_and_its_copy_open_with_their_own_passphrases(c, watch, pool):
    """Slow: opening takes seconds by design."""
    path, copy = pool.path / "locked", pool.path / "copy"
    one = secrets.put_volume_secret(c, str(path), "first words")
    create(c, pool, name="locked", format="raw", secret_uuid=one)
    assert info(path)["format"] == "luks"
    # libvirt finds the secret again by the path.
    pools.refresh(c, pool.uuid)
    two = secrets.put_volume_secret(c, str(copy), "second words")
    new = NewVolume(name="copy", format="qcow2", secret_uuid=two)
    list(volume_copies.copy(c, watch, pool.uuid, "locked", pool.uuid, new))
    assert (info(copy)["format"], info(copy)["encrypted"]) == ("qcow2", True)
    assert are_same(opened(path, "raw", "first words"), opened(copy, "qcow2", "second words"))
    assert code_of(secrets.put_volume_secret, c, str(path), "third words") == "secret_taken"
    for volume in (path, copy):
        volumes.delete(c, pool.uuid, volume.name)
        assert secrets.find_secret(c, "volume", str(volume)) is None


def test_a_secret_of_somebody_else_stays(c: Connection, pool):
    path = create(c, pool, name="theirs", format="raw")
    xml = f"<secret><usage type='volume'><volume>{path}</volume></usage></secret>"
    theirs = c.raw.secretDefineXML(xml, 0)
    volumes.delete(c, pool.uuid, "theirs")
    assert secrets.find_secret(c, "volume", str(path)) == theirs.UUIDString()
    theirs.undefine()
