"""Creating and copying as jobs, on a real libvirtd: what is made, what is refused, what is left when it fails."""

import hashlib
import json
import os
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.urls import reverse
from django.utils import timezone
from image_tools import qemu_img

from pools.models import Pool
from storagemgr.access.models import Grant
from storagemgr.jobs.models import Job, JobLock
from storagemgr.jobs.operations import REGISTRY
from storagemgr.jobs.runner import run
from storagemgr.virt import secrets
from storagemgr.virt.connection import connect
from volumes.models import Volume, VolumeNotes

pytestmark = pytest.mark.django_db
MIB = 1024**2


def info(path: Path) -> dict[str, Any]:
    done = subprocess.run(["qemu-img", "info", "--output=json", path], check=True, capture_output=True)
    return json.loads(done.stdout)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def same(one: Path, two: Path) -> bool:
    return subprocess.run(["qemu-img", "compare", one, two], capture_output=True).returncode == 0


@pytest.fixture
def other(tmp_path: Path) -> Path:
    return tmp_path / "other"


@pytest.fixture
def small(daemon, tmp_path_factory) -> Iterator[Path]:
    """A file system of 8 MiB, mounted outside the daemon's mount namespace after its start."""
    if os.geteuid() != 0:
        pytest.skip("mounts a file system")
    path = daemon.directory / "small"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "small", path], check=True)
    yield path
    subprocess.run(["umount", "--lazy", path], check=True)
    path.rmdir()


@pytest.fixture
def post(client, operator):
    """What a person sends from the page, and the job that came of it, done."""

    def post(target: Pool | Volume, person: Any = None, **typed: Any) -> Any:
        client.force_login(person or operator)
        if isinstance(target, Pool):
            url = reverse("volumes:create", args=[target.pk])
        else:
            url = reverse("volumes:operate", args=[target.pk, "clone"])
        response = client.post(url, typed | {"key": str(uuid.uuid4())})
        if response.status_code != 303:
            return response
        job = Job.objects.latest("pk")
        run(job.pk)
        job.refresh_from_db()
        return job

    return post


NEW = {"name": "new", "format": "qcow2", "capacity": "8 MiB", "space": "sparse"}


def test_a_volume_is_made_on_another_one(post, read, images):
    pool = read(images)
    job = post(pool, **NEW | {"backing": f"{pool.name}/top", "capacity": "", "cluster_size": "131072"})
    assert job.state == "succeeded", job.error_text
    found = info(images / "new")
    assert (found["backing-filename"], found["backing-filename-format"]) == (str(images / "top"), "qcow2")
    assert (found["virtual-size"], found["cluster-size"]) == (MIB, 131072)
    assert Volume.objects.get(name="new").backing_path == str(images / "top")
    locks = {(lock.volume_name, lock.is_write) for lock in REGISTRY["volume.create"].locks(pool, job.params)}
    assert locks == {("new", True), ("top", False)}


def test_a_bare_name_is_a_volume_of_the_same_pool(post, read, images, other):
    other.mkdir()
    qemu_img("create", "-f", "qcow2", other / "theirs", "1M")
    pool = read(images, other)
    page = post(pool, **NEW | {"backing": "theirs", "capacity": ""})
    assert "write pool/volume for one of another pool" in page.context["form"].errors["backing"][0]
    job = post(pool, **NEW | {"backing": "top", "capacity": ""})
    assert (job.state, job.params["backing_volume"]) == ("succeeded", "top"), job.error_text
    assert info(images / "new")["backing-filename"] == str(images / "top")


def test_a_base_that_names_another_file_by_now_is_not_built_on(post, read, images, tmp_path):
    pool = read(images)
    qemu_img("rebase", "-u", "-F", "raw", "-b", tmp_path / "secret", images / "top")
    job = post(pool, **NEW | {"backing": f"{pool.name}/top", "capacity": ""})
    assert (job.state, job.error_code) == ("failed", "changed_since")
    assert not (images / "new").exists()


def test_only_what_the_person_sees_can_be_built_on(post, read, images, other, make_user):
    other.mkdir()
    qemu_img("create", "-f", "qcow2", other / "theirs", "1M")
    pool, hidden = read(images, other), Volume.objects.get(name="theirs")
    person = make_user("olaf", "operator", host=pool.host, pool_uuid=pool.uuid)
    typed = NEW | {"capacity": ""}
    for text in (f"{hidden.pool.name}/theirs", str(other / "theirs")):
        page = post(pool, person, **typed | {"backing": text})
        assert "No volume of this host that you see" in page.context["form"].errors["backing"][0]
    assert "theirs" not in page.content.decode().split("datalist")[1]


def test_a_full_pool_is_told_with_what_was_needed(post, read, images, small):
    pool = read(small)
    (small / "kept").write_bytes(os.urandom(3 * MIB))
    for format in ("raw", "qcow2"):
        Pool.objects.update(available=2**40)
        job = post(pool, **NEW | {"format": format, "space": "falloc", "capacity": "32 MiB"})
        assert (job.state, job.error_code) == ("failed", "no_space")
        assert job.error_text.startswith("32\N{NO-BREAK SPACE}MiB needed, 5\N{NO-BREAK SPACE}MiB free in")
        assert os.listdir(small) == ["kept"]


def test_a_copy_that_does_not_fit_leaves_its_source_alone(post, read, images, small):
    (images / "big").write_bytes(os.urandom(16 * MIB))
    (small / "kept").write_bytes(os.urandom(MIB))
    before = digest(images / "big"), (images / "big").stat().st_mtime_ns
    read(images, small)
    target = Pool.objects.get(target_path=str(small))
    volume = Volume.objects.get(name="big")
    refused = post(volume, name="copy", into=str(target.uuid))
    assert "The copy needs 16" in refused.context["form"].errors["into"][0]
    for format in ("", "qcow2"):
        Pool.objects.update(available=2**40)
        job = post(volume, name="copy", into=str(target.uuid), format=format)
        assert (job.state, job.error_code) == ("failed", "no_space")
        assert job.error_text.startswith("16\N{NO-BREAK SPACE}MiB needed, 7\N{NO-BREAK SPACE}MiB free in")
        assert os.listdir(small) == ["kept"]
    assert (digest(images / "big"), (images / "big").stat().st_mtime_ns) == before


@pytest.mark.parametrize("format", ["", "raw", "vmdk", "vdi", "vpc"])
def test_a_chain_is_copied_whole_into_another_pool(post, read, images, other, format):
    other.mkdir()
    subprocess.run(
        ["qemu-io", "-f", "qcow2", "-c", "write -P 7 0 64k", images / "base"], check=True, capture_output=True
    )
    read(images, other)
    target = Pool.objects.get(target_path=str(other))
    job = post(Volume.objects.get(name="top"), name="copy", into=str(target.uuid), format=format)
    assert job.state == "succeeded", job.error_text
    found = info(other / "copy")
    assert (found["format"], found.get("backing-filename")) == (format or "qcow2", None)
    assert same(images / "top", other / "copy") or format == "vpc"
    assert subprocess.run(
        ["qemu-io", "-r", "-f", found["format"], "-c", "read -P 7 0 64k", other / "copy"], capture_output=True
    ).stdout.startswith(b"read 65536/65536")
    assert job.volume_name == "top"
    assert REGISTRY["volume.clone"].result(job) == Volume.objects.get(pool=target, name="copy")


def test_a_raw_copy_in_another_pool_has_the_same_bytes(post, read, images, other):
    other.mkdir()
    (images / "raw").write_bytes(os.urandom(MIB) + bytes(MIB))
    read(images, other)
    target = Pool.objects.get(target_path=str(other))
    volume = Volume.objects.get(name="raw")
    for name, space in (("sparse", ""), ("full", "full")):
        assert post(volume, name=name, into=str(target.uuid), space=space).state == "succeeded"
        assert digest(other / name) == digest(images / "raw")
    assert (other / "sparse").stat().st_blocks < (other / "full").stat().st_blocks


def test_a_file_system_that_shares_no_blocks_is_told(post, read, images, small):
    (small / "raw").write_bytes(bytes(MIB))
    read(small)
    job = post(Volume.objects.get(name="raw"), name="copy", reflink="on")
    assert (job.state, job.error_code) == ("failed", "no_reflink")
    assert os.listdir(small) == ["raw"]


def test_a_copy_goes_only_where_the_person_may_create(post, read, images, other, make_user):
    other.mkdir()
    pool = read(images, other)
    target = Pool.objects.get(target_path=str(other))
    person = make_user("olaf", "operator", host=pool.host, pool_uuid=pool.uuid)
    Grant.objects.create(user=person, role="viewer", host=pool.host, pool_uuid=target.uuid)
    page = post(Volume.objects.get(name="base"), person, name="copy", into=str(target.uuid))
    assert "into" in page.context["form"].errors
    assert not Job.objects.exists()


def test_a_right_in_the_other_pool_that_is_gone_by_then(client, read, images, other, make_user):
    other.mkdir()
    read(images, other)
    target = Pool.objects.get(target_path=str(other))
    person = make_user("olaf", "operator")
    client.force_login(person)
    url = reverse("volumes:operate", args=[Volume.objects.get(name="base").pk, "clone"])
    typed = {"name": "copy", "into": str(target.uuid), "key": str(uuid.uuid4())}
    assert client.post(url, typed).status_code == 303
    assert set(JobLock.objects.values_list("pool_uuid", "volume_name", "is_write")) == {
        (Volume.objects.get(name="base").pool.uuid, "base", False),
        (target.uuid, "copy", True),
    }
    Grant.objects.all().delete()
    Grant.objects.create(user=person, role="operator", pool_uuid=Volume.objects.get(name="base").pool.uuid)
    run(Job.objects.get().pk)
    assert Job.objects.get().error_code == "not_permitted_any_more"
    assert os.listdir(other) == []


def test_nobody_inherits_the_notes_of_an_earlier_volume(post, read, images):
    pool = read(images)
    for name in ("new", "copy"):
        place = {"host": pool.host, "pool_uuid": pool.uuid, "volume_name": name}
        VolumeNotes.objects.create(note="of the old one", **place)
    assert post(pool, **NEW).state == "succeeded"
    assert post(Volume.objects.get(name="base"), name="copy").state == "succeeded"
    assert not VolumeNotes.objects.exists()


def test_the_name_of_a_protected_volume_is_kept(post, client, operator, read, images):
    pool = read(images)
    place = {"host": pool.host, "pool_uuid": pool.uuid, "volume_name": "new"}
    page = post(pool, **NEW | {"name": "fine"})
    assert page.state == "succeeded"
    url = reverse("volumes:create", args=[pool.pk])
    client.post(url, NEW | {"key": str(uuid.uuid4())})
    notes = VolumeNotes.objects.create(protected_at=timezone.now(), protected_because="the ledger", **place)
    waiting = Job.objects.latest("pk")
    run(waiting.pk)
    waiting.refresh_from_db()
    assert (waiting.error_code, "the ledger" in waiting.error_text) == ("changed_since", True)
    for target, typed in ((pool, NEW), (Volume.objects.get(name="base"), {"name": "new"})):
        errors = post(target, **typed).context["form"].errors["name"]
        assert "A volume of this name is protected: the ledger." in errors[0]
    assert VolumeNotes.objects.get() == notes
    assert not (images / "new").exists()


def test_the_page_says_how_long_a_key_takes(client, operator, make_pool):
    client.force_login(operator)
    for kind, said in (
        ("dir", "second, with a passphrase up to half a minute."),
        ("rbd", "less than a second."),
    ):
        pool = make_pool(f"of-{kind}", type=kind)
        page = " ".join(client.get(reverse("volumes:create", args=[pool.pk])).content.decode().split())
        assert said in page
        assert ("To make its key" in page) == (kind == "dir")


def test_a_passphrase_is_sealed_and_its_secret_goes_when_nothing_was_made(post, daemon, read, images):
    pool = read(images)
    (images / "new").write_bytes(b"unseen by libvirt")
    job = post(pool, **NEW | {"passphrase": "not to be seen 4711"})
    assert (job.state, job.error_code) == ("failed", "exists_on_host")
    with connect(daemon.uri) as connection:
        assert secrets.find_secret(connection, "volume", str(images / "new")) is None
    told = json.dumps(job.params) + job.error_text + "".join(job.lines.values_list("text", flat=True))
    assert "4711" not in told
    assert job.params["luks"]
    assert not job.sealed


def test_what_virsh_is_said_to_do_is_what_virsh_does(post, daemon, read, images):
    """The line of the page, in a shell."""
    pool = read(images)
    create = REGISTRY["volume.create"]
    wishes = [
        {"name": "a", "format": "qcow2", "capacity": 8 * MIB, "space": "metadata"},
        {
            "name": "b",
            "format": "qcow2",
            "capacity": 8 * MIB,
            "space": "falloc",
            "cluster_size": 4096,
            "mode": "640",
        },
        {"name": "c", "format": "raw", "capacity": 8 * MIB, "space": "full"},
        {"name": "d", "format": "vmdk", "capacity": 8 * MIB, "space": "sparse"},
        {"name": "e", "format": "dir", "space": "sparse"},
        {"name": "f", "format": "qcow2", "space": "sparse", "backing": "x"}
        | {"backing_pool": str(pool.uuid), "backing_volume": "top"},
    ]
    lines = [create.virsh(pool, wish) for wish in wishes]
    for volume, params in (("top", {"name": "g", "format": "vdi"}), ("base", {"name": "h"})):
        lines.append(REGISTRY["volume.clone"].virsh(Volume.objects.get(name=volume), params))
    for line in lines:
        subprocess.run(["bash", "-ec", line], check=True, capture_output=True)
    formats = {name: info(images / name)["format"] for name in "abcdfgh"}
    assert formats == dict(
        zip("abcdfgh", ["qcow2", "qcow2", "raw", "vmdk", "qcow2", "vdi", "qcow2"], strict=True)
    )
    assert info(images / "b")["cluster-size"] == 4096
    assert (images / "b").stat().st_mode & 0o777 == 0o640
    assert (images / "a").stat().st_size > 8 * MIB > (images / "a").stat().st_blocks * 512
    assert (images / "e").is_dir()
    assert info(images / "f")["backing-filename"] == str(images / "top")
    assert same(images / "top", images / "g")
