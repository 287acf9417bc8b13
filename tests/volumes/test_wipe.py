"""Wiping leaves nothing of the data, and a record that claims no more than was seen."""

import os
import shutil
import subprocess
import threading
import uuid
from pathlib import Path

import pytest
from daemon import PrivateDaemon
from django.urls import reverse
from django.utils import timezone
from image_tools import qemu_img
from stack import wait_for
from sync_tools import Virsh, close_connections, define_and_start, host_of, pool_row, read_host

from storagemgr.jobs.models import Job
from storagemgr.jobs.operations import REGISTRY
from storagemgr.jobs.sweep import settle
from storagemgr.virt.connection import connect
from storagemgr.virt.volumes import is_building
from volumes.models import Volume, WipeRecord
from volumes.operations.wipe_evidence import PLACE, PLACES, places_in

pytestmark = pytest.mark.django_db
MIB = 1024**2
SECRET = b"the old bytes of a customer "
needs_scrub = pytest.mark.skipif(not shutil.which("scrub"), reason="no scrub here")


def asked(algorithm: str = "zero", **params: object) -> dict[str, object]:
    return {"algorithm": algorithm, "fill": False, "reason": "end of life"} | params


def choices(volume: Volume) -> list[str]:
    form = REGISTRY["volume.wipe"].form(target=volume)
    return [name for name, _ in form.fields["algorithm"].choices]


@pytest.fixture
def wipe(read, images, ask, manager):
    """Wipes `disk`, which has 4 MiB of a pattern, and gives (the job, what the file has then)."""
    (images / "disk").write_bytes(SECRET * (4 * MIB // len(SECRET)))
    read(images)

    def wipe(**params: object) -> tuple[Job, bytes]:
        job = ask("volume.wipe", Volume.objects.get(name="disk"), manager, **params)
        return job, (images / "disk").read_bytes()

    return wipe


@pytest.mark.parametrize("algorithm", ["zero", pytest.param("random", marks=needs_scrub)])
def test_nothing_is_left_and_the_record_says_all(client, viewer, wipe, images, algorithm):
    job, left = wipe(**asked(algorithm))
    assert (job.state, job.error_text) == ("succeeded", "")
    assert SECRET not in left
    assert (left == bytes(len(left))) == (algorithm == "zero")
    record = WipeRecord.objects.get()
    assert (record.is_done, record.algorithm, record.requested_by) == (True, algorithm, "mona")
    assert (record.volume_path, record.capacity) == (
        str(images / "disk"),
        len(SECRET) * (4 * MIB // len(SECRET)),
    )
    assert record.started_at <= record.ended_at
    checked = "Read back: 16 places, all zeros." if algorithm == "zero" else "Read back: not checked."
    assert checked in record.result
    (images / "disk").unlink()
    Volume.objects.filter(name="disk").delete()
    client.force_login(viewer)
    page = client.get(record.get_absolute_url()).content.decode()
    for said in (
        checked,
        "data-print",
        "Wiped.",
        "1 pass",
        "end of life",
        "mona",
        "(gone)",
        f"no. {job.pk}",
        str(record.pool_uuid),
    ):
        assert said in page, said
    assert record.get_absolute_url() in client.get(job.get_absolute_url()).content.decode()
    assert record.get_absolute_url() in client.get(reverse("volumes:wipes"), {"q": "life"}).content.decode()
    assert "Nothing matches" in client.get(reverse("volumes:wipes"), {"q": "other"}).content.decode()


def test_without_scrub_it_says_what_to_install(wipe, daemon):
    if not daemon.system:
        pytest.skip("only root can hide a program")
    inside = ["nsenter", "--target", str(daemon.pid), "--mount"]
    scrub = shutil.which("scrub") or "/usr/bin/scrub"
    if Path(scrub).exists():
        subprocess.run([*inside, "mount", "--bind", "/dev/null", scrub], check=True)
    try:
        job, left = wipe(**asked("dod"))
    finally:
        if Path(scrub).exists():
            subprocess.run([*inside, "umount", scrub], check=True)
    assert (job.state, job.error_code) == ("failed", "scrub_missing")
    assert left.startswith(SECRET)
    record = WipeRecord.objects.get()
    assert not record.is_done
    assert "lacks the program scrub" in record.result


def test_a_sparse_file_is_filled_first_where_that_was_asked(client, read, images, ask, manager):
    with (images / "sparse").open("wb") as file:
        file.write(SECRET)
        file.truncate(8 * MIB)
    read(images)
    volume = Volume.objects.select_related("pool__host").get(name="sparse")
    client.force_login(manager)
    assert "fill" in REGISTRY["volume.wipe"].form(target=volume).fields
    said = " ".join(REGISTRY["volume.wipe"].effects(volume))
    assert "Without taking all its space first: The file has holes" in said
    assert "copy-on-write" in said, "what is not promised with the box ticked"
    taken = volume.allocation
    assert ask("volume.wipe", volume, manager, **asked(fill=True)).state == "succeeded"
    assert (images / "sparse").read_bytes() == bytes(8 * MIB)
    assert (images / "sparse").stat().st_blocks * 512 >= 8 * MIB
    volume = Volume.objects.select_related("pool__host").get(name="sparse")
    assert "fill" not in REGISTRY["volume.wipe"].form(target=volume).fields, "it has no holes any more"
    with_holes, without = (record.promises_little[0] for record in _two_records(volume, images, ask, manager))
    assert [record.is_done for record in WipeRecord.objects.all()] == [False, True], "freed is not wiped"
    assert "copy-on-write" in without
    freed, wiped = (record.result for record in WipeRecord.objects.all())
    assert f"taken before: {taken} bytes of {8 * MIB}." in wiped
    assert "taken before" not in freed
    assert freed.endswith("Read back: 16 places, all zeros."), "holes are read as zeros, and said to be freed"
    assert "are not overwritten" in with_holes
    page = client.get(WipeRecord.objects.first().get_absolute_url()).content.decode()
    assert "Freed, not overwritten" in page


def _two_records(volume, images, ask, manager):
    os.truncate(images / "sparse", 0)
    os.truncate(images / "sparse", 8 * MIB)
    assert ask("volume.wipe", volume, manager, **asked()).state == "succeeded"
    return list(WipeRecord.objects.all())


def test_other_bytes_that_are_read_back_are_told(wipe, images):
    """Something on the host goes on writing while libvirt wipes."""
    ended, size = threading.Event(), (images / "disk").stat().st_size

    def write() -> None:
        with (images / "disk").open("r+b", buffering=0) as file:
            while not ended.wait(0.001):
                os.pwrite(file.fileno(), b"x", size - 1)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        job, _ = wipe(**asked())
    finally:
        ended.set()
        writer.join()
    assert (job.state, job.error_code) == ("failed", "wipe_disproved")
    record = WipeRecord.objects.get()
    assert not record.is_done
    last = (images / "disk").stat().st_size - PLACE
    assert f"Read back: 16 places, 1 not zeros, the first at byte {last}." in record.result


@pytest.mark.parametrize("size", [1, 4096, 4097, 100_000, 64 * MIB + 5])
def test_places_reach_from_the_first_byte_to_the_last(size):
    places = places_in(size)
    assert places[0] == 0
    assert max(0, size - PLACE) == places[-1]
    assert len(places) == (1 if size <= PLACE else 2 if size == 4097 else PLACES)
    assert places_in(0) == []


def test_what_an_image_becomes_is_said_before(read, images, ask, manager):
    qemu_img("create", "-f", "qcow2", images / "disk.qcow2", "64M")
    read(images)
    volume = Volume.objects.select_related("pool__host").get(name="disk.qcow2")
    said = " ".join(REGISTRY["volume.wipe"].effects(volume))
    assert "The qcow2 header goes too: afterwards it is a raw volume of 192" in said
    assert ask("volume.wipe", volume, manager, **asked()).state == "succeeded"
    assert Volume.objects.get(name="disk.qcow2").capacity < MIB
    assert WipeRecord.objects.get().format == "qcow2"


@needs_scrub
def test_a_wipe_whose_daemon_dies_is_not_claimed(client, manager, db, tmp_path, ask):
    """And while libvirt is still at it, its end is waited for."""
    with PrivateDaemon(tmp_path / "libvirt") as daemon:
        (tmp_path / "images").mkdir()
        (tmp_path / "images" / "disk").write_bytes(SECRET * (64 * MIB // len(SECRET)))
        with connect(daemon.uri) as connection:
            uuid_ = define_and_start(connection, tmp_path / "images")
        read_host(host_of(daemon))
        volume = Volume.objects.select_related("pool__host").get(pool=pool_row(uuid_))
        killer = threading.Timer(1.5, daemon.kill)
        killer.start()
        job = ask("volume.wipe", volume, manager, **asked("gutmann"))
        killer.join()
        assert job.state == "interrupted"
        record = WipeRecord.objects.get()
        assert (record.ended_at, record.is_done) == (None, False)
        daemon.start()
        assert settled(job) == ("failed", "wipe_unseen")
        record.refresh_from_db()
        assert (record.is_done, record.ended_at is None) == (False, False)
        client.force_login(manager)
        page = client.get(record.get_absolute_url()).content.decode()
        assert "Not wiped" in page
        assert "cannot be claimed" in page
        close_connections()


def settled(job: Job) -> tuple[str, str]:
    Job.objects.filter(pk=job.pk).update(next_settle_at=timezone.now())
    settle(job.pk)
    job.refresh_from_db()
    return job.state, job.error_code


@needs_scrub
def test_while_libvirt_goes_on_its_end_is_waited_for(wipe, daemon, images):
    job, _ = wipe(**asked())
    WipeRecord.objects.update(is_done=False, ended_at=None, result="")
    (images / "disk").write_bytes(bytes(48 * MIB))
    pool = str(job.pool_uuid)
    with connect(daemon.uri) as connection:
        Job.objects.filter(pk=job.pk).update(
            state="interrupted", daemon=connection.daemon_id(), finished_at=None
        )
        words = ("vol-wipe", "--pool", pool, "disk", "--algorithm", "gutmann")
        other = threading.Thread(target=Virsh(daemon.uri), args=words)
        other.start()
        wait_for(lambda: is_building(connection, pool, "disk"), 20)
        assert settled(job) == ("interrupted", "")
    assert "libvirt goes on with it" in job.finding
    other.join()
    assert settled(job) == ("failed", "wipe_unseen")
    assert "cannot be claimed" in WipeRecord.objects.get().result


def test_a_worker_that_dies_after_the_wipe_does_not_unsay_it(wipe):
    job, _ = wipe(**asked())
    Job.objects.filter(pk=job.pk).update(state="interrupted", finished_at=None)
    assert settled(job) == ("succeeded", "")
    assert WipeRecord.objects.get().is_done


def test_only_what_the_type_can_is_offered(make_pool, make_volume):
    def of(kind: str, path: str = "/dev/sdb1") -> Volume:
        return make_volume("v", make_pool(kind, type=kind), type="block", path=path)

    assert choices(of("rbd")) == ["zero", "trim"]
    assert choices(of("iscsi-direct")) == ["zero"]
    assert len(choices(of("disk"))) == 9
    assert choices(of("logical", "/dev/vg/web01")) == ["zero"], "scrub does nothing behind a link"
    assert "libvirt cannot wipe ZFS volumes" in REGISTRY["volume.wipe"].why_off(of("zfs"))


def test_it_takes_the_name_and_the_right(client, manager, operator, make_volume):
    volume = make_volume("disk.raw", format="raw")
    url = reverse("volumes:operate", args=[volume.pk, "wipe"])
    fields = {"key": str(uuid.uuid4()), "algorithm": "zero", "typed_name": "disk.raw"}
    client.force_login(operator)
    assert client.post(url, fields).status_code == 403
    client.force_login(manager)
    assert client.post(url, fields | {"typed_name": "disk"}).status_code == 422
    assert client.post(url, fields | {"algorithm": "trim"}).status_code == 422
    assert client.post(url, fields).status_code == 303
    assert Job.objects.get().params == {"algorithm": "zero", "fill": False, "reason": ""}


def test_many_are_wiped_with_one_algorithm(client, manager, make_volume):
    volumes = [make_volume(f"disk{number}", format="raw") for number in range(2)]
    client.force_login(manager)
    fields = {"key": str(uuid.uuid4()), "volume": [volume.pk for volume in volumes], "algorithm": "dod"}
    url = reverse("volumes:selected", args=["wipe"])
    assert client.post(url, fields | {"reason": "rack 4 goes"}).status_code == 422, (
        "the words are to be typed"
    )
    typed = {"reason": "rack 4 goes", "typed_name": "wipe 2 volumes"}
    assert client.post(url, fields | typed).status_code == 303
    asked_for = {
        (job.volume_name, job.params["algorithm"], job.params["reason"]) for job in Job.objects.all()
    }
    assert asked_for == {(f"disk{number}", "dod", "rack 4 goes") for number in range(2)}
