import os
import struct
from datetime import timedelta

import pytest
from django.db import connection as database
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from sync_tools import MIB, names, pool_row, read_host

from pools.models import Pool
from volumes import sync
from volumes.models import Volume


def test_a_volume_gets_its_row(read, new_pool, virsh, tmp_path):
    uuid = new_pool()
    virsh("vol-create-as", uuid, "base.qcow2", MIB, "--format", "qcow2")
    backing = ("--backing-vol", "base.qcow2", "--backing-vol-format", "qcow2")
    virsh("vol-create-as", uuid, "top.qcow2", 2 * MIB, "--format", "qcow2", *backing)
    read()
    top = Volume.objects.get(name="top.qcow2")
    path = tmp_path / "pool0"
    assert (top.path, top.type, top.format) == (str(path / "top.qcow2"), "file", "qcow2")
    assert top.capacity == 2 * MIB > top.allocation > 0
    assert (top.backing_path, top.backing_format) == (str(path / "base.qcow2"), "qcow2")
    assert (top.mode, top.owner) == ("0600", os.geteuid())
    assert abs(top.modified - timezone.now()) < timedelta(minutes=1)
    assert pool_row(uuid).promised == sum(max(v.capacity, v.allocation) for v in Volume.objects.all())


def test_a_volume_that_virsh_makes_is_there_after_one_reading(read, new_pool, virsh):
    uuid = new_pool("one.img")
    read()
    virsh("vol-create-as", uuid, "made.img", MIB)
    read()
    assert names(uuid) == {"one.img", "made.img"}


def test_a_volume_that_is_deleted_loses_its_row_alone(read, new_pool, virsh):
    uuid, other = new_pool("one.img", "two.img"), new_pool("one.img")
    read()
    virsh("vol-delete", "one.img", "--pool", uuid)
    read()
    assert names(uuid) == {"two.img"}
    assert names(other) == {"one.img"}


def test_a_resize_is_found_by_the_slow_beat(read, new_pool, virsh, settings):
    uuid = new_pool("one.img")
    read()
    virsh("vol-resize", "one.img", 3 * MIB, "--pool", uuid)
    read()
    assert Volume.objects.get(pool__uuid=uuid).capacity == MIB
    settings.VOLUMES_PERIOD = 0
    read()
    assert Volume.objects.get(pool__uuid=uuid).capacity == 3 * MIB


def test_a_name_that_is_not_utf_8_is_counted_and_holds_up_nothing(read, new_pool, virsh, tmp_path):
    uuid = new_pool("good.img")
    (tmp_path / "pool0" / os.fsdecode(b"bad\xff.img")).touch()
    virsh("pool-refresh", uuid)
    read()
    assert names(uuid) == {"good.img"}
    assert (pool_row(uuid).skipped_volumes, pool_row(uuid).volume_count) == (1, 2)


@pytest.mark.parametrize("name", ["a b.img", "tab\there", "<&'\">.img", "ünïcödé-漢字.img", "x" * 255])
def test_odd_names(read, new_pool, name):
    uuid = new_pool(name)
    read()
    assert names(uuid) == {name}


def test_the_mark_of_an_unverified_copy_stays(read, new_pool, c, settings):
    uuid = new_pool("one.img")
    read()
    since = timezone.now()
    Volume.objects.filter(pool__uuid=uuid).update(unverified_since=since, capacity=1)
    settings.VOLUMES_PERIOD = 0
    read()
    volume = Volume.objects.get(pool__uuid=uuid)
    assert (volume.capacity, volume.unverified_since) == (MIB, since)


def test_a_row_written_while_libvirt_listed_is_neither_changed_nor_deleted(read, new_pool, c):
    uuid = new_pool("one.img")
    read()
    later = timezone.now() + timedelta(minutes=1)
    Volume.objects.filter(pool__uuid=uuid).update(seen_at=later, capacity=5)
    made = Volume.objects.get(pool__uuid=uuid)
    made.pk, made.name = None, "made-by-a-job.img"
    made.save()
    sync.read_volumes(c, pool_row(uuid))
    assert names(uuid) == {"one.img", "made-by-a-job.img"}
    assert Volume.objects.get(name="one.img").capacity == 5


def test_a_change_while_libvirt_lists_is_read_next_time(read, new_pool, c, monkeypatch):
    uuid = new_pool("one.img")
    read()
    listing = sync.virt_volumes.list_volumes

    def list_and_change(connection, pool_uuid):
        found = listing(connection, pool_uuid)
        Pool.objects.filter(uuid=uuid).update(is_changed=True)
        return found

    monkeypatch.setattr(sync.virt_volumes, "list_volumes", list_and_change)
    sync.read_volumes(c, pool_row(uuid))
    assert pool_row(uuid).is_changed


def test_rows_that_did_not_change_are_not_written(read, new_pool, c):
    uuid = new_pool(*(f"disk{number}.img" for number in range(300)))
    read()
    with CaptureQueriesContext(database) as captured:
        sync.read_volumes(c, pool_row(uuid))
    assert not [
        query for query in captured if "volumes_volume" in query["sql"] and "SELECT" not in query["sql"]
    ]
    assert len(captured) <= 5


def test_more_volumes_than_libvirt_can_list(read, new_pool, virsh, tmp_path):
    uuid = new_pool("one.img")
    read()
    for number in range(sync.virt_volumes.LIST_LIMIT):
        (tmp_path / "pool0" / f"{number}").touch()
    virsh("pool-refresh", uuid)
    read()
    pool = pool_row(uuid)
    assert (pool.volumes_error, pool.volume_count) == ("too_many_volumes", sync.virt_volumes.LIST_LIMIT + 1)
    assert names(uuid) == {"one.img"}


def test_changed_pools_come_first_then_those_longest_unread(read, host, new_pool, monkeypatch):
    uuids = [new_pool("one.img") for _ in range(3)]
    read()
    now = timezone.now()
    for uuid, minutes in zip(uuids, (10, 20, 5), strict=True):
        Pool.objects.filter(uuid=uuid).update(volumes_read_at=now - timedelta(minutes=minutes))
    Pool.objects.filter(uuid=uuids[2]).update(is_changed=True)
    order = []
    monkeypatch.setattr(sync, "_read_pool", lambda reading, pool: order.append(str(pool.uuid)))
    read_host(host)
    assert order == [uuids[2], uuids[1], uuids[0]]


def test_a_reading_ends_although_more_volumes_wait(read, host, new_pool, monkeypatch):
    for _ in range(3):
        new_pool("one.img")
    monkeypatch.setattr(sync, "BUDGET_S", -1)
    read()
    assert not Volume.objects.exists()
    monkeypatch.undo()
    read()
    assert Volume.objects.count() == 3


def test_read_one_writes_a_new_volume_and_a_changed_one(read, c, new_pool, virsh):
    uuid = new_pool("one.img")
    read()
    pool = pool_row(uuid)
    virsh("vol-create-as", uuid, "made.img", MIB)
    made = sync.read_one(c, pool, "made.img")
    assert (made.name, made.capacity, made.pool) == ("made.img", MIB, pool)
    virsh("vol-resize", "one.img", 3 * MIB, "--pool", uuid)
    assert sync.read_one(c, pool, "one.img").capacity == 3 * MIB
    assert names(uuid) == {"one.img", "made.img"}


def test_read_one_of_a_volume_that_is_gone_takes_its_row_away(read, c, new_pool, virsh):
    uuid = new_pool("one.img", "two.img")
    read()
    virsh("vol-delete", "one.img", "--pool", uuid)
    assert sync.read_one(c, pool_row(uuid), "one.img") is None
    assert names(uuid) == {"two.img"}


def test_an_unchanged_volume_is_as_fresh_as_the_last_listing(read, new_pool, c):
    uuid = new_pool("one.img")
    read()
    before = Volume.objects.get(pool__uuid=uuid)
    assert before.as_of == before.seen_at
    sync.read_volumes(c, pool_row(uuid))
    after = Volume.objects.get(pool__uuid=uuid)
    assert after.as_of == pool_row(uuid).volumes_read_at > after.seen_at == before.seen_at


def test_sizes_that_nothing_can_have_hold_up_nothing(read, new_pool, virsh, tmp_path):
    """The header of an image says how big its disk is, and anybody can write it."""
    uuid, good = new_pool("good.img"), new_pool("good.img")
    for name, capacity in (("big", 2**62), ("bigger", 2**62), ("too-big", 2**64 - 512)):
        header = struct.pack(">4sIQIIQII", b"QFI\xfb", 2, 0, 0, 16, capacity, 0, 1) + bytes(65536)
        (tmp_path / "pool0" / f"{name}.qcow2").write_bytes(header)
    virsh("pool-refresh", uuid)
    read()
    assert {v.name: v.capacity for v in Volume.objects.filter(pool__uuid=uuid)} == {
        "good.img": MIB,
        "big.qcow2": 2**62,
        "bigger.qcow2": 2**62,
        "too-big.qcow2": 0,
    }
    assert pool_row(uuid).promised == 2**63 - 1
    assert names(good) == {"good.img"}
