"""Can a disk of this size go here? Every reason for a yes, a yes but, and a no."""

from datetime import timedelta

import pytest
from django.utils import timezone

from pools.fits import Question, fits
from pools.models import Pool
from pools.places import places_of, storages_of
from pools.trend import Forecast

pytestmark = pytest.mark.django_db
GIB = 1024**3


def ask(gib=20, *, thin=False, filling=None):
    storages = storages_of(places_of(Pool.objects.all()))
    return fits(Question(gib * GIB, thin), storages, filling or {})


def plain(fit):
    return fit.why.replace("\N{NO-BREAK SPACE}", " ")


@pytest.mark.parametrize(
    ("fields", "level", "why"),
    [
        ({}, "yes", "40 GiB free after that; nothing promised beyond it"),
        ({"state": "inactive"}, "no", "it is stopped"),
        ({"state": "building"}, "no", "it is not ready"),
        ({"unreachable_since": timezone.now()}, "no", "the storage does not answer"),
        ({"type": "iscsi"}, "no", "it holds fixed LUNs"),
        ({"type": "scsi"}, "no", "it holds fixed LUNs"),
        ({"type": "gluster"}, "no", "no disks can be made there"),
        ({"type": "newer-than-we"}, "no", "no disks can be made there"),
        ({"capacity": 0, "allocation": 0, "available": 0}, "no", "nobody knows how large it is"),
        ({"allocation": 85 * GIB, "available": 15 * GIB}, "no", "only 15 GiB is free"),
        ({"allocation": 65 * GIB, "available": 35 * GIB}, "but", "it would be 85 % full"),
        (
            {"promised": 90 * GIB, "volume_allocation": 40 * GIB},
            "but",
            "more would be promised than there is: 110 GiB on 100 GiB",
        ),
        ({"promised": 70 * GIB, "volume_allocation": 40 * GIB}, "yes", "40 GiB free after that"),
        ({"state": "degraded"}, "but", "a part of its storage is missing"),
        ({"refresh_error": "it failed"}, "but", "the figures may be old"),
        ({"type": "disk"}, "but", "in one piece"),
        ({"type": "rbd", "source": "mon:vms"}, "yes", "40 GiB raw free after that"),
        (
            {"type": "rbd", "source": "mon:vms", "allocation": 50 * GIB, "available": 50 * GIB},
            "but",
            "Ceph keeps copies, and 3 of this disk would not fit",
        ),
    ],
)
def test_each_reason_is_said_in_words(make_pool, fields, level, why):
    make_pool(**fields)
    [found] = ask()
    assert found.level == level
    assert why in plain(found)


def test_a_host_that_does_not_answer_takes_no_disk(make_host, make_pool):
    make_pool(host=make_host("kvm2", state="silent"))
    [found] = ask()
    assert (found.level, found.why) == ("no", "its host does not answer")


def test_a_thin_disk_takes_nothing_at_once_but_is_promised(make_pool):
    make_pool(promised=45 * GIB, volume_allocation=40 * GIB)
    [full], [thin] = ask(56), ask(56, thin=True)
    assert [full.level, thin.level] == ["but", "but"]
    assert "would be promised" in full.why
    assert "full" not in plain(thin)
    assert "could never be filled" in ask(80, thin=True)[0].why
    Pool.objects.update(allocation=91 * GIB, available=9 * GIB)
    assert plain(ask(1, thin=True)[0]) == "it is 91 % full"


def test_lvm_knows_no_thin_disks(make_pool):
    make_pool(type="logical")
    assert ask(80, thin=True)[0].level == "no"


def test_what_is_full_soon_is_asked_about_first(pool):
    slow = Forecast("full", timezone.now() - timedelta(days=30), 30, pace=0.1 * GIB, days=600)
    soon = Forecast("full", timezone.now() - timedelta(days=30), 30, pace=2 * GIB, days=30)
    assert ask(filling={pool.pk: slow})[0].level == "yes"
    [found] = ask(filling={pool.pk: soon})
    assert found.level == "but"
    # 20 of the 60 GiB that are free are gone at once.
    assert plain(found) == "it would be full in about 3 weeks at the pace of the last 30 days"


def test_the_best_come_first_and_the_same_bytes_once(make_host, make_pool):
    for name in ("kvm1", "kvm2", "kvm3"):
        make_pool("nfs", host=make_host(name), type="netfs", source="nas:/vms")
    Pool.objects.filter(host__name="kvm1").update(state="inactive")
    make_pool("tight", allocation=70 * GIB, available=30 * GIB)
    make_pool("wide", capacity=1000 * GIB, available=960 * GIB)
    make_pool("luns", type="iscsi", source="san:iqn")
    found = ask()
    assert [(one.storage.name, one.level) for one in found] == [
        ("wide", "yes"),
        ("nfs", "yes"),
        ("tight", "but"),
        ("luns", "no"),
    ]
    shared = found[1].storage
    assert shared.where == "on kvm1, kvm2 and kvm3"
    assert shared.best.is_running  # though it is stopped on the first
