"""A clone copies volumes that the person may see, and no other file of the host. On a real libvirtd."""

import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from daemon import PrivateDaemon
from sync_tools import close_connections, define_and_start, forget_pool, host_of, pool_row, read_host

from pools.models import Pool
from storagemgr.jobs.models import Job
from storagemgr.jobs.operations import REGISTRY
from storagemgr.jobs.runner import run
from storagemgr.jobs.submit import submit
from storagemgr.virt.connection import connect
from volumes.models import Volume

pytestmark = pytest.mark.django_db


def qemu_img(*words: object) -> None:
    subprocess.run(["qemu-img", *map(str, words)], check=True, capture_output=True)


def overlay(path: Path, backing: object, form: str = "qcow2") -> None:
    qemu_img("create", "-f", "qcow2", "-F", form, "-b", backing, path)


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateDaemon]:
    with PrivateDaemon(tmp_path_factory.mktemp("libvirtd")) as running:
        yield running


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A directory with base <- middle <- top, beside a secret."""
    (tmp_path / "images").mkdir()
    (tmp_path / "secret").write_bytes(b"secret" * 10_000)
    qemu_img("create", "-f", "qcow2", tmp_path / "images" / "base", "1M")
    overlay(tmp_path / "images" / "middle", "base")
    overlay(tmp_path / "images" / "top", tmp_path / "images" / "middle")
    return tmp_path / "images"


@pytest.fixture
def read(db: None, daemon: PrivateDaemon) -> Iterator[Callable[..., Pool]]:
    made = []

    def start(*directories: Path) -> Pool:
        with connect(daemon.uri) as connection:
            made.extend(define_and_start(connection, directory) for directory in directories)
        read_host(host_of(daemon))
        return pool_row(made[0])

    yield start
    close_connections()
    with connect(daemon.uri) as connection:
        for uuid_ in made:
            forget_pool(connection, uuid_)


@pytest.fixture
def clone(operator: Any) -> Callable[..., Job]:
    def run_clone(name: str, person: Any = None) -> Job:
        volume = Volume.objects.get(name=name)
        params = {"name": f"copy-of-{name}", "source": name}
        job = submit(
            REGISTRY["volume.clone"], volume, actor=person or operator, params=params, key=uuid.uuid4()
        )
        run(job.pk)
        return Job.objects.get(pk=job.pk)

    return run_clone


def refused(job: Job, code: str, words: str, images: Path) -> None:
    assert (job.state, job.error_code) == ("failed", code), job.error_text
    assert words in job.error_text
    assert not list(images.glob("copy-of-*"))


def test_a_chain_of_volumes_is_copied(read, clone, images):
    read(images)
    assert clone("top").state == "succeeded"
    assert not Volume.objects.get(name="copy-of-top").backing_path


def test_a_file_of_the_host_is_not(read, clone, images, tmp_path):
    overlay(images / "evil", tmp_path / "secret", "raw")
    overlay(images / "above", images / "evil")
    read(images)
    for name in ("evil", "above"):
        refused(clone(name), "changed_since", "not a volume of any pool", images)


def test_a_header_that_was_changed_since_the_refresh(read, clone, images, tmp_path):
    read(images)
    qemu_img("rebase", "-u", "-F", "raw", "-b", tmp_path / "secret", images / "middle")
    for name in ("middle", "top"):
        refused(clone(name), "changed_since", "names another backing file", images)
    (images / "base").write_bytes(bytes(65536))
    refused(clone("base"), "changed_since", "not qcow2 any more", images)


def test_data_in_another_file(read, clone, images, tmp_path):
    qemu_img(
        "create", "-f", "qcow2", "-o", f"data_file={tmp_path}/data,data_file_raw=on", images / "evil", "64k"
    )
    read(images)
    refused(clone("evil"), "changed_since", "data in another file", images)


def test_a_volume_below_that_the_person_may_not_see(read, clone, images, make_user, tmp_path):
    (tmp_path / "other").mkdir()
    overlay(tmp_path / "other" / "theirs", images / "base")
    read(tmp_path / "other", images)
    pool = Volume.objects.get(name="theirs").pool
    person = make_user("olaf", "operator", host=pool.host, pool_uuid=pool.uuid)
    refused(clone("theirs", person), "backing_hidden", "", tmp_path / "other")
    assert clone("theirs").state == "succeeded"
