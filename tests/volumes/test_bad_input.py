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
    ("", "required"),
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
