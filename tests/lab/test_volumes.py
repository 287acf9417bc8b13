"""Operations on volumes of real storage hosts; the bytes are compared in the host, by its own tools."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from lab.guests import Guest
from lab.labs import Lab
from lab.volume_matrix import VERBS, Bench
from sync_tools import close_connections, pool_row, read_host

from pools.models import Pool
from storagemgr.hosts.models import Host
from storagemgr.jobs import runner
from storagemgr.jobs.operations import REGISTRY
from storagemgr.jobs.submit import submit
from storagemgr.virt import pool_xml, volume_changes, volumes
from storagemgr.virt import pools as virt_pools
from storagemgr.virt.connection import Connection, connect
from storagemgr.virt.pool_types import TYPES
from storagemgr.virt.streams import Upload
from storagemgr.virt.volumes import NewVolume
from volumes import sync
from volumes.models import Volume
from volumes.operations.clone_form import can_receive

pytestmark = pytest.mark.django_db(transaction=True)  # a lease is renewed by a thread
MIB = 1024**2
SERVER = "10.99.0.2"
SMALL_LUN = "/srv/small.img"
SMALL_TARGET = "iqn.2026-01.lab:small"
TARGET = {"source_host": SERVER, "target_iqn": SMALL_TARGET}
POOLS = {
    "dir": {"target_path": "/vm_data/dir"},
    "fs": {"device": "/dev/ubdb", "format": "ext4", "target_path": "/vm_data/fs"},
    "netfs": {"source_host": SERVER, "source_dir": "/srv/vm_data", "target_path": "/vm_data/nfs"},
    "logical": {"source_name": "vg_new", "devices": ["/dev/ubdc"], "format": "lvm2"},
    "disk": {"device": "/dev/ubdd", "format": "gpt", "target_path": "/dev"},
    "iscsi": TARGET | {"target_path": "/dev/disk/by-path"},
    "iscsi-direct": TARGET | {"initiator": "iqn.2026-01.lab:direct"},
    "scsi": {"adapter_kind": "scsi_host", "adapter_name": "host0", "target_path": "/dev"},
    "mpath": {"target_path": "/dev/mapper"},
}


@pytest.fixture(scope="module")
def small_target(lab: Lab) -> Iterator[None]:
    """A target with one LUN of 8 MiB, so that to wipe it takes no time."""
    guest = lab.one
    guest.reset()
    guest.run(
        f"truncate -s 8M {SMALL_LUN}; cd /; t='tgtadm --mode target --tid 99'"
        f" && $t --op new -T {SMALL_TARGET} && $t --op bind -I ALL"
        f" && tgtadm --mode logicalunit --op new --tid 99 --lun 1 -b {SMALL_LUN}"
    )
    yield
    guest.run(f"tgtadm --mode target --op delete --force --tid 99; rm {SMALL_LUN}")


@pytest.fixture(scope="module")
def pools(lab: Lab, small_target: None) -> Iterator[dict[str, str]]:
    """One running pool of each type on lab2: its UUID."""
    lab.two.reset()
    with connect(lab.two.socket_uri) as c:
        yield {kind: made(c, kind) for kind in POOLS}
    lab.two.reset()


def made(c: Connection, kind: str, values: dict[str, Any] | None = None) -> str:
    uuid = virt_pools.define(c, pool_xml.build(kind, f"lab_{kind}", str(uuid4()), values or POOLS[kind]))
    if TYPES[kind].builds:
        virt_pools.build(c, uuid, "overwrite" if TYPES[kind].overwrites else "")
    virt_pools.start(c, uuid)
    return uuid


@pytest.fixture
def c(lab: Lab) -> Iterator[Connection]:
    with connect(lab.two.socket_uri) as connection:
        yield connection


@pytest.fixture
def lab2(lab: Lab, pools: dict[str, str]) -> Guest:
    return lab.two


@pytest.fixture
def host(lab2: Guest) -> Iterator[Host]:
    yield read_host(Host.objects.create(name="lab2", socket=str(lab2.socket)))
    close_connections()


def name_in(c: Connection, kind: str, pool_uuid: str) -> str:
    """Of a LUN that is there, else of a volume to be made."""
    if TYPES[kind].why_not("volume.create"):
        return next(v.name for v in volumes.list_volumes(c, pool_uuid).volumes if v.capacity)
    return {"disk": "ubdd1"}.get(kind, "web01")


@pytest.mark.parametrize("kind", POOLS)
def test_what_the_table_says_is_so(kind, pools, lab, lab2, c, host):
    names = {"disk": ("ubdd1", "ubdd2")}.get(kind, (name_in(c, kind, pools[kind]), "clone"))
    seen_at = (lab.one, SMALL_LUN) if kind == "iscsi-direct" else None
    bench = Bench(kind, lab2, c, pools[kind], *names, seen_at)
    done = bench.do(*VERBS[:-1])
    pool = pool_row(pools[kind])
    volume = sync.read_one(c, pool, bench.name)
    for verb in VERBS:
        operation = REGISTRY[f"volume.{verb}"]
        why_off = operation.why_off(pool if operation.target is Pool else volume)
        if verb == "clone" and "download" in done:
            # At least into a pool of another type, as a test below does.
            assert (why_off, can_receive(pool, volume)) == ("", "clone" in done)
        elif verb == "upload" and kind == "disk":
            assert "fill it with virsh vol-upload" in why_off
        elif verb == "upload":
            # Into a volume that is made for it.
            assert why_off == (TYPES[kind].why_not("volume.create") or TYPES[kind].why_not("volume.upload"))
        else:
            assert why_off == TYPES[kind].why_not(f"volume.{verb}"), verb
    done += bench.do(VERBS[-1])
    assert done == [verb for verb in VERBS if not TYPES[kind].why_not(f"volume.{verb}")]


def test_a_pattern_of_scrub_overwrites_a_device_and_nothing_behind_a_link(pools, lab2, c):
    """libvirt reports success of both, so the table must keep people from the second."""
    volumes.create(c, pools["logical"], NewVolume(name="secret", capacity=8 * MIB))
    for kind, name, is_in_vain in (("logical", "secret", True), ("scsi", "unit:0:0:1", False)):
        path = volumes.read_volume(c, pools[kind], name).path
        assert bool(TYPES[kind].why_no_wipe("random", path)) == is_in_vain
        with Upload(c, pools[kind], name, 0, 8 * MIB) as upload:
            upload.write(b"S" * 8 * MIB)
            upload.finish()
        volume_changes.wipe(c, pools[kind], name, "random")
        left = int(lab2.run(f"head -c 8M {path} | tr -d -c S | wc -c"))
        assert (left == 8 * MIB) == is_in_vain
        assert left > 0.9 * 8 * MIB or left < 0.1 * 8 * MIB


@pytest.fixture
def do(administrator):
    """Asks for it as a form is sent, and waits for its end."""

    def ask(asked, volume, **fields):
        operation = REGISTRY[asked]
        form = operation.form(fields | {"key": uuid4()}, target=volume, user=administrator)
        assert form.is_valid(), form.errors
        job = submit(operation, volume, actor=administrator, params=form.params(), key=uuid4())
        runner.run(job.pk)
        job.refresh_from_db()
        assert job.state == "succeeded", (job.title, job.error_code, job.error_text)

    return ask


def row(pool_uuid, name):
    return Volume.objects.select_related("pool__host").get(pool__uuid=pool_uuid, name=name)


def compare(guest, one, other):
    """Each as (format, path); qemu-img counts zeros behind the end of the shorter one as the same."""
    formats = f"-f {one[0]} -F {other[0]}"
    assert "identical" in guest.run(f"sync; qemu-img compare {formats} {one[1]} {other[1]}")


def test_what_is_cloned_from_file_to_device_and_back_is_the_same(pools, lab2, host, do):
    source = ("qcow2", "/vm_data/dir/base.qcow2")
    lab2.run(
        "cd /vm_data; head -c 5M /dev/urandom > r; truncate -s 8M r; qemu-img convert -O qcow2 r dir/base.qcow2; rm r"
        " && virsh pool-refresh lab_dir"
    )
    read_host(host)
    do("volume.clone", row(pools["dir"], "base.qcow2"), into=pools["logical"], name="base")
    compare(lab2, source, ("raw", "/dev/vg_new/base"))
    do("volume.clone", row(pools["logical"], "base"), into=pools["netfs"], name="b.qcow2", format="qcow2")
    assert "file format: qcow2" in lab2.run("qemu-img info /vm_data/nfs/b.qcow2")
    compare(lab2, source, ("qcow2", "/vm_data/nfs/b.qcow2"))
    do("volume.clone", row(pools["netfs"], "b.qcow2"), into=pools["disk"], name="ubdd1")
    compare(lab2, source, ("raw", "/dev/ubdd1"))
    do("volume.clone", row(pools["disk"], "ubdd1"), into=pools["dir"], name="b.raw")
    compare(lab2, source, ("raw", "/vm_data/dir/b.raw"))
    do("volume.delete_now", row(pools["disk"], "ubdd1"))
    assert "ubdd1" not in lab2.run("udevadm settle; lsblk -n -o NAME /dev/ubdd")


def test_a_lun_is_read_into_a_file(pools, lab, lab2, host, do):
    lab.one.run(f"head -c 8M /dev/urandom > {SMALL_LUN}")
    lab2.run("for d in /sys/class/block/sd*; do blockdev --flushbufs /dev/${d##*/}; done")
    do("volume.clone", row(pools["iscsi"], "unit:0:0:1"), into=pools["dir"], name="lun.raw")
    sums = [lab.one.run(f"sha256sum < {SMALL_LUN}"), lab2.run("sha256sum < /vm_data/dir/lun.raw")]
    assert sums[0] == sums[1]


@pytest.fixture
def lab1(lab, lab2):
    """With a pool of its own directory, and one of the export that lab2 has, too."""
    paths = {"source_host": SERVER, "source_dir": "/srv/vm_data", "target_path": "/vm_data"}
    with connect(lab.one.socket_uri) as c:
        made(c, "netfs", paths)
        made(c, "dir", {"target_path": "/var/lib/libvirt/images"})
    yield lab.one
    lab.one.clean()


def test_a_volume_goes_to_another_host_and_comes_back(pools, lab1, lab2, host, do):
    lab1.run(
        "cd /var/lib/libvirt/images; head -c 5M /dev/urandom > a.raw; truncate -s 8M a.raw; virsh pool-refresh lab_dir"
    )
    other = read_host(Host.objects.create(name="lab1", socket=str(lab1.socket)))
    here, there = Pool.objects.get(host=other, name="lab_dir"), pool_row(pools["logical"])
    do("volume.copy_to_host", row(here.uuid, "a.raw"), pool=there.pk, name="from_lab1")
    sent = lab1.run("sha256sum < /var/lib/libvirt/images/a.raw")
    assert lab2.run("sha256sum < /dev/vg_new/from_lab1") == sent
    do("volume.copy_to_host", row(pools["logical"], "from_lab1"), pool=here.pk, name="back.raw")
    assert lab1.run("sha256sum < /var/lib/libvirt/images/back.raw") == sent
    assert int(lab1.run("stat -c %b /var/lib/libvirt/images/back.raw")) * 512 < 6 * MIB


def test_a_snapshot_of_lvm_is_a_child(pools, lab2, c, host):
    """lvremove takes the snapshots with it, and libvirt does not ask."""
    origin = volumes.create(c, pools["logical"], NewVolume(name="origin", capacity=8 * MIB))
    new = NewVolume(name="snap", capacity=8 * MIB, allocation=8 * MIB, backing_path=origin.path)
    volumes.create(c, pools["logical"], new)
    read_host(host)
    assert "snap" in REGISTRY["volume.delete_now"].why_off(row(pools["logical"], "origin"))
    assert "origin" in lab2.run("lvs --noheadings -o origin vg_new/snap")


VM = """<domain type='qemu'><name>web01</name><uuid>6f1c0b9e-2b57-4d0e-9a44-58c1f2e7a311</uuid>
<memory>65536</memory><os><type arch='x86_64'>hvm</type></os><devices><emulator>/usr/bin/qemu</emulator>
<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='/vm_data/nfs/shared.raw'/>
<target dev='vda' bus='virtio'/></disk></devices></domain>"""


def test_what_a_vm_of_another_host_needs_is_not_deleted(pools, lab1, lab2, host, administrator):
    """Both mount the export, in other places. lab2 has no QEMU: libvirtd bears with such a VM when it starts."""
    lab1.run("truncate -s 1M /vm_data/shared.raw; virsh pool-refresh lab_netfs")
    lab2.run("virsh pool-refresh lab_netfs")
    other = read_host(Host.objects.create(name="lab1", socket=str(lab1.socket)))
    read_host(host)
    volume = Volume.objects.select_related("pool__host").get(pool__host=other, name="shared.raw")
    operation = REGISTRY["volume.delete_now"]
    assert operation.why_off(volume) == ""
    job = submit(operation, volume, actor=administrator, params={}, key=uuid4())
    lab2.put("/etc/libvirt/qemu/web01.xml", VM.encode())
    lab2.run("systemctl restart libvirtd")
    runner.run(job.pk)
    job.refresh_from_db()
    assert (job.state, job.error_code) == ("failed", "changed_since")
    assert job.error_text == operation.why_off(volume) != ""
    assert any("web01" in check.text for check in operation.checks(volume, administrator) if not check.is_ok)
    assert lab1.run("ls /srv/vm_data/shared.raw")
