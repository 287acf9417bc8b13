"""Building over what is there: who looked, what was seen, who uses it. Rows only; the lab proves the rest."""

import re
import uuid
from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from pools import devices
from pools.building import OVERWRITE
from pools.models import Look
from storagemgr.jobs.models import Job
from volumes.models import DiskUse

pytestmark = pytest.mark.django_db
GIB = 1024**3
XML = "<pool type='disk'><source><device path='/dev/sdb'/><format type='gpt'/></source></pool>"


def content(**fields):
    finding = {"blank": False, "signatures": [], "text": "ext4 file system photos"}
    part = {"path": "/dev/sdb1", "size": GIB, "finding": finding}
    return {
        "path": "/dev/sdb",
        "names": ["/dev/disk/by-id/ata-x"],
        "size": 2 * GIB,
        "verdict": "data",
        "text": "GPT partition table, 1 partition",
        "table": "gpt",
        "partitions": [part],
        "finding": None,
        "groups": [],
        "pools": [],
        "seen": ["libvirt reads its GPT partition table."],
        "unseen": ["Loop devices are not listed."],
    } | fields


@pytest.fixture
def disk(make_pool):
    return make_pool("disk", type="disk", state="inactive", xml=XML, target_path="/dev")


@pytest.fixture
def look(disk):
    return Look.objects.create(host=disk.host, path="/dev/sdb", content=content())


@pytest.fixture
def url(disk):
    return reverse("pools:operate", args=[disk.pk, "build-overwrite"])


@pytest.fixture
def as_manager(client, manager):
    client.force_login(manager)
    return client


def text(page):
    return " ".join(re.sub(r"<[^>]*>", " ", page.content.decode()).replace("\xa0", " ").split())


def fields_of(page):
    return dict(re.findall(r'name="(key|looked)" value="([^"]+)"', page.content.decode()))


def use(pool, vm="web01", **fields):
    values = {"host": pool.host, "domain_uuid": uuid.uuid4(), "running": False, "kind": "disk"}
    return DiskUse.objects.create(domain_name=vm, **values | fields)


def test_it_cannot_be_asked_before_somebody_looked(disk, url, as_manager):
    page = as_manager.get(url)
    assert "Off: Nobody looked at /dev/sdb in the last 15 minutes." in text(page)
    answer = as_manager.post(url, {"key": uuid.uuid4(), "typed_name": "overwrite"})
    assert answer.status_code == 409
    assert not Job.objects.exists()


def test_a_look_is_good_for_a_quarter_of_an_hour(disk, look):
    assert OVERWRITE.why_off(disk) == ""
    Look.objects.update(at=timezone.now() - timedelta(minutes=14))
    assert OVERWRITE.why_off(disk) == ""
    Look.objects.update(at=timezone.now() - timedelta(minutes=16))
    assert "Nobody looked" in OVERWRITE.why_off(disk)


def test_the_page_shows_all_that_was_seen_and_when(look, url, as_manager):
    said = text(as_manager.get(url))
    assert re.search(
        r"Lost with it, seen today \d\d:\d\d: /dev/sdb \(2 GiB\): GPT partition table, 1 partition\.", said
    )
    assert "/dev/sdb1 (1 GiB): ext4 file system photos." in said
    assert "What could not be seen: Loop devices are not listed." in said
    assert "Makes a new, empty partition table of type gpt on /dev/sdb. All that is there now is lost" in said


def test_the_word_is_to_be_typed_and_the_job_keeps_what_was_seen(look, url, as_manager):
    fields = fields_of(as_manager.get(url))
    assert as_manager.post(url, fields | {"typed_name": "disk"}).status_code == 422
    assert as_manager.post(url, fields | {"typed_name": "overwrite"}).status_code == 303
    job = Job.objects.get()
    assert job.params == {"seen": {"/dev/sdb": content()}}
    again = as_manager.post(url, fields | {"typed_name": "overwrite"})
    assert (again.status_code, again.url) == (303, job.get_absolute_url())


def test_another_look_that_saw_something_else_is_shown_first(look, url, as_manager):
    fields = fields_of(as_manager.get(url)) | {"typed_name": "overwrite"}
    Look.objects.update(content=content(text="empty", table="", partitions=[]))
    page = as_manager.post(url, fields)
    assert page.status_code == 422
    assert "Somebody looked again meanwhile" in text(page)
    assert "/dev/sdb (2 GiB): empty" in text(page)
    assert not Job.objects.exists()
    assert as_manager.post(url, fields_of(page) | {"typed_name": "overwrite"}).status_code == 303


def test_how_it_was_seen_makes_no_difference(look):
    other = {"/dev/sdb": content(seen=[], unseen=["x"], pools=["y"])}
    assert devices.digest({"/dev/sdb": look.content}) == devices.digest(other)
    assert devices.digest({"/dev/sdb": content(size=3 * GIB)}) != devices.digest(other)


def test_the_difference_in_words():
    now = content(text="empty", partitions=[])
    said = devices.difference({"/dev/sdb": content()}, {"/dev/sdb": now}).replace("\xa0", " ")
    assert "It is not there any more: /dev/sdb (2 GiB): GPT partition table, 1 partition; /dev/sdb1" in said
    assert "It is new: /dev/sdb (2 GiB): empty." in said


@pytest.mark.parametrize(
    "path", ["/dev/sdb", "/dev/sdb1", "/dev/disk/by-id/ata-x", "/dev/disk/by-id/ata-x-part2"]
)
def test_a_vm_that_has_the_device_or_a_partition_of_it(disk, look, path):
    use(disk, path=path)
    assert "VMs have a disk there: web01." in OVERWRITE.why_off(disk)


@pytest.mark.parametrize("path", ["/dev/sdba", "/dev/sdb1x", "/dev/sd", "/dev/disk/by-id/ata-xy", "/srv/sdb"])
def test_a_vm_that_has_another_device(disk, look, path):
    use(disk, path=path)
    assert OVERWRITE.why_off(disk) == ""


@pytest.mark.parametrize("path", ["/dev/vg0/root", "/dev/mapper/vg0-root"])
def test_a_vm_that_has_a_volume_of_a_group_on_it(disk, look, path):
    use(disk, path=path)
    assert OVERWRITE.why_off(disk) == ""
    Look.objects.update(content=content(groups=["vg0"]))
    assert "VMs have a disk there: web01." in OVERWRITE.why_off(disk)


def test_another_pool_on_it(disk, look, make_pool, make_host):
    part = "<pool type='fs'><source><device path='/dev/sdb1'/></source></pool>"
    make_pool("elsewhere", make_host("kvm2"), type="fs", xml=part)
    assert OVERWRITE.why_off(disk) == ""
    other = make_pool("on-it", type="fs", xml=part)
    assert OVERWRITE.why_off(disk) == "Another pool of the host uses the same device."
    other.delete()
    group = make_pool("vg0", type="logical", xml="<pool type='logical'><name>vg0</name></pool>")
    assert OVERWRITE.why_off(disk) == ""
    Look.objects.update(content=content(groups=["vg0"]))
    assert OVERWRITE.why_off(disk) == "Another pool of the host uses the same device."
    group.delete()


def test_hostile_words_from_the_device_are_only_text(look, url, as_manager):
    Look.objects.update(content=content(text='<img src=x onerror=alert(1)>"\u202e'))
    html = as_manager.get(url).content.decode()
    assert "<img" not in html
    assert "\u202e" not in html


def test_xml_that_says_nothing(make_pool):
    pool = make_pool("new", type="fs", state="inactive", xml="")
    assert devices.devices_of(pool) == []
    assert "names no device" in OVERWRITE.why_off(pool)
    assert "names no device" in OVERWRITE.why_off(
        make_pool("g", type="logical", state="inactive", xml="<pool/>")
    )
