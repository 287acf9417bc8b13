"""Build, delete and forget on a real libvirtd, and what refuses them."""

import uuid
from pathlib import Path

import pytest
from daemon import PrivateDaemon
from django.urls import reverse
from sync_tools import Virsh, close_connections, host_of, pool_row, read_host

from pools import devices
from pools.lifecycle import DELETE, UNDEFINE
from pools.models import Look, Pool
from storagemgr.jobs.models import Job
from storagemgr.jobs.operations import REGISTRY
from storagemgr.virt import pools as virt_pools
from storagemgr.virt import secrets
from storagemgr.virt.connection import connect
from storagemgr.virt.pool_guard import own_secret
from volumes.models import DiskUse

pytestmark = pytest.mark.django_db
S = Job.State


def fs_xml(device: Path, mount_point: Path, file_system: str = "ext4") -> str:
    return (
        f"<pool type='fs'><name>{uuid.uuid4().hex}</name>"
        f"<source><device path='{device}'/><format type='{file_system}'/></source>"
        f"<target><path>{mount_point}</path></target></pool>"
    )


def disk_xml(device: Path) -> str:
    return (
        f"<pool type='disk'><name>{uuid.uuid4().hex}</name>"
        f"<source><device path='{device}'/><format type='gpt'/></source>"
        "<target><path>/dev</path></target></pool>"
    )


def use(pool: Pool, vm: str = "web01", **fields: object) -> DiskUse:
    values = {"host": pool.host, "domain_uuid": uuid.uuid4(), "running": False, "kind": "disk"}
    return DiskUse.objects.create(domain_name=vm, **values | fields)


def ended(job: Job) -> tuple[str, str]:
    return job.state, job.error_code


def test_a_directory_from_build_to_forgotten(run, dir_pool, c):
    path = Path(dir_pool.target_path)
    assert run("pool.start", dir_pool).error_code == "not_found_on_host"
    assert run("pool.build", dir_pool).state == S.SUCCEEDED
    assert path.is_dir()
    assert run("pool.start", dir_pool).state == S.SUCCEEDED
    for operation in ("pool.build", "pool.delete", "pool.undefine"):
        job = run(operation, dir_pool)
        assert ended(job) == (S.FAILED, "changed_since")
        assert "It is running" in job.error_text
    assert run("pool.stop", dir_pool).state == S.SUCCEEDED
    assert run("pool.delete", dir_pool).state == S.SUCCEEDED
    assert not path.exists()
    assert Pool.objects.get(pk=dir_pool.pk).state == "inactive"
    assert run("pool.undefine", dir_pool).state == S.SUCCEEDED
    assert not Pool.objects.filter(pk=dir_pool.pk).exists()
    assert str(dir_pool.uuid) not in virt_pools.list_uuids(c)


def test_a_directory_that_is_not_empty_stays(run, dir_pool):
    path = Path(dir_pool.target_path)
    run("pool.build", dir_pool)
    (path / "hidden").mkdir()
    job = run("pool.delete", dir_pool)
    assert ended(job) == (S.FAILED, "not_empty")
    assert path.is_dir()


def test_forgetting_leaves_the_data(run, dir_pool):
    path = Path(dir_pool.target_path)
    run("pool.build", dir_pool)
    (path / "disk.img").write_bytes(b"precious")
    assert run("pool.undefine", dir_pool).state == S.SUCCEEDED
    assert (path / "disk.img").read_bytes() == b"precious"


def test_a_file_system_is_made_where_there_is_none_and_kept_where_there_is(run, real_pool, device, tmp_path):
    pool = real_pool(fs_xml(device, tmp_path / "mnt"))
    assert run("pool.build", pool).state == S.SUCCEEDED
    made = device.read_bytes()
    assert made[1080:1082] == b"\x53\xef"
    job = run("pool.build", pool)
    assert ended(job) == (S.FAILED, "already_formatted")
    assert device.read_bytes() == made
    words, url = REGISTRY["pool.build"].next_step(job)
    assert "build anew" in words
    assert url == reverse("pools:operate", args=[pool.pk, "look"])


def test_without_a_format_only_the_mount_point_is_made(run, real_pool, device, tmp_path):
    pool = real_pool(fs_xml(device, tmp_path / "mnt", "auto"))
    assert "With the format auto no file system is made." in REGISTRY["pool.build"].effects(pool)[0]
    assert run("pool.build", pool).state == S.SUCCEEDED
    assert (tmp_path / "mnt").is_dir()
    assert not device.read_bytes().strip(b"\0")
    assert "which file system" in REGISTRY["pool.build_overwrite"].why_off(pool)


def test_a_missing_program_is_named(run, real_pool, device, tmp_path):
    pool = real_pool(fs_xml(device, tmp_path / "mnt", "ocfs2"))
    job = run("pool.build", pool)
    assert ended(job) == (S.FAILED, "program_missing")
    assert "mkfs.ocfs2" in job.error_text


def test_a_partition_table_is_made_and_destroyed(run, real_pool, device):
    pool = real_pool(disk_xml(device))
    assert run("pool.build", pool).state == S.SUCCEEDED
    assert b"EFI PART" in device.read_bytes()
    assert ended(run("pool.build", pool)) == (S.FAILED, "already_formatted")
    assert run("pool.delete", pool).state == S.SUCCEEDED
    assert not device.read_bytes().strip(b"\0")


def test_a_pool_on_a_partition_keeps_the_disk(run, real_pool, device, tmp_path):
    pool = real_pool(disk_xml(device))
    assert run("pool.build", pool).state == S.SUCCEEDED
    other = real_pool(fs_xml(Path(f"{device}1"), tmp_path / "mnt"))
    assert DELETE.why_off(pool) == "Another pool of the host uses the same device or a part of it."
    assert ended(run("pool.delete", pool)) == (S.FAILED, "changed_since")
    assert b"EFI PART" in device.read_bytes()
    assert run("pool.undefine", other).state == S.SUCCEEDED
    assert run("pool.delete", pool).state == S.SUCCEEDED


@pytest.mark.parametrize("path", ["/dev/sdb2", "/dev/disk/by-id/ata-x-part2", "/dev/vg9/root"])
def test_a_vm_on_the_device_by_any_name_keeps_the_disk(make_pool, path):
    pool = make_pool(
        "parts", type="disk", state="inactive", xml=disk_xml(Path("/dev/sdb")), target_path="/dev"
    )
    use(pool, path=path)
    seen = {"names": ["/dev/disk/by-id/ata-x"], "groups": ["vg9"]}
    Look.objects.create(host=pool.host, path="/dev/sdb", content=seen)
    assert "VMs have a disk on its device: web01." in DELETE.why_off(pool)


def test_what_is_no_block_device_is_not_overwritten(run, real_pool, device):
    """Nothing below /dev, so nobody can look at it first."""
    pool = real_pool(disk_xml(device))
    assert ended(run("pool.look", pool)) == (S.FAILED, "invalid")
    job = run("pool.build_overwrite", pool, seen={})
    assert ended(job) == (S.FAILED, "invalid")
    assert not device.read_bytes().strip(b"\0")


DOMAIN = """
<domain type='qemu'><name>web01</name><memory>1024</memory><os><type arch='x86_64' machine='pc'>hvm</type></os>
<devices><emulator>/bin/true</emulator>
<disk type='file' device='disk'><source file='{path}/below/web01.img'/><target dev='vda' bus='virtio'/></disk>
</devices></domain>
"""


def test_a_vm_that_no_row_knows_is_seen_by_the_worker(run, tmp_path_factory, tmp_path, db):
    daemon = PrivateDaemon(tmp_path_factory.mktemp("vms"))
    daemon.domain_directory.mkdir(parents=True)
    (daemon.domain_directory / "web01.xml").write_text(DOMAIN.format(path=tmp_path / "images"))
    with daemon, connect(daemon.uri) as c:
        host = host_of(daemon)
        pool_uuid = virt_pools.define(c, virt_pools.dir_pool_xml("images", str(tmp_path / "images")))
        read_host(host)
        pool = pool_row(pool_uuid)
        assert run("pool.build", pool).state == S.SUCCEEDED
        assert DELETE.why_off(pool).startswith("VMs have a disk here: web01.")
        DiskUse.objects.all().delete()
        assert DELETE.why_off(pool) == ""
        job = run("pool.delete", pool)
        assert ended(job) == (S.FAILED, "changed_since")
        assert "VMs have a disk here: web01." in job.error_text
        assert (tmp_path / "images").is_dir()
        close_connections()


@pytest.mark.parametrize(
    "fields",
    [
        {"path": "/srv/default/web01.img"},
        {"pool_name": "default", "volume_name": "web01.img"},
    ],
)
def test_vms_even_shut_off_ones_keep_the_storage(pool, fields):
    Pool.objects.update(state="inactive")
    pool.refresh_from_db()
    assert DELETE.why_off(pool) == ""
    use(pool, **fields)
    assert "VMs have a disk here: web01." in DELETE.why_off(pool)


def test_a_disk_in_a_folder_below_holds_the_mount_too(make_pool):
    """libvirt lists no volumes there, and cannot unmount what a VM has open."""
    nas = make_pool("nas", type="netfs", target_path="/vm_data")
    off = REGISTRY["pool.stop"].why_off
    use(nas, path="/vm_data/customers/a.qcow2")
    assert off(nas) == ""
    use(nas, "web02", path="/vm_data/customers/b.qcow2", running=True)
    assert "Running VMs have disks here: web02." in off(nas)


def test_a_neighbour_is_no_user(pool):
    use(pool, path="/srv/default-evil/web01.img")
    use(pool, "web02", pool_name="other", volume_name="x")
    assert devices.vms_of(pool) == []


def test_what_is_built_on_it_keeps_it(pool, volume, make_pool, make_volume):
    other = make_pool("other", state="inactive")
    Pool.objects.update(state="inactive")
    pool.refresh_from_db()
    make_volume("overlay", other, backing_path=volume.path)
    assert "1 other pool" in DELETE.why_off(pool).replace("\xa0", " ")


def test_a_pool_on_a_volume_keeps_it(make_pool, make_volume):
    group = make_pool("vg", type="logical", target_path="/dev/vg", state="inactive")
    xml = "<pool type='fs'><source><device path='/dev/vg/data'/></source></pool>"
    make_pool("on-it", type="fs", xml=xml)
    assert devices.built_on(group) == 1
    assert "other pool" in DELETE.why_off(group)


def test_what_is_destroyed_is_said_per_type(make_pool, make_volume):
    from django.utils import timezone

    xml = "<pool type='logical'><source><device path='/dev/sdb'/><name>vg0</name></source></pool>"
    group = make_pool(
        "vg",
        type="logical",
        xml=xml,
        target_path="/dev/vg0",
        state="inactive",
        volumes_read_at=timezone.now(),
    )
    for name in "abcdefg":
        make_volume(name, group)
    said = [line.replace("\xa0", " ") for line in DELETE.effects(group)]
    assert said[0] == "Removes the volume group vg0 with 7 volumes (70 GiB): a, b, c, d, e and 2 more."
    assert said[1] == "Removes the LVM label from /dev/sdb."
    assert said[2].startswith("Its volumes were last read at today ")
    never = make_pool("new", type="zfs", state="inactive")
    assert DELETE.effects(never)[0].startswith("Destroys new with everything in it")
    assert "never read" in DELETE.effects(never)[1]


@pytest.mark.parametrize("kind", ["iscsi", "iscsi-direct", "scsi", "mpath", "rbd", "gluster"])
def test_what_libvirt_cannot_build_or_delete_says_so(make_pool, kind):
    pool = make_pool("luns", type=kind, state="inactive")
    assert "nothing to build" in REGISTRY["pool.build"].why_off(pool)
    assert "can only forget the pool" in DELETE.why_off(pool)
    assert UNDEFINE.why_off(pool) == ""
    assert not REGISTRY["pool.build_overwrite"].applies(pool)


def test_forgetting_names_the_vms_that_will_not_start(pool):
    use(pool, "by-name", pool_name=pool.name, volume_name="a")
    use(pool, "by-path", path=f"{pool.target_path}/b")
    said = " ".join(UNDEFINE.effects(pool))
    assert "VMs that name this pool do not start any more: by-name." in said
    assert "by its path keep it as it is: by-path." in said


def test_a_transient_pool_cannot_be_forgotten_twice(pool):
    pool.persistent = False
    assert "stopping it forgets it" in UNDEFINE.why_off(pool)


def iscsi_xml(pool_uuid: str, secret: str) -> str:
    return (
        f"<pool type='iscsi'><name>i{pool_uuid[:8]}</name><uuid>{pool_uuid}</uuid><source><host name='nas1'/>"
        f"<device path='iqn.2026-01.test:{pool_uuid}'/>"
        f"<auth type='chap' username='u'><secret uuid='{secret}'/></auth></source>"
        "<target><path>/dev/disk/by-path</path></target></pool>"
    )


def put_secret(c, pool_uuid: str) -> str:
    return secrets.put_secret(
        c, usage_type="iscsi", usage_id=secrets.usage_id(pool_uuid), value="s3cret", pool_name="i"
    )


def test_the_password_goes_with_the_pool(run, real_pool, c):
    pool_uuid = str(uuid.uuid4())
    assert put_secret(c, pool_uuid) == own_secret(pool_uuid)
    pool = real_pool(iscsi_xml(pool_uuid, own_secret(pool_uuid)))
    assert any("password" in line for line in UNDEFINE.effects(pool))
    assert run("pool.undefine", pool).state == S.SUCCEEDED
    assert secrets.find_secret(c, "iscsi", secrets.usage_id(pool_uuid)) is None


def test_a_password_that_is_not_named_any_more_goes_too(run, real_pool, c):
    pool_uuid = str(uuid.uuid4())
    put_secret(c, pool_uuid)
    named = f"<auth type='chap' username='u'><secret uuid='{own_secret(pool_uuid)}'/></auth>"
    pool = real_pool(iscsi_xml(pool_uuid, own_secret(pool_uuid)).replace(named, ""))
    assert run("pool.undefine", pool).state == S.SUCCEEDED
    assert secrets.find_secret(c, "iscsi", secrets.usage_id(pool_uuid)) is None


def test_the_password_stays_while_another_pool_names_it(run, real_pool, c):
    pool_uuid, other_uuid = str(uuid.uuid4()), str(uuid.uuid4())
    put_secret(c, pool_uuid)
    pool = real_pool(iscsi_xml(pool_uuid, own_secret(pool_uuid)))
    real_pool(iscsi_xml(other_uuid, own_secret(pool_uuid)))
    assert run("pool.undefine", pool).state == S.SUCCEEDED
    assert secrets.find_secret(c, "iscsi", secrets.usage_id(pool_uuid)) == own_secret(pool_uuid)
    secrets.forget_secret(c, own_secret(pool_uuid))


def test_a_dead_worker_is_settled_by_a_look(dir_pool, run, c, settled):
    assert settled("pool.undefine", dir_pool).state == S.FAILED
    assert settled("pool.delete", dir_pool).error_code == "end_unknown"
    assert settled("pool.build", dir_pool).error_code == "end_unknown"
    assert settled("pool.look", dir_pool).error_code == "nothing_done"
    run("pool.build", dir_pool)
    virt_pools.start(c, str(dir_pool.uuid))
    assert settled("pool.build", dir_pool).state == S.SUCCEEDED
    assert settled("pool.delete", dir_pool).error_code == "nothing_done"
    virt_pools.stop(c, str(dir_pool.uuid))
    virt_pools.undefine(c, str(dir_pool.uuid))
    assert settled("pool.undefine", dir_pool).state == S.SUCCEEDED
    assert not Pool.objects.filter(pk=dir_pool.pk).exists()


def test_forgotten_with_virsh_meanwhile(run, dir_pool, daemon):
    Virsh(daemon.uri)("pool-undefine", dir_pool.uuid)
    job = run("pool.undefine", dir_pool)
    assert ended(job) == (S.FAILED, "target_gone")


def test_the_row_of_a_built_pool_is_read(run, dir_pool, real_host):
    run("pool.build", dir_pool)
    run("pool.start", dir_pool)
    read_host(real_host)
    assert pool_row(str(dir_pool.uuid)).state == "running"
