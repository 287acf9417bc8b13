"""Form and XML in step, as a person sees them: with JavaScript and without."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from browsing import Browsing, breaches
from django.contrib.auth.models import User
from playwright.sync_api import Browser, Page, expect

from pools.models import Pool
from storagemgr.jobs.models import Job

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def browsing(chromium: Browser, live_server: Any) -> Iterator[Browsing]:
    browsing = Browsing(chromium, live_server.url)
    yield browsing
    browsing.close()


@pytest.fixture
def vmstore(transactional_db: None, make_configured: Any, nfs: str) -> Pool:
    return make_configured(nfs)


def opened(browsing: Browsing, user: User, pool: Pool, **options: Any) -> Page:
    page = browsing.as_(user, **options)
    page.goto(f"/pools/{pool.pk}/configuration/")
    return page


def test_each_side_follows_what_is_typed_on_the_other(browsing, manager, vmstore):
    page = opened(browsing, manager, vmstore)
    xml, options = page.get_by_label("The pool as libvirt's XML"), page.get_by_label("Mount options")
    expect(page.get_by_role("button", name="Show as XML")).to_be_hidden()
    options.focus()
    options.press("Control+End")
    page.keyboard.type("\nnordirplus")
    expect(xml).to_have_value(re.compile(r'<fs:option name="nordirplus"/>'))
    expect(options).to_be_focused()
    expect(options).to_have_value("noatime\nnordirplus")
    xml.fill(xml.input_value().replace("/export/vm", "/export/typed"))
    expect(page.get_by_label("Export")).to_have_value("/export/typed")
    expect(options).to_have_value("noatime\nnordirplus")
    xml.fill(xml.input_value().replace("</source>", "</sauce>"))
    expect(page.locator("#xml-said")).to_contain_text("this is not XML")
    expect(xml).to_be_focused()
    assert "</sauce>" in xml.input_value()
    xml.fill(xml.input_value().replace("</sauce>", "</source>"))
    expect(page.locator("#xml-said")).to_be_empty()
    page.get_by_label("Mount point").fill("/etc")
    expect(xml).to_have_value(re.compile("<path>/etc</path>"))
    assert breaches(page) == []


def test_review_and_apply_by_keyboard(browsing, manager, vmstore):
    page = opened(browsing, manager, vmstore)
    page.get_by_label("Export").fill("/export/keys")
    page.get_by_label("Export").press("Enter")
    expect(page.get_by_role("heading", name="What changes")).to_be_visible()
    expect(page.locator("#words")).to_have_text(re.compile("Export: /export/keys instead of /export/vm."))
    expect(page.locator("#diff ins")).to_have_text(re.compile(r"\+ .*/export/keys"))
    page.get_by_role("button", name="Apply").press("Enter")
    page.wait_for_url(re.compile("/jobs/"))
    assert "/export/keys" in Job.objects.get().params["definition"]
    assert breaches(page) == []


def test_a_wrong_field_has_the_focus_led_to_it(browsing, manager, vmstore):
    page = opened(browsing, manager, vmstore)
    page.get_by_label("Mount point").fill("/etc")
    page.get_by_role("button", name="Review the change").click()
    expect(page.locator("#errors")).to_be_focused()
    page.locator("#errors a").click()
    expect(page.get_by_label("Mount point")).to_be_focused()
    expect(page.get_by_label("Mount point")).to_have_value("/etc")
    expect(page.locator("#id_target_path_error")).to_contain_text("belongs to the host's system")
    page.keyboard.type("/more")
    expect(page.locator("#id_target_path_error")).to_have_count(0)


def test_without_javascript_buttons_bring_them_together(browsing, manager, vmstore):
    page = opened(browsing, manager, vmstore, java_script_enabled=False)
    page.get_by_label("Mount options").fill("ro")
    page.get_by_role("button", name="Show as XML").click()
    xml = page.get_by_label("The pool as libvirt's XML")
    expect(xml).to_have_value(re.compile('<fs:option name="ro"/>'))
    xml.fill(xml.input_value().replace('"ro"', '"rw"'))
    page.get_by_role("button", name="Show as form").click()
    expect(page.get_by_label("Mount options")).to_have_value("rw")
    page.get_by_role("button", name="Review the change").click()
    expect(page.locator("#words")).to_have_text(re.compile("Mount options: rw added, noatime removed."))


@pytest.mark.parametrize("width", [380, 1280])
def test_no_page_is_wider_than_the_window(browsing, manager, vmstore, width):
    page = opened(browsing, manager, vmstore, viewport={"width": width, "height": 800})

    def fits() -> bool:
        return bool(page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"))

    assert fits()
    page.get_by_label("Export").fill("/export/" + "long" * 60)
    page.get_by_role("button", name="Review the change").click()
    expect(page.locator("#diff")).to_be_visible()
    assert fits()
    page.goto(f"/pools/{vmstore.pk}/configuration/history/")
    assert fits()
