"""The real processes and a real libvirtd: what comes is what is stored, whatever dies on the way."""

import hashlib
import http.client
import os
import subprocess
import threading
import time

import pytest
from stack import wait_for
from transfer_tools import MIB, create, offset_of, patch, pieces, real_data

from storagemgr.jobs.models import Job
from volumes.models import Transfer, Volume, VolumeNotes
from volumes.transfer.tickets import signature

pytestmark = [pytest.mark.chaos, pytest.mark.django_db(transaction=True)]


def ended(job_id: int, stack) -> Job:
    def look():
        return Job.objects.filter(pk=job_id, state__in=("succeeded", "failed", "cancelled")).first()

    return wait_for(look, 60, stack.log("jobs"))


def test_what_comes_is_stored_and_found_whole(stack, live_pool, token, images, tmp_path):
    file = real_data(tmp_path / "disk.img", 100)
    wanted = hashlib.sha256(file.read_bytes()).hexdigest()
    status, headers, text = create(
        stack, token, file.stat().st_size, pool=live_pool.pk, name="disk.raw", format="raw", sha256=wanted
    )
    assert status == 201, (text, stack.log("transfer"), stack.log("jobs"))
    url = headers["location"]
    assert patch(url, 0, pieces(file, 0, 40 * MIB), 40 * MIB)[0] == 204
    assert offset_of(url) == 40 * MIB
    assert Volume.objects.get(name="disk.raw").notes.quarantined_because
    assert patch(url, 40 * MIB, pieces(file, 40 * MIB), 60 * MIB)[0] == 204
    job = ended(Transfer.objects.get().job_id, stack)
    assert job.state == "succeeded", (job.error_code, job.error_text)
    assert hashlib.sha256((images / "disk.raw").read_bytes()).hexdigest() == wanted
    assert not Volume.objects.get(name="disk.raw").notes.quarantined_because


def send_until(stop, url: str, file, start: int) -> None:
    """Sends slowly enough to be interrupted; `stop()` is asked between the pieces."""
    try:
        patch(url, start, pieces(file, start, pause=lambda: time.sleep(0.005)), file.stat().st_size - start)
    except (OSError, http.client.HTTPException):
        pass
    finally:
        stop.set()


def where(url: str) -> list[int]:
    """The offset, and nothing while nobody listens: a process that was killed lets go of its port a little later."""
    try:
        return [offset_of(url)]
    except OSError:
        return []


def break_off(url: str, file, do, at: int) -> None:
    """Send from where it was, and when `at` bytes are certain do the worst."""
    gone, [offset] = threading.Event(), wait_for(lambda: where(url), 30)
    sender = threading.Thread(target=send_until, args=(gone, url, file, offset))
    sender.start()
    wait_for(lambda: Transfer.objects.get().done >= at or gone.is_set(), 60, "bytes")
    do()
    sender.join()


def send_rest(url: str, file) -> tuple[int, str]:
    """As a client that tries again does."""

    def look():
        try:
            offset = offset_of(url)
            status, headers, text = patch(url, offset, pieces(file, offset), file.stat().st_size - offset)
        except OSError:
            return None
        if status in (409, 423, 503):
            time.sleep(0.3)
            return None
        return status, text

    return wait_for(look, 60, "the rest")


def test_kills_of_transfer_libvirtd_and_worker_lose_nothing(
    stack, daemon, live_pool, token, images, tmp_path
):
    file = real_data(tmp_path / "disk.img", 200)
    wanted = hashlib.sha256(file.read_bytes()).hexdigest()
    told = {"pool": live_pool.pk, "name": "disk.raw", "format": "raw", "sha256": wanted}
    status, headers, text = create(stack, token, file.stat().st_size, **told)
    assert status == 201, text
    url = headers["location"]

    def restart(name: str) -> None:
        stack.kill(name)
        stack.start(name)

    break_off(url, file, lambda: restart("transfer"), at=MIB)
    assert 0 < Transfer.objects.get().done < file.stat().st_size

    def kill_daemon() -> None:
        daemon.kill()
        daemon.start()

    break_off(url, file, kill_daemon, at=80 * MIB)
    assert Job.objects.get(operation="volume.upload").state == "transferring"
    status, text = send_rest(url, file)
    assert status == 204, (text, stack.log("transfer"))
    wait_for(lambda: Job.objects.get(operation="volume.upload").state != "queued", 20, stack.log("jobs"))
    restart("jobs")
    job = ended(Transfer.objects.get().job_id, stack)
    assert job.state == "succeeded", (job.error_code, job.error_text, job.finding)
    assert hashlib.sha256((images / "disk.raw").read_bytes()).hexdigest() == wanted


def test_a_worker_that_dies_before_the_first_byte_holds_nothing_up(
    stack, daemon, live_pool, token, images, tmp_path
):
    file = real_data(tmp_path / "small.img", 3)
    daemon.freeze()
    asked = threading.Thread(
        target=create, args=(stack, token, 3 * MIB), kwargs={"pool": live_pool.pk, "name": "small.raw"}
    )
    asked.start()
    job = wait_for(
        lambda: Job.objects.filter(operation="volume.upload", state="running").first(), 20, "a job"
    )
    stack.kill("jobs")
    daemon.thaw()
    asked.join()
    stack.start("jobs")
    job = wait_for(
        lambda: Job.objects.filter(pk=job.pk, state__in=("failed", "transferring")).first(),
        60,
        stack.log("jobs"),
    )
    if job.state == "failed":
        assert not (images / "small.raw").exists()
        status, headers, text = create(stack, token, 3 * MIB, pool=live_pool.pk, name="small.raw")
        assert status == 201, text
        url = headers["location"]
    else:
        url = f"{stack.transfer_url}/transfer/uploads/{job.transfer.pk}/{signature(job.transfer)}"
    assert send_rest(url, file)[0] == 204
    job = ended(Transfer.objects.latest("created_at").job_id, stack)
    assert job.state == "succeeded", (job.error_code, job.error_text)
    assert (images / "small.raw").read_bytes() == file.read_bytes()


def test_a_disk_that_fills_up_and_a_bad_image_leave_nothing(
    stack, daemon, live_pool, token, images, tmp_path
):
    file = real_data(tmp_path / "big.img", 60)
    status, headers, text = create(stack, token, 60 * MIB, pool=live_pool.pk, name="big.raw")
    assert status == 201, text
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=30m", "none", images], check=True)
    try:
        (images / "big.raw").touch()
        os.truncate(images / "big.raw", 60 * MIB)
        status, _, text = patch(headers["location"], 0, pieces(file, 0), 60 * MIB)
        job = ended(Transfer.objects.get().job_id, stack)
        assert (status, job.state, job.error_code) == (507, "failed", "no_room"), (text, job.error_text)
        assert "It needs" in job.error_text
        assert "is free in" in job.error_text
        assert not list(images.iterdir())
    finally:
        subprocess.run(["umount", images], check=True)

    evil = tmp_path / "evil.qcow2"
    (tmp_path / "secret").write_text("the host's own")
    made = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", tmp_path / "secret", "-F", "raw", evil, "10M"]
    subprocess.run(made, check=True)
    for name, format_ in (("evil.qcow2", "qcow2"), ("evil.raw", "raw")):
        size = evil.stat().st_size
        status, headers, text = create(stack, token, size, pool=live_pool.pk, name=name, format=format_)
        assert status == 201, text
        status, _, text = patch(headers["location"], 0, pieces(evil, 0), size)
        assert status == 422, text
        job = ended(Job.objects.filter(operation="volume.upload").latest("pk").pk, stack)
        assert (job.state, job.error_code) == ("failed", "image_refused")
        assert not (images / name).exists()
    assert not VolumeNotes.objects.exclude(quarantined_because="").exists()
