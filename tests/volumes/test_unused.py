"""The review calls unused what nothing refers to, and nothing of which it does not know."""

import re
import uuid
from datetime import timedelta

import pytest
from django.contrib.auth.models import Group
from django.core.cache import cache
from django.utils import timezone

from pools.models import PoolNotes
from storagemgr.hosts.models import Host
from storagemgr.jobs.models import Job, JobLock
from volumes.identity import identity_of
from volumes.models import DiskUse, Volume, VolumeNotes

pytestmark = pytest.mark.django_db
GIB = 1024**3


@pytest.fixture(autouse=True)
def _count_again():
    cache.clear()


@pytest.fixture
def see(client):
    def names(user, query=""):
        client.force_login(user)
        cache.clear()
        answer = client.get(f"/volumes/unused/{query}")
        assert answer.status_code == 200
        return [one.row.volume.name for one in answer.context["rows"]], answer

    return names


@pytest.fixture
def old(make_volume):
    """A volume that nobody touched for a week."""

    def make(name, pool=None, **fields):
        values = {"modified": timezone.now() - timedelta(days=7), "allocation": GIB}
        volume = make_volume(name, pool=pool, **values | fields)
        Volume.objects.filter(pk=volume.pk).update(identity=identity_of(volume.pool, name, volume.path))
        return Volume.objects.select_related("pool__host").get(pk=volume.pk)

    return make


@pytest.fixture
def pool(make_host, make_pool):
    now = timezone.now()
    return make_pool(host=make_host(uses_read_at=now), volumes_read_at=now)


def use(volume, **fields):
    values = {
        "host": volume.pool.host,
        "volume": volume,
        "domain_name": "web01",
        "running": False,
        "kind": "disk",
    }
    return DiskUse.objects.create(domain_uuid=uuid.uuid4(), **values | fields)


def note(volume, **fields):
    where = {"host": volume.pool.host, "pool_uuid": volume.pool.uuid, "volume_name": volume.name}
    return VolumeNotes.objects.create(volume=volume, **where | fields)


def text(answer):
    return " ".join(re.sub(r"<[^>]*>", " ", answer.content.decode()).replace("\xa0", " ").split())


def test_what_nothing_refers_to_with_the_reason_and_the_bytes(see, viewer, pool, old):
    old("big", allocation=3 * GIB)
    old("small")
    note(Volume.objects.get(name="small"), owner=Group.objects.create(name="web team"))
    found, answer = see(viewer)
    assert found == ["big", "small"]
    said = text(answer)
    assert "2 volumes, 4 GiB would come back." in said
    assert "No VM of kvm1 refers to it, nothing is built on it, no job has it and nobody protects it." in said
    assert "7 days ago" in said
    assert "web team" in said


def test_what_is_needed_is_not_in_it(see, viewer, pool, old):
    use(old("disk-of-a-vm"))
    base = old("base")
    old("overlay", backing_path=base.path)
    protected = old("protected")
    note(protected, protected_because="golden", protected_at=timezone.now())
    over = old("protected-once")
    yesterday = timezone.localdate() - timedelta(days=1)
    note(over, protected_because="golden", protected_at=timezone.now(), protected_until=yesterday)
    locked = old("to-be-deleted")
    job = Job.objects.create(
        operation="volume.delete", title="Delete", host=pool.host, pool_uuid=pool.uuid, state="scheduled"
    )
    JobLock.objects.create(
        job=job, host_id=pool.host_id, pool_uuid=pool.uuid, volume_name=locked.name, is_write=True
    )
    old("written-now", modified=timezone.now() - timedelta(minutes=5))
    old("folder", type="dir")
    old("socket", is_special=True)
    assert sorted(see(viewer)[0]) == ["overlay", "protected-once"]


def test_a_protected_pool_is_left_alone(see, viewer, pool, old):
    old("disk")
    PoolNotes.objects.create(
        host=pool.host, pool=pool, pool_uuid=pool.uuid, protected_because="x", protected_at=timezone.now()
    )
    assert see(viewer)[0] == []


def test_fixed_luns_are_not_in_it(see, viewer, make_pool, old, pool):
    old("unit:0:0:1", pool=make_pool("san", type="iscsi", source="san:iqn.2026-01.example:disk"))
    assert see(viewer)[0] == []


@pytest.fixture
def export(make_host, make_pool):
    """One export, mounted by two hosts."""
    now = timezone.now()
    known = {"type": "netfs", "source": "nas:/export", "target_path": "/mnt/nas", "volumes_read_at": now}
    return [
        make_pool("nas", host=make_host(name, uses_read_at=now), **known) for name in ("hv-one", "hv-two")
    ]


def test_a_vm_of_another_host_is_as_good_a_reason(see, viewer, export, old):
    for pool in export:
        old("used", pool=pool)
        old("spare", pool=pool)
    use(Volume.objects.get(name="used", pool=export[1]))
    found, answer = see(viewer)
    assert found == ["spare"], "once, although two hosts list it"
    assert "1 volume, 1 GiB would come back." in text(answer)
    assert "No VM of the 2 hosts that see it refers to it" in text(answer)


@pytest.mark.parametrize(
    "address", ["nfs://nas.example/export/used", "nfs://nas/export/used"], ids=["name", "short"]
)
def test_a_vm_that_goes_there_by_an_address_of_its_own(see, viewer, export, old, address):
    for pool in export:
        old("used", pool=pool)
    DiskUse.objects.create(
        host=export[0].host,
        domain_uuid=uuid.uuid4(),
        domain_name="web01",
        running=True,
        kind="disk",
        path=address,
    )
    assert see(viewer)[0] == []


def test_overlays_and_protection_on_another_host_count(see, viewer, export, old):
    for pool in export:
        old("base", pool=pool)
        old("kept-there", pool=pool)
    old("overlay", pool=export[1], backing_path="/mnt/nas/base", modified=timezone.now())
    there = Volume.objects.get(name="kept-there", pool=export[1])
    note(there, protected_because="golden", protected_at=timezone.now())
    assert see(viewer)[0] == []


def test_one_directory_in_two_pools(see, viewer, pool, make_pool, old):
    twin = make_pool("again", target_path=pool.target_path, volumes_read_at=timezone.now())
    first = old("disk", pool=pool)
    old("disk", pool=twin)
    assert see(viewer)[0] == ["disk"]
    use(first, volume_name="disk", pool_name=pool.name)
    assert see(viewer)[0] == []


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"state": "silent"}, "hv-two does not answer"),
        ({"uses_read_at": None}, "What the VMs of hv-two use was not read lately."),
        (
            {"uses_read_at": timezone.now() - timedelta(hours=1)},
            "What the VMs of hv-two use was not read lately.",
        ),
    ],
)
def test_what_is_not_known_is_not_called_unused(see, viewer, export, old, fields, words):
    old("disk", pool=export[1])
    old("elsewhere", pool=export[0])
    assert sorted(see(viewer)[0]) == ["disk", "elsewhere"]
    Host.objects.filter(name="hv-two").update(**fields)
    found, answer = see(viewer)
    assert found == []
    assert "Nothing is unused for an hour or more." in text(answer)
    found, answer = see(viewer, "?state=unknown&sort=name")
    assert found == ["disk", "elsewhere"]
    assert words in text(answer)
    assert "Another host sees the same storage, and its VMs were not read lately." in text(answer)


def test_isos_and_what_people_keep_stand_apart(see, viewer, pool, old):
    old("debian.iso")
    note(old("spare"), not_unused_because="for the crash test", not_unused_by="olga")
    assert see(viewer)[0] == []
    assert see(viewer, "?state=iso")[0] == ["debian.iso"]
    found, answer = see(viewer, "?state=kept")
    assert found == ["spare"]
    assert "Kept by olga: for the crash test" in text(answer)


def test_nothing_of_what_the_person_does_not_see(see, make_user, export, make_host, make_pool, old):
    hidden = make_pool("hidden", host=make_host("other", uses_read_at=timezone.now()))
    old("not-for-you", pool=hidden)
    for pool in export:
        old("shared", pool=pool)
    paul = make_user("paul", "viewer", host=export[1].host)
    found, answer = see(paul)
    assert found == ["shared"], "the first of the two is hidden"
    assert "not-for-you" not in text(answer)
    assert "hv-one" not in text(answer)


def test_those_chosen_are_deleted_later(client, operator, pool, old):
    volumes = [old("a"), old("b")]
    client.force_login(operator)
    page = client.get("/volumes/unused/").content.decode()
    assert 'formaction="/volumes/selected/delete/"' in page
    asked = {"volume": [volume.pk for volume in volumes]}
    form = client.get("/volumes/selected/delete/", asked)
    asked |= {"key": form.context["key"], "typed_name": form.context["typed_text"]}
    assert client.post("/volumes/selected/delete/", asked).status_code == 303
    assert set(Job.objects.values_list("state", "volume_name")) == {("scheduled", "a"), ("scheduled", "b")}
    cache.clear()
    assert client.get("/volumes/unused/").context["rows"] == []


def test_the_number_of_queries_does_not_grow(client, viewer, pool, old, django_assert_max_num_queries):
    for number in range(60):
        old(f"disk{number}")
    client.force_login(viewer)
    with django_assert_max_num_queries(28):
        assert len(client.get("/volumes/unused/").context["rows"]) == 50
