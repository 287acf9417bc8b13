"""What a person can get wrong when making a volume: a message beside the field, what was typed kept, nothing done."""

import html
import uuid

import pytest
from django.urls import reverse

from storagemgr.jobs.models import Job
from volumes.forms import SizeField
from volumes.operations.create_form import CreateForm

pytestmark = pytest.mark.django_db

GOOD = {"name": "web02.img", "format": "raw", "capacity": "1 GiB", "space": "sparse"}
LETTERS = "Letters, digits"
BAD_NAMES = [
    ("", "required"),
    (" ", LETTERS),
    (".", LETTERS),
    ("..", LETTERS),
    ("../x", LETTERS),
    ("/etc/passwd", LETTERS),
    ("a/b", LETTERS),
    (".hidden", LETTERS),
    ("-rf", LETTERS),
    ("a b", LETTERS),
    (" leading", LETTERS),
    ("trailing ", LETTERS),
    ("a\nb", LETTERS),
    ("a\tb", LETTERS),
    ("nul\0byte", "Null characters"),
    ("x" * 129, "At most 128"),
    ("ünicode", LETTERS),
    ("e\u0301", LETTERS),
    ("\N{PILE OF POO}", LETTERS),
    ("right\u202eleft", LETTERS),
    ("<img src=x onerror=alert(1)>", LETTERS),
    ("{{7*7}}", LETTERS),
    ("'; drop table", LETTERS),
    ("$(reboot)", LETTERS),
    ("%s%n", LETTERS),
    ("</name><target><path>/etc</path></target>", LETTERS),
    ("taken.img", "already has a volume"),
]
BAD_SIZES = [
    ("", "Write the size"),
    ("0 GiB", "more than nothing"),
    ("0", "Add the unit"),
    ("20", "Add the unit"),
    ("-1 GiB", "Not a size"),
    ("ten GiB", "Not a size"),
    ("1e9 GiB", "Not a size"),
    ("1,5 GiB", "Not a size"),
    ("20 XiB", "Not a size"),
    ("20 GiB; reboot", "Not a size"),
    ("0x10 GiB", "Not a size"),
    ("nan GiB", "Not a size"),
    ("\u0661 GiB", "Not a size"),
    ("9000 PiB", "more than libvirt can count"),
    ("99999999999999999999 GiB", "more than libvirt can count"),
]
BAD_CHOICES = [
    ("format", "vhd", "not one of the available choices"),
    ("format", "", "required"),
    ("format", "raw,backing_file=/etc/passwd", "not one of the available choices"),
    ("space", "all", "not one of the available choices"),
]
CASES = (
    [("name", value, message) for value, message in BAD_NAMES]
    + [("capacity", value, message) for value, message in BAD_SIZES]
    + BAD_CHOICES
)


@pytest.mark.parametrize(("field", "value", "message"), CASES)
def test_a_bad_value_is_refused_beside_its_field(client, operator, pool, make_volume, field, value, message):
    make_volume("taken.img", pool)
    client.force_login(operator)
    typed = GOOD | {field: value, "key": str(uuid.uuid4())}
    response = client.post(reverse("volumes:create", kwargs={"pk": pool.pk}), typed)
    assert response.status_code == 422
    assert any(message in error for error in response.context["form"].errors[field])
    page = html.unescape(response.content.decode())
    assert message in page
    for name in ("name", "capacity"):
        assert f'value="{html.escape(typed[name])}"' in response.content.decode() or not typed[name]
    assert not Job.objects.exists()


QCOW2, RAW, VMDK = {"format": "qcow2"}, {"format": "raw"}, {"format": "vmdk"}
BAD_TOGETHER = [
    (VMDK | {"space": "falloc"}, "space", "vmdk takes its space as it is written"),
    (RAW | {"space": "metadata"}, "space", "Only qcow2 has tables"),
    (QCOW2 | {"space": "full"}, "space", "writes zeros in raw volumes only"),
    (RAW | {"cluster_size": "65536"}, "cluster_size", "Only qcow2"),
    (QCOW2 | {"cluster_size": "1000"}, "cluster_size", "not one of the available choices"),
    (QCOW2 | {"cluster_size": "512", "capacity": "200 GiB", "outgrow": "on"}, "cluster_size", "that large"),
    (RAW | {"compat": "0.10"}, "compat", "Only qcow2"),
    (QCOW2 | {"compat": "9"}, "compat", "not one of the available choices"),
    (VMDK | {"lazy_refcounts": "on"}, "lazy_refcounts", "Only qcow2"),
    (QCOW2 | {"lazy_refcounts": "on", "compat": "0.10"}, "lazy_refcounts", "choose 1.1"),
    (VMDK | {"nocow": "on"}, "nocow", "Only raw and qcow2"),
    (VMDK | {"passphrase": "x"}, "passphrase", "Only raw and qcow2"),
    (RAW | {"passphrase": "x", "space": "falloc"}, "space", "An encrypted volume"),
    (RAW | {"passphrase": "two\nlines"}, "passphrase", "can be printed"),
    (RAW | {"passphrase": "x" * 513}, "passphrase", "at most 512"),
    (RAW | {"mode": "0999"}, "mode", "octal digits"),
    (RAW | {"mode": "4755"}, "mode", "octal digits"),
    (RAW | {"owner": "root"}, "owner", "whole number"),
    (RAW | {"owner": "-1"}, "owner", "greater than or equal to 0"),
    (RAW | {"group": "4294967295"}, "group", "less than or equal to"),
    (RAW | {"backing": "default/base.qcow2", "capacity": "20 GiB"}, "backing", "cannot be built on another"),
    (QCOW2 | {"backing": "default/none"}, "backing", "No volume of this host that you see"),
    (QCOW2 | {"backing": "/etc/passwd"}, "backing", "No volume of this host that you see"),
    (QCOW2 | {"backing": "default/stray.qcow2"}, "backing", "not a volume of any pool"),
    (QCOW2 | {"backing": "default/odd.img"}, "backing", "in the format unknown"),
    (QCOW2 | {"backing": "default/secret.qcow2"}, "backing", "No volume of this host that you see"),
    (
        QCOW2 | {"backing": "default/base.qcow2", "capacity": "20 GiB", "space": "falloc"},
        "space",
        "as it is written",
    ),
    (
        QCOW2 | {"backing": "default/base.qcow2", "capacity": "20 GiB", "passphrase": "x"},
        "passphrase",
        "not encrypted from here",
    ),
    (QCOW2 | {"backing": "default/base.qcow2"}, "capacity", "cannot be smaller"),
]


@pytest.fixture
def parents(pool, make_volume):
    make_volume("base.qcow2", pool)
    make_volume("stray.qcow2", pool, backing_path="/etc/passwd", backing_format="raw")
    make_volume("odd.img", pool, format="")
    make_volume("secret.qcow2", pool, encrypted=True)


@pytest.mark.parametrize(("more", "field", "message"), BAD_TOGETHER)
def test_what_does_not_go_together_is_told_beside_one_of_it(
    client, operator, pool, parents, more, field, message
):
    client.force_login(operator)
    typed = GOOD | more | {"key": str(uuid.uuid4())}
    response = client.post(reverse("volumes:create", kwargs={"pk": pool.pk}), typed)
    assert response.status_code == 422
    assert list(response.context["form"].errors) == [field]
    page = html.unescape(response.content.decode())
    assert message in page.split(f'id="id_{field}_error"')[1].split("</div>")[0]
    # What is wrong is not hidden in a closed part of the page.
    assert field in ("space", "capacity") or 'id="more" open' in page
    assert 'value="x"' not in page
    assert not Job.objects.exists()


@pytest.mark.parametrize(
    ("typed", "field", "message"),
    [
        ({"allocation": "1 GiB", "space": "falloc"}, "allocation", "Only a sparse volume or a snapshot"),
        ({"space": "sparse"}, "allocation", "Say how much space"),
        ({"space": "sparse", "allocation": "1 GiB"}, "allocation", "not less than"),
        (
            {"space": "sparse", "allocation": "512 MiB", "passphrase": "x"},
            "passphrase",
            "cannot be encrypted",
        ),
        (
            {"space": "falloc", "backing": "vg0/root", "allocation": "1 MiB"},
            "capacity",
            "leave the size empty",
        ),
        ({"space": "falloc", "capacity": "61 GiB"}, "capacity", "is wanted now"),
    ],
)
def test_a_logical_volume_is_asked_for_what_lvm_knows(
    operator, make_pool, make_volume, typed, field, message
):
    group = make_pool("vg0", type="logical")
    make_volume("root", group, type="block", format="", path="/dev/vg0/root")
    form = CreateForm({"name": "lv", "capacity": "1 GiB"} | typed, target=group, user=operator)
    assert set(form.fields) == {"key", "name", "capacity", "space", "backing", "allocation", "passphrase"}
    assert message in form.errors[field][0]


def test_a_partition_has_the_name_that_it_will_get(operator, make_pool, make_volume):
    disk = make_pool("disk", type="disk", source="/dev/nvme0n1", target_path="/dev")
    for name in ("nvme0n1p1", "nvme0n1p3"):
        make_volume(name, disk, type="block", format="none")
    form = CreateForm({"name": "mine", "capacity": "1 GiB"}, target=disk, user=operator)
    assert set(form.fields) == {"key", "name", "capacity"}
    assert form["name"].initial == "nvme0n1p2"
    assert form.errors["name"] == ["The kernel numbers the partitions: this one has to be nvme0n1p2."]


CLONES = [
    ({"into": "0" * 8}, "into", "not one of the available choices"),
    ({"into": "other", "format": "iso"}, "format", "not one of the available choices"),
    ({"into": "other", "format": "vmdk", "space": "full"}, "space", "space for data only"),
    ({"into": "other", "format": "vmdk", "passphrase": "x"}, "passphrase", "can be encrypted"),
    ({"into": "vg0", "format": "qcow2"}, "format", "plain bytes"),
    ({"into": "vg0", "passphrase": "x"}, "passphrase", "can be encrypted"),
    ({"into": "vg0", "reflink": "on"}, "reflink", "Only a raw file"),
    ({"format": "qcow2", "reflink": "on"}, "reflink", "Only a raw file"),
    ({"into": "other", "name": "taken.img"}, "name", "other already has a volume"),
    ({"into": "sdb"}, "name", "the next one is sdb1"),
    ({"into": "full"}, "into", "The copy needs 2"),
]


@pytest.mark.parametrize(("typed", "field", "message"), CLONES)
def test_a_wrong_copy_is_refused_beside_its_field(
    client, operator, make_pool, make_volume, typed, field, message
):
    source = make_volume("raw.img", make_pool("default"), format="raw")
    pools = {
        "other": make_pool("other"),
        "vg0": make_pool("vg0", type="logical"),
        "sdb": make_pool("sdb", type="disk", source="/dev/sdb"),
        "full": make_pool("full", available=1024**3),
    }
    make_volume("taken.img", pools["other"])
    if typed.get("into") in pools:
        typed = typed | {"into": str(pools[typed["into"]].uuid)}
    client.force_login(operator)
    url = reverse("volumes:operate", kwargs={"pk": source.pk, "slug": "clone"})
    response = client.post(url, {"name": "copy.img", "key": str(uuid.uuid4())} | typed)
    assert response.status_code == 422
    assert message in response.context["form"].errors[field][0]
    page = html.unescape(response.content.decode())
    assert message in page.split(f'id="id_{field}_error"')[1].split("</div>")[0]
    assert not Job.objects.exists()


def test_the_copy_of_an_encrypted_volume_wants_a_passphrase_and_another_name(client, operator, make_volume):
    client.force_login(operator)
    locked = make_volume("locked", encrypted=True)
    url = reverse("volumes:operate", kwargs={"pk": locked.pk, "slug": "clone"})
    errors = client.post(url, {"name": "locked", "key": str(uuid.uuid4())}).context["form"].errors
    assert set(errors) == {"name", "passphrase"}


def test_what_needs_more_than_is_free_says_both(client, operator, pool):
    client.force_login(operator)
    typed = GOOD | {"capacity": "61 GiB", "space": "full", "key": str(uuid.uuid4())}
    response = client.post(reverse("volumes:create", kwargs={"pk": pool.pk}), typed)
    assert response.status_code == 422
    assert (
        "61\N{NO-BREAK SPACE}GiB is wanted now, 60\N{NO-BREAK SPACE}GiB is free" in response.content.decode()
    )
    assert not Job.objects.exists()


def test_a_clone_without_room_is_refused(client, operator, pool, make_volume):
    client.force_login(operator)
    big = make_volume("big.img", pool, allocation=61 * 1024**3)
    response = client.post(
        reverse("volumes:operate", kwargs={"pk": big.pk, "slug": "clone"}),
        {"name": "copy.img", "key": str(uuid.uuid4())},
    )
    assert response.status_code == 422
    assert "The copy needs 61" in response.content.decode()


def test_fields_that_nobody_asked_for_change_nothing(client, operator, pool):
    client.force_login(operator)
    typed = GOOD | {
        "key": str(uuid.uuid4()),
        "pool": "9",
        "host": "9",
        "state": "succeeded",
        "is_superuser": "1",
    }
    client.post(reverse("volumes:create", kwargs={"pk": pool.pk}), typed)
    job = Job.objects.get()
    assert (job.pool_uuid, job.host_id) == (pool.uuid, pool.host_id)
    assert set(job.params) == {"name", "format", "capacity", "space"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 GiB", 1024**3),
        ("1g", 1024**3),
        ("1.5 TiB", 3 * 1024**4 // 2),
        ("512 MiB", 512 * 1024**2),
        ("1 b", 512),
        ("513 bytes", 1024),
        ("\N{NO-BREAK SPACE}2\N{NO-BREAK SPACE}KB ", 2048),
        ("8191.5 PiB", 16383 * 1024**5 // 2),
    ],
)
def test_sizes_as_people_write_them(text, expected):
    assert SizeField().clean(text) == expected


def test_a_pool_without_formats_asks_for_none(make_pool):
    form = CreateForm(target=make_pool("vg0", type="logical"))
    assert "format" not in form.fields


def test_a_volume_that_outgrows_its_pool_is_asked_about_once(client, operator, pool):
    client.force_login(operator)
    url, typed = reverse("volumes:create", kwargs={"pk": pool.pk}), GOOD | {"capacity": "900 TiB"}
    assert "outgrow" not in client.get(url).content.decode()
    response = client.post(url, typed | {"key": str(uuid.uuid4())})
    assert response.status_code == 422
    assert "It may grow to 900" in response.content.decode()
    assert not Job.objects.exists()
    assert client.post(url, typed | {"outgrow": "on", "key": str(uuid.uuid4())}).status_code == 303
    assert set(Job.objects.get().params) == {"name", "format", "capacity", "space"}
