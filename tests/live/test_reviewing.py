"""A person inspects images, reviews what is unused, and uploads by keyboard: the whole product."""

import hashlib
import os
import time

import pytest
from browsing import breaches
from image_tools import overlay, qemu_img
from live_tools import MIB, volume_row
from playwright.sync_api import Locator, Page, expect
from stack import wait_for

from storagemgr.jobs.models import Job
from volumes.models import Volume

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
LONG_AGO = time.time() - 90 * 86400
SECRET = b"the-secret-of-the-host"


@pytest.fixture
def row(images, pool, browsing, stack, tmp_path):
    """Two good images nobody needs, one that somebody keeps, and one that would open a file of the host."""
    (tmp_path / "secret").write_bytes(SECRET * 4096)
    overlay(images / "evil.qcow2", tmp_path / "secret", "raw")
    qemu_img("create", "-f", "qcow2", images / "fine.qcow2", "8M")
    for name in ("old1.img", "old2.img", "kept.img"):
        (images / name).write_bytes(name.encode() * 1000)
    for path in images.iterdir():
        os.utime(path, (LONG_AGO, LONG_AGO))
    row = pool()
    volume_row("old2.img")
    return row


def ends(job: Job) -> Job:
    return wait_for(Job.objects.exclude(state__in=Job.HOLDING).filter(pk=job.pk).first, 20, job.title)


def inspect(page: Page, name: str) -> None:
    page.goto(volume_row(name).get_absolute_url())
    page.get_by_role("link", name="Inspect").or_(page.get_by_role("button", name="Inspect")).first.click()


def test_an_image_is_inspected_from_its_page(browsing, row, operator):
    page = browsing.as_(operator)
    inspect(page, "fine.qcow2")
    job = wait_for(Job.objects.filter(operation="volume.inspect").first, 10)
    assert ends(job).state == "succeeded"
    page.goto(job.get_absolute_url())
    expect(page.locator("#log-lines")).to_contain_text("It is qcow2, a disk of 8\N{NO-BREAK SPACE}MiB.")
    expect(page.locator("#log-lines")).to_contain_text("Nothing in it is dangerous to open.")
    inspect(page, "evil.qcow2")
    banner = page.locator("#banner-quarantine")
    expect(banner).to_contain_text("dangerous to open", timeout=15_000)
    expect(banner).to_contain_text("/secret")
    assert SECRET.decode() not in page.content()
    expect(page.get_by_role("link", name="Download")).to_have_count(0)
    page.reload()
    expect(banner).to_be_visible()
    assert Job.objects.filter(operation="volume.inspect", error_code="in_quarantine").count() == 1
    assert breaches(page) == []


def choose(page: Page, *names: str) -> None:
    for name in names:
        page.get_by_role("checkbox", name=f"Choose {name} in ").check()


def bulk(page: Page, title: str) -> None:
    bar = page.locator("#bulk")
    button = bar.get_by_role("button", name=title, exact=True)
    if not button.is_visible():
        page.locator("#bulk-more summary").click()
    button.click()


def test_the_unused_are_reviewed_deleted_later_and_undone(browsing, row, operator, images):
    page = browsing.as_(operator)
    page.goto("/volumes/")
    page.get_by_role("link", name="Unused volumes").click()
    table = page.get_by_role("table", name="Unused volumes")
    expect(table.get_by_role("row")).to_have_count(6)
    expect(table).to_contain_text("No VM of kvm1 refers to it")
    choose(page, "kept.img")
    bulk(page, "Not unused")
    page.get_by_role("button", name="Not unused").click()
    expect(page.locator("#id_reason_error")).to_be_visible()
    page.get_by_label("Why").fill("the auditor wants it")
    page.get_by_role("button", name="Not unused").click()
    expect(page.get_by_role("status").first).to_contain_text("1 done", timeout=15_000)
    page.goto("/volumes/unused/")
    expect(table.get_by_role("row")).to_have_count(5)
    page.get_by_role("link", name="Kept").click()
    expect(table).to_contain_text("Kept by olga: the auditor wants it")
    page.goto("/volumes/unused/")
    choose(page, "old1.img", "old2.img")
    bulk(page, "Delete")
    page.get_by_role("button", name="Delete 2 volumes").click()
    expect(page.get_by_role("status").first).to_contain_text("2 scheduled")
    assert Job.objects.filter(operation="volume.delete", state="scheduled").count() == 2
    page.goto(volume_row("old1.img").get_absolute_url())
    expect(page.locator("#banner-deletion")).to_contain_text("It will be deleted on")
    page.go_back()
    page.get_by_role("button", name="Undo all 2 of them").click()
    expect(page.get_by_role("status").first).to_contain_text("2 cancelled", timeout=10_000)
    page.goto("/volumes/unused/")
    expect(table).to_contain_text("old1.img")
    assert {"old1.img", "old2.img", "kept.img"} <= {path.name for path in images.iterdir()}
    assert breaches(page) == []


def tab_to(page: Page, wanted: Locator) -> None:
    expect(wanted).to_be_visible(timeout=20_000)
    for _ in range(60):
        page.keyboard.press("Tab")
        if wanted.evaluate("e => e === document.activeElement"):
            return
    raise AssertionError(f"the Tab key does not lead to {wanted}")


def test_an_upload_by_keyboard_alone(browsing, row, images, operator, stack, tmp_path):
    path = tmp_path / "by key.img"
    path.write_bytes(os.urandom(3 * MIB))
    stack.start("transfer")
    page = browsing.as_(operator)
    page.goto(row.get_absolute_url())
    tab_to(page, page.get_by_role("link", name="Upload").first)
    page.keyboard.press("Enter")
    tab_to(page, page.get_by_label("File", exact=True))
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Space")
    chooser.value.set_files(path)
    tab_to(page, page.get_by_label("Name"))
    page.keyboard.press("Control+A")
    page.keyboard.type("by-keyboard.img")
    tab_to(page, page.get_by_label("SHA-256"))
    page.keyboard.type(hashlib.sha256(path.read_bytes()).hexdigest())
    tab_to(page, page.get_by_role("button", name="Upload"))
    page.keyboard.press("Enter")
    tab_to(page, page.get_by_role("link", name="Open by-keyboard.img"))
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("by-keyboard.img")
    assert (images / "by-keyboard.img").read_bytes() == path.read_bytes()
    assert Volume.objects.get(name="by-keyboard.img").format == "raw"
    assert breaches(page) == []
