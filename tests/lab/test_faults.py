"""What breaks on real hosts, what a person reads of it, and that all comes back by itself."""

import libvirt
import pytest
from lab.lab_tools import main_text, plain
from lab.labs import CHAP_TARGET, CHAP_USER, PLAIN_TARGET
from playwright.sync_api import expect

from pools.models import Pool
from storagemgr.jobs.models import Job
from storagemgr.messages import message
from storagemgr.virt.connection import connect, translated
from storagemgr.virt.errors import VirtError

LIMIT_S = 12
SERVICES_GET = {"JOB_LIMIT": str(LIMIT_S), "JOB_PROCESSES": "2"}
SERVER = "10.99.0.2"
NOBODY = "10.99.0.77"
EXPORT = ("--source-host", SERVER, "--source-path", "/srv/vm_data", "--source-format", "nfs")


@pytest.fixture(autouse=True)
def clean(product):
    """What a test left, also one that failed, is not there for the next."""
    yield
    for guest in product.lab.guests:
        if product.virsh(guest, "pool-list", "--all", "--name").strip():
            guest.reset()
    product.wait_for(lambda: not Pool.objects.exists(), 60, "no pools are left")


def directory_pool(product, guest, name):
    product.virsh(guest, "pool-create-as", name, "dir", "--target", "/var/lib/libvirt/images")
    return product.pool(guest, name)


def nfs_pool(product, guest, name="shared"):
    product.virsh(guest, "pool-define-as", name, "netfs", *EXPORT, "--target", "/vm_data")
    product.virsh(guest, "pool-start", name)
    return product.pool(guest, name)


def page_of(product, target):
    product.page.goto(target.get_absolute_url())
    return main_text(product.page)


def undo(product, making):
    """Takes back, from the page of the result, what was done before it failed: the job."""
    page = product.page
    page.goto(f"/pools/new/{making.draft.pk}/result/")
    with page.expect_navigation():
        page.get_by_role("link", name="Undo what was done").click()
    before = product.latest_job()
    page.locator("#ask").click()
    return product.ended(product.asked_since(before, "undo_creation"))


def undone(product, making):
    job = undo(product, making)
    assert job.state == "succeeded", product.says(job)
    assert product.virsh(product.lab.two, "pool-list", "--all", "--name").strip() == ""


def test_an_nfs_server_that_stops_while_it_is_mounted(product):
    one, two = product.lab.guests
    sick, healthy = nfs_pool(product, two), directory_pool(product, two, "files")
    one.run("systemctl stop nfs-server")
    try:
        job = product.click(sick, "refresh")
        assert (job.finished_at - job.started_at).total_seconds() < LIMIT_S + 5
        said = product.says(job)
        assert "libvirt did not finish this in time, so it was given up." in said
        assert f"libvirt did not answer within {LIMIT_S} seconds." in said
        assert "look at its server or device" in said
        product.create_volume(healthy, "one.qcow2", format="qcow2")
        product.do(healthy, "refresh")
        assert product.listed(healthy) == ["one.qcow2"]
        product.wait_for(lambda: not Pool.objects.get(pk=sick.pk).answers, 30, "it is seen to be dead")
        assert "This pool has not answered since" in page_of(product, sick)
        assert "shared has not answered since" in product.why_off(sick, "refresh")
        assert Pool.objects.get(pk=healthy.pk).answers
    finally:
        one.run("systemctl start nfs-server")
    product.wait_for(lambda: Pool.objects.get(pk=sick.pk).answers, 120, "it answers again")
    product.do(sick, "refresh")
    product.do(sick, "stop")


def test_a_server_that_is_not_there(product):
    two = product.lab.two
    making = product.new_pool(two, type="netfs")
    making.find(source_host=NOBODY)
    found = plain(product.page.locator("#found").inner_text())
    assert "lab2: libvirt did not finish this in time" in found or f"{NOBODY} named no NFS export" in found
    making.source(source_host=NOBODY, source_dir="/srv/vm_data").options("nowhere", target_path="/vm_data/n")
    making.skip_test()
    said = making.make()
    assert "libvirt did not finish this in time, so it was given up." in said
    assert "Define done Build done Start Start with the host" in said
    assert "libvirt still tries to start the pool." in product.says(undo(product, making))
    two.run("pkill mount.nfs")
    undone(product, making)
    assert two.run("ls -A /vm_data") == ""


def test_a_wrong_chap_password(product):
    two = product.lab.two
    making = product.new_pool(two, type="iscsi")
    making.find(source_host=SERVER)
    making.pick(CHAP_TARGET).source(auth_user=CHAP_USER, auth_password="not the password").options("luns")
    making.test()
    said = making.make()
    assert "The target refused the user or the password." in said, said
    assert "authorization failure" in product.says(product.latest("create"))
    assert "not the password" not in said
    undone(product, making)
    assert product.virsh(two, "secret-list").strip() == ""
    assert two.run("iscsiadm -m session", check=False) == ""


def test_a_target_that_is_gone(product):
    one, two = product.lab.guests
    making = product.new_pool(two, type="iscsi")
    making.source(source_host=SERVER, target_iqn="iqn.2026-01.lab:gone").options("luns", autostart=False)
    tested = making.test()
    assert "does not work" in tested
    assert f"The portal offers {CHAP_TARGET}, {PLAIN_TARGET}." in tested
    said = making.make()
    assert "Failed" in said, said
    assert "iqn.2026-01.lab:gone" in product.says(product.latest("create"))
    undone(product, making)


def test_a_device_that_carries_data(product):
    two = product.lab.two
    two.run("mkfs.ext4 -q -L precious /dev/mapper/mpatha")
    try:
        making = product.new_pool(two, type="fs")
        found = making.find()
        assert any("/dev/mapper/mpatha" in line and "ext4" in line for line in found), found
        making.pick("/dev/mapper/mpatha").source(format="ext4")
        making.options("disk", target_path="/vm_data/disk", build="keep")
        tested = making.test()
        assert "holds data" in tested
        assert "precious" in tested
        said = making.make()
        assert "There is a file system or a label on the device already." in said
        undone(product, making)
        assert two.run("blkid -o value -s LABEL /dev/mapper/mpatha").strip() == "precious"
    finally:
        two.run("wipefs -qa /dev/mapper/mpatha")


def test_a_source_that_another_pool_has_and_a_name_that_is_taken(product):
    two = product.lab.two
    shared = nfs_pool(product, two)
    making = product.new_pool(two, type="netfs")
    found = making.find(source_host=SERVER)
    line = next(line for line in found if "/srv/vm_data" in line)
    assert "Already the pool shared on lab2" in line
    assert "shared" in making.refused_source(source_dir="/srv/vm_data")
    making.pick("/srv/iso").source()
    assert "has this name already" in making.refused_options("shared", target_path="/vm_data/iso")
    making.options("iso", target_path="/mnt/iso")
    making.skip_test()
    # Somebody is quicker, with virsh.
    product.virsh(two, "pool-define-as", "iso", "dir", "--target", "/var/lib/libvirt/images")
    said = making.make()
    assert "Another pool of the host has this name or UUID." in said
    product.do(shared, "stop")


def test_a_source_that_another_pool_takes_at_the_last_moment(product):
    two = product.lab.two
    making = product.new_pool(two, type="netfs")
    making.source(source_host=SERVER, source_dir="/srv/vm_data").options("late", target_path="/mnt/late")
    making.skip_test()
    product.virsh(two, "pool-define-as", "early", "netfs", *EXPORT, "--target", "/vm_data")
    said = making.make()
    assert "Another pool uses this storage already." in said
    assert "Use that pool." in said


def test_a_tool_that_the_host_lacks(product):
    two = product.lab.two
    tools = ("/usr/sbin/parted", "/usr/sbin/showmount")
    for tool in tools:
        two.run(f"mv {tool} {tool}.away")
    try:
        making = product.new_pool(two, type="disk")
        making.source(device="/dev/ubdd", format="gpt").options("parts", build="overwrite", autostart=False)
        making.test()
        said = making.make(typed="overwrite")
        assert "The host lacks a program that libvirt needs for this." in said
        assert "parted" in said
        undone(product, making)
        making = product.new_pool(two, type="netfs")
        making.find(source_host=SERVER)
        assert "has no showmount" in main_text(product.page)
    finally:
        for tool in tools:
            two.run(f"mv {tool}.away {tool}")


def wipe(guest, pool, volume):
    with connect(guest.socket_uri) as connection, translated():
        found = connection.raw.storagePoolLookupByName(pool).storageVolLookupByName(volume)
        found.wipePattern(libvirt.VIR_STORAGE_VOL_WIPE_ALG_SCHNEIER)


def test_scrub_is_missing(product):
    """No page wipes volumes as yet; what libvirt answers is told in the same words as any missing program."""
    two = product.lab.two
    product.virsh(two, "pool-create-as", "files", "dir", "--target", "/var/lib/libvirt/images")
    product.virsh(two, "vol-create-as", "files", "one.raw", "1M")
    two.run("mv /usr/bin/scrub /usr/bin/scrub.away")
    try:
        with pytest.raises(VirtError) as refused:
            wipe(two, "files", "one.raw")
    finally:
        two.run("mv /usr/bin/scrub.away /usr/bin/scrub")
    assert message(refused.value.code).title == "The host lacks a program that libvirt needs for this."
    assert "scrub" in refused.value.detail


@pytest.mark.parametrize(("harm", "repair"), [("freeze", "thaw"), ("cut", "mend")])
def test_a_host_that_does_not_answer(product, harm, repair):
    one, two = product.lab.guests
    pool, other = directory_pool(product, two, "files"), directory_pool(product, one, "others")
    page = product.page
    page.goto("/")
    row = page.locator("main table tr").filter(has_text="files")
    expect(row).to_contain_text("Running")
    getattr(two, harm)()
    try:
        expect(row).to_contain_text("Not answering", timeout=40_000)
        expect(row).to_have_class("is-past")
        expect(page.locator("main table tr").filter(has_text="others")).to_contain_text("Running")
        said = page_of(product, pool)
        assert "lab2 has not answered since" in said
        assert "lab2 has not answered since" in product.why_off(pool, "refresh")
        product.do(other, "refresh")
        page.goto("/hosts/")
        expect(page.locator("main table tr").filter(has_text="lab2")).to_contain_text("Not answering")
        page.goto("/")
    finally:
        getattr(two, repair)()
    expect(row).to_contain_text("Running", timeout=60_000)
    product.do(pool, "refresh")


def test_a_libvirtd_killed_while_it_starts_a_pool(product):
    """A SCSI pool takes ten seconds to start: libvirt waits for the links of its disks."""
    two = product.lab.two
    product.virsh(two, "pool-define-as", "scsi", "scsi", "--adapter-name", "host0", "--target", "/dev")
    pool = product.pool(two, "scsi")
    job = product.begin(pool, "start")
    product.wait_for(Job.objects.filter(pk=job.pk, step="Start the pool").first, 20, "it starts")
    two.run("systemctl kill -s KILL libvirtd")
    job = product.ended(job, 90)
    said = product.says(job)
    if job.state == "succeeded":
        assert "Recovered. It was cut off while libvirt worked. The pool runs." in said
    else:
        assert "It was not done: it was cut off from libvirt." in said
    product.wait_until_read(two)
    assert product.pool(two, "scsi").answers
