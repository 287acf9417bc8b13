"""Pools on the disks of a real host: built, not built over data, looked at, built over it, deleted, forgotten."""

import re
import uuid

import pytest
from django.urls import reverse
from sync_tools import close_connections, pool_row, read_host

from pools.models import Look, Pool
from storagemgr.hosts.models import Host
from storagemgr.jobs import runner
from storagemgr.jobs.models import Job
from storagemgr.jobs.operations import REGISTRY
from storagemgr.jobs.submit import submit
from storagemgr.virt import pool_xml
from storagemgr.virt import pools as virt_pools
from storagemgr.virt.connection import connect

pytestmark = pytest.mark.django_db(transaction=True)  # a lease is renewed by a thread
S = Job.State
FS = {"device": "/dev/ubdb", "format": "ext4", "target_path": "/vm_data/disk"}
DISK = {"device": "/dev/ubdc", "format": "gpt", "target_path": "/dev"}
GROUP = {"source_name": "vg_new", "devices": ["/dev/ubdb", "/dev/ubdd"], "format": "lvm2"}


@pytest.fixture
def host(lab1):
    yield Host.objects.create(name="lab1", socket=str(lab1.socket))
    close_connections()


@pytest.fixture
def define(host):
    def make(kind, values, name="new"):
        with connect(host.uri) as c:
            pool_uuid = virt_pools.define(c, pool_xml.build(kind, name, str(uuid.uuid4()), values))
        read_host(host)
        return pool_row(pool_uuid)

    return make


@pytest.fixture
def run(administrator):
    def ask_and_do(operation, pool, **params):
        job = submit(REGISTRY[operation], pool, actor=administrator, params=params, key=uuid.uuid4())
        runner.run(job.pk)
        return Job.objects.get(pk=job.pk)

    return ask_and_do


@pytest.fixture
def do(run):
    def succeed(operation, pool):
        job = run(operation, pool)
        assert job.state == S.SUCCEEDED, (operation, job.error_code, job.error_text)

    return succeed


def text(page):
    return " ".join(re.sub(r"<[^>]*>", " ", page.content.decode()).replace("\xa0", " ").split())


@pytest.fixture
def overwrite(client, administrator):
    """As a person does it: reads the page, types the word, sends it. Returns the page and the job after its end."""

    def ask(pool):
        client.force_login(administrator)
        url = reverse("pools:operate", args=[pool.pk, "build-overwrite"])
        page = client.get(url)
        fields = dict(re.findall(r'name="(key|looked)" value="([^"]+)"', page.content.decode()))
        answer = client.post(url, fields | {"typed_name": "overwrite"})
        assert answer.status_code == 303, text(answer)
        job = Job.objects.get(key=fields["key"])
        runner.run(job.pk)
        job.refresh_from_db()
        return text(page), job

    return ask


def blkid(guest, device):
    return guest.run(f"blkid -p -o value -s TYPE -s PTTYPE {device}", check=False).split()


@pytest.mark.parametrize(
    ("kind", "values", "device", "made", "kept"),
    [
        ("fs", FS, "/dev/ubdb", ["ext4"], True),
        ("disk", DISK, "/dev/ubdc", ["gpt"], False),
        ("logical", GROUP, "/dev/ubdd", ["LVM2_member"], False),
    ],
)
def test_from_an_empty_device_to_a_forgotten_pool(
    lab1, host, define, run, do, overwrite, kind, values, device, made, kept
):
    pool = define(kind, values)
    assert blkid(lab1, device) == []
    assert run("pool.start", pool).state == S.FAILED
    do("pool.build", pool)
    assert blkid(lab1, device) == made
    do("pool.start", pool)
    do("pool.stop", pool)

    job = run("pool.build", pool)
    assert (job.state, job.error_code) == (S.FAILED, "already_formatted")
    assert blkid(lab1, device) == made
    off = REGISTRY["pool.build_overwrite"].why_off(pool)
    assert "Nobody looked at" in off

    do("pool.look", pool)
    before = lab1.run(f"blkid -p {device}", check=False)
    page, job = overwrite(pool)
    assert job.state == S.SUCCEEDED, (job.error_code, job.error_text)
    assert re.search(r"Lost with it, seen today \d\d:\d\d: /dev/ubd[bcd]( \(|:)", page)
    assert blkid(lab1, device) == made
    assert lab1.run(f"blkid -p {device}") != before
    assert not Look.objects.exists()

    do("pool.start", pool)
    do("pool.stop", pool)
    do("pool.delete", pool)
    assert blkid(lab1, device) == (made if kept else [])
    do("pool.undefine", pool)
    assert lab1.run("virsh pool-list --all --name").split() == []
    assert not Pool.objects.filter(pk=pool.pk).exists()


def test_what_is_on_it_is_shown_before(lab1, define, do, overwrite):
    pool = define("disk", DISK)
    lab1.run("parted -s /dev/ubdc mklabel gpt mkpart data ext4 1MiB 101MiB mkpart swap 101MiB 201MiB")
    lab1.run("udevadm settle; mkfs.ext4 -q -L photos /dev/ubdc1; mkswap /dev/ubdc2")
    do("pool.look", pool)
    page, job = overwrite(pool)
    assert "GPT partition table, 2 partitions" in page
    assert "/dev/ubdc1 (100 MiB): ext4 file system photos" in page
    assert "/dev/ubdc2 (100 MiB): " in page
    assert "swap" in page.lower()
    assert job.state == S.SUCCEEDED, job.error_text
    assert "ubdc1" not in lab1.run("lsblk -n -o NAME /dev/ubdc")


def test_a_group_that_another_pool_has_is_not_overwritten(lab1, define, do):
    lab1.run("pvcreate /dev/ubdc; vgcreate vg_used /dev/ubdc")
    pool = define("disk", DISK)
    assert "Nobody looked" in REGISTRY["pool.build_overwrite"].why_off(pool)
    do("pool.look", pool)
    assert Look.objects.get().content["groups"] == ["vg_used"]
    define("logical", {"source_name": "vg_used", "format": "lvm2"}, "used")
    pool.refresh_from_db()
    assert "Another pool of the host uses the same device." in REGISTRY["pool.build_overwrite"].why_off(pool)


def test_what_came_after_the_look_stops_it(lab1, define, do, client, administrator):
    pool = define("disk", DISK)
    lab1.run("parted -s /dev/ubdc mklabel gpt mkpart data 1MiB 101MiB")
    do("pool.look", pool)
    client.force_login(administrator)
    url = reverse("pools:operate", args=[pool.pk, "build-overwrite"])
    fields = dict(re.findall(r'name="(key|looked)" value="([^"]+)"', client.get(url).content.decode()))
    lab1.run("udevadm settle; mkfs.ext4 -q -L precious /dev/ubdc1")
    assert client.post(url, fields | {"typed_name": "overwrite"}).status_code == 303
    job = Job.objects.get(key=fields["key"])
    runner.run(job.pk)
    job.refresh_from_db()
    assert (job.state, job.error_code) == (S.FAILED, "changed_since")
    assert "ext4 file system precious" in job.error_text
    assert blkid(lab1, "/dev/ubdc1") == ["ext4"]


def test_without_parted(lab1, define, run, do, overwrite):
    pool = define("disk", DISK)
    tool = lab1.run("command -v parted").strip()
    lab1.run(f"mv {tool} {tool}.away")
    try:
        job = run("pool.build", pool)
        assert (job.state, job.error_code) == (S.FAILED, "program_missing")
        assert "parted" in job.error_text
        do("pool.look", pool)
        _, job = overwrite(pool)
        assert (job.state, job.error_code) == (S.FAILED, "built_half")
        assert "parted" in job.error_text
    finally:
        lab1.run(f"mv {tool}.away {tool}")
    do("pool.build", pool)


def test_the_pools_that_start_with_the_host_are_back_after_it_was_off(lab1, host, define, do):
    stays = define("fs", FS, "stays")
    other = define("dir", {"target_path": "/vm_data/other"}, "other")
    for pool in (stays, other):
        do("pool.build", pool)
        do("pool.start", pool)
        pool.refresh_from_db()
    do("pool.autostart_on", stays)
    lab1.power_off()
    close_connections()
    lab1.start()
    lab1.wait_until_up()
    read_host(host)
    stays.refresh_from_db()
    assert (stays.state, stays.autostart) == ("running", True)
    assert lab1.run("findmnt -n -o SOURCE /vm_data/disk").strip() == "/dev/ubdb"
