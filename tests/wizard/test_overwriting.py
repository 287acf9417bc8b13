"""A new pool is built over a device only if that is what was looked at, and nobody has it under any other name."""

import subprocess
import uuid

import pytest
from django.utils import timezone
from sync_tools import forget_pool

from pools.making.overwriting import why_in_use
from pools.models import NewPool
from storagemgr.virt import pools as virt_pools
from storagemgr.virt.connection import connect
from volumes.models import DiskUse

pytestmark = pytest.mark.django_db
GIVEN = {"persistent": "yes", "build": "overwrite", "target_path": "/srv/vm"}
XML = "<pool type='{}'><source>{}</source></pool>"
ON_IT = {"names": ["/dev/disk/by-id/ata-x"], "groups": ["vg-a"], "pools": []}


@pytest.fixture
def device(tmp_path):
    image = tmp_path / "image"
    image.write_bytes(b"\0" * 32 * 1024**2)
    done = subprocess.run(["losetup", "--find", "--show", image], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no loop devices here: {done.stderr}")
    yield done.stdout.strip()
    subprocess.run(["losetup", "--detach", done.stdout.strip()], check=True)


def mkfs(device, label):
    subprocess.run(["mkfs.ext4", "-q", "-F", "-L", label, device], check=True)


def label_of(device):
    done = subprocess.run(
        ["blkid", "-p", "-o", "value", "-s", "LABEL", device], capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.fixture
def look_at(maker, real_host, device, daemon):
    yield lambda: _looked_at(maker, device)
    with connect(daemon.uri) as c:
        for found in virt_pools.list_uuids(c):
            forget_pool(c, found)


def _looked_at(maker, device):
    making = maker()
    making.send("type", type="fs")
    making.send("source", device=device, format="ext4")
    making.send("options", name="over", **GIVEN)
    making.send("test", test="1")
    [job] = making.run("pool.test")
    assert job.state == "succeeded", job.error_text
    making.send("test", next="1")
    return making


def test_it_is_built_over_what_was_seen(look_at, device):
    mkfs(device, "seen")
    [job] = look_at().create(typed_name="overwrite")
    assert (job.state, job.error_text) == ("succeeded", "")
    assert label_of(device) == ""


def test_another_thing_on_it_by_now_is_not_lost(look_at, device):
    """A look at a loop device, which has no link, tells no more than that there is something."""
    making = look_at()
    mkfs(device, "new")
    [job] = making.create(typed_name="overwrite")
    assert (job.state, job.error_code) == ("failed", "changed_since")
    assert label_of(device) == "new"
    assert NewPool.objects.get().done == []


@pytest.fixture
def new(host):
    return NewPool.objects.create(host=host, name="new", tested_at=timezone.now())


def use(host, **fields):
    values = {"domain_uuid": uuid.uuid4(), "running": False, "kind": "disk", "domain_name": "web01"}
    return DiskUse.objects.create(host=host, **values | fields)


@pytest.mark.parametrize(
    ("kind", "source"),
    [
        ("fs", "<device path='/dev/disk/by-id/ata-x-part1'/>"),
        ("disk", "<device path='/dev/sdb'/>"),
        ("logical", "<name>vg-a</name>"),
    ],
)
def test_a_pool_that_has_it_by_another_name(new, make_pool, kind, source):
    make_pool("other", type=kind, xml=XML.format(kind, source), state="inactive")
    assert why_in_use(new, {"/dev/sdb": ON_IT}) == "Another pool of the host uses the same device."
    assert why_in_use(new, {"/dev/sdc": {}}) == ""


@pytest.mark.parametrize(
    "path", ["/dev/sdb2", "/dev/disk/by-id/ata-x", "/dev/vg-a/root", "/dev/disk/by-id/dm-name-vg--a-root"]
)
def test_a_vm_that_has_it(new, host, path):
    use(host, path=path)
    assert "VMs have a disk there: web01." in why_in_use(new, {"/dev/sdb": ON_IT})
    assert why_in_use(new, {"/dev/sdc": {}}) == ""


def test_a_vm_that_has_it_as_a_volume_of_a_pool(new, host, make_pool, make_volume):
    lun = make_volume("unit:0:0:1", pool=make_pool("san", type="iscsi"), path="/dev/disk/by-id/ata-x")
    use(host, pool_name="san", volume_name=lun.name, volume=lun)
    assert "web01" in why_in_use(new, {"/dev/sdb": ON_IT})
