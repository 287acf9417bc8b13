from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from django.db import connection as database
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from sync_tools import MIB, pool_row, read_host

from pools import sync
from pools.models import Pool
from storagemgr.hosts.models import Host
from storagemgr.virt import pools as virt_pools
from storagemgr.virt.errors import VirtError
from storagemgr.virt.look import LOOK_PREFIX
from volumes.models import Volume


def test_a_new_pool_gets_its_row(read, new_pool, tmp_path):
    uuid = new_pool("one.img", "two.img")
    read()
    pool = pool_row(uuid)
    assert (pool.state, pool.type, pool.persistent, pool.autostart) == ("running", "dir", True, False)
    assert pool.source == pool.target_path == str(tmp_path / "pool0")
    assert pool.capacity > pool.available > 0
    assert pool.volume_count == 2
    assert f"<uuid>{uuid}</uuid>" in pool.xml
    assert pool.next_refresh_at > timezone.now()


def test_what_virsh_changes_is_read(read, new_pool, virsh):
    uuid = new_pool()
    read()
    before = pool_row(uuid)
    virsh("pool-autostart", uuid)
    virsh("vol-create-as", uuid, "made.img", MIB)
    read()
    pool = pool_row(uuid)
    assert pool.autostart
    assert pool.volume_count == 1
    assert pool.state_since == before.state_since
    assert pool.config_read_at > before.config_read_at


def test_a_stopped_pool_keeps_its_numbers_and_volumes(read, new_pool, virsh):
    uuid = new_pool("one.img")
    read()
    before = pool_row(uuid)
    virsh("pool-destroy", uuid)
    read()
    stopped = pool_row(uuid)
    assert stopped.state == "inactive"
    assert stopped.state_since > before.state_since
    assert (stopped.capacity, stopped.volume_count) == (before.capacity, 1)
    assert Volume.objects.filter(pool=stopped).count() == 1
    Pool.objects.filter(pk=stopped.pk).update(refresh_error="it could not be read")
    virsh("pool-start", uuid)
    read()
    started = pool_row(uuid)
    assert started.state == "running"
    assert started.refreshed_at == started.state_since > stopped.state_since
    assert started.refresh_error == ""


def test_a_pool_that_was_never_started_has_no_numbers(read, c, virsh, tmp_path):
    virsh("pool-define-as", "never", "dir", "--target", tmp_path)
    read()
    pool = Pool.objects.get(name="never")
    assert (pool.state, pool.capacity, pool.volume_count) == ("inactive", 0, 0)
    virsh("pool-undefine", "never")


def test_a_pool_that_is_gone_loses_its_row(read, new_pool, virsh):
    gone, stays = new_pool("one.img"), new_pool()
    read()
    virsh("pool-destroy", gone)
    virsh("pool-undefine", gone)
    read()
    assert not Pool.objects.filter(uuid=gone).exists()
    assert Pool.objects.filter(uuid=stays).exists()


def test_rows_that_were_written_since_the_reading_began_stay(read, new_pool, virsh):
    uuid = new_pool()
    read()
    later = timezone.now() + timedelta(minutes=1)
    Pool.objects.filter(uuid=uuid).update(seen_at=later, state="degraded")
    made = Pool.objects.get(uuid=uuid)
    made.pk, made.uuid = None, uuid4()
    made.save()
    read()
    assert pool_row(uuid).state == "degraded"
    assert Pool.objects.filter(pk=made.pk).exists()


def test_the_pools_of_another_host_are_left_alone(read, new_pool, make_host, make_pool):
    new_pool()
    other = make_pool(host=make_host("kvm2"))
    read()
    assert Pool.objects.get(pk=other.pk).seen_at == other.seen_at


def test_definitions_are_read_in_turn(monkeypatch, read, new_pool):
    monkeypatch.setattr(sync, "CONFIGS_PER_READING", 2)
    uuids = [new_pool() for _ in range(4)]
    read()
    rows = Pool.objects.filter(uuid__in=uuids)
    stale = "<pool type='dir'><name>stale</name></pool>"
    rows.update(xml=stale, config_read_at=timezone.now())
    for left in (2, 0):
        read()
        assert rows.filter(xml=stale).count() == left


def test_a_pool_that_only_looks_at_a_device_is_no_pool(read, c, new_pool, tmp_path):
    uuid = new_pool()
    xml = virt_pools.dir_pool_xml(f"{LOOK_PREFIX}{0:016x}", str(tmp_path))
    look = virt_pools.create_transient(c, xml)
    read()
    assert [str(pool.uuid) for pool in Pool.objects.all()] == [uuid]
    virt_pools.stop(c, look)


def test_an_idle_reading_takes_as_many_queries_for_ten_pools_as_for_one(read, host, new_pool):
    def queries() -> int:
        while Pool.objects.filter(is_changed=True).exists() or not Pool.objects.exists():
            read()
        with CaptureQueriesContext(database) as captured:
            read_host(host)
        return len(captured)

    new_pool("one.img")
    one = queries()
    for _ in range(9):
        new_pool("one.img")
    read()
    assert Pool.objects.count() == 10
    assert queries() == one == 11 + 2  # two of read_host itself


def test_read_one_writes_status_and_definition(host, read, c, new_pool, virsh):
    uuid = new_pool("one.img")
    read()
    pool = pool_row(uuid)
    virsh("pool-autostart", uuid)
    virsh("vol-create-as", uuid, "made.img", MIB)
    assert sync.read_one(c, pool).volume_count == 2
    row = pool_row(uuid)
    assert (row.autostart, row.volume_count, row.is_changed) == (True, 2, True)


def test_read_one_makes_a_silent_pool_answer(read, c, new_pool):
    uuid = new_pool()
    read()
    Pool.objects.filter(uuid=uuid).update(unreachable_since=timezone.now(), failures=3)
    sync.read_one(c, pool_row(uuid))
    assert (pool_row(uuid).unreachable_since, pool_row(uuid).failures) == (None, 0)


def test_read_one_of_a_pool_that_is_gone(read, c, new_pool, virsh):
    uuid = new_pool()
    read()
    virsh("pool-destroy", uuid)
    virsh("pool-undefine", uuid)
    with pytest.raises(VirtError) as raised:
        sync.read_one(c, pool_row(uuid))
    assert raised.value.code == "no_pool"


def test_the_same_pool_uuid_on_two_hosts_is_two_rows(host, read, new_pool, daemon):
    uuid = new_pool()
    read()
    twin = Host.objects.create(name="twin", mode=host.mode, socket=str(daemon.socket))
    read_host(twin)
    assert Pool.objects.filter(uuid=UUID(uuid)).count() == 2


def test_a_careful_reading_asks_each_pool_and_finds_no_new_one(host, read, new_pool, virsh):
    gone, stays = new_pool(), new_pool()
    read()
    later = timezone.now() + timedelta(minutes=1)
    Host.objects.filter(pk=host.pk).update(is_careful=True, list_failures=2, next_list_at=later)
    virsh("pool-destroy", gone)
    virsh("pool-undefine", gone)
    virsh("pool-autostart", stays)
    new = new_pool()
    assert read().is_careful
    assert {str(pool.uuid) for pool in Pool.objects.all()} == {stays}
    assert pool_row(stays).autostart
    Host.objects.filter(pk=host.pk).update(next_list_at=timezone.now())
    listed = read()
    assert (listed.is_careful, listed.list_failures, listed.next_list_at) == (False, 0, None)
    assert Pool.objects.filter(uuid=new).exists()


def test_a_pool_that_does_not_answer_is_asked_again_after_a_growing_while(read, new_pool):
    uuid = new_pool()
    read()
    pool, waits = pool_row(uuid), []
    for _ in range(11):
        sync._write_unreachable(pool)
        waits.append(round((pool.next_try_at - timezone.now()).total_seconds()))
    assert waits == [10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600]


def test_an_unreachable_pool_is_left_alone_until_its_time_comes(host, read, new_pool):
    uuid = new_pool()
    read()
    later = timezone.now() + timedelta(minutes=1)
    Pool.objects.filter(uuid=uuid).update(unreachable_since=timezone.now(), failures=3, next_try_at=later)
    Host.objects.filter(pk=host.pk).update(is_careful=True)
    read()
    assert pool_row(uuid).failures == 3
    Pool.objects.filter(uuid=uuid).update(next_try_at=timezone.now())
    read()
    assert (pool_row(uuid).unreachable_since, pool_row(uuid).failures) == (None, 0)
    assert not read().is_careful
