"""A volume goes to another host: two libvirtds, each with its own directories."""

import os
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from daemon import PrivateDaemon
from django.urls import reverse
from django.utils import timezone
from sync_tools import close_connections, define_and_start, forget_pool, host_of, pool_row, read_host

from pools.models import Pool
from storagemgr.access.models import Grant
from storagemgr.jobs import sweep
from storagemgr.jobs.models import Job
from storagemgr.jobs.operations import REGISTRY, Run
from storagemgr.jobs.runner import run
from storagemgr.jobs.submit import submit
from storagemgr.virt.connection import connect
from volumes.models import DiskUse, Volume, VolumeNotes
from volumes.operations.copying_to_host import CopyToHostForm
from volumes.transfer import arrival

pytestmark = pytest.mark.django_db
MIB = 1024**2


@pytest.fixture(scope="module")
def daemons(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[PrivateDaemon, PrivateDaemon]]:
    one, other = (PrivateDaemon(tmp_path_factory.mktemp(name)) for name in ("one", "other"))
    with one, other:
        yield one, other


@pytest.fixture
def source(daemons: Any, tmp_path: Path) -> Path:
    """64 MiB with holes between, in the directory of a pool of the first host."""
    (tmp_path / "from").mkdir()
    path = tmp_path / "from" / "disk.img"
    with path.open("wb") as file:
        for place in (0, 20, 21, 50):
            file.seek(place * MIB)
            file.write(os.urandom(MIB))
        file.truncate(64 * MIB + 512)
    return path


@pytest.fixture
def pools(db: None, daemons: Any, source: Path) -> Iterator[tuple[Pool, Pool]]:
    directories = (source.parent, daemons[1].directory / f"to-{uuid.uuid4().hex[:6]}")
    made = []
    for daemon, directory, name in zip(daemons, directories, ("kvm1", "kvm2"), strict=True):
        with connect(daemon.uri) as connection:
            made.append(define_and_start(connection, directory))
        read_host(host_of(daemon, name))
    yield pool_row(made[0]), pool_row(made[1])
    close_connections()
    for daemon, made_uuid in zip(daemons, made, strict=True):
        if not daemon.running:
            daemon.start()
        with connect(daemon.uri) as connection:
            forget_pool(connection, made_uuid)


@pytest.fixture
def ask(operator: Any, pools: Any) -> Callable[..., Job]:
    def ask_for(name: str = "disk.img", new: str = "copy.img") -> Job:
        params = {"name": new, "source": name, "pool": str(pools[1].pk)}
        volume = Volume.objects.select_related("pool__host").get(pool=pools[0], name=name)
        operation = REGISTRY["volume.copy_to_host"]
        return submit(operation, volume, actor=operator, params=params, key=uuid.uuid4())

    return ask_for


def ended(job: Job) -> Job:
    run(job.pk)
    return Job.objects.get(pk=job.pk)


def there(pool: Pool, name: str = "copy.img") -> Path:
    return Path(pool.target_path) / name


def meanwhile(monkeypatch: pytest.MonkeyPatch, happens: Callable[[], Any], after: int = 5 * MIB) -> None:
    """`happens` once, when so many bytes of the copy went through."""
    pour, is_over = arrival.pour, []

    def watched(pieces: Any, *sinks: Any) -> Any:
        def count(data: bytes) -> None:
            seen[0] += len(data)
            if seen[0] >= after and not is_over:
                is_over.append(True)
                happens()

        seen = [0]
        return pour(pieces, *sinks, count)

    monkeypatch.setattr(arrival, "pour", watched)
    monkeypatch.setattr(arrival, "TELL_EVERY_S", 0)


def test_the_bytes_and_the_holes_arrive(pools, ask, source):
    job = ended(ask())
    assert job.state == "succeeded", (job.error_code, job.error_text)
    copy = there(pools[1])
    assert subprocess.run(["cmp", source, copy]).returncode == 0
    assert copy.stat().st_blocks * 512 < 10 * MIB
    row = Volume.objects.get(pool=pools[1], name="copy.img")
    assert (row.capacity, row.format) == (64 * MIB + 512, "raw")
    assert REGISTRY[job.operation].result(job) == row
    assert any("SHA-256 of both" in line.text for line in job.lines.all())


def test_a_qcow2_is_the_same_file(pools, ask, source):
    path = source.parent / "disk.qcow2"
    convert = ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", source, path]
    subprocess.run(convert, check=True)
    with connect(pools[0].host.uri) as connection:
        connection.raw.storagePoolLookupByUUIDString(str(pools[0].uuid)).refresh(0)
    read_host(pools[0].host)
    Pool.objects.update(is_changed=True)
    read_host(pools[0].host)
    job = ended(ask("disk.qcow2", "copy.qcow2"))
    assert job.state == "succeeded", (job.error_code, job.error_text)
    compare = ["qemu-img", "compare", "-f", "qcow2", "-F", "qcow2", path, there(pools[1], "copy.qcow2")]
    assert subprocess.run(compare, capture_output=True).returncode == 0
    row = Volume.objects.get(pool=pools[1], name="copy.qcow2")
    assert (row.format, row.capacity) == ("qcow2", 64 * MIB + 512)


def test_a_taken_name_is_left_alone(pools, ask):
    job = ask()
    there(pools[1]).write_bytes(b"precious")
    with connect(pools[1].host.uri) as connection:
        connection.raw.storagePoolLookupByUUIDString(str(pools[1].uuid)).refresh(0)
    job = ended(job)
    assert (job.state, job.error_code) == ("failed", "volume_exists")
    assert there(pools[1]).read_bytes() == b"precious"


def test_it_can_be_stopped(pools, ask, monkeypatch):
    job = ask()
    asked = {"cancel_asked_at": timezone.now()}
    meanwhile(monkeypatch, lambda: Job.objects.filter(pk=job.pk).update(**asked))
    assert ended(job).state == "cancelled"
    assert not there(pools[1]).exists()
    assert not Volume.objects.filter(pool=pools[1]).exists()


def test_a_full_target_says_how_much_is_missing(pools, ask, monkeypatch):
    directory = pools[1].target_path
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", directory], check=True)
    try:
        hog = Path(directory) / "hog"
        meanwhile(monkeypatch, lambda: hog.write_bytes(bytes(6 * MIB)), after=MIB)
        job = ended(ask())
        assert (job.state, job.error_code) == ("failed", "no_room"), job.error_text
        assert "It needs 4" in job.error_text
        assert "MiB is free in" in job.error_text
        assert not there(pools[1]).exists()
    finally:
        subprocess.run(["umount", directory], check=True)


def test_a_target_whose_daemon_dies_keeps_nothing(pools, ask, daemons, monkeypatch):
    job = ask()
    meanwhile(monkeypatch, daemons[1].kill)
    assert ended(job).state == "interrupted"
    assert there(pools[1]).exists()
    sweep.settle(job.pk)
    assert Job.objects.get(pk=job.pk).state == "interrupted"
    daemons[1].start()
    Job.objects.update(next_settle_at=timezone.now())
    sweep.settle(job.pk)
    job = Job.objects.get(pk=job.pk)
    assert (job.state, job.error_code) == ("failed", "copy_broken"), job.finding
    assert not there(pools[1]).exists()


def test_a_source_whose_daemon_dies_leaves_nothing(pools, ask, daemons, monkeypatch):
    job = ask()
    meanwhile(monkeypatch, daemons[0].kill)
    job = ended(job)
    assert (job.state, job.error_code) == ("failed", "copy_broken")
    assert not there(pools[1]).exists()


def test_what_a_dead_worker_left_is_deleted(pools, ask, monkeypatch):
    job = ask()
    monkeypatch.setattr(arrival, "TELL_EVERY_S", 0)
    token = uuid.uuid4()
    running = {"state": "running", "token": token, "daemon": "1", "lease_until": timezone.now()}
    Job.objects.filter(pk=job.pk).update(**running, step="Copy disk.img to copy.img")
    job = Job.objects.get(pk=job.pk)
    operation = REGISTRY[job.operation]
    context = Run(job=job, target=operation.find(job), connect=lambda: connect(pools[0].host.uri))
    events = operation.run(context)
    for _ in range(10):
        next(events)
    assert there(pools[1]).exists()
    assert sweep.sweep(timezone.now()) == [job.pk]
    events.close()
    assert there(pools[1]).exists()
    sweep.settle(job.pk)
    assert Job.objects.get(pk=job.pk).error_code == "copy_broken"
    assert not there(pools[1]).exists()


def test_what_is_not_whole_by_itself_is_refused(make_host, make_pool, make_volume):
    why_off = REGISTRY["volume.copy_to_host"].why_off
    base = make_volume("base.qcow2")
    top = make_volume("top.qcow2", backing_path=base.path)
    assert "Clone it first" in why_off(top)
    assert why_off(base) == ""
    DiskUse.objects.create(
        host=base.pool.host, volume=base, domain_uuid=uuid.uuid4(), domain_name="web01", running=True
    )
    assert "web01 runs from it" in why_off(base)


def test_only_pools_that_can_take_it_are_offered(client, make_user, make_host, make_pool, make_volume):
    here, there_ = make_host("kvm1"), make_host("kvm2")
    volume = make_volume("a.qcow2", make_pool("here", host=here), physical=2 * 1024**3)
    make_pool("other-here", host=here)
    good = make_pool("good", host=there_)
    block = make_pool("vg0", host=there_, type="logical")
    full = make_pool("full", host=there_, available=MIB)
    make_pool("parts", host=there_, type="disk")
    make_pool("stopped", host=there_, state="inactive")
    make_pool("hidden", host=there_)
    user = make_user("uma", "operator", host=here)
    for pool in (good, block, full):
        Grant.objects.create(user=user, role="operator", host=there_, pool_uuid=pool.uuid)
    form = CopyToHostForm(target=volume, user=user)
    assert {pool.name for pool in form.pools.values()} == {"good", "vg0", "full"}
    make_volume("taken", good)
    client.force_login(user)
    url = reverse("volumes:operate", args=[volume.pk, "copy-to-host"])
    wrong = [
        (good, "taken", "good already has a volume"),
        (block, "a", "holds plain bytes"),
        (full, "a", "It needs 2"),
    ]
    for pool, name, words in wrong:
        response = client.post(url, {"pool": pool.pk, "name": name, "key": uuid.uuid4()})
        assert response.status_code == 422
        assert words in response.content.decode()
    assert client.post(url, {"pool": good.pk, "name": "b", "key": uuid.uuid4()}).status_code == 303
    job = Job.objects.get()
    locked = {(lock.pool_uuid, lock.volume_name, lock.is_write) for lock in job.locks.all()}
    assert locked == {(volume.pool.uuid, "a.qcow2", False), (good.uuid, "b", True)}


def test_the_job_names_the_other_pool_to_those_who_see_it(
    client, make_user, make_host, make_pool, make_volume
):
    here, there_ = make_host("kvm1"), make_host("kvm2")
    volume = make_volume("a.qcow2", make_pool("here", host=here))
    secret = make_pool("secret-pool", host=there_)
    job = submit(
        REGISTRY["volume.copy_to_host"],
        volume,
        actor=None,
        params={"name": "b", "source": "a.qcow2", "pool": str(secret.pk)},
        key=uuid.uuid4(),
    )
    for user, is_named in (
        (make_user("vera", "viewer", host=here), False),
        (make_user("ada", "viewer"), True),
    ):
        client.force_login(user)
        page = client.get(job.get_absolute_url()).content.decode()
        assert ("secret-pool" in page) is is_named


def test_the_name_of_a_protected_volume_that_is_away_is_kept(
    client, operator, make_host, make_pool, make_volume
):
    volume, pool = make_volume("web01.raw", format="raw"), make_pool("far", make_host("kvm2"))
    kept = {"protected_because": "base of all", "protected_at": timezone.now()}
    VolumeNotes.objects.create(host=pool.host, pool_uuid=pool.uuid, volume_name="kept", **kept)
    client.force_login(operator)
    asked = {"key": str(uuid.uuid4()), "name": "kept", "pool": pool.pk}
    page = client.post(reverse("volumes:operate", args=[volume.pk, "copy-to-host"]), asked)
    assert page.status_code == 422
    assert "A volume of this name is protected: base of all" in page.content.decode()
