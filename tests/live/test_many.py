"""Choosing pools and asking for one thing for all of them, in a real browser."""

import re
import shutil
import subprocess

import pytest
from browsing import breaches, is_reloaded
from playwright.sync_api import expect
from stack import wait_for

from pools.models import Pool
from storagemgr.jobs.models import Batch, Job

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
NAMES = ("images", "second", "third")


@pytest.fixture
def three(images, pool, browsing, daemon, tmp_path):
    """Three running directory pools; "images" is the one of the other tests here."""
    pool()
    for name in NAMES[1:]:
        (tmp_path / name).mkdir()
        for words in (["define-as", name, "dir", "--target", str(tmp_path / name)], ["start", name]):
            command = ["virsh", "-c", daemon.uri, f"pool-{words[0]}", *words[1:]]
            subprocess.run(command, check=True, capture_output=True)
    found = lambda: Pool.objects.filter(name__in=NAMES, state="running").count() == 3  # noqa: E731
    wait_for(found, 30, "three pools")
    return {row.name: row for row in Pool.objects.filter(name__in=NAMES)}


def box(page, name):
    return page.get_by_role("checkbox", name=f"Choose {name} on kvm1")


def test_what_is_chosen_stays_while_the_page_lives(browsing, three, manager, daemon):
    page = browsing.as_(manager)
    page.goto("/")
    bar = page.locator("#bulk")
    expect(bar).to_be_hidden()
    box(page, "second").focus()
    page.keyboard.press("Space")
    expect(bar).to_be_visible()
    born = page.evaluate("window.bornAt")
    # A row before it changes, a row comes, and the chosen row itself changes.
    for words in (["destroy", "images"], ["destroy", "second"]):
        subprocess.run(
            ["virsh", "-c", daemon.uri, f"pool-{words[0]}", words[1]], check=True, capture_output=True
        )
    rows = page.locator("main tbody tr")
    expect(rows.filter(has_text="second")).to_contain_text("Stopped", timeout=10_000)
    expect(rows.filter(has_text="images")).to_contain_text("Stopped", timeout=10_000)
    expect(box(page, "second")).to_be_checked()
    expect(box(page, "images")).not_to_be_checked()
    expect(box(page, "third")).not_to_be_checked()
    everything = page.get_by_role("checkbox", name="Choose all pools on this page")
    assert everything.evaluate("e => e.indeterminate")
    everything.click()
    for name in NAMES:
        expect(box(page, name)).to_be_checked()
    page.get_by_role("button", name="Clear").click()
    expect(bar).to_be_hidden()
    expect(everything).not_to_be_checked()
    assert not is_reloaded(page, born)
    assert breaches(page) == []


def test_one_fails_and_is_asked_for_again(browsing, three, manager, tmp_path):
    page = browsing.as_(manager)
    page.goto("/")
    for name in NAMES:
        box(page, name).check()
    shutil.rmtree(tmp_path / "second")
    page.locator("#bulk").get_by_role("button", name="Refresh").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Refresh 3 pools")
    page.get_by_role("button", name="Refresh 3 pools").click()
    expect(page).to_have_url(re.compile(r"/jobs/batches/\d+/$"))
    again = page.get_by_role("link", name="Ask again for the 1 that failed")
    expect(again).to_be_visible(timeout=30_000)
    expect(page.get_by_role("status").first).to_contain_text("1 failed")
    states = dict(Job.objects.filter(batch=Batch.objects.get()).values_list("pool_name", "state"))
    assert states == {"images": "succeeded", "second": "failed", "third": "succeeded"}
    again.click()
    expect(page.locator("main")).to_contain_text("second on kvm1: It is stopped; start it first.")


@pytest.mark.parametrize("width", [380, 1280])
def test_delete_the_storage_of_many_by_form_alone(browsing, three, manager, tmp_path, width):
    """Without JavaScript: the bar shows itself, the boxes are sent, the words are typed."""
    page = browsing.as_(manager, java_script_enabled=False, viewport={"width": width, "height": 800})
    Pool.objects.filter(name="third").update(persistent=False)
    page.goto("/")
    for name in NAMES[:2]:
        box(page, name).check()
    page.locator("#bulk-more summary").click()
    page.locator("#bulk").get_by_role("button", name="Stop").click()
    page.get_by_role("button", name="Stop: 2 pools").or_(
        page.get_by_role("button", name="Stop 2 pools")
    ).click()
    stopped = Pool.objects.filter(name__in=NAMES[:2], state="inactive")
    wait_for(lambda: stopped.count() == 2, 30, "stopped")
    page.goto("/")
    for name in NAMES[:2]:
        box(page, name).check()
    page.locator("#bulk-more summary").click()
    page.locator("#bulk").get_by_role("button", name="Delete the storage").click()
    button = page.get_by_role("button", name="Delete the storage: 2 pools")
    button.click()
    expect(page.locator("main")).to_contain_text("Type it to go on.")
    page.get_by_label("Type the words").fill("delete 2 pools")
    page.get_by_role("button", name="Delete the storage: 2 pools").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Delete the storage: 2 pools")
    wait_for(lambda: not (tmp_path / "images").exists() and not (tmp_path / "second").exists(), 30, "deleted")
    assert (tmp_path / "third").exists()
