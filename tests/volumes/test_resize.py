"""Another size for a volume: what is told before libvirt is asked, and what it does.

For the disk of a running VM see test_running_vm.
"""

import json
import os
import subprocess
import uuid
from pathlib import Path

import pytest
from django.urls import reverse
from image_tools import qemu_img

from storagemgr.jobs.models import Job
from storagemgr.jobs.operations import REGISTRY
from volumes.models import DiskUse, Volume

pytestmark = pytest.mark.django_db
MIB, GIB = 1024**2, 1024**3


def virtual_size(path: Path) -> int:
    said = subprocess.run(["qemu-img", "info", "-U", "--output=json", path], check=True, capture_output=True)
    return int(json.loads(said.stdout)["virtual-size"])


def why_off(volume: Volume) -> str:
    return REGISTRY["volume.resize"].why_off(volume)


@pytest.fixture
def post(client, operator):
    client.force_login(operator)

    def post(volume: Volume, **fields: str):
        url = reverse("volumes:operate", args=[volume.pk, "resize"])
        return client.post(url, {"key": str(uuid.uuid4()), **fields})

    return post


def test_the_files_are_as_large_as_asked(read, images, ask):
    (images / "raw").write_bytes(b"kept" * (MIB // 4))
    qemu_img("create", "-f", "qcow2", images / "qcow2", "8M")
    read(images)
    for name, sizes in {"raw": (4, 2), "qcow2": (16, 8)}.items():
        for size, shrink in zip(sizes, (False, True), strict=True):
            volume = Volume.objects.select_related("pool__host").get(name=name)
            job = ask("volume.resize", volume, capacity=size * MIB, allocate=False, shrink=shrink)
            assert (job.state, job.error_text) == ("succeeded", "")
            assert virtual_size(images / name) == size * MIB
            assert Volume.objects.get(name=name).capacity == size * MIB
    assert (images / "raw").read_bytes() == b"kept" * (MIB // 4) + bytes(MIB)
    volume = Volume.objects.get(name="raw")
    job = ask("volume.resize", volume, capacity=2 * MIB, allocate=True, shrink=False)
    assert job.state == "succeeded"
    assert Volume.objects.get(name="raw").allocation >= 2 * MIB
    assert (images / "raw").stat().st_blocks * 512 >= 2 * MIB


def test_a_volume_that_changed_meanwhile_is_not_shrunk(read, images, ask):
    (images / "raw").write_bytes(bytes(MIB))
    read(images)
    volume = Volume.objects.get(name="raw")
    os.truncate(images / "raw", 8 * MIB)
    job = ask("volume.resize", volume, capacity=4 * MIB, allocate=False, shrink=False)
    assert (job.state, job.error_code) == ("failed", "changed_since")
    assert "by now" in job.error_text
    assert (images / "raw").stat().st_size == 8 * MIB


@pytest.mark.parametrize(("size", "shrink"), [(4 * MIB, True), (16 * MIB, False)])
def test_a_file_that_the_image_names_is_not_resized_with_it(read, images, ask, tmp_path, size, shrink):
    """Who runs a VM can write such a header into its disk."""
    victim = tmp_path / "victim"
    qemu_img("create", "-f", "qcow2", "-o", f"data_file={victim}", images / "evil", "8M")
    victim.write_bytes(b"host" * (2 * MIB))
    read(images)
    volume = Volume.objects.get(name="evil")
    assert volume.format == "qcow2"
    job = ask("volume.resize", volume, capacity=size, allocate=False, shrink=shrink)
    assert (job.state, job.error_code) == ("failed", "changed_since")
    assert "data is in another file" in job.error_text
    assert victim.read_bytes() == b"host" * (2 * MIB)


def test_shrinking_asks_twice(post, make_volume):
    volume = make_volume("disk.qcow2", capacity=8 * GIB, allocation=GIB)
    page = post(volume, capacity="4 GiB")
    assert page.status_code == 422
    assert {"shrink", "typed_name"} <= set(page.context["form"].errors)
    assert post(volume, capacity="4 GiB", shrink="on", typed_name="other").status_code == 422
    assert Job.objects.count() == 0
    assert post(volume, capacity="4 GiB", shrink="on", typed_name="disk.qcow2").status_code == 303
    assert Job.objects.get().params == {"capacity": 4 * GIB, "allocate": False, "shrink": True}


@pytest.mark.parametrize(
    ("fields", "wanted", "said"),
    [
        ({}, {"capacity": "10 GiB"}, "this size already"),
        ({"allocation": 10 * GIB, "format": "raw"}, {"capacity": "9 GiB"}, "All its space is taken"),
        ({}, {"capacity": "1 GiB"}, "of it is taken"),
        ({"format": "qed"}, {"capacity": "9 GiB"}, "only grow"),
        ({"format": "raw"}, {"capacity": "90 GiB", "allocate": "on"}, "is wanted now"),
        ({}, {"capacity": "200 GiB"}, "its VM stops when the pool is full"),
    ],
)
def test_what_libvirt_or_the_pool_cannot_is_told_first(post, make_volume, fields, wanted, said):
    page = post(make_volume("disk", **fields), **wanted)
    assert page.status_code == 422
    assert said in page.content.decode()
    assert Job.objects.count() == 0


def test_an_image_in_ceph_only_grows(post, make_pool, make_volume):
    pool = make_pool("ceph", type="rbd", capacity=100 * GIB)
    volume = make_volume("web01", pool, type="network", format="raw")
    page = post(volume, capacity="9 GiB")
    assert "makes volumes of Ceph RBD only larger" in page.content.decode()
    assert "allocate" not in page.context["form"].fields
    assert post(volume, capacity="11 GiB").status_code == 303


def test_where_it_is_off(make_host, make_pool, make_volume):
    for form in ("vmdk", "vdi", "iso"):
        assert f"of the format {form}" in why_off(make_volume(f"disk.{form}", format=form))

    def zfs(version: str) -> Volume:
        host = make_host(f"zfs-{version}", state="up", libvirt_version=version)
        return make_volume("v", make_pool(f"z-{version}", host, type="zfs"), type="block", format="raw")

    assert "only from 11.7 on" in why_off(zfs("11.6.0"))
    assert why_off(zfs("11.7.0")) == ""
    base = make_volume("base.qcow2")
    assert why_off(base) == ""
    make_volume("top.qcow2", backing_path=base.path)
    assert "Other volumes are built on it: top.qcow2" in why_off(base)


def test_a_volume_of_a_stopped_vm_grows_and_does_not_shrink(post, make_volume):
    volume = make_volume("web01.qcow2")
    use = {"domain_uuid": uuid.uuid4(), "domain_name": "web01", "running": False, "kind": "disk"}
    DiskUse.objects.create(host=volume.pool.host, volume=volume, path=volume.path, target="vda", **use)
    assert why_off(volume) == ""
    assert "Used by web01" in post(volume, capacity="8 GiB").content.decode()
    assert post(volume, capacity="12 GiB").status_code == 303
