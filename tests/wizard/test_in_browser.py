"""A person makes a pool: with the mouse, with the keyboard alone, and without JavaScript."""

from pathlib import Path

import pytest
from browsing import Browsing, breaches
from daemon import PrivateDaemon
from django.contrib.auth.models import User
from django.utils import timezone
from kept_stack import KeptStack
from stack import wait_for

from pools.making import finding
from pools.models import NewPool, Pool
from storagemgr.hosts.models import Host
from storagemgr.jobs.models import Job

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def daemon(tmp_path):
    with PrivateDaemon(tmp_path / "libvirt") as daemon:
        yield daemon


@pytest.fixture(scope="module")
def kept_stack(django_db_setup):
    stack = KeptStack()
    yield stack
    stack.stop()


@pytest.fixture
def stack(kept_stack, daemon, transactional_db):
    mode = "system" if daemon.system else "session"
    host = Host.objects.create(name="kvm1", mode=mode, socket=str(daemon.socket))
    kept_stack.collect_static()
    kept_stack.start("redis", "jobs", "sync", "tick", "web")
    wait_for(Host.objects.filter(pk=host.pk, state="up").first, 60, kept_stack.log("sync"))
    yield kept_stack
    kept_stack.rest()


@pytest.fixture
def browsing(stack, chromium):
    browsing = Browsing(chromium, stack.url)
    yield browsing
    browsing.close()


@pytest.fixture
def ada(transactional_db) -> User:
    return User.objects.create_superuser("ada")


def made(name: str, place: Path) -> Pool:
    found = wait_for(Pool.objects.filter(name=name, state="running").first, 20, name)
    assert place.is_dir()
    return found


def test_a_directory_pool_with_the_mouse(browsing, ada, tmp_path):
    place = tmp_path / "vm"
    page = browsing.as_(ada)
    page.goto("/")
    page.get_by_role("button", name="New pool").click()
    assert page.get_by_role("heading", name="2. What kind of storage?").is_visible()
    page.locator("#type-dir").check()
    page.get_by_role("button", name="Next").click()
    page.get_by_label("Name", exact=True).fill("web")
    page.get_by_label("Directory", exact=True).fill("/etc")
    page.get_by_role("button", name="Next").click()
    assert "belongs to the host's system" in page.locator("#id_target_path_error").inner_text()
    assert page.evaluate("document.activeElement.id") == "errors"
    assert page.get_by_label("Name", exact=True).input_value() == "web"
    page.get_by_label("Directory", exact=True).fill(str(place))
    page.get_by_role("button", name="Next").click()
    assert "Make the pool web on 1\N{NO-BREAK SPACE}host" in page.locator(".sm-sentence").inner_text()
    page.get_by_role("button", name="Make web on kvm1").click()
    page.get_by_role("link", name="Open web").click(timeout=30_000)
    assert page.get_by_role("heading", level=1).inner_text().startswith("web")
    assert made("web", place).autostart
    assert breaches(page) == []


def tab_to(page, selector: str) -> None:
    for _ in range(60):
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"the Tab key does not reach {selector}")


def test_a_directory_pool_with_the_keyboard_alone(browsing, ada, tmp_path):
    place = tmp_path / "keys"
    page = browsing.as_(ada)
    page.goto("/")
    tab_to(page, "main form[action='/pools/new/'] button")
    page.keyboard.press("Enter")
    page.wait_for_url("**/type/")
    tab_to(page, "input[name=type]")
    page.keyboard.press("Space")
    assert page.locator("#type-dir").is_checked()
    page.keyboard.press("Enter")
    page.wait_for_url("**/options/")
    tab_to(page, "#id_name")
    page.keyboard.type("keys")
    page.keyboard.press("Tab")
    page.keyboard.type(str(place))
    page.keyboard.press("Enter")
    page.wait_for_url("**/review/")
    tab_to(page, "#make")
    page.keyboard.press("Enter")
    page.wait_for_url("**/result/")
    page.get_by_role("link", name="Open keys").wait_for(timeout=30_000)
    tab_to(page, "#outcome a.btn-primary")
    page.keyboard.press("Enter")
    page.wait_for_url("**/pools/*/")
    made("keys", place)


def test_without_javascript_and_on_a_phone(browsing, ada, tmp_path):
    place = tmp_path / "plain"
    page = browsing.as_(ada, java_script_enabled=False, viewport={"width": 380, "height": 800})
    page.goto("/")
    page.get_by_role("button", name="New pool").click()
    page.locator("#type-dir").check()
    page.get_by_role("button", name="Next").click()
    page.get_by_label("Name", exact=True).fill("plain")
    page.get_by_label("Directory", exact=True).fill(str(place))
    page.get_by_role("button", name="Next").click()
    page.get_by_role("button", name="Make plain on kvm1").click()
    made("plain", place)
    page.reload()
    assert page.get_by_role("link", name="Open plain").is_visible()


def test_fields_that_mean_nothing_are_hidden(browsing, ada):
    page = browsing.as_(ada)
    page.goto("/pools/new/")
    page.get_by_role("button", name="New pool").click()
    page.locator("#type-scsi").check()
    page.get_by_role("button", name="Next").click()
    name, wwnn = page.get_by_label("SCSI host", exact=True), page.get_by_label("WWNN")
    assert (name.is_visible(), wwnn.is_visible()) == (True, False)
    page.get_by_label("Adapter", exact=True).select_option("fc_host")
    assert (name.is_visible(), wwnn.is_visible()) == (False, True)
    page.get_by_role("button", name="Next").click()
    assert page.get_by_label("WWNN").is_visible()
    assert "WWNN is missing." in page.locator("#id_wwnn_error").inner_text()


def test_no_step_is_wider_than_a_phone(browsing, ada, tmp_path):
    page = browsing.as_(ada, viewport={"width": 380, "height": 800})
    page.goto("/pools/new/")
    page.get_by_role("button", name="New pool").click()
    page.locator("#type-netfs").check()
    page.get_by_role("button", name="Next").click()
    page.get_by_label("Server", exact=True).fill("a-name-of-a-server-that-is-rather-long.storage.example.com")
    page.get_by_label("Export", exact=True).fill("/export/" + "long-name-" * 12)
    page.get_by_role("button", name="Next").click()
    page.get_by_label("Name", exact=True).fill("web")
    page.get_by_label("Mount point", exact=True).fill(str(tmp_path / ("mount-point-" * 8)))
    page.get_by_role("button", name="Next").click()
    page.get_by_role("button", name="Skip the test").click()
    base = page.url.removesuffix("review/")
    for step in ("hosts", "type", "source", "options", "test", "review"):
        page.goto(f"{base}{step}/")
        assert page.evaluate("document.documentElement.scrollWidth") <= 380, step


def test_what_is_picked_stays_picked_while_other_hosts_answer(browsing, stack, ada, make_host):
    """One host has answered, the other is still asked: the page polls."""
    make_host("kvm2", state="down")
    stack.kill("sync")
    stack.kill("jobs")
    Host.objects.update(state="up")
    page = browsing.as_(ada)
    page.goto("/pools/new/")
    page.get_by_role("button", name="New pool").click()
    for name in ("kvm1", "kvm2"):
        page.get_by_label(name).check()
    page.get_by_role("button", name="Next").click()
    page.locator("#type-netfs").check()
    page.get_by_role("button", name="Next").click()
    page.get_by_label("Server", exact=True).fill("nas1")
    page.get_by_role("button", name="Ask for its exports").click()
    assert page.get_by_text("kvm2 is being asked").is_visible()
    new = NewPool.objects.get(host__name="kvm1")
    values = {"source_host": "nas1", "source_dir": "/export/vm", "format": "nfs"}
    asked = {"type": "netfs", "source_host": "nas1"}
    found = {"asked": asked, "sources": [finding.found(values, "nas1:/export/vm", "NFS export")]}
    NewPool.objects.filter(pk=new.pk).update(found=found, found_at=timezone.now())
    Job.objects.filter(pool_uuid=new.uuid).update(state="succeeded")
    pick = page.locator("#found label", has_text="/export/vm").locator("input")
    pick.check(timeout=10_000)
    page.get_by_label("Server", exact=True).focus()
    with page.expect_response(lambda answer: answer.url.endswith("/source/")):
        pass
    page.wait_for_timeout(2_500)
    assert pick.is_checked()
    assert page.evaluate("document.activeElement.name") == "source_host"
