"""A person makes a volume on another one and copies it, converted, into another pool, by clicks."""

import json
import subprocess
from pathlib import Path

import pytest
from browsing import breaches
from live_tools import volume_row
from playwright.sync_api import Page, expect
from stack import wait_for

from pools.models import Pool
from storagemgr.virt import pools as virt_pools
from storagemgr.virt.connection import connect
from volumes.models import Volume

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def info(path: Path) -> dict:
    return json.loads(subprocess.check_output(["qemu-img", "info", "--output=json", path]))


def qemu_io(path: Path, *words: str) -> str:
    command = ["qemu-io", "-f", "qcow2", "-c", " ".join(words), path]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def base(images: Path, pool, daemon, tmp_path, stack) -> Volume:
    """In one of two pools, with something in it."""
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", images / "base.qcow2", "64M"], check=True)
    qemu_io(images / "base.qcow2", "write", "-P", "7", "0", "8M")
    (tmp_path / "other").mkdir()
    with connect(daemon.uri) as connection:
        xml = virt_pools.dir_pool_xml("other", str(tmp_path / "other"))
        virt_pools.start(connection, virt_pools.define(connection, xml))
    pool()
    return volume_row("base.qcow2")


def make_on(page: Page, base: Volume, name: str) -> None:
    page.goto(base.pool.get_absolute_url())
    page.get_by_role("link", name="New volume").first.click()
    page.get_by_label("Name").fill(name)
    page.get_by_text("More", exact=True).click()
    offered = page.locator("datalist option").evaluate_all("all => all.map(one => one.value)")
    assert offered == ["images/base.qcow2"]
    page.get_by_label("Built on").fill("images/none.qcow2")
    page.get_by_label("Cluster size").select_option(label="128\N{NO-BREAK SPACE}KiB")
    page.get_by_role("button", name="Create the volume").click()
    # The message is beside its field, which is in view, and nothing has to be typed again.
    expect(page.locator("#id_backing_error")).to_contain_text("write pool/volume")
    assert page.get_by_label("Name").input_value() == name
    page.get_by_label("Built on").fill(offered[0])
    page.get_by_role("button", name="Create the volume").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text(name, timeout=20_000)


def test_a_volume_is_made_and_copied_by_clicks(browsing, operator, base, images, tmp_path):
    page = browsing.as_(operator)
    make_on(page, base, "web01.qcow2")
    made = info(images / "web01.qcow2")
    assert (made["backing-filename"], made["backing-filename-format"]) == (
        str(images / "base.qcow2"),
        "qcow2",
    )
    assert (made["cluster-size"], made["virtual-size"]) == (131072, 64 * 1024**2)
    target = wait_for(Pool.objects.filter(name="other", state="running").first, 60)
    page.goto(volume_row("web01.qcow2").get_absolute_url())
    page.get_by_role("link", name="Clone").first.click()
    expect(page.locator("#operation-form")).to_contain_text("Flattens it: what is in base.qcow2")
    page.get_by_label("Name").fill("web01.vmdk")
    page.get_by_label("Pool", exact=True).select_option(str(target.uuid))
    page.get_by_label("Format").select_option("vmdk")
    page.get_by_role("button", name="Clone").click()
    page.get_by_role("link", name="Open web01.vmdk").click(timeout=30_000)
    expect(page.get_by_role("heading", level=1)).to_contain_text("web01.vmdk")
    copy = tmp_path / "other" / "web01.vmdk"
    assert (info(copy)["format"], info(copy).get("backing-filename")) == ("vmdk", None)
    subprocess.run(["qemu-img", "compare", images / "web01.qcow2", copy], check=True, capture_output=True)
    assert Volume.objects.get(pool=target, name="web01.vmdk").format == "vmdk"
    assert not breaches(page)
