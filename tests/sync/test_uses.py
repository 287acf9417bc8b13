from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from daemon import PrivateDaemon
from django.utils import timezone
from sync_tools import close_connections, define_and_start, host_of, read_host

from storagemgr.hosts.models import Host
from storagemgr.virt import domains
from storagemgr.virt.connection import connect
from volumes import sync
from volumes.models import DiskUse, Volume

UUID = "6695eb01-f6a4-8304-79aa-97f2502e1931"
DOMAIN = """
<domain type='qemu'><name>web01</name><uuid>{uuid}</uuid><memory>1024</memory>
<os><type arch='x86_64' machine='pc'>hvm</type></os><devices><emulator>/bin/true</emulator>
<disk type='file'><driver type='raw'/><source file='{path}'/><target dev='vda'/></disk>
</devices></domain>
"""


def use(**fields: Any) -> domains.DiskUse:
    values: dict[str, Any] = {"domain_uuid": UUID, "domain_name": "web01", "target": "vda", "device": "disk"}
    values |= {"running": False, "path": "", "pool": "", "volume": "", "readonly": False, "kind": "disk"}
    return domains.DiskUse(**values | fields)


def rows() -> list[tuple[str, str, str | None]]:
    found = DiskUse.objects.values_list("target", "domain_name", "volume__name", "volume__pool__name")
    return sorted(found, key=str)


@pytest.fixture
def write(host: Host) -> Callable[..., None]:
    return lambda *uses: sync.write_uses(host, list(uses), timezone.now())


@pytest.fixture
def vm_daemon(tmp_path_factory: pytest.TempPathFactory) -> PrivateDaemon:
    """With a VM, web01, whose disk is one.img of a pool in `images`."""
    daemon = PrivateDaemon(tmp_path_factory.mktemp("vms"))
    daemon.domain_directory.mkdir(parents=True)
    xml = DOMAIN.format(uuid=UUID, path=daemon.directory / "images" / "one.img")
    (daemon.domain_directory / "web01.xml").write_text(xml)
    return daemon


def test_the_disk_of_a_real_vm(db, vm_daemon):
    with vm_daemon:
        with connect(vm_daemon.uri) as connection:
            define_and_start(connection, vm_daemon.directory / "images", "one.img", "two.img")
        read_host(host_of(vm_daemon))
        found = DiskUse.objects.get()
        assert str(found.domain_uuid) == UUID
        assert (found.domain_name, found.running, found.volume.name) == ("web01", False, "one.img")
        close_connections()


def test_a_vm_that_is_gone_uses_nothing(db, vm_daemon):
    with vm_daemon:
        host = host_of(vm_daemon)
        with connect(vm_daemon.uri) as connection:
            sync.read_uses(connection, host)
            assert DiskUse.objects.count() == 1
            connection.raw.lookupByName("web01").undefine()
            sync.read_uses(connection, host)
        assert not DiskUse.objects.exists()


def test_a_use_means_a_volume_by_path_or_by_pool_and_name(write, make_pool, make_volume, host, make_host):
    pool, other = make_pool("fast", host=host), make_pool("slow", host=host)
    one = make_volume("one.img", pool=pool)
    make_volume("two.img", pool=pool)
    make_volume("two.img", pool=other)
    make_volume("one.img", pool=make_pool("fast", host=make_host("kvm2")))
    write(
        use(target="vda", path=one.path),
        use(target="vdb", pool="slow", volume="two.img"),
        use(target="vdc", path="/elsewhere/one.img"),
        use(target="vdd", pool="fast", volume="three.img"),
    )
    assert rows() == [
        ("vda", "web01", "one.img", "fast"),
        ("vdb", "web01", "two.img", "slow"),
        ("vdc", "web01", None, None),
        ("vdd", "web01", None, None),
    ]
    assert one.uses.get().host == host


def test_one_file_in_two_pools_is_in_use_in_both(write, host, make_pool, make_volume):
    for name in ("fast", "twin"):
        make_volume("one.img", pool=make_pool(name, host=host), path="/same/one.img")
    write(use(path="/same/one.img"))
    assert rows() == [("vda", "web01", "one.img", "fast"), ("vda", "web01", "one.img", "twin")]


def test_rows_that_did_not_change_stay(write):
    write(use(target="vda", path="/a"), use(target="vdb", path="/b"))
    stays = DiskUse.objects.get(target="vda").pk
    write(use(target="vda", path="/a"), use(target="vdb", path="/c"))
    assert DiskUse.objects.get(target="vda").pk == stays
    assert DiskUse.objects.get(target="vdb").path == "/c"


def test_rows_that_stand_twice_are_made_one(write, host):
    write(use(path="/a"))
    twin = DiskUse.objects.get()
    twin.pk = None
    twin.save()
    write(use(path="/a"))
    assert DiskUse.objects.count() == 1


def test_a_use_finds_its_volume_when_that_appears(write, host, make_pool, make_volume):
    write(use(path="/srv/fast/late.img"))
    assert rows() == [("vda", "web01", None, None)]
    make_volume("late.img", pool=make_pool("fast", host=host))
    write(use(path="/srv/fast/late.img"))
    assert rows() == [("vda", "web01", "late.img", "fast")]


def test_the_use_outlives_the_row_of_its_volume(write, host, make_pool, make_volume):
    volume = make_volume("one.img", pool=make_pool("fast", host=host))
    write(use(path=volume.path))
    Volume.objects.all().delete()
    assert rows() == [("vda", "web01", None, None)]


def test_an_older_reading_takes_nothing_away(write, host):
    older = timezone.now()
    write(use(path="/a"))
    sync.write_uses(host, [], older)
    assert DiskUse.objects.count() == 1


def test_uses_are_read_every_ten_seconds_and_after_volumes(read, host, new_pool, write):
    new_pool("one.img")
    read()
    write(use(path="/a"))
    read()
    assert DiskUse.objects.count() == 1
    Host.objects.filter(pk=host.pk).update(uses_read_at=timezone.now() - timedelta(seconds=10))
    read()
    assert not DiskUse.objects.exists()
    write(use(path="/a"))
    new_pool("two.img")
    read()
    assert not DiskUse.objects.exists()
