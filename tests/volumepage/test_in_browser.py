"""The page of a volume in Chromium: with everything on it, in each look, and by keyboard."""

import os
from collections.abc import Callable

import pytest
from axe_playwright_python.sync_playwright import Axe
from browsing import Browsing, breaches
from django.utils import timezone
from playwright.sync_api import Browser, Page, expect

from storagemgr.jobs.models import Job
from volumes import images
from volumes.models import DiskUse, Volume

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
XML = """<volume type='file'>
  <name>web01.qcow2</name>
  <target>
    <path>/srv/default/web01.qcow2</path>
    <permissions><mode>0640</mode><label>system_u:object_r:svirt_image_t:s0:c100,c200</label></permissions>
    <timestamps><mtime>1700000001.0</mtime><btime>1690000000.0</btime></timestamps>
    <features><lazy_refcounts/></features>
  </target>
</volume>"""


@pytest.fixture
def full(make_pool, make_volume, make_host) -> Volume:
    """In the middle of a chain, in use, seen twice, in quarantine, and read."""
    here, there = make_pool("vmstore"), make_pool("templates")
    base = make_volume("base-" + "long-name-" * 8 + ".qcow2", pool=there, backing_path="/gone/lowest.qcow2")
    volume = make_volume(
        pool=here, backing_path=base.path, identity="one", mode="0640", owner=64055, group=64055
    )
    make_volume("twin.qcow2", pool=there, identity="one")
    for number in range(4):
        child = make_volume(f"overlay-{number}.qcow2", pool=here, backing_path=volume.path)
        make_volume(f"tip-{number}.qcow2", pool=there, backing_path=child.path)
        use(child, f"vm-{number}")
    use(volume, "web01", path=volume.path)
    images.quarantine(
        volume, ["It is built on another file, /etc/" + "shadow-" * 20 + ", which would be opened."]
    )
    job = Job.objects.create(
        operation="volume.read_xml",
        title="Read the XML of web01.qcow2",
        host=here.host,
        pool_uuid=here.uuid,
        volume_name=volume.name,
        state="succeeded",
    )
    job.log(XML)
    return volume


def use(volume: Volume, vm: str, **fields: str) -> None:
    DiskUse.objects.create(
        volume=volume,
        host=volume.pool.host,
        domain_name=vm,
        domain_uuid=timezone.now().strftime("%M%S%f").zfill(32),
        running=True,
        target="vda",
        device="disk",
        kind="disk",
        **fields,
    )


@pytest.fixture
def open_page(chromium: Browser, live_server, operator):
    browsing = Browsing(chromium, live_server.url)

    def go(volume: Volume, **options) -> Page:
        page = browsing.as_(operator, **options)
        page.goto(volume.get_absolute_url())
        return page

    yield go
    browsing.close()


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (380, "light"), (1280, "dark")])
def test_it_fits_and_can_be_read(open_page: Callable[..., Page], full, make_volume, width, scheme):
    page = open_page(full, viewport={"width": width, "height": 900}, color_scheme=scheme)
    iso = make_volume("debian.iso", format="iso", label="Debian 12.8.0 amd64 n")
    for volume in (full, iso):
        page.goto(volume.get_absolute_url())
        expect(page.get_by_role("heading", level=1)).to_have_text(volume.name)
        assert not breaches(page)
        assert (
            page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0
        )
        found = Axe().run(page)
        assert found.violations_count == 0, found.generate_report()[:1500]
        if folder := os.environ.get("PICTURES"):
            page.screenshot(path=f"{folder}/volume_{volume.name}_{width}_{scheme}.png", full_page=True)


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
