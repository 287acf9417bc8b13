"""What people do most, by keyboard alone; and the place where one was stays while the page changes under it."""

from collections.abc import Callable

import pytest
from browsing import breaches, is_reloaded
from django.contrib.auth.models import User
from django.urls import reverse
from looking import REACHABLE
from playwright.sync_api import Locator, Page, expect

from pools.models import Pool
from storagemgr.access.models import Grant
from storagemgr.hosts.models import Host
from storagemgr.jobs.models import Job
from volumes.models import Volume

GIB = 1024**3
pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


# What has the focus is not behind what stays in its place when the page moves.
COVERED = """() => {
  const one = document.activeElement, {x, y, width, height} = one.getBoundingClientRect();
  const over = document.elementFromPoint(x + width / 2, y + height / 2)?.closest(".sm-topbar, .sm-jobs, .sm-bulk");
  return over && !over.contains(one) ? one.outerHTML.slice(0, 160) : "";
}"""


def tab_to(page: Page, wanted: Locator, key: str = "", *, limit: int = 90) -> None:
    """Goes on from where one is until `wanted` has the focus, and presses the key."""
    expect(wanted).to_be_visible()
    for _ in range(limit):
        page.keyboard.press("Tab")
        assert page.evaluate(COVERED) == ""
        if wanted.evaluate("one => one === document.activeElement"):
            break
    else:
        raise AssertionError(f"{wanted} is not reached with the Tab key")
    if key:
        page.keyboard.press(key)


def open_from_menu(page: Page, name: str) -> None:
    tab_to(page, page.get_by_role("navigation", name="Main").get_by_role("link", name=name), "Enter")


def test_sign_in_and_refresh_a_pool(browsing, pool, operator):
    operator.set_password("correct horse 42")
    operator.save()
    page = browsing.as_(None, reduced_motion="reduce")
    page.goto("/")
    tab_to(page, page.get_by_label("Username"))
    page.keyboard.type("olga")
    page.keyboard.press("Tab")
    page.keyboard.type("correct horse 42")
    page.keyboard.press("Enter")
    tab_to(page, page.get_by_role("link", name="default", exact=True), "Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("default")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")  # to the content
    tab_to(page, page.get_by_role("button", name="Refresh"), "Enter")
    expect(page.get_by_text("Refresh default").first).to_be_attached()
    job = Job.objects.get()
    assert (job.operation, job.requester_name, job.pool_uuid) == ("pool.refresh", "olga", pool.uuid)


def test_invite_a_person_and_grant_a_role(browsing, pool, ada):
    page = browsing.as_(ada, reduced_motion="reduce")
    page.goto("/")
    open_from_menu(page, "People")
    tab_to(page, page.get_by_role("link", name="Invite a person"), "Enter")
    name = page.locator("input[name=username]")
    expect(name).to_be_visible()
    if not name.evaluate("one => one === document.activeElement"):
        tab_to(page, name)
    page.keyboard.type("nina")
    tab_to(page, page.get_by_role("button", name="Make the account"), "Enter")
    expect(page.locator("main")).to_contain_text("/accounts/password/reset/key/")
    nina = User.objects.get(username="nina")
    page.goto(reverse("people:grant"))
    tab_to(page, page.get_by_label("Find:").first)
    page.keyboard.type("nina")
    found = page.locator("#found-holder input")
    expect(found).to_have_count(1)
    tab_to(page, found, "Space")
    tab_to(page, page.locator("input[name=role]").first, "Space")
    page.keyboard.press("ArrowDown")
    tab_to(page, page.get_by_label("Find:").last)
    page.keyboard.type("default")
    place = page.locator("#found-place input")
    expect(place).to_have_count(1)
    tab_to(page, place, "Space")
    tab_to(page, page.get_by_role("button", name="Grant it"), "Enter")
    expect(page.locator("main")).to_contain_text("nina")
    grant = Grant.objects.get(user=nina)
    assert (grant.role, grant.host, grant.pool_uuid) == ("operator", pool.host, pool.uuid)


def test_answer_a_caller(browsing, volume, viewer):
    page = browsing.as_(viewer, reduced_motion="reduce")
    page.goto("/helpdesk/")
    page.keyboard.press("/")
    page.keyboard.type("web01")
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_contain_text("web01.qcow2")
    size = page.get_by_label("Size")
    tab_to(page, size)
    page.keyboard.press("Control+a")
    page.keyboard.type("20")
    tab_to(page, page.get_by_role("button", name="Ask"), "Enter")
    answer = page.get_by_role("group", name="Yes")
    expect(answer).to_contain_text("default")
    tab_to(page, answer.get_by_role("button", name="Copy").first)


MENUS = ("pools:fleet", "volumes:all", "people:people", "people:audit", "jobs:list")


@pytest.mark.parametrize("width", [380, 1280])
def test_menus_open_and_close(browsing, ada, volume, width):
    page = browsing.as_(ada, viewport={"width": width, "height": 900})
    for name in MENUS:
        page.goto(reverse(name))
        menus = page.locator("details.sm-menu:visible")
        for number in range(menus.count()):
            menu = menus.nth(number)
            summary = menu.locator("summary")
            for key in ("Enter", "Space"):
                summary.focus()
                page.keyboard.press(key)
                expect(menu).to_have_attribute("open", "")
                page.keyboard.press("Tab")
                assert menu.evaluate("menu => menu.contains(document.activeElement)"), (name, number)
                page.keyboard.press("Escape")
                expect(menu).not_to_have_attribute("open", "")
                expect(summary).to_be_focused()


LIVE = {
    "pools:fleet": "",
    "pools:pool": "pool",
    "volumes:volume": "volume",
    "volumes:all": "",
    "volumes:of_pool": "pool",
    "jobs:list": "",
    "hosts:list": "",
    "hosts:host": "host",
}
OPEN_AND_TYPE = """() => {
  window.opened = [...document.querySelectorAll("main details:not(.sm-menu), #jobs-drawer")];
  for (const one of window.opened) one.open = true;
  window.typed = document.querySelector("main input[type=search]");
  if (window.typed) window.typed.value = "half a wor";
}"""
# The first, the last, and one of each kind between.
HOLD = f"""(number) => {{
  const all = ({REACHABLE})().filter((one) => one.closest("#live"));
  const first = (kind) => all.find((one) => one.matches(kind));
  const wanted = [all[0], first("summary"), first("button"), all.at(-1)];
  const held = window.held = [...new Set(wanted.filter(Boolean))][number];
  held?.focus();
  window.changed = new Promise((done) => new MutationObserver(done).observe(
    document.querySelector("#live"), {{childList: true, characterData: true, subtree: true}}));
  return Boolean(held);
}}"""
LOST = """() => {
  const lost = window.opened.filter((one) => !one.isConnected || !one.open);
  if (document.activeElement !== window.held) lost.push(window.held);
  if (window.typed?.value === "") lost.push(window.typed);
  return lost.map((one) => one.outerHTML.slice(0, 160));
}"""


@pytest.mark.parametrize("name", LIVE)
def test_the_focus_stays(browsing, things, ada, make_job, make_volume, name):
    """While the rows of the page change, and others come before them."""
    page = browsing.as_(ada, reduced_motion="reduce")
    page.goto(reverse(name, args=[things[kind].pk] if (kind := LIVE[name]) else []))
    born = page.evaluate("window.bornAt")
    page.evaluate(OPEN_AND_TYPE)
    number = 0
    while page.evaluate(HOLD, number):
        number += 1
        change(things["pool"], make_job, make_volume, number)
        page.evaluate("document.querySelector('[data-retry]').click()")
        page.evaluate("window.changed.then(() => true)")
        assert page.evaluate(LOST) == [], number
    assert number > 1
    assert not is_reloaded(page, born)
    assert breaches(page) == []


def change(pool: Pool, make_job: Callable[..., Job], make_volume: Callable[..., Volume], number: int) -> None:
    make_job(pool, "volume.clone", "running", volume_name=f"new-{number}", step=f"step {number}")
    Pool.objects.update(allocation=number * GIB, available=(100 - number) * GIB)
    Volume.objects.update(allocation=number * GIB)
    make_volume(f"aaa-{9 - number}", pool=pool)
    Host.objects.update(hypervisor_version=f"{number}", note=f"Change {number}")
