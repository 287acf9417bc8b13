"""A person uploads and downloads with a browser: the whole product, and real files."""

import hashlib
import os
import re
import subprocess
import time
from pathlib import Path

import pytest
from browsing import breaches
from django.urls import reverse
from live_tools import volume_row, write_real_data
from looking import LOOKS, faults_of
from playwright.sync_api import expect
from stack import wait_for

from storagemgr.jobs.models import Job
from volumes.models import Transfer

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
MIB, GIB = 1024**2, 1024**3


@pytest.fixture
def row(images, pool, browsing, stack):
    (images / "there.img").write_bytes(os.urandom(4096))
    row = pool()
    volume_row("there.img")
    stack.start("transfer")
    return row


def sparse_file(path: Path, size: int) -> Path:
    """Random parts of 48 MiB in every 256 MiB, the rest holes."""
    block = os.urandom(MIB)
    with path.open("wb") as file:
        for start in range(0, size, 256 * MIB):
            file.seek(start)
            for number in range(48):
                file.write((start + number).to_bytes(8, "big") + block[8:])
        file.truncate(size)
    return path


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def begin(page, row, path: Path, **fields: str) -> Job:
    page.goto(reverse("volumes:upload", args=[row.pk]))
    page.get_by_label("File", exact=True).set_input_files(path)
    for label, text in fields.items():
        page.get_by_label(label).fill(text)
    page.get_by_role("button", name="Upload").click()
    expect(page.locator("#job-live")).to_be_visible()
    return Job.objects.get(operation="volume.upload", params__file_name=path.name)


def received(job: Job, at_least: int):
    return lambda: Transfer.objects.filter(job=job, done__gte=at_least).first()


def is_whole(job: Job) -> bool:
    now = Job.objects.get(pk=job.pk)
    assert now.state not in ("failed", "cancelled"), (now.error_code, now.error_text)
    return now.state == "succeeded"


def test_two_gib_survive_a_closed_tab_and_kills_of_transfer_and_libvirtd(
    browsing, row, images, operator, stack, daemon, tmp_path
):
    path = sparse_file(tmp_path / "big.img", 2 * GIB)
    page = browsing.as_(operator)
    job = begin(page, row, path)
    wait_for(received(job, 128 * MIB), 60, stack.log("transfer"))
    page.close(run_before_unload=False)
    page = browsing.tab(browsing.contexts[0])
    page.goto(job.get_absolute_url())
    page.get_by_label("Choose the same file").set_input_files(path)
    before = Transfer.objects.get(job=job).done
    wait_for(received(job, before + 128 * MIB), 60, stack.log("transfer"))
    stack.kill("transfer")
    expect(page.locator("#sending")).to_contain_text("trying again", timeout=20_000)
    before = Transfer.objects.get(job=job).done
    stack.start("transfer")
    wait_for(received(job, before + 128 * MIB), 60, stack.log("transfer"))
    daemon.kill()
    expect(page.locator("#sending")).to_contain_text("trying again", timeout=20_000)
    assert before < Transfer.objects.get(job=job).done < 2 * GIB
    daemon.start()
    wait_for(lambda: is_whole(job), 90, stack.log("transfer"))
    expect(page.locator("main")).to_contain_text("Done in", timeout=10_000)
    assert sha256(images / "big.img") == sha256(path)
    page.get_by_role("link", name="Open big.img").click()
    assert breaches(page) == []


def test_paused_refused_and_cancelled(browsing, row, images, operator, tmp_path):
    path, other = tmp_path / "a.iso", tmp_path / "b.iso"
    write_real_data(path, 300)
    other.write_bytes(b"other")
    page = browsing.as_(operator)
    page.goto(reverse("volumes:upload", args=[row.pk]))
    page.get_by_role("button", name="Upload").click()
    expect(page.locator("#file_error")).to_have_text("Choose the file first.")
    page.get_by_label("File", exact=True).set_input_files(path)
    expect(page.get_by_label("Name")).to_have_value("a.iso")
    expect(page.get_by_label("Format")).to_have_value("iso")
    expect(page.get_by_label("Size in bytes")).to_have_value(str(300 * MIB))
    page.get_by_label("Name").fill("there.img")
    page.get_by_label("SHA-256").fill("0" * 64)
    page.get_by_role("button", name="Upload").click()
    expect(page.locator("main")).to_contain_text("already has a volume of this name")
    expect(page.get_by_label("SHA-256")).to_have_value("0" * 64)
    page.get_by_label("Format").select_option("raw")
    page.get_by_label("Name").fill("mine.img")
    page.route("**/transfer/uploads/**", lambda route: (time.sleep(0.3), route.continue_()))
    page.get_by_role("button", name="Upload").click()
    # One figure, of what came: the browser has sent more, and the strip below knows nothing of that.
    expect(page.locator("#job-live .sm-received")).to_contain_text(
        re.compile(r"of 300.MiB received \(\d+.%\)")
    )
    expect(page.locator("#job-live svg.prog")).to_have_count(1)
    expect(page.locator("#sending")).not_to_contain_text("%")
    page.get_by_role("button", name="Pause").click()
    expect(page.locator("#sending")).to_contain_text("Paused.")
    expect(page.locator("#job-live")).to_be_visible()
    job = Job.objects.get(operation="volume.upload")
    page.reload()
    page.get_by_label("Choose the same file").set_input_files(other)
    expect(page.locator("#file_error")).to_contain_text("Choose a.iso")
    page.get_by_label("Choose the same file").set_input_files(path)
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    page.get_by_role("button", name="Cancel").click()
    wait_for(lambda: Job.objects.get(pk=job.pk).state == "cancelled", 30)
    expect(page.locator("main")).to_contain_text("Cancelled.")
    assert not (images / "mine.img").exists()
    assert breaches(page) == []


def test_a_download_is_the_same_file(browsing, row, images, operator, tmp_path):
    there = volume_row("there.img")
    page = browsing.as_(operator, accept_downloads=True)
    page.goto(there.get_absolute_url())
    page.get_by_role("link", name="Download").click()
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Download").click()
    waiting.value.save_as(tmp_path / "got")
    assert waiting.value.suggested_filename == "there.img"
    assert sha256(tmp_path / "got") == sha256(images / "there.img")
    wait_for(Job.objects.filter(operation="volume.download", state="succeeded").exists, 20)


def test_a_download_without_javascript(browsing, row, images, operator, tmp_path):
    page = browsing.as_(operator, java_script_enabled=False, accept_downloads=True)
    page.goto(reverse("volumes:operate", args=[volume_row("there.img").pk, "download"]))
    page.get_by_role("button", name="Download").click()
    wait_for(Transfer.objects.filter(is_ready=True).exists, 20)
    page.reload()
    with page.expect_download() as waiting:
        page.get_by_role("link", name="Download there.img").click()
    waiting.value.save_as(tmp_path / "got")
    assert sha256(tmp_path / "got") == sha256(images / "there.img")


def test_an_upload_without_javascript_goes_by_terminal(browsing, row, images, operator, tmp_path):
    path = tmp_path / "by-hand.img"
    write_real_data(path, 70)
    page = browsing.as_(operator, java_script_enabled=False)
    page.goto(reverse("volumes:upload", args=[row.pk]))
    for label, text in (("Name", "by-hand.img"), ("Size in bytes", str(path.stat().st_size))):
        page.get_by_label(label).fill(text)
    page.get_by_label("Format").select_option("raw")
    page.get_by_role("button", name="Upload").click()
    expect(page.locator("#job-live")).to_be_visible()
    job = Job.objects.get(operation="volume.upload")
    wait_for(Transfer.objects.filter(is_ready=True).exists, 20)
    page.reload()
    line = page.locator("#curl-line").text_content().replace("FILE", str(path))
    subprocess.run(["timeout", "2", "sh", "-c", f"{line} --limit-rate 20M -sS"], check=False)
    wait_for(received(job, 1), 20)
    page.reload()
    line = page.locator("#curl-line").text_content().replace("FILE", str(path))
    subprocess.run(["sh", "-c", f"{line} -sS --fail"], check=True)
    wait_for(lambda: is_whole(job), 30)
    assert sha256(images / "by-hand.img") == sha256(path)


def test_sending_is_readable_for_all(browsing, row, operator, tmp_path):
    path = tmp_path / "a.img"
    write_real_data(path, 4)
    page = browsing.as_(operator)
    # A colour on its way from one theme to the other is neither.
    page.emulate_media(reduced_motion="reduce")
    page.route("**/transfer/uploads/**", lambda route: route.abort())
    begin(page, row, path)
    expect(page.locator("#sending")).to_contain_text("trying again")
    assert faults_of(page, LOOKS) == []
