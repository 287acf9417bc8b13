"""What VMs, overlays, jobs and people need is not destroyed. On a real libvirtd, whose VMs need not boot."""

import subprocess
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from daemon import PrivateDaemon
from django.contrib.auth.models import User
from django.utils import timezone
from sync_tools import Virsh, close_connections, define_and_start, host_of, read_host

from pools.models import Pool, PoolNotes
from storagemgr.hosts import reaching
from storagemgr.hosts.models import Host
from storagemgr.jobs.models import Job
from storagemgr.jobs.operations import REGISTRY
from storagemgr.jobs.runner import run
from storagemgr.jobs.submit import Held, submit
from storagemgr.virt.connection import connect
from volumes import safety
from volumes.models import DiskUse, Volume, VolumeNotes

pytestmark = pytest.mark.django_db
MIB = 1024**2
DESTROYING = {
    "volume.delete": {},
    "volume.wipe": {"algorithm": "zero", "reason": "", "fill": False},
    "volume.resize": {"capacity": 4 * MIB, "allocate": False, "shrink": True},
}
# What is used, and by which part of a domain.
USES = {
    "file": "<disk type='file'><source file='{images}/file'/><target dev='vda'/></disk>",
    "block": "<disk type='block'><source dev='{images}/block'/><target dev='vda'/></disk>",
    "pooled": "<disk type='volume'><source pool='images' volume='pooled'/><target dev='vda'/></disk>",
    "by-twin": "<disk type='volume'><source pool='twin' volume='by-twin'/><target dev='vda'/></disk>",
    "chain": "<disk type='file'><source file='/other'/><backingStore type='file'><format type='raw'/>"
    "<source file='{images}/chain'/><backingStore/></backingStore><target dev='vda'/></disk>",
    "cdrom": "<disk type='file' device='cdrom'><source file='{images}/cdrom'/><target dev='hda' bus='ide'/></disk>",
    "kernel": "<kernel>{images}/kernel</kernel>",
    "initrd": "<kernel>/boot/k</kernel><initrd>{images}/initrd</initrd>",
    "nvram": "<loader readonly='yes' type='pflash'>/fw/code.fd</loader><nvram>{images}/nvram</nvram>",
}
DOMAIN = """<domain type='qemu'><name>vm-{name}</name><uuid>{uuid}</uuid><memory>1024</memory>
<os><type arch='x86_64' machine='pc'>hvm</type>{os}</os><devices><emulator>/bin/true</emulator>{devices}</devices>
</domain>"""
SNAPSHOT = """<domainsnapshot><name>before</name><state>shutoff</state><creationTime>1700000000</creationTime>
<memory snapshot='no'/><disks><disk name='vda' snapshot='external' type='file'><driver type='qcow2'/>
<source file='{images}/after'/></disk></disks><active>1</active></domainsnapshot>"""


def domain(name: str, part: str, images: Path) -> str:
    part = part.format(images=images)
    is_device = part.startswith("<disk")
    parts = {"os": "" if is_device else part, "devices": part if is_device else ""}
    return DOMAIN.format(name=name, uuid=uuid.uuid5(uuid.NAMESPACE_DNS, name), **parts)


def write_domains(daemon: PrivateDaemon, images: Path) -> None:
    directory = daemon.domain_directory
    directory.mkdir(parents=True, exist_ok=True)
    for name, part in USES.items():
        (directory / f"vm-{name}.xml").write_text(domain(name, part, images))
    # The domain has another disk by now; the overlay that the snapshot made is known to the snapshot alone.
    before = USES["file"].replace("/file'", "/before'")
    (directory / "vm-snapshot.xml").write_text(domain("snapshot", before, images))
    snapshots = directory / "../../../var/lib/libvirt/qemu/snapshot/vm-snapshot"
    snapshots.mkdir(parents=True)
    (snapshots / "before.xml").write_text(SNAPSHOT.format(images=images))


VOLUMES = (*USES, "after", "before", "base", "free", "spare")


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateDaemon]:
    """One directory in two pools, and VMs that came after the rows below were read."""
    with PrivateDaemon(tmp_path_factory.mktemp("libvirt")) as running:
        images = running.directory / "images"
        images.mkdir()
        (running.directory / "link").symlink_to(images)
        virsh = Virsh(running.uri)
        with connect(running.uri) as connection:
            define_and_start(connection, running.directory / "elsewhere")
        for name, path in (("images", images), ("twin", running.directory / "link")):
            virsh("pool-define-as", name, "dir", "--target", path)
        for name in VOLUMES:
            (images / name).write_bytes(b"kept" * (2 * MIB))
        command = ["qemu-img", "create", "-f", "qcow2", "-F", "raw", "-b", images / "base"]
        subprocess.run(
            [*command, running.directory / "elsewhere" / "overlay"], check=True, capture_output=True
        )
        for name in ("images", "twin"):
            virsh("pool-start", name)
        virsh("pool-refresh", virsh("pool-list", "--name").split()[-1])
        yield running


@pytest.fixture(scope="module")
def images(daemon: PrivateDaemon) -> Path:
    return daemon.directory / "images"


@pytest.fixture
def kvm1(db: None, daemon: PrivateDaemon) -> Iterator[Host]:
    yield read_host(host_of(daemon))
    close_connections()


def volume_of(name: str, pool: str = "images") -> Volume:
    return Volume.objects.select_related("pool__host").get(pool__name=pool, name=name)


@pytest.fixture
def do(manager: User) -> Callable[..., Job]:
    """Asks and does it, whatever the page would have said."""

    def ask_and_do(operation: str, volume: Volume) -> Job:
        params = DESTROYING[operation]
        job = submit(REGISTRY[operation], volume, actor=manager, params=params, key=uuid.uuid4())
        Job.objects.filter(pk=job.pk, state="scheduled").update(state="queued")
        run(job.pk)
        return Job.objects.get(pk=job.pk)

    return ask_and_do


def assert_refused(job: Job, volume: Volume, path: Path, word: str) -> None:
    said = (job.operation, volume.name, job.state, job.error_code, job.error_text)
    assert said[2:4] == ("failed", "changed_since"), said
    assert word in job.error_text, said
    assert path.read_bytes() == b"kept" * (2 * MIB), said


def test_vms_that_came_after_the_page_was_shown(daemon, images, kvm1, do):
    used = (*USES, "after", "before")
    for name in used:
        for action in ("delete", "wipe", "shrink"):
            assert safety.why_not(volume_of(name), action) == "", name
    write_domains(daemon, images)
    daemon.restart()
    for name in used:
        vm = "vm-snapshot" if name in ("after", "before") else f"vm-{name}"
        for operation in DESTROYING:
            assert_refused(do(operation, volume_of(name)), volume_of(name), images / name, vm)
    for operation in ("volume.wipe", "volume.delete"):
        assert do(operation, volume_of("spare")).state == "succeeded"


def test_a_base_and_the_same_file_in_another_pool(images, kvm1, do):
    for operation in DESTROYING:
        assert_refused(do(operation, volume_of("base")), volume_of("base"), images / "base", "in other pools")
        twin = volume_of("base", "twin")
        assert_refused(do(operation, twin), twin, images / "base", "overlay needs it")
    assert "vm-file" in safety.why_not(volume_of("file", "twin"), "delete")


def test_a_job_has_the_file_in_all_pools(kvm1, manager):
    ask = {"actor": manager, "params": {}}
    first = submit(REGISTRY["volume.delete"], volume_of("free"), key=uuid.uuid4(), **ask)
    with pytest.raises(Held) as held:
        submit(REGISTRY["volume.delete"], volume_of("free", "twin"), key=uuid.uuid4(), **ask)
    assert held.value.job == first


RUNNING = """<node><domain type='test'><name>runs</name><uuid>6695eb01-f6a4-8304-79aa-97f2502e1931</uuid>
<memory>1024</memory><os><type>hvm</type></os><devices>
<disk type='file'><source file='/images/top'/><target dev='vda'/>
<backingStore type='file'><format type='raw'/><source file='/images/below'/><backingStore/></backingStore></disk>
</devices></domain>
<pool type='dir'><name>images</name><uuid>35bb2ad9-388a-cdfe-461a-b8907f6e53fe</uuid>
<target><path>/images</path></target>
<volume type='file'><name>top</name><capacity>1000000</capacity></volume>
<volume type='file'><name>below</name><capacity>1000000</capacity></volume></pool></node>"""


def test_a_running_vm(db, tmp_path, monkeypatch, do):
    """libvirt's own test driver has VMs that run without an emulator."""
    (tmp_path / "node.xml").write_text(RUNNING)
    monkeypatch.setattr(reaching, "full_uri", lambda host: f"test://{tmp_path}/node.xml")
    read_host(Host.objects.create(name="kvm1"))
    for name in ("top", "below"):
        for action in ("delete", "wipe", "shrink", "overwrite"):
            assert "runs" in safety.why_not(volume_of(name), action)
        DiskUse.objects.all().delete()
        job = do("volume.delete", volume_of(name))
        assert (job.state, job.error_code) == ("failed", "changed_since")
        assert "runs" in job.error_text
    # Below a disk that runs nothing may change; the disk itself grows through its VM.
    assert safety.why_not(volume_of("top"), "resize") == ""
    assert "runs" in safety.why_not(volume_of("below"), "resize")
    close_connections()


SHARING = """<node>{domain}<pool type='netfs'><name>vms</name><uuid>{uuid}</uuid>
<source><host name='nas'/><dir path='/export/vm'/><format type='nfs'/></source>
<target><path>/mnt/{host}</path></target>
<volume type='file'><name>web.qcow2</name><capacity>1000000</capacity></volume></pool></node>"""
ELSEWHERE = """<domain type='test'><name>web01</name><memory>1024</memory><os><type>hvm</type></os><devices>
<disk type='file'><source file='/mnt/kvm2/web.qcow2'/><target dev='vda'/></disk></devices></domain>"""


def test_what_another_host_got_since_the_page(db, tmp_path, monkeypatch, do, manager):
    def write(name: str, domain: str = "") -> None:
        xml = SHARING.format(host=name, domain=domain, uuid=uuid.uuid5(uuid.NAMESPACE_DNS, name))
        (tmp_path / f"{name}.xml").write_text(xml)

    monkeypatch.setattr(reaching, "full_uri", lambda host: f"test://{tmp_path}/{host.name}.xml")
    for name in ("kvm1", "kvm2"):
        write(name)
        read_host(Host.objects.create(name=name, socket=f"/nowhere/{name}"))
    volume = Volume.objects.select_related("pool__host").get(pool__host__name="kvm1")
    assert safety.why_not(volume, "delete") == ""
    write("kvm2", ELSEWHERE)
    job = do("volume.delete", volume)
    assert (job.state, job.error_code) == ("failed", "changed_since")
    assert job.error_text == "Used by a VM on another host. Detach it there first."
    # A job that is on the same bytes by a pool of which nothing was known when this one was asked for.
    write("kvm2")
    waiting = submit(REGISTRY["volume.delete_now"], volume, actor=manager, params={}, key=uuid.uuid4())
    other = Pool.objects.get(host__name="kvm2")
    rival = Job.objects.create(operation="volume.wipe", state="running", **at(other))
    place = {"host_id": other.host_id, "pool_uuid": other.uuid, "volume_name": "web.qcow2"}
    rival.locks.create(**place, is_write=True)
    run(waiting.pk)
    waiting.refresh_from_db()
    assert (waiting.state, waiting.error_code) == ("failed", "changed_since")
    assert "Another job has the same data" in waiting.error_text
    close_connections()


def use(of: Volume, **fields: Any) -> DiskUse:
    values = {"host": of.pool.host, "domain_uuid": uuid.uuid4(), "running": False, "kind": "disk"}
    return DiskUse.objects.create(domain_name="web01", **values | fields)


def test_a_vm_of_another_host_is_not_named(shared, make_user):
    here, there = shared
    use(there, volume=there)
    assert safety.why_not(here, "delete") == "Used by a VM on another host. Detach it there first."
    some = make_user("sam", "operator", host=here.pool.host)
    [line] = [line for line in safety.checks(here, "delete", some) if not line.is_ok]
    assert (line.text, line.links) == ("A VM refers to it: a VM on another host.", ())
    everybody = make_user("eve", "operator")
    [line] = [line for line in safety.checks(here, "delete", everybody) if not line.is_ok]
    assert line.text == "A VM refers to it: web01 on kvm2 (shut off, as a disk)."
    assert line.links == (("web.qcow2 in vms on kvm2", there.get_absolute_url()),)


@pytest.mark.parametrize(
    ("fields", "path", "used"),
    [
        ({}, "nfs://10.0.0.7/export/vm/web.qcow2", True),
        ({}, "nfs://10.0.0.7/export/vm/web.qcow2.old", False),
        ({}, "/srv/export/vm/web.qcow2", False),
        ({"type": "rbd", "source": "mon vms"}, "vms/web.qcow2", True),
        ({"type": "gluster", "source": "nas:vms"}, "gluster://nas2/vms/web.qcow2", True),
        ({"type": "iscsi", "source": "nas iqn.x:a"}, "iscsi://nas/iqn.x:a/3", True),
        ({"type": "iscsi", "source": "nas iqn.x:a"}, "iscsi://nas/iqn.x:a/30", False),
        ({"type": "iscsi", "source": "nas iqn.x:a"}, "/dev/disk/by-path/ip-1:3260-iscsi-iqn.x:a-lun-3", True),
    ],
)
def test_an_address_that_reaches_the_same_bytes(shared, make_host, fields, path, used):
    volume, _ = shared
    vars(volume.pool).update(fields)
    kind = volume.pool.type
    paths = {"rbd": "vms/web.qcow2", "gluster": "gluster://nas/vms/web.qcow2"}
    paths["iscsi"] = "/dev/disk/by-path/ip-nas:3260-iscsi-iqn.x:a-lun-3"
    volume.path = paths.get(kind, volume.path)
    use(volume, host=make_host("kvm3"), path=path)
    assert bool(safety.why_not(volume, "wipe")) is used


def test_an_overlay_of_an_overlay_on_another_host(shared, make_volume, operator):
    here, there = shared
    middle = make_volume("middle", there.pool, backing_path=there.path)
    top = make_volume("top", there.pool, backing_path=middle.path)
    use(top, volume=top)
    assert "1 in other pools" in safety.why_not(here, "delete")
    [line] = [line for line in safety.checks(here, "delete", operator) if not line.is_ok]
    assert line.text == "One volume is built on it, and 1 more on those; 1 VM would lose its disks.".replace(
        "1 VM", "1\N{NO-BREAK SPACE}VM"
    )
    assert line.links == (("middle in vms on kvm2", middle.get_absolute_url()),)


def protect(notes: type, row: Any, **fields: Any) -> Any:
    at = {"protected_because": "base of all", "protected_by": "anna", "protected_at": timezone.now()}
    pool = getattr(row, "pool", row)
    if notes is VolumeNotes:
        fields |= {"volume": row, "volume_name": row.name}
    else:
        fields |= {"pool": pool}
    return notes.objects.create(host=pool.host, pool_uuid=pool.uuid, **at | fields)


def test_protection_of_the_volume_of_its_pool_and_of_the_same_bytes(shared, operator, manager):
    here, there = shared
    notes = protect(VolumeNotes, here)
    assert safety.why_not(here, "shrink").startswith("It is protected by anna since ")
    assert safety.why_not(here, "resize") == ""
    assert safety.why_not(there, "delete") == "The same data is protected through another pool."
    [line] = [line for line in safety.checks(here, "wipe", manager) if not line.is_ok]
    assert line.links[0][1].endswith(f"/volumes/{here.pk}/unprotect/")
    [line] = [line for line in safety.checks(here, "wipe", operator) if not line.is_ok]
    assert not line.links
    notes.protected_until = timezone.localdate() - timedelta(days=1)
    notes.save()
    assert safety.why_not(here, "delete") == ""
    protect(PoolNotes, here.pool)
    assert safety.why_not(here, "delete").startswith("Its pool vms is protected by anna")


def test_a_host_that_shares_the_storage_and_is_silent(shared, operator):
    here, there = shared
    host = there.pool.host
    Host.objects.filter(pk=host.pk).update(uses_read_at=timezone.now() - timedelta(minutes=6))
    assert safety.why_not(here, "delete") == ""
    assert any(
        line.is_ok and line.text.startswith("kvm2 sees") for line in safety.checks(here, "delete", operator)
    )
    Host.objects.filter(pk=host.pk).update(uses_read_at=None)
    assert "was never read" in safety.why_not(here, "delete")
    assert any(
        not line.is_ok and "never read" in line.text for line in safety.checks(here, "delete", operator)
    )


def test_nothing_in_the_way(shared, operator, django_assert_max_num_queries):
    with django_assert_max_num_queries(12):
        lines = safety.checks(shared[0], "delete", operator)
    assert all(line.is_ok and not line.advice for line in lines)
    assert [line.text.replace("\N{NO-BREAK SPACE}", " ") for line in lines] == [
        "It is not protected, nor is its pool.",
        "No VM of kvm1, nor of 1 other host that see the same storage, refers to it.",
        "No volume is built on it.",
        "No job touches it.",
    ]


def test_a_name_is_taken_in_all_pools_of_an_export(shared):
    """And yet a host that is away holds up nothing of the others."""
    here, there = (volume.pool for volume in shared)
    dead = Job.objects.create(operation="pool.refresh", state="interrupted", is_exclusive=True, **at(there))
    first = submit(REGISTRY["volume.import"], here, **asked("new.qcow2"))
    with pytest.raises(Held) as held:
        submit(REGISTRY["volume.import"], there, **asked("new.qcow2"))
    assert held.value.job == first
    assert first.blockers() == []
    own = submit(REGISTRY["volume.import"], there, **asked("other.qcow2"))
    assert own.blockers() == [dead]
    # Nor does a pool wait for what happens in another.
    stop = Job.objects.create(operation="pool.stop", is_exclusive=True, **at(there))
    assert stop.blockers() == [dead, own]


def asked(name: str) -> dict[str, Any]:
    return {"actor": None, "params": {"name": name}, "key": uuid.uuid4()}


def at(pool: Pool) -> dict[str, Any]:
    return {"host": pool.host, "pool_uuid": pool.uuid, "title": "x"}
