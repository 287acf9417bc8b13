"""The list as a file: the same rows in the same order, whole, and harmless in a spreadsheet."""

import csv
import io
import tracemalloc
from datetime import date

import pytest
from django.contrib.auth.models import Group
from django.utils import timezone

from storagemgr.access.models import AuditEvent
from volumes.models import DiskUse, Volume, VolumeNotes

pytestmark = pytest.mark.django_db


@pytest.fixture
def get(client):
    def as_(user, url):
        client.force_login(user)
        return client.get(url)

    return as_


def rows(response):
    text = b"".join(response.streaming_content).decode()
    assert text.endswith("\r\n")
    return list(csv.DictReader(io.StringIO(text, newline=""), strict=True))


def test_the_filtered_and_sorted_list_of_all_pages_in_the_chosen_columns(get, viewer, pool, make_volume):
    for number in range(120):
        make_volume(f"disk{number:03}", capacity=number, format="raw" if number % 2 else "qcow2")
    answer = get(
        viewer, f"/pools/{pool.pk}/volumes/export/?format=raw&sort=-capacity&cols=size&cols=format&page=2"
    )
    found = rows(answer)
    assert list(found[0]) == ["name", "pool", "host", "format", "capacity_bytes"]
    assert [row["name"] for row in found] == [f"disk{number:03}" for number in range(119, 0, -2)]
    assert found[0]["capacity_bytes"] == "119"


def test_what_a_line_says(get, viewer, volume):
    moment = timezone.now().replace(microsecond=0)
    Volume.objects.filter(pk=volume.pk).update(modified=moment, allocation=3 * 1024**4)
    where = {"host": volume.pool.host, "pool_uuid": volume.pool.uuid, "volume_name": volume.name}
    owner = Group.objects.create(name="web team")
    VolumeNotes.objects.create(volume=volume, owner=owner, expires_on=date(2027, 1, 31), **where)
    for name in ("web01", "web02"):
        DiskUse.objects.create(
            host=volume.pool.host, volume=volume, domain_uuid=volume.pool.uuid, domain_name=name, running=True
        )
    every = "&".join(f"cols={name}" for name in ("used", "vms", "modified", "owner", "expires", "kind"))
    [row] = rows(get(viewer, f"/volumes/export/?{every}"))
    assert row["allocation_bytes"] == str(3 * 1024**4)
    assert row["used_by"] == "web01; web02"
    assert timezone.datetime.fromisoformat(row["modified"]) == moment
    assert timezone.datetime.fromisoformat(row["modified"]).tzinfo
    assert (row["owner"], row["expires"], row["kind"]) == ("web team", "2027-01-31", "Disk")


@pytest.mark.parametrize(
    "name",
    [
        "=1+1",
        "+1",
        "-1",
        "@SUM(A1)",
        "\t=1",
        "\r=1",
        " =cmd|'/c calc'!A0",
        "\uff1d1",
        '",=1',
        "a\r\n=1",
        "b\u202egpj.exe",
    ],
)
def test_no_name_is_a_formula_or_breaks_a_line(get, viewer, make_volume, name):
    make_volume(name)
    answer = get(viewer, "/volumes/export/")
    text = b"".join(answer.streaming_content).decode()
    assert text.count("\r\n") == 2
    [row] = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    assert row["name"].lstrip()[0] not in "=+-@\uff1d"
    assert row["name"].isprintable()


def test_the_file_is_named_after_what_it_holds_and_the_export_is_audited(get, viewer, make_pool, make_volume):
    pool = make_pool('i"m\r\nages/../x')
    make_volume(pool=pool)
    answer = get(viewer, f"/pools/{pool.pk}/volumes/export/?q=web")
    today = f"{timezone.localtime():%Y-%m-%d}"
    assert f'attachment; filename="volumes-of-i-m-ages-..-x-on-kvm1-{today}-' in answer["Content-Disposition"]
    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    event = AuditEvent.objects.get(action="volume.export")
    assert (event.actor, event.pool_uuid, event.details) == (viewer, pool.uuid, {"query": "q=web"})


def test_nothing_of_what_the_person_does_not_see(get, make_user, make_host, make_pool, make_volume, outsider):
    mine, theirs = make_pool("mine"), make_pool("theirs", host=make_host("other"))
    make_volume("seen", pool=mine)
    hidden = make_volume("not-for-you", pool=theirs)
    olga = make_user("olga", "viewer", host=mine.host)
    assert [row["name"] for row in rows(get(olga, "/volumes/export/?q="))] == ["seen"]
    assert get(olga, f"/pools/{theirs.pk}/volumes/export/").status_code == 404
    assert rows(get(outsider, "/volumes/export/")) == []
    assert hidden.name not in str(rows(get(olga, "/volumes/export/?pool=theirs")))


def test_many_rows_take_no_more_memory_than_few(get, viewer, pool):
    def make(first, last):
        Volume.objects.bulk_create(
            Volume(
                pool=pool, name=f"d{n:06}", key=f"/{n}", path=f"/{n}", type="file", format="raw",
                capacity=n, allocation=n, seen_at=timezone.now(), identity=f"{n:032x}",
            )
            for n in range(first, last)
        )  # fmt: skip

    def peak():
        answer = get(viewer, "/volumes/export/")
        next(answer.streaming_content)
        tracemalloc.start()
        length = sum(map(len, answer.streaming_content))
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return length, found

    make(0, 2_000)
    few = peak()
    make(2_000, 10_000)
    many = peak()
    assert many[0] > 4 * few[0]
    assert many[1] < few[1] + 1_000_000
