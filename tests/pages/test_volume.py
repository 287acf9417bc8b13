from datetime import timedelta
from uuid import uuid4
from xml.etree import ElementTree

import pytest
from django.urls import reverse
from django.utils import timezone

from volumes import images
from volumes.attach import disk_xml, why_no_disk
from volumes.details import mode_words

pytestmark = pytest.mark.django_db
GIB = 1024**3


def text_of(response):
    return " ".join(response.content.decode().replace("\xa0", " ").split())


def buttons(response):
    return {button.operation.name: button for button in response.context["buttons"]}


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({}, "2 GiB used of 10 GiB. It may grow by 8 GiB; the pool has room for that today."),
        (
            {"capacity": 90 * GIB},
            "2 GiB used of 90 GiB. It may grow by 88 GiB, and only 60 GiB is free in the pool.",
        ),
        ({"allocation": 10 * GIB + 4096}, "10.0 GiB used of 10 GiB. It has all its space already."),
        ({"type": "dir"}, "A directory inside the pool. libvirt lists it; it cannot be used as a disk."),
    ],
)
def test_the_sentence(see, viewer, make_volume, fields, sentence):
    page = see(viewer, f"/volumes/{make_volume(**fields).pk}/")
    assert " ".join(page.context["sentence"]).replace("\xa0", " ") == sentence


def test_the_facts(see, viewer, make_volume):
    volume = make_volume(
        compat="1.1",
        mode="0600",
        owner=0,
        group=107,
        encrypted=True,
        cluster_size=65536,
        modified=timezone.now(),
    )
    text = text_of(see(viewer, f"/volumes/{volume.pk}/"))
    for fact in (
        "qcow2",
        "compat 1.1",
        "0:107",
        "owner can read and write",
        "64 KiB",
        "/srv/default/web01.qcow2",
        "<dd>yes</dd>",
    ):
        assert fact in text


def nodes(node):
    """The chain from its lowest file on: names, None for what is hidden, paths of what is no volume."""
    told = node.volume.name if node.volume else node.path or None
    return [told, *[nodes(child) for child in node.children]]


def test_the_chain_is_a_tree_over_pools(see, viewer, make_pool, make_volume, use):
    here, there = make_pool("here"), make_pool("there")
    base = make_volume("base.qcow2", pool=there)
    middle = make_volume("middle.qcow2", pool=here, backing_path=base.path)
    leaf = make_volume("leaf.qcow2", pool=there, backing_path=middle.path)
    tip = make_volume("tip.qcow2", pool=here, backing_path=leaf.path)
    make_volume("other.qcow2", pool=here, backing_path=middle.path)
    use(tip, "web01", running=False)
    page = see(viewer, f"/volumes/{middle.pk}/")
    tree = page.context["tree"]
    assert nodes(tree.top) == ["base.qcow2", ["middle.qcow2", ["leaf.qcow2", ["tip.qcow2"]], ["other.qcow2"]]]
    assert (tree.overlays, tree.depth, tree.more) == (3, 2, 0)
    text = text_of(page)
    for other in (base, leaf, tip):
        assert f'href="/volumes/{other.pk}/"' in text
    assert "2 GiB in there" in text
    assert "web01" in text
    assert "through its overlay tip.qcow2" in text.lower()


def test_a_parent_that_is_missing_is_named_as_such(see, viewer, make_volume):
    overlay = make_volume("overlay.qcow2", backing_path="/gone/base.qcow2")
    page = see(viewer, f"/volumes/{overlay.pk}/")
    assert nodes(page.context["tree"].top) == ["/gone/base.qcow2", ["overlay.qcow2"]]
    assert "missing: no volume on kvm1" in text_of(page)


def test_a_parent_that_one_may_not_see_has_no_name(see, make_user, make_pool, make_volume):
    mine, theirs = make_pool("mine"), make_pool("theirs")
    lowest = make_volume("lowest.qcow2", pool=theirs, backing_path="/srv/unknown.qcow2")
    base = make_volume("base.qcow2", pool=theirs, backing_path=lowest.path)
    overlay = make_volume("overlay.qcow2", pool=mine, backing_path=base.path)
    make_volume("child.qcow2", pool=theirs, backing_path=overlay.path)
    page = see(make_user("olga", "operator", pool_uuid=mine.uuid), f"/volumes/{overlay.pk}/")
    tree = page.context["tree"]
    assert page.context["parent"] is None
    assert nodes(tree.top) == [None, [None, [None, ["overlay.qcow2"]]]]
    assert (tree.overlays, tree.more) == (1, 1)
    text = text_of(page)
    assert "a volume that you may not see" in text
    for name in ("lowest", "unknown.qcow2", "base.qcow2", "child.qcow2", "theirs"):
        assert name not in text, text[text.index(name) - 200 : text.index(name) + 50]


def test_a_chain_that_bites_its_tail(see, viewer, make_volume):
    one = make_volume("one.qcow2", backing_path="/srv/default/two.qcow2")
    make_volume("two.qcow2", backing_path=one.path)
    assert see(viewer, f"/volumes/{one.pk}/").status_code == 200


def test_the_same_path_on_another_host_is_another_file(see, viewer, make_host, make_pool, make_volume):
    here, there = (make_pool("default", host=make_host(name)) for name in ("kvm1", "kvm2"))
    make_volume("base.qcow2", pool=there)
    overlay = make_volume("overlay.qcow2", pool=here, backing_path="/srv/default/base.qcow2")
    assert see(viewer, f"/volumes/{overlay.pk}/").context["parent"] is None


def test_who_uses_it(see, operator, volume, use):
    vm = uuid4()
    use(volume, "web01", domain_uuid=vm, target="vda", device="disk", path=volume.path)
    use(volume, "web01", domain_uuid=vm, target="vdb", device="cdrom", readonly=True, pool_name="default")
    use(volume, "db01", kind="nvram", target="", running=False)
    page = see(operator, f"/volumes/{volume.pk}/")
    assert [(vm.name, vm.running, vm.ways) for vm in page.context["users"].vms] == [
        (
            "web01",
            True,
            ["as vda, disk, writable, by its path", "as vdb, cdrom, read only, through the pool default"],
        ),
        ("db01", False, ["as its firmware's memory"]),
    ]
    assert "As vda, disk, writable, by its path." in text_of(page)
    assert "It is in use by 2 VMs; a second writer would damage it." in text_of(page)


def test_the_same_export_on_another_host(see, make_user, viewer, make_host, make_pool, make_volume, use):
    pools = [
        make_pool("nas", host=make_host(name), type="netfs", source="nas:/vms") for name in ("kvm1", "kvm2")
    ]
    here, there = (make_volume("web01.qcow2", pool=pool, identity="the same") for pool in pools)
    use(there, "web01")
    users = see(viewer, f"/volumes/{here.pk}/").context["users"]
    assert [(vm.name, vm.host.name) for vm in users.vms] == [("web01", "kvm2")]
    assert users.twins == [there]
    page = see(make_user("olga", "operator", host=pools[0].host), f"/volumes/{here.pk}/")
    assert "By 1 VM that you may not see." in text_of(page)
    assert "1 volume that you may not see" in text_of(page)
    assert "kvm2" not in text_of(page)


def test_an_unverified_copy_says_what_to_do(see, operator, volume):
    volume.unverified_since = timezone.now() - timedelta(days=1)
    volume.save()
    page = see(operator, f"/volumes/{volume.pk}/")
    text = text_of(page)
    assert "This copy is not verified" in text
    assert "qemu-img compare" in text
    assert buttons(page)["volume.accept"].off == ""
    assert "unverified copy" in buttons(page)["volume.clone"].off
    assert page.context["clone"] is None


def test_jobs_about_it(see, viewer, volume, make_job):
    pool = volume.pool
    make_job(pool, params={"source": volume.name}, volume_name="new.qcow2", done_bytes=1, total_bytes=2)
    made = make_job(pool, state="succeeded", volume_name=volume.name, finished_at=timezone.now())
    make_job(pool, state="succeeded", volume_name="other.qcow2", finished_at=timezone.now())
    page = see(viewer, f"/volumes/{volume.pk}/")
    assert [entry.url for entry in page.context["timeline"]] == [made.get_absolute_url()]
    assert len(page.context["jobs"]) == 1


@pytest.mark.parametrize(
    ("fields", "driver", "device", "bus"),
    [
        ({}, "qcow2", "disk", "virtio"),
        ({"format": "raw"}, "raw", "disk", "virtio"),
        ({"name": "debian.iso", "format": "iso"}, "raw", "cdrom", "sata"),
        ({"name": 'quote"<&.img', "format": ""}, "raw", "disk", "virtio"),
        ({"format": "linux-lvm"}, "raw", "disk", "virtio"),
    ],
)
def test_the_disk_element(make_volume, fields, driver, device, bus):
    volume = make_volume(**fields)
    disk = ElementTree.fromstring(disk_xml(volume))
    assert disk.get("device") == device
    assert disk.find("driver").get("type") == driver
    assert disk.find("source").attrib == {"pool": "default", "volume": volume.name}
    assert disk.find("target").get("bus") == bus


def test_every_bus_and_way_is_a_link(see, viewer, volume):
    page = see(viewer, f"/volumes/{volume.pk}/")
    assert [choice.name for choice in page.context["buses"]] == ["virtio", "scsi", "sata", "usb", "ide"]
    for choice in (*page.context["buses"], *page.context["ways"]):
        chosen = see(viewer, f"/volumes/{volume.pk}/{choice.url}")
        disk = ElementTree.fromstring(chosen.context["xml"])
        assert choice.name in (
            disk.find("target").get("bus"),
            disk.get("type").replace("volume", "pool"),
            "path",
        )
        assert disk.find("driver").get("type") == "qcow2"
    assert disk.find("source").attrib == {"file": volume.path}
    assert see(viewer, f"/volumes/{volume.pk}/?bus=floppy&way=none").context["xml"] == page.context["xml"]


@pytest.mark.parametrize(
    ("fields", "kind", "expected"),
    [
        ({"path": "rbd/image"}, "rbd", ("network", {"protocol": "rbd", "name": "rbd/image"})),
        (
            {"path": "gluster://nas:24008/vms/image"},
            "gluster",
            ("network", {"protocol": "gluster", "name": "vms/image"}),
        ),
        (
            {"path": "/dev/mapper/a", "type": "block", "format": ""},
            "mpath",
            ("block", {"dev": "/dev/mapper/a"}),
        ),
    ],
)
def test_a_disk_of_a_pool_through_which_libvirt_attaches_none(make_pool, make_volume, fields, kind, expected):
    disk = ElementTree.fromstring(disk_xml(make_volume(pool=make_pool(type=kind), **fields)))
    assert (disk.get("type"), disk.find("source").attrib) == expected


def test_no_disk_element_where_libvirt_takes_none(see, viewer, make_pool, make_volume):
    page = see(viewer, f"/volumes/{make_volume(pool=make_pool(type='iscsi-direct')).pk}/")
    assert page.context["xml"] == ""
    assert "does not attach volumes" in text_of(page)


def test_what_is_special_or_in_quarantine_is_not_for_a_vm(see, operator, make_volume):
    link, evil = make_volume("link", is_special=True), make_volume("evil")
    images.quarantine(evil, ["It is built on another file, /etc/shadow."])
    for volume, words in ((link, "a link or a special file"), (evil, "In quarantine")):
        page = see(operator, f"/volumes/{volume.pk}/")
        assert words in text_of(page)
        assert page.context["xml"] == ""
        assert buttons(page)["volume.clone"].off
        assert not buttons(page)["volume.delete"].off
    assert "/etc/shadow" in text_of(page)


XML = """<volume type='file'><name>web01.qcow2</name><target>
<permissions><mode>0600</mode><owner>0</owner><group>0</group><label>system_u:object_r:svirt_t:s0</label></permissions>
<timestamps><atime>1700000000.5</atime><mtime>1700000001.0</mtime></timestamps>
<encryption format='luks'><secret type='passphrase' uuid='0a1b'/></encryption>
<features><lazy_refcounts/></features></target></volume>"""


def test_what_the_xml_said_when_it_was_read_last(see, viewer, make_volume, make_job):
    volume = make_volume(encrypted=True)
    page = see(viewer, f"/volumes/{volume.pk}/")
    assert page.context["details"] is None
    assert page.context["read_xml"].off == ""
    assert "read its XML below" in text_of(page)
    for name, text in ((volume.name, XML), ("another", XML.replace("0a1b", "9999"))):
        job = make_job(volume.pool, "volume.read_xml", state="succeeded", volume_name=name)
        job.log(text)
    page = see(viewer, f"/volumes/{volume.pk}/")
    text = text_of(page)
    for fact in ("system_u:object_r:svirt_t:s0", "lazy_refcounts", "0a1b", "14 Nov 2023"):
        assert fact in text
    secret = ElementTree.fromstring(page.context["xml"]).find("source/encryption/secret")
    assert secret.attrib == {"type": "passphrase", "uuid": "0a1b"}


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("0600", "owner can read and write"),
        (
            "0755",
            "owner can read, write and execute, group can read and execute, others can read and execute",
        ),
        ("0000", "nobody but root"),
        ("?", ""),
    ],
)
def test_permissions_in_words(mode, words):
    assert mode_words(mode) == words


def test_a_name_that_xml_cannot_carry_makes_no_element(make_volume):
    assert why_no_disk(make_volume("bell\x07")).startswith("The name holds")


def test_operations_that_are_none(see, administrator, volume):
    for slug in ("nonsense", "create", "start"):
        assert see(administrator, f"/volumes/{volume.pk}/{slug}/").status_code == 404


def test_queries_do_not_grow(see, operator, volume, make_volume, use, make_job, count_queries):
    def grow(number):
        for index in range(number):
            use(volume, f"vm{number}-{index}")
            make_volume(f"child{number}-{index}", backing_path=volume.path)
            make_job(volume.pool, state="succeeded", volume_name=volume.name)

    grow(2)
    few = count_queries(lambda: see(operator, f"/volumes/{volume.pk}/", poll=True))
    grow(20)
    assert count_queries(lambda: see(operator, f"/volumes/{volume.pk}/", poll=True)) == few


def test_overlays_in_pools_that_are_hidden_from_a_person_have_no_names(
    see, make_user, make_pool, make_volume, volume
):
    pool = volume.pool
    person = make_user("olaf", "operator", host=pool.host, pool_uuid=pool.uuid)
    make_volume("hidden.qcow2", pool=make_pool("theirs"), backing_path=volume.path)
    for url in (volume.get_absolute_url(), reverse("volumes:operate", args=[volume.pk, "delete"])):
        page = see(person, url).content.decode()
        assert "1 in other pools" in page
        assert "hidden.qcow2" not in page
        assert "theirs" not in page
    make_volume("seen.qcow2", pool=pool, backing_path=volume.path)
    assert "seen.qcow2 and 1 in other pools" in see(person, volume.get_absolute_url()).content.decode()


def test_all_jobs_of_the_timeline_are_the_ones_of_this_volume(see, viewer, make_volume, make_job):
    volume = make_volume("a & b.qcow2")
    make_job(volume.pool, title="Create it", state="succeeded", volume_name=volume.name)
    make_job(volume.pool, title="Copy it", state="succeeded", params={"source": volume.name})
    make_job(volume.pool, title="Not it", state="succeeded", volume_name=str(volume.pk))
    page = see(viewer, f"/volumes/{volume.pk}/timeline/")
    listed = see(viewer, page.context["jobs_url"])
    assert [row.job.title for row in listed.context["rows"]] == ["Copy it", "Create it"]
