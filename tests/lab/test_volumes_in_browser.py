"""One image on its way through a browser: onto an NFS server, into LVM, back, and out of the world."""

import hashlib
import os
import subprocess
from uuid import uuid4

import pytest
from playwright.sync_api import expect

from storagemgr.virt import pool_xml
from storagemgr.virt import pools as virt_pools
from storagemgr.virt.connection import connect
from volumes.models import Volume

MIB = 1024**2
POOLS = {
    "netfs": {"source_host": "10.99.0.2", "source_dir": "/srv/vm_data", "target_path": "/vm_data"},
    "logical": {"source_name": "vg_new", "devices": ["/dev/ubdb"], "format": "lvm2"},
}


@pytest.fixture(scope="module")
def pools(product):
    """An NFS export and an LVM group on lab1, as somebody made them by hand."""
    product.stack.start("transfer")
    guest = product.lab.one
    with connect(guest.socket_uri) as c:
        for kind, values in POOLS.items():
            uuid = virt_pools.define(c, pool_xml.build(kind, f"lab_{kind}", str(uuid4()), values))
            virt_pools.build(c, uuid, "overwrite" if kind == "logical" else "")
            virt_pools.start(c, uuid)
    yield {kind: product.pool(guest, f"lab_{kind}") for kind in POOLS}
    guest.reset()


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    """A qcow2 of 8 MiB, 5 of them random."""
    raw = tmp_path_factory.mktemp("image") / "web01.raw"
    raw.write_bytes(os.urandom(5 * MIB) + bytes(3 * MIB))
    path = raw.with_suffix(".qcow2")
    subprocess.run(["qemu-img", "convert", "-O", "qcow2", raw, path], check=True)
    return path


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def open_form(product, url, act):
    product.page.goto(url)
    with product.page.expect_navigation():
        product.page.locator(f"#act-{act} a").click()


def test_from_the_upload_to_the_end(product, pools, image, tmp_path):
    guest, page = product.lab.one, product.page
    uploaded = upload(product, pools["netfs"], image)
    assert guest.run("sha256sum < /srv/vm_data/web01.qcow2").split()[0] == sha256(image)
    assert (uploaded.format, uploaded.capacity) == ("qcow2", 8 * MIB)

    product.do(uploaded, "clone", into=str(pools["logical"].uuid), name="web01")
    paths = "/srv/vm_data/web01.qcow2 /dev/vg_new/web01"
    assert "identical" in guest.run(f"qemu-img compare -f qcow2 -F raw {paths}")
    clone = Volume.objects.get(pool=pools["logical"], name="web01")
    assert "lvextend on the host can" in product.why_off(clone, "resize")

    download(product, clone, tmp_path / "got")
    assert sha256(tmp_path / "got") == guest.run("sha256sum < /dev/vg_new/web01").split()[0]
    command = ["qemu-img", "compare", "-f", "qcow2", "-F", "raw", image, tmp_path / "got"]
    assert "identical" in subprocess.run(command, capture_output=True, text=True).stdout

    open_form(product, clone.get_absolute_url(), "wipe")
    expect(page.locator("[name=algorithm] option")).to_have_count(1)
    expect(page.locator("#operation-form")).to_contain_text(
        "scrub overwrites nothing behind a link to a device"
    )
    job = product.do(clone, "wipe", typed="web01", algorithm="zero", reason="end of life")
    assert guest.run("cmp -n 8388608 /dev/vg_new/web01 /dev/zero && echo zero") == "zero\n"
    page.goto(job.get_absolute_url())
    page.get_by_role("link", name="Record of the wipe").click()
    expect(page.locator("main")).to_contain_text("end of life")

    the_delay_can_be_undone(product, clone)
    product.do(clone, "delete-now", typed="web01")
    assert guest.run("lvs --noheadings -o lv_name vg_new") == ""
    product.do(uploaded, "resize", capacity="16 MiB")
    assert "virtual size: 16 MiB" in guest.run("qemu-img info /srv/vm_data/web01.qcow2")
    product.do(uploaded, "delete-now", typed="web01.qcow2")
    assert guest.run("ls /srv/vm_data") == ""


def upload(product, pool, path):
    page, before = product.page, product.latest_job()
    open_form(product, pool.get_absolute_url(), "upload")
    page.get_by_label("File", exact=True).set_input_files(path)
    page.get_by_role("button", name="Upload").click()
    job = product.ended(product.asked_since(before, "upload"))
    assert job.state == "succeeded", (job.error_code, job.error_text)
    return Volume.objects.get(pool=pool, name=path.name)


def download(product, volume, path):
    before = product.latest_job()
    open_form(product, volume.get_absolute_url(), "download")
    with product.page.expect_download() as waiting:
        product.page.get_by_role("button", name="Download").click()
    waiting.value.save_as(path)
    job = product.ended(product.asked_since(before, "download"))
    assert job.state == "succeeded", (job.error_code, job.error_text)


def the_delay_can_be_undone(product, volume):
    guest, page = product.lab.one, product.page
    job = product.begin(volume, "delete")
    assert job.state == "scheduled"
    open_form(product, volume.get_absolute_url(), "wipe")
    expect(page.locator("#checks")).to_contain_text("A job waits for its time")
    expect(page.locator("#ask")).to_have_attribute("aria-disabled", "true")
    page.goto(job.get_absolute_url())
    page.get_by_role("button", name="Undo").click()
    assert product.ended(job).state == "cancelled"
    assert "web01" in guest.run("lvs --noheadings -o lv_name vg_new")
