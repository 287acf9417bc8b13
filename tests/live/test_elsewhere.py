"""By clicks: a copy to another host, an import, and many volumes at once, deleted and kept."""

import hashlib
import os
import subprocess
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from browsing import breaches
from daemon import PrivateDaemon
from kept_stack import KeptStack
from live_tools import same_bytes, volume_row, write_real_data
from playwright.sync_api import expect
from stack import wait_for

from pools.models import Pool
from storagemgr.hosts.models import Host
from storagemgr.jobs.models import Job
from storagemgr.virt import pools as virt_pools
from storagemgr.virt.connection import connect
from volumes.models import Volume

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
MIB = 1024**2


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *words) -> None:
        """Not into the test's output."""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A directory, and the URL under which a web server of this machine gives what is in it."""
    directory = tmp_path_factory.mktemp("site")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=directory))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield directory, f"http://localhost:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def kept_stack(django_db_setup, site):
    stack = KeptStack(IMPORT_URLS=site[1], ALLOW_NEAR_ADDRESSES="1")
    yield stack
    stack.stop()


@pytest.fixture
def other_pool(tmp_path, stack):
    """A running pool of another daemon, which the workers have read."""
    (tmp_path / "theirs").mkdir()
    with PrivateDaemon(tmp_path / "kvm2") as daemon:
        Host.objects.create(
            name="kvm2", mode="system" if daemon.system else "session", socket=str(daemon.socket)
        )
        with connect(daemon.uri) as connection:
            xml = virt_pools.dir_pool_xml("theirs", str(tmp_path / "theirs"))
            virt_pools.start(connection, virt_pools.define(connection, xml))
        yield lambda: wait_for(Pool.objects.filter(name="theirs", state="running").first, 60, "theirs")


def ended(page, title: str) -> Job:
    expect(page.get_by_role("heading", level=1)).to_contain_text(title)
    job = Job.objects.latest("id")
    return wait_for(Job.objects.filter(pk=job.pk, state="succeeded").first, 40, title)


def test_a_copy_to_another_host(browsing, operator, images, pool, other_pool, tmp_path):
    write_real_data(images / "web01.img", 24)
    pool()
    target = other_pool()
    page = browsing.as_(operator)
    page.goto(volume_row("web01.img").get_absolute_url())
    page.locator("#act-copy-to-host").get_by_role("link").click()
    page.get_by_label("Pool", exact=True).select_option(str(target.pk))
    page.get_by_label("Name", exact=True).fill("web02.img")
    page.locator("#ask").click()
    ended(page, "web01.img")
    page.get_by_role("link", name="Open web02.img").click(timeout=20_000)
    expect(page.locator("main")).to_contain_text("kvm2")
    assert same_bytes(images / "web01.img", tmp_path / "theirs" / "web02.img")
    assert not breaches(page)


def test_an_import_from_a_web_server(browsing, operator, images, pool, site):
    directory, url = site
    Path(directory, "tool.iso").write_bytes(content := os.urandom(5 * MIB + 512))
    row = pool()
    page = browsing.as_(operator)
    page.goto(row.get_absolute_url())
    page.get_by_role("link", name="Import").click()
    page.get_by_label("URL").fill("https://elsewhere.example/tool.iso")
    page.get_by_label("Format").select_option("raw")
    page.get_by_label("SHA-256").fill(hashlib.sha256(content).hexdigest())
    page.get_by_role("button", name="Import the volume").click()
    expect(page.locator("#id_url_error")).to_contain_text("It does not begin with what is allowed here.")
    page.get_by_label("URL").fill(f"{url}tool.iso")
    page.get_by_role("button", name="Import the volume").click()
    ended(page, "tool.iso")
    assert (images / "tool.iso").read_bytes() == content
    assert not breaches(page)


def choose(page, *names: str) -> None:
    for name in names:
        page.get_by_role("checkbox", name=f"Choose {name}").check()


def test_many_are_deleted_and_undone_by_keyboard_and_mouse(browsing, manager, images, pool):
    for name in ("a.img", "b.img", "c.img"):
        subprocess.run(["qemu-img", "create", "-q", "-f", "raw", images / name, "1M"], check=True)
        # What changed in the last hour is not called unused.
        os.utime(images / name, (1_700_000_000, 1_700_000_000))
    row = pool()
    volume_row("c.img")
    page = browsing.as_(manager)
    page.goto(f"/pools/{row.pk}/volumes/")
    choose(page, "a.img", "b.img")
    page.locator("#bulk").get_by_role("button", name="Delete", exact=True).press("Enter")
    expect(page.get_by_role("heading", level=1)).to_contain_text("Delete 2 volumes")
    page.get_by_role("button", name="Delete").click()
    scheduled = Job.objects.filter(operation="volume.delete", state="scheduled")
    wait_for(lambda: scheduled.count() == 2, 20, "two deletions")
    assert {path.name for path in images.iterdir()} == {"a.img", "b.img", "c.img"}
    page.goto(f"/pools/{row.pk}/volumes/")
    expect(page.locator(f"#volume-{volume_row('a.img').pk}")).to_contain_text("to be deleted")
    page.goto(volume_row("a.img").get_absolute_url())
    page.get_by_role("button", name="Undo").first.click()
    wait_for(lambda: scheduled.count() == 1, 20, "one of them undone")
    page.goto("/volumes/unused/")
    expect(page.locator("main")).to_contain_text("c.img")
    expect(page.locator("main")).not_to_contain_text("b.img")
    assert Volume.objects.count() == 3
    assert not breaches(page)
