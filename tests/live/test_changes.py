"""Resize, wipe, and delete with undo, as a person does them, on the real product."""

import re

import pytest
from browsing import breaches
from playwright.sync_api import expect
from stack import wait_for

from storagemgr.jobs.models import Job
from volumes.models import Volume, WipeRecord

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
MIB = 1024**2
SECRET = b"the old bytes of a customer "


@pytest.fixture
def disk(images, pool, browsing):
    (images / "disk.raw").write_bytes(SECRET * (4 * MIB // len(SECRET)))
    row = pool()
    return wait_for(Volume.objects.filter(name="disk.raw", pool=row).first, 30)


def test_grow_and_shrink(browsing, images, disk, operator):
    page = browsing.as_(operator)
    path = images / "disk.raw"
    before = path.read_bytes()
    page.goto(disk.get_absolute_url())
    page.get_by_role("link", name="Resize", exact=True).click()
    page.get_by_label("New size").fill("16 MiB")
    page.get_by_role("button", name="Resize").click()
    expect(page.get_by_text(re.compile("Done: Resize disk.raw to 16"))).to_be_visible()
    assert path.read_bytes() == before + bytes(16 * MIB - len(before))
    page.get_by_role("link", name="Resize", exact=True).click()
    page.get_by_label("New size").fill("8 MiB")
    page.get_by_role("button", name="Resize").click()
    expect(page.get_by_label("Cut off what is beyond the new end")).to_be_visible()
    expect(page.get_by_label("New size")).to_have_value("8 MiB")
    page.get_by_label("Cut off what is beyond the new end").check()
    page.get_by_label("Type the name of the volume").fill("disk.raw")
    page.get_by_role("button", name="Resize").click()
    expect(page.get_by_text(re.compile("Done: Resize disk.raw to 8"))).to_be_visible()
    assert path.stat().st_size == 8 * MIB
    assert not breaches(page)


def test_wipe_and_print_its_record(browsing, images, disk, manager):
    page = browsing.as_(manager, color_scheme="dark")
    page.goto(disk.get_absolute_url())
    page.get_by_role("link", name="Wipe").click()
    expect(page.get_by_text("Not promised:").first).to_be_visible()
    page.get_by_label("Why").fill("returned to the vendor")
    page.get_by_label("Type the name of the volume").fill("disk.raw")
    page.get_by_role("button", name="Wipe disk.raw").click()
    page.get_by_role("link", name="Record of the wipe").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Record of the wipe of disk.raw")
    left = (images / "disk.raw").read_bytes()
    assert left == bytes(len(left))
    assert WipeRecord.objects.get().is_done
    expect(page.get_by_text("Read back: 16 places, all zeros.")).to_be_visible()
    page.evaluate("window.print = () => { document.title = 'printed' }")
    page.get_by_role("button", name="Print").click()
    expect(page).to_have_title("printed")
    page.emulate_media(media="print")
    expect(page.get_by_text("returned to the vendor")).to_be_visible()
    expect(page.get_by_role("button", name="Print")).to_be_hidden()
    for hidden in (".sm-topbar", "#jobs-strip details", ".sm-crumbs"):
        expect(page.locator(hidden)).to_be_hidden()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not breaches(page)


def test_delete_and_undo(browsing, images, disk, operator):
    page = browsing.as_(operator)
    page.goto(f"{disk.get_absolute_url()}delete/")
    page.get_by_role("button", name="Delete").click()
    expect(page.get_by_text("It will be done on")).to_be_visible()
    expect(page.locator("#jobs-drawer summary")).to_contain_text("No job is running")
    page.goto(disk.get_absolute_url())
    expect(page.locator("#banner-deletion")).to_contain_text("It will be deleted on")
    page.get_by_role("button", name="Undo").click()
    expect(page.locator("#banner-deletion")).to_have_count(0)
    assert Job.objects.get(operation="volume.delete").state == "cancelled"
    assert (images / "disk.raw").exists()
    assert not breaches(page)
