from datetime import timedelta
from xml.etree import ElementTree

import pytest
from django.urls import reverse
from django.utils import timezone

from volumes.attach import disk_xml, why_no_disk

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
    for fact in ("qcow2", "compat 1.1", "0:107 0600", "64 KiB", "/srv/default/web01.qcow2", "<dd>yes</dd>"):
        assert fact in text


def test_parent_and_children_are_links(see, viewer, make_volume):
    base = make_volume("base.qcow2")
    middle = make_volume("middle.qcow2", backing_path=base.path)
    leaf = make_volume("leaf.qcow2", backing_path=middle.path)
    text = text_of(see(viewer, f"/volumes/{middle.pk}/"))
    assert f'href="/volumes/{base.pk}/"' in text
    assert f'href="/volumes/{leaf.pk}/"' in text


def test_a_parent_that_one_may_not_see_is_a_path(see, make_user, make_pool, make_volume):
    mine, theirs = make_pool("mine"), make_pool("theirs")
    base = make_volume("base.qcow2", pool=theirs)
    overlay = make_volume("overlay.qcow2", pool=mine, backing_path=base.path)
    make_volume("child.qcow2", pool=theirs, backing_path=overlay.path)
    page = see(make_user("olga", "operator", pool_uuid=mine.uuid), f"/volumes/{overlay.pk}/")
    assert page.context["parent"] is None
    assert page.context["children"] == []
    assert "not a volume that you see" in text_of(page)


def test_the_same_path_on_another_host_is_another_file(see, viewer, make_host, make_pool, make_volume):
    here, there = (make_pool("default", host=make_host(name)) for name in ("kvm1", "kvm2"))
    make_volume("base.qcow2", pool=there)
    overlay = make_volume("overlay.qcow2", pool=here, backing_path="/srv/default/base.qcow2")
    assert see(viewer, f"/volumes/{overlay.pk}/").context["parent"] is None


def test_who_uses_it(see, operator, volume, use):
    use(volume, "web01", target="vda", device="disk")
    page = see(operator, f"/volumes/{volume.pk}/")
    assert "As vda, disk, writable." in text_of(page)
    assert "It is in use by web01; a second writer would damage it." in text_of(page)
    assert buttons(page)["volume.delete"].off == "Used by web01. Detach it there first."


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
    assert [job.pk for job in page.context["history"]] == [made.pk]
    assert len(page.context["jobs"]) == 1


@pytest.mark.parametrize(
    ("fields", "driver", "device"),
    [
        ({}, "qcow2", "disk"),
        ({"format": "raw"}, "raw", "disk"),
        ({"name": "debian.iso", "format": "iso"}, "raw", "cdrom"),
        ({"name": 'quote"<&.img', "format": ""}, "raw", "disk"),
    ],
)
def test_the_disk_element(make_volume, fields, driver, device):
    volume = make_volume(**fields)
    disk = ElementTree.fromstring(disk_xml(volume))
    assert disk.get("device") == device
    assert disk.find("driver").get("type") == driver
    assert disk.find("source").attrib == {"pool": "default", "volume": volume.name}


@pytest.mark.parametrize("kind", ["rbd", "gluster", "mpath", "iscsi-direct"])
def test_no_disk_element_where_libvirt_takes_none(see, viewer, make_pool, make_volume, kind):
    volume = make_volume(pool=make_pool(type=kind))
    page = see(viewer, f"/volumes/{volume.pk}/")
    assert page.context["xml"] == ""
    assert "does not attach volumes" in text_of(page)


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
    make_volume("hidden.qcow2", pool=make_pool("secret"), backing_path=volume.path)
    for url in (volume.get_absolute_url(), reverse("volumes:operate", args=[volume.pk, "delete"])):
        page = see(person, url).content.decode()
        assert "1 in other pools" in page
        assert "hidden.qcow2" not in page
        assert "secret" not in page
    make_volume("seen.qcow2", pool=pool, backing_path=volume.path)
    assert "seen.qcow2 and 1 in other pools" in see(person, volume.get_absolute_url()).content.decode()


def test_all_jobs_of_the_history_are_the_ones_of_this_volume(see, viewer, make_volume, make_job):
    volume = make_volume("a & b.qcow2")
    make_job(volume.pool, title="Create it", state="succeeded", volume_name=volume.name)
    make_job(volume.pool, title="Copy it", state="succeeded", params={"source": volume.name})
    make_job(volume.pool, title="Not it", state="succeeded", volume_name=str(volume.pk))
    page = see(viewer, f"/volumes/{volume.pk}/")
    listed = see(viewer, page.context["history_url"])
    assert [row.job.title for row in listed.context["rows"]] == ["Copy it", "Create it"]
