"""The page of a volume in Chromium: by keyboard, and while it changes."""

from collections.abc import Callable

import pytest
from browsing import Browsing
from playwright.sync_api import Browser, Page, expect

from volumes.models import Volume

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def open_page(chromium: Browser, live_server, operator):
    browsing = Browsing(chromium, live_server.url)

    def go(volume: Volume, **options) -> Page:
        page = browsing.as_(operator, **options)
        page.goto(volume.get_absolute_url())
        return page

    yield go
    browsing.close()


def test_a_bus_by_keyboard_and_without_scripts(open_page: Callable[..., Page], make_volume):
    page = open_page(make_volume(), java_script_enabled=False)
    link = page.get_by_role("navigation", name="Bus").get_by_role("link", name="SCSI")
    link.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_label("Disk XML")).to_contain_text('bus="scsi"')
    expect(link).to_have_attribute("aria-current", "true")


def test_the_chosen_bus_stays_and_the_path_is_copied(open_page: Callable[..., Page], make_volume):
    volume = make_volume()
    page = open_page(volume, permissions=["clipboard-read", "clipboard-write"])
    page.get_by_role("link", name="By path").click()
    expect(page.get_by_label("Disk XML")).to_contain_text(f'file="{volume.path}"')
    Volume.objects.filter(pk=volume.pk).update(allocation=3 * 1024**3)
    expect(page.get_by_text("3 GiB used of 10 GiB.")).to_be_visible(timeout=9000)
    expect(page.get_by_label("Disk XML")).to_contain_text(f'file="{volume.path}"')
    page.get_by_role("button", name="Copy the path").click()
    expect(page.get_by_text("Copied.")).to_be_attached()
    assert page.evaluate("navigator.clipboard.readText()") == volume.path
