"""The disks of a VM that runs in QEMU: never destroyed, and larger while it runs."""

import json
import os
import shutil
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from daemon import PrivateDaemon
from django.urls import reverse
from image_tools import overlay, qemu_img
from sync_tools import Virsh, close_connections, define_and_start, host_of, read_host

from storagemgr.hosts.models import Host
from storagemgr.jobs.models import Job
from storagemgr.jobs.runner import run
from storagemgr.virt.connection import connect
from volumes.models import DiskUse, Volume

MIB = 1024**2
EMULATOR = os.environ.get("TEST_EMULATOR") or shutil.which("qemu-system-x86_64")
pytestmark = [
    pytest.mark.django_db,
    pytest.mark.skipif(not EMULATOR, reason="no qemu-system-x86_64 here; TEST_EMULATOR can name one"),
]
# It never boots: QEMU has its disks open, and that is all that counts here.
DOMAIN = """<domain type='qemu'><name>live</name><memory unit='MiB'>16</memory>
<os><type arch='x86_64' machine='pc'>hvm</type></os><devices><emulator>{emulator}</emulator>
<disk type='file'><driver name='qemu' type='raw'/><source file='{images}/disk.img'/>
<target dev='vda' bus='virtio'/></disk>
<disk type='file'><driver name='qemu' type='qcow2'/><source file='{images}/top.qcow2'/>
<target dev='vdb' bus='virtio'/></disk>
<controller type='usb' model='none'/><memballoon model='none'/></devices></domain>"""
AS_ROOT = 'user = "root"\ngroup = "root"\nstdio_handler = "file"\nsecurity_driver = "none"\nnamespaces = []\n'
DATA = b"kept" * MIB
DESTROYING = {
    "delete": {},
    "delete-now": {"typed_name": "disk.img"},
    "wipe": {"typed_name": "disk.img", "algorithm": "zero"},
    "resize": {"typed_name": "disk.img", "capacity": "6 MiB", "shrink": "on"},
}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    images = tmp_path_factory.mktemp("images")
    (images / "disk.img").write_bytes(DATA)
    os.truncate(images / "disk.img", 8 * MIB)
    qemu_img("create", "-f", "qcow2", images / "base.qcow2", "1M")
    overlay(images / "top.qcow2", images / "base.qcow2")
    return images


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory, images: Path) -> Iterator[PrivateDaemon]:
    directory = tmp_path_factory.mktemp("libvirt")
    conf = directory / "root/etc/libvirt"
    conf.mkdir(parents=True)
    (conf / "qemu.conf").write_text(AS_ROOT)
    (directory / "live.xml").write_text(DOMAIN.format(emulator=EMULATOR, images=images))
    with PrivateDaemon(directory, has_emulators=True) as daemon:
        with connect(daemon.uri) as connection:
            define_and_start(connection, images)
        yield daemon


@pytest.fixture
def kvm1(db: None, daemon: PrivateDaemon) -> Iterator[Host]:
    yield read_host(host_of(daemon))
    close_connections()


@pytest.fixture(scope="module")
def start_vm(daemon: PrivateDaemon) -> Callable[[], None]:
    """At the first call; it runs until the daemon is gone."""
    virsh = Virsh(daemon.uri)

    def start() -> None:
        if "live" not in virsh("list", "--name"):
            virsh("create", "--paused", daemon.directory / "live.xml")

    return start


def read_uses(host: Host) -> None:
    """Whenever it is due."""
    Host.objects.filter(pk=host.pk).update(uses_read_at=None)
    read_host(host)


def volume_of(name: str) -> Volume:
    return Volume.objects.select_related("pool__host").get(name=name)


@pytest.fixture
def post(client, manager):
    client.force_login(manager)

    def post(name: str, slug: str, **fields: str):
        url = reverse("volumes:operate", args=[volume_of(name).pk, slug])
        assert client.get(url).status_code == 200
        return client.post(url, {"key": str(uuid.uuid4())} | fields)

    return post


def done(job: Job) -> Job:
    Job.objects.filter(pk=job.pk, state="scheduled").update(state="queued")
    run(job.pk)
    job.refresh_from_db()
    return job


def test_a_vm_that_started_after_the_page_was_shown(images, kvm1, post, start_vm):
    for slug, fields in DESTROYING.items():
        # The job before this one has read what the VM uses.
        DiskUse.objects.all().delete()
        answer = post("disk.img", slug, **fields)
        assert answer.status_code == 303, (slug, answer.context["form"].errors)
        start_vm()
        job = done(Job.objects.latest("pk"))
        assert (job.state, job.error_code) == ("failed", "changed_since"), slug
        assert "Used by live" in job.error_text
        assert (images / "disk.img").read_bytes() == DATA + bytes(4 * MIB)


def test_what_a_running_vm_has_open(daemon, images, kvm1, post, start_vm):
    start_vm()
    read_uses(kvm1)
    for name in ("disk.img", "top.qcow2", "base.qcow2"):
        for slug in ("delete", "delete-now", "wipe"):
            answer = post(name, slug, **DESTROYING[slug] | {"typed_name": name})
            assert answer.status_code == 409
            assert "Used by live" in answer.content.decode()
    answer = post("disk.img", "resize", **DESTROYING["resize"])
    assert answer.status_code == 422
    assert "Used by live" in answer.content.decode()
    assert post("base.qcow2", "resize", capacity="2 MiB").status_code == 409
    assert not Job.objects.exists()
    assert (images / "disk.img").read_bytes() == DATA + bytes(4 * MIB)


@pytest.mark.parametrize(("name", "target"), [("disk.img", "vda"), ("top.qcow2", "vdb")])
def test_a_disk_grows_for_its_guest(daemon, images, kvm1, post, start_vm, name, target):
    start_vm()
    read_uses(kvm1)
    page = post(name, "resize", capacity="16 MiB")
    assert page.status_code == 303
    job = done(Job.objects.get())
    assert (job.state, job.error_text) == ("succeeded", "")
    assert Virsh(daemon.uri)("domblkinfo", "live", target).split()[1] == str(16 * MIB)
    said = subprocess.check_output(["qemu-img", "info", "-U", "--output=json", images / name])
    assert json.loads(said)["virtual-size"] == volume_of(name).capacity == 16 * MIB
    assert post(name, "resize", capacity="8 MiB", shrink="on", typed_name=name).status_code == 422
