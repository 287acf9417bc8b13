"""A volume that a VM or an overlay means by another path is not deleted. On a real libvirtd."""

import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from daemon import PrivateDaemon
from django.contrib.auth.models import User
from sync_tools import close_connections, define_and_start, host_of, read_host

from storagemgr.jobs.models import Job
from storagemgr.jobs.operations import REGISTRY
from storagemgr.jobs.runner import run
from storagemgr.jobs.submit import submit
from storagemgr.virt.connection import connect
from storagemgr.virt.volume_xml import backing_file
from volumes.identity import children_of
from volumes.models import Volume

pytestmark = pytest.mark.django_db
DOMAIN = """
<domain type='qemu'><name>web01</name><uuid>6695eb01-f6a4-8304-79aa-97f2502e1931</uuid><memory>1024</memory>
<os><type arch='x86_64' machine='pc'>hvm</type></os><devices><emulator>/bin/true</emulator>
<disk type='file'><driver type='raw'/><source file='{path}'/><target dev='vda'/></disk>
</devices></domain>
"""


def overlay(path: Path, backing: object) -> None:
    command = ["qemu-img", "create", "-f", "qcow2", "-F", "qcow2", "-b", str(backing), str(path)]
    subprocess.run(command, check=True, capture_output=True)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    directory = tmp_path / "libvirt" / "images"
    directory.mkdir(parents=True)
    (tmp_path / "link").symlink_to(directory)
    subprocess.run(
        ["qemu-img", "create", "-f", "qcow2", str(directory / "base.qcow2"), "1M"],
        check=True,
        capture_output=True,
    )
    return directory


@pytest.fixture
def read(db: None, images: Path, tmp_path: Path) -> Iterator[Callable[[str], None]]:
    """Starts libvirtd with the images, and with a VM whose disk is `path`, and reads both."""
    daemon = PrivateDaemon(tmp_path / "libvirt")

    def start(path: str) -> None:
        daemon.domain_directory.mkdir(parents=True)
        (daemon.domain_directory / "web01.xml").write_text(DOMAIN.format(path=path))
        daemon.start()
        with connect(daemon.uri) as connection:
            define_and_start(connection, images)
        read_host(host_of(daemon))

    yield start
    close_connections()
    daemon.stop()


def delete(name: str, person: User) -> Job:
    volume = Volume.objects.get(name=name)
    job = submit(REGISTRY["volume.delete_now"], volume, actor=person, params={}, key=uuid.uuid4())
    run(job.pk)
    return Job.objects.get(pk=job.pk)


@pytest.mark.parametrize("path", ["{images}/base.qcow2", "{images}/./x/../base.qcow2", "{link}/base.qcow2"])
def test_the_disk_of_a_vm(read, images, tmp_path, manager, path):
    read(path.format(images=images, link=tmp_path / "link"))
    job = delete("base.qcow2", manager)
    assert (job.state, job.error_code) == ("failed", "changed_since")
    assert "web01" in job.error_text
    assert (images / "base.qcow2").exists()


def test_a_base_image(read, images, tmp_path, manager):
    ways = {
        "dot": "./base.qcow2",
        "up": "../images/base.qcow2",
        "file": f"file:{images}/base.qcow2",
        "json": f'json:{{"driver":"qcow2","file":{{"driver":"file","filename":"{images}/base.qcow2"}}}}',
    }
    for name, backing in ways.items():
        overlay(images / name, backing)
    overlay(images / "linked", tmp_path / "link" / "base.qcow2")
    read("/nowhere")
    children = children_of(Volume.objects.get(name="base.qcow2"))
    assert set(children.values_list("name", flat=True)) == set(ways)
    for name in ways:
        assert delete(name, manager).state == "succeeded"
    job = delete("base.qcow2", manager)
    assert (job.state, job.error_code) == ("failed", "changed_since")
    assert "linked" in job.error_text
    assert delete("linked", manager).state == "succeeded"
    assert delete("base.qcow2", manager).state == "succeeded"


@pytest.mark.parametrize(
    "text", ["", "nbd://nas/disk", "json:{", "json:[]", 'json:{"file":{"driver":"nbd"}}', "file:x"]
)
def test_a_backing_store_that_is_no_file_stays_as_it_is(text):
    assert backing_file(text) == text
