"""The safety panel in a browser: what it says, by keyboard, and narrow. No worker runs."""

import uuid
from collections.abc import Iterator
from datetime import timedelta

import pytest
from browsing import Browsing, breaches
from django.utils import timezone
from playwright.sync_api import Page, expect

from storagemgr.jobs.models import Job
from volumes.models import DiskUse
from volumes.operations import keeping

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def page(chromium, live_server, manager) -> Iterator[Page]:
    browsing = Browsing(chromium, live_server.url)
    page = browsing.as_(manager)
    yield page
    assert not breaches(page)
    browsing.close()


def use(volume) -> DiskUse:
    fields = {"host": volume.pool.host, "domain_uuid": uuid.uuid4(), "kind": "disk", "target": "vda"}
    return DiskUse.objects.create(volume=volume, domain_name="web01", running=True, **fields)


def test_a_vm_that_came_after_the_page_and_what_to_do(page, volume, make_volume):
    page.goto(f"{volume.get_absolute_url()}delete/")
    panel = page.get_by_role("group", name="Checked a moment ago, and again when it starts")
    expect(panel.get_by_role("listitem")).to_have_count(4)
    expect(panel).not_to_contain_text("In the way")
    DiskUse.objects.all().delete()
    use(volume)
    child = make_volume("overlay.qcow2", backing_path=volume.path)
    keeping.save(
        volume, {"protected_because": "base", "protected_by": "anna", "protected_at": timezone.now()}
    )
    page.get_by_role("button", name="Delete", exact=True).click()
    expect(page.locator("#off")).to_be_focused()
    expect(panel.get_by_role("listitem").first).to_contain_text("In the way: It is protected by anna")
    expect(panel).to_contain_text("web01 (running, as vda)")
    expect(panel).to_contain_text("One volume is built on it.")
    assert not Job.objects.exists()
    # By keyboard, in the order of reading, to what stands in the way.
    panel.get_by_role("link", name="Take the protection away").focus()
    page.keyboard.press("Tab")
    expect(panel.get_by_role("link", name="overlay.qcow2")).to_be_focused()
    page.keyboard.press("Enter")
    page.wait_for_url(f"**{child.get_absolute_url()}")


def test_an_off_button_says_why_and_the_page_fits_a_phone(page, volume):
    due = {"due_at": timezone.now() + timedelta(hours=5), "state": "scheduled", "operation": "volume.delete"}
    place = {"host": volume.pool.host, "pool_uuid": volume.pool.uuid, "volume_name": volume.name}
    job = Job.objects.create(title=f"Delete {volume.name}", **due, **place)
    job.locks.create(
        host_id=volume.pool.host_id, pool_uuid=volume.pool.uuid, volume_name=volume.name, is_write=True
    )
    page.set_viewport_size({"width": 380, "height": 800})
    page.goto(f"{volume.get_absolute_url()}delete-now/")
    button = page.locator("#ask")
    expect(button).to_have_attribute("aria-disabled", "true")
    why = page.locator(f"#{button.get_attribute('aria-describedby')}")
    expect(why).to_contain_text("A job waits for its time")
    expect(why.get_by_role("link", name=f"Delete {volume.name}")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 380


def test_notes_are_written_without_scripts(chromium, live_server, manager, volume):
    browsing = Browsing(chromium, live_server.url)
    page = browsing.as_(manager, java_script_enabled=False)
    page.goto(volume.get_absolute_url())
    page.locator("#notes + a").click()
    page.get_by_label("Ticket").fill("https://tickets/7")
    page.get_by_label("Needed until").fill("2020-01-01")
    page.get_by_role("button", name="Notes").click()
    expect(page.locator("#id_expires_on_error")).to_contain_text("is over")
    expect(page.get_by_label("Ticket")).to_have_value("https://tickets/7")
    browsing.close()
