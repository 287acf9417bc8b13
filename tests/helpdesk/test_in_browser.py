"""The helpdesk's page in Chromium: on a phone without scripts, by keyboard, and live."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from browsing import Browsing, breaches
from playwright.sync_api import expect

from storagemgr.hosts.models import Host
from volumes.models import DiskUse

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def browsing(chromium, live_server):
    made = Browsing(chromium, live_server.url)
    yield made
    made.close()


@pytest.fixture
def fleet(make_host, make_pool, make_volume):
    pool = make_pool("web-nfs", host=make_host("kvm1"))
    disk = make_volume("web05-disk.qcow2", pool=pool)
    vm = {"domain_uuid": "0" * 32, "domain_name": "web05", "running": True, "kind": "disk", "target": "vda"}
    DiskUse.objects.create(host=pool.host, volume=disk, path=disk.path, **vm)
    make_pool("tight", host=pool.host, allocation=93 * 1024**3, available=7 * 1024**3)
    return pool


def test_a_caller_is_answered_on_a_phone_without_scripts(browsing, fleet, viewer):
    page = browsing.as_(
        viewer, java_script_enabled=False, viewport={"width": 380, "height": 800}, has_touch=True
    )
    page.goto("/helpdesk/")
    page.get_by_label("Find a VM, volume, pool or host").fill("web05")
    page.get_by_role("button", name="Find").tap()
    expect(page.get_by_text("VM web05 uses it and is running.").first).to_be_visible()
    page.get_by_label("Size").fill("20")
    page.get_by_role("button", name="Ask").tap()
    expect(page.get_by_role("heading", name="Yes: web-nfs on kvm1.")).to_be_visible()
    expect(page.get_by_label("For the ticket")).to_contain_text("does a 20 GiB disk fit anywhere?")
    expect(page.get_by_role("button", name="Copy for the ticket")).to_be_hidden()
    small = page.locator("main :is(input, select, button, a.btn)").evaluate_all(
        "found => found.filter((one) => one.offsetHeight && one.offsetHeight < 44).map((one) => one.outerHTML)"
    )
    assert small == []


def test_by_keyboard_and_into_the_clipboard(browsing, fleet, viewer):
    page = browsing.as_(viewer, permissions=["clipboard-read", "clipboard-write"])
    page.goto("/helpdesk/")
    page.keyboard.press("/")
    page.keyboard.type("web-nfs")
    page.keyboard.press("Enter")
    page.get_by_role("link", name="Does a new disk fit here?").press("Enter")
    page.get_by_label("Size").press("Enter")
    expect(page.get_by_role("heading", name="No: only 60 GiB is free.")).to_be_visible()
    page.get_by_role("button", name="Copy for the ticket").press("Enter")
    expect(page.locator("#announce")).to_have_text("Copied.")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert "Question: does a 200 GiB disk fit on web-nfs on kvm1?" in copied
    assert "web-nfs on kvm1: no: only 60 GiB is free. 40 % of 100 GiB used, 60 GiB free." in copied


def test_the_overview_is_live_and_the_question_stays(browsing, fleet, viewer):
    page = browsing.as_(viewer)
    page.goto("/helpdesk/")
    page.get_by_label("Size").fill("77")
    Host.objects.update(state="silent")
    expect(page.get_by_text("Its VMs may run normally").first).to_be_visible(timeout=15_000)
    expect(page.get_by_label("Size")).to_have_value("77")
    expect(page.get_by_label("Size")).to_be_focused()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_in_the_answers(browsing, fleet, viewer, theme):
    page = browsing.as_(viewer, color_scheme=theme, viewport={"width": 380, "height": 800})
    for query in ("?q=web", "?size=20&unit=GiB", "?q=zzzz"):
        page.goto(f"/helpdesk/{query}")
        page.locator("main").evaluate(
            "main => main.querySelectorAll('details').forEach((one) => { one.open = true })"
        )
        found = Axe().run(page, context="main").response["violations"]
        assert [(one["id"], one["nodes"][0]["html"]) for one in found] == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert breaches(page) == []
