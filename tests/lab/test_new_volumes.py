"""New partitions and logical volumes, asked for as a form is sent, on a host with real disks."""

from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest
from lab.labs import Lab
from sync_tools import close_connections, pool_row, read_host

from pools.models import Pool
from storagemgr.hosts.models import Host
from storagemgr.jobs import runner
from storagemgr.jobs.models import Job
from storagemgr.jobs.operations import REGISTRY
from storagemgr.jobs.submit import submit
from storagemgr.virt import pool_xml, secrets, volumes
from storagemgr.virt import pools as virt_pools
from storagemgr.virt.connection import connect
from storagemgr.virt.errors import VirtError
from storagemgr.virt.partitions import without_leftover
from storagemgr.virt.volumes import NewVolume
from volumes.models import Volume
from volumes.partitions import next_partition, why_no_partition

pytestmark = pytest.mark.django_db(transaction=True)
MIB = 1024**2


@pytest.fixture
def guest(lab: Lab):
    lab.two.reset()
    yield lab.two
    lab.two.reset()


@pytest.fixture
def make(guest) -> Iterator[Callable[..., Pool]]:
    """A built and running pool, read."""
    host = Host.objects.create(name="lab2", socket=str(guest.socket))

    def make(kind: str, **values: Any) -> Pool:
        with connect(guest.socket_uri) as c:
            uuid = virt_pools.define(c, pool_xml.build(kind, f"lab_{uuid4().hex[:6]}", str(uuid4()), values))
            virt_pools.build(c, uuid, "overwrite")
            virt_pools.start(c, uuid)
        read_host(host)
        return pool_row(uuid)

    yield make
    close_connections()


@pytest.fixture
def create(administrator) -> Callable[..., Job]:
    def create(pool: Pool, **typed: Any) -> Job:
        pool.refresh_from_db()
        form = REGISTRY["volume.create"].form(typed | {"key": str(uuid4())}, target=pool, user=administrator)
        assert form.is_valid(), form.errors
        asked = {"params": form.params(), "secrets": form.secrets(), "key": uuid4()}
        job = submit(REGISTRY["volume.create"], pool, actor=administrator, **asked)
        runner.run(job.pk)
        return Job.objects.get(pk=job.pk)

    return create


def partitions(guest, disk: str) -> set[str]:
    return set(guest.run(f"udevadm settle; lsblk -n -l -o NAME /dev/{disk}").split()) - {disk}


@pytest.mark.parametrize("label", ["gpt", "dos"])
def test_the_next_partition_is_known_before(make, create, guest, label):
    pool = make("disk", device="/dev/ubdb", format=label, target_path="/dev")
    assert why_no_partition(pool) == ""
    for number in (1, 2, 3):
        assert next_partition(pool) == f"ubdb{number}"
        job = create(pool, name=f"ubdb{number}", capacity="16 MiB")
        assert job.state == "succeeded", job.error_text
    guest.run(f"virsh vol-delete --pool {pool.name} ubdb2; virsh pool-refresh {pool.name}")
    read_host(pool.host)
    Volume.objects.filter(name="ubdb2").delete()
    # The lowest that is free.
    assert next_partition(pool) == "ubdb2"
    assert create(pool, name="ubdb2", capacity="16 MiB").state == "succeeded"
    assert partitions(guest, "ubdb") == {"ubdb1", "ubdb2", "ubdb3"}


def test_a_partition_that_somebody_else_made_meanwhile(make, create, guest):
    """libvirt does not see it before a refresh, and would have theirs deleted for ours."""
    pool = make("disk", device="/dev/ubdb", format="gpt", target_path="/dev")
    guest.run("parted -s /dev/ubdb mkpart theirs 300MiB 320MiB; udevadm settle")
    job = create(pool, name="ubdb1", capacity="16 MiB")
    assert (job.state, job.error_code) == ("failed", "volume_exists"), job.error_text
    assert partitions(guest, "ubdb") == {"ubdb1"}
    assert "theirs" in guest.run("parted -s /dev/ubdb print")
    read_host(pool.host)
    assert next_partition(pool) == "ubdb2"
    with connect(guest.socket_uri) as c, pytest.raises(VirtError) as named, guard(c, pool, "ubdb9"):
        volumes.create(c, str(pool.uuid), NewVolume(name="ubdb9", capacity=16 * MIB))
    assert named.value.code == "named_otherwise"
    assert partitions(guest, "ubdb") == {"ubdb1"}


def guard(c, pool, name):
    return without_leftover(c, str(pool.uuid), name, 16 * MIB)


def test_a_partition_for_which_there_is_no_room_is_told_with_its_size(make, create, guest):
    pool = make("disk", device="/dev/ubdb", format="gpt", target_path="/dev")
    Pool.objects.filter(pk=pool.pk).update(available=2**40)
    job = create(pool, name="ubdb1", capacity="2 GiB")
    assert (job.state, job.error_code) == ("failed", "no_space")
    assert job.error_text.startswith("2\N{NO-BREAK SPACE}GiB needed, 512\N{NO-BREAK SPACE}MiB free")
    assert partitions(guest, "ubdb") == set()
    assert create(pool, name="ubdb1", capacity="16 MiB").state == "succeeded"


def test_logical_volumes_whole_sparse_snapshot_and_encrypted(make, create, guest):
    pool = make("logical", source_name="vg_new", devices=["/dev/ubdd"], format="lvm2")
    whole = {"space": "falloc", "capacity": "32 MiB"}
    jobs = [
        create(pool, name="whole", **whole),
        create(pool, name="sparse", space="sparse", capacity="64 MiB", allocation="8 MiB"),
        create(pool, name="snap", space="falloc", backing=f"{pool.name}/whole", allocation="12 MiB"),
        create(pool, name="locked", passphrase="some words", **whole),
    ]
    assert [job.state for job in jobs] == ["succeeded"] * 4, [job.error_text for job in jobs]
    listed = guest.run("lvs --noheadings --units m --nosuffix -o lv_name,lv_size,origin vg_new").split("\n")
    found = {words[0]: words[1:] for line in listed if (words := line.split())}
    assert found["whole"] == ["32.00"]
    assert found["sparse"] == ["8.00", "[sparse_vorigin]"]
    assert found["snap"] == ["12.00", "whole"]
    assert "crypto_LUKS" in guest.run("blkid /dev/vg_new/locked")
    with connect(guest.socket_uri) as c:
        assert secrets.find_secret(c, "volume", "/dev/vg_new/locked")
    Pool.objects.filter(pk=pool.pk).update(available=2**40)
    job = create(pool, name="big", space="falloc", capacity="2 GiB")
    assert (job.state, job.error_code) == ("failed", "no_space")
    assert "needed" in job.error_text
