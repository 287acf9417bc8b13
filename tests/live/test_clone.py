"""The main job, end to end: a person clones a volume with real data and watches it."""

import re
import subprocess
import time

import pytest
from browsing import is_reloaded
from live_tools import in_state, slow_disk, volume_row, write_real_data
from playwright.sync_api import expect
from stack import wait_for

from storagemgr.jobs.models import Job, JobLine

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
SIZE_MIB = 2048


@pytest.fixture
def source(images, pool, browsing):
    write_real_data(images / "source.img", SIZE_MIB)
    pool()
    return volume_row("source.img")


def ask_for_a_clone(page, source, name):
    page.goto(f"/volumes/{source.pk}/")
    page.get_by_role("link", name="Clone").first.click()
    page.get_by_label("Name").fill(name)
    page.get_by_role("button", name="Clone").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text(f"Clone source.img to {name}")
    return Job.objects.get(params__name=name)


def percent(page):
    found = re.search(r"(\d+)\s%\s*copied", page.locator("main").inner_text())
    return int(found[1]) if found else None


def watched(page, look_again=lambda: None):
    """The percentages that the page showed until it said that the copy is done."""
    seen, deadline = [], time.monotonic() + 120
    while time.monotonic() < deadline and not page.get_by_text("Done in").count():
        if (now := percent(page)) is not None and now not in seen[-1:]:
            seen.append(now)
        page.wait_for_timeout(200)
        look_again()
    return seen


def identical(images, name):
    words = ["qemu-img", "compare", "-f", "raw", "-F", "raw", str(images / "source.img"), str(images / name)]
    return "Images are identical" in subprocess.run(words, capture_output=True, text=True).stdout


def test_a_person_watches_a_clone(browsing, source, images, operator, daemon):
    page = browsing.as_(operator)
    second = browsing.tab(page.context)
    second.goto(f"/pools/{source.pool_id}/volumes/")
    second_born = second.evaluate("window.bornAt")
    with slow_disk(daemon):
        job = ask_for_a_clone(page, source, "copy.img")
        born, seen = page.evaluate("window.bornAt"), watched(page)
    expect(page.get_by_role("link", name="Open copy.img")).to_be_visible()
    assert not is_reloaded(page, born)
    assert seen == sorted(seen)
    assert len(seen) >= 4, seen
    assert max(seen) <= 99
    expect(second.get_by_role("link", name="copy.img", exact=True)).to_be_visible(timeout=5000)
    assert not is_reloaded(second, second_born)
    assert Job.objects.get(pk=job.pk).state == "succeeded"
    assert identical(images, "copy.img")
    page.get_by_role("link", name="Open copy.img").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("copy.img")


def test_a_clone_goes_on_when_the_browser_is_closed(browsing, source, images, operator):
    page = browsing.as_(operator)
    job = ask_for_a_clone(page, source, "copy.img")
    page.context.close()
    browsing.contexts.remove(page.context)
    job = wait_for(in_state(job, "succeeded", "failed"), 120)
    assert job.state == "succeeded", job.error_text
    assert identical(images, "copy.img")


def test_a_clone_without_javascript(browsing, source, images, operator, daemon):
    page = browsing.as_(operator, java_script_enabled=False)
    with slow_disk(daemon):
        job = ask_for_a_clone(page, source, "copy.img")
        seen = watched(page, page.reload)
    assert len(seen) >= 4, seen
    assert JobLine.objects.filter(job=job, text__startswith="Copy ").count() == 1
    assert identical(images, "copy.img")


def test_a_volume_is_made_and_deleted_by_keyboard_alone(browsing, images, pool, manager):
    (images / "any.img").write_bytes(b"x" * 4096)
    row = pool()
    page = browsing.as_(manager)
    page.goto(f"/pools/{row.pk}/volumes/new/")
    focus(page, "Name")
    page.keyboard.type("by-keyboard.img")
    focus(page, "Format")
    page.keyboard.type("raw")
    focus(page, "Size")
    page.keyboard.type("64 MiB")
    page.keyboard.press("Enter")
    wait_for((images / "by-keyboard.img").exists, 20)
    made = volume_row("by-keyboard.img")
    page.goto(f"/volumes/{made.pk}/delete-now/")
    focus(page, "by-keyboard.img")
    page.keyboard.type("by-keyboard.img")
    focus(page, "Delete")
    page.keyboard.press("Enter")
    wait_for(lambda: not (images / "by-keyboard.img").exists(), 20)


def focus(page, name):
    """Press Tab until the control with this name has the focus."""
    for _ in range(40):
        page.keyboard.press("Tab")
        words = page.evaluate(
            "(() => { const e = document.activeElement;"
            " return [...(e.labels ?? [])].map((l) => l.innerText).join(' ') || e.innerText || ''; })()"
        )
        tag = page.evaluate("document.activeElement.tagName")
        if name in words and tag in ("INPUT", "SELECT", "BUTTON"):
            return
    raise AssertionError(f"Tab never reached {name}")
