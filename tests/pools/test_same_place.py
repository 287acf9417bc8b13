"""A second pool of the same storage is no way round what protects a volume in the first, or uses it."""

import uuid

import pytest
from daemon import PrivateDaemon
from django.utils import timezone
from sync_tools import host_of

from pools import noting, safety
from storagemgr.jobs.operations import REGISTRY
from volumes.identity import identity_of
from volumes.models import DiskUse
from volumes.operations import keeping

pytestmark = pytest.mark.django_db
NETFS = """<pool type='netfs'><name>vms</name><source><host name='nas.example'/><dir path='/export/vm'/></source>
<target><path>{path}</path></target></pool>"""
DOMAIN = """<domain type='qemu'><name>web01</name><memory>1024</memory><os><type arch='x86_64' machine='pc'>hvm</type>
</os><devices><emulator>/bin/true</emulator><disk type='file'><source file='/mnt/kvm2/web'/><target dev='vda'/></disk>
</devices></domain>"""
ELSEWHERE = ("same directory", "same file", "same export")


@pytest.fixture(params=ELSEWHERE)
def twins(request, make_host, make_pool, make_volume):
    """A volume in a pool, and a stopped pool by whose deletion it would go too: what stands there is a row or none."""
    first, second = make_host("kvm1"), make_host("kvm2")
    if request.param == "same export":
        fields = {"type": "netfs", "source": "nas:/export/vm"}
        pools = [make_pool("vms", host, target_path=f"/mnt/{host}", **fields) for host in (first, second)]
    else:
        where = {"type": "fs", "target_path": "/srv/vms"}
        pools = [make_pool("vms", first, **where), make_pool("again", first, **where)]
    volume = make_volume("web.raw", pools[0], identity=identity_of(pools[0], "web.raw", "/srv/vms/web.raw"))
    if request.param == "same file":
        pools[1].target_path = "/srv/by-a-link"
        make_volume("web", pools[1], path="/srv/by-a-link/web", identity=volume.identity)
    pools[1].state = "inactive"
    pools[1].save()
    return volume, pools[1]


def in_the_way(pool, action, user):
    return [line.text.replace("\xa0", " ") for line in safety.checks(pool, action, user) if not line.is_ok]


def test_a_protection_holds_by_the_other_pool(twins, manager, make_user):
    volume, pool = twins
    keeping.save(volume, {"protected_because": "all web VMs", "protected_at": timezone.now()})
    said = "1 volume in another pool is the same data and protected."
    for action in ("delete", "overwrite"):
        assert safety.why_not(pool, action) == "Volumes with the same data are protected in another pool."
        assert said in in_the_way(pool, action, manager)
    assert REGISTRY["pool.delete"].why_off(pool).startswith("Volumes with the same data")
    [line] = [
        line for line in safety.checks(pool, "delete", manager) if said in line.text.replace("\xa0", " ")
    ]
    assert line.links == (("web.raw in vms on kvm1", volume.get_absolute_url()),)
    # Who sees this pool alone is told that there is something, and not what.
    mike = make_user("mike", "manager", host=pool.host, pool_uuid=pool.uuid)
    [line] = [line for line in safety.checks(pool, "delete", mike) if said in line.text.replace("\xa0", " ")]
    assert line.links == ()
    assert safety.why_not(pool, "undefine") == ""


def test_a_protected_pool_keeps_the_other_one(twins, manager):
    volume, pool = twins
    noting.save(volume.pool, {"protected_because": "all web VMs", "protected_at": timezone.now()})
    assert safety.why_not(pool, "delete") == "Another pool of the same storage is protected."
    assert "Another pool of the same storage is protected." in in_the_way(pool, "delete", manager)


def test_a_vm_holds_it_by_the_other_pool(twins, manager, make_user):
    volume, pool = twins
    use(volume, "web01")
    use(volume, "web01", kind="snapshot")
    assert "VM" in REGISTRY["pool.delete"].why_off(pool)
    assert any("web01" in text for text in in_the_way(pool, "overwrite", manager))
    if volume.pool.host != pool.host:
        said = "1 VM uses this storage through another pool"
        assert safety.why_not(pool, "delete").replace("\xa0", " ") == f"{said}."
        assert f"{said}: web01 on kvm1." in in_the_way(pool, "delete", manager)
        mike = make_user("mike", "manager", host=pool.host)
        assert f"{said}: 1 that you do not see." in in_the_way(pool, "delete", mike)


def test_what_is_built_on_it_elsewhere(twins, make_pool, make_volume, manager):
    volume, pool = twins
    make_volume("overlay", make_pool("other", volume.pool.host), backing_path=volume.path)
    assert "other pool" in REGISTRY["pool.delete"].why_off(pool).replace("\xa0", " ")
    assert "1 other pool needs what is here." in in_the_way(pool, "delete", manager)


def test_a_stop_cuts_off_who_has_it_by_the_same_path(make_pool, make_volume, manager):
    """Both pools log out of the target together; the row of the disk is the other pool's."""
    fields = {
        "type": "iscsi",
        "source": "san/iqn.2026-01.org.example:vms",
        "target_path": "/dev/disk/by-path",
    }
    first, second = make_pool("luns", **fields), make_pool("again", **fields)
    volume = make_volume("unit:0:0:1", first)
    use(volume, "db01", running=True, path="", pool_name="luns", volume_name=volume.name)
    assert "Running VMs have disks here: db01." in REGISTRY["pool.stop"].why_off(second)
    assert any("db01" in text for text in in_the_way(second, "stop", manager))
    third = make_pool("mine", **fields | {"source": "san/iqn.2026-01.org.example:other"})
    assert REGISTRY["pool.stop"].why_off(third) == ""


def use(volume, vm, **fields):
    values = {
        "host": volume.pool.host,
        "volume": volume,
        "kind": "disk",
        "running": False,
        "path": volume.path,
    }
    DiskUse.objects.create(
        **values | {"domain_uuid": uuid.uuid5(uuid.NAMESPACE_DNS, vm), "domain_name": vm} | fields
    )


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    daemon = PrivateDaemon(tmp_path_factory.mktemp("libvirtd"))
    daemon.domain_directory.mkdir(parents=True)
    (daemon.domain_directory / "web01.xml").write_text(DOMAIN)
    with daemon:
        yield daemon


def test_the_other_host_is_asked_when_the_job_starts(daemon, real_pool, make_pool, run, tmp_path):
    """The VM was defined there since that host was read last."""
    (tmp_path / "mnt").mkdir()
    pool, other = real_pool(NETFS.format(path=tmp_path / "mnt")), host_of(daemon, "kvm2")
    other.state = "up"
    other.save()
    make_pool("vms", other, type="netfs", source=pool.source, target_path="/mnt/kvm2")
    assert REGISTRY["pool.delete"].why_off(pool) == ""
    job = run("pool.delete", pool)
    assert (job.state, job.error_code) == ("failed", "changed_since")
    assert "another host" in job.error_text
    assert (tmp_path / "mnt").is_dir()
