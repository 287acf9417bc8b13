import pytest

from pools.capacity import FleetSpace, Space, space_of
from pools.filters import known_of
from pools.models import Pool

GIB = 1024**3


def space(**fields):
    values = {"numbers": "normal", "capacity": 100, "used": 40, "free": 60, "promised": 50, "growth": 10}
    return Space(
        **{name: n * GIB if isinstance(n, int) else n for name, n in (values | fields).items()},
        volume_count=3,
    )


def plain(sentence):
    return " ".join(sentence).replace("\xa0", " ")


def test_three_segments_fill_the_bar():
    bar = space()
    assert (bar.used_segment.width, bar.promised_segment.start, bar.promised_segment.width) == (
        40.0,
        40.0,
        10.0,
    )
    assert (bar.promised_free, bar.beyond, bar.unpromised) == (10 * GIB, 0, 50 * GIB)


def test_what_is_promised_beyond_the_free_space_is_said():
    bar = space(growth=90, promised=130)
    assert bar.promised_segment.width == 60.0
    assert (bar.beyond, bar.unpromised) == (30 * GIB, 0)
    assert plain(bar.sentence) == "130 GiB is promised on 100 GiB, 40 % is really used."
    assert "more than is free" in bar.label


@pytest.mark.parametrize(("used", "level"), [(79, ""), (80, "warn"), (89, "warn"), (90, "bad"), (100, "bad")])
def test_nearly_full(used, level):
    assert space(used=used, free=100 - used).level == level


def test_old_figures_raise_no_alarm():
    old = space(used=95, free=5, is_past=True)
    assert (old.alarm, old.colour) == ("", "cap-still")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"numbers": "luns", "used": 100, "free": 0}, "3 fixed LUNs, 100 GiB together."),
        ({"numbers": "none", "capacity": 0, "used": 0}, "No size."),
        ({"numbers": "raw"}, "40 % of 100 GiB raw is really used."),
        ({"capacity": 0, "used": 0}, "No size."),
        ({"capacity": 0, "used": 0, "is_stopped": True}, "Never seen running."),
        ({"is_stopped": True}, "40 % of 100 GiB was really used"),
        ({}, "40 % of 100 GiB is really used,"),
    ],
)
def test_each_kind_of_numbers_has_its_own_words(fields, words):
    found = space(**fields)
    assert plain(found.sentence[:1]) == words
    assert found.brief.text
    assert found.label


def test_fixed_luns_are_never_full():
    assert space(numbers="luns", used=100, free=0).level == ""


@pytest.mark.django_db
def test_data_that_is_not_the_volumes_does_not_hide_what_they_may_take(make_pool):
    """A directory shares its file system: 40 of 100 GiB are used, by 2 GiB of volumes that may take 8 more."""
    found = space_of(make_pool(promised=10 * GIB, volume_allocation=2 * GIB))
    assert found.growth == 8 * GIB
    assert found.unpromised == 52 * GIB


@pytest.mark.django_db
def test_the_sum_leaves_out_what_cannot_be_added_up(make_pool):
    total = FleetSpace()
    kinds = [
        ("dir", "running"),
        ("netfs", "running"),
        ("iscsi", "running"),
        ("rbd", "running"),
        ("dir", "inactive"),
    ]
    for index, (kind, state) in enumerate(kinds):
        make_pool(f"pool{index}", type=kind, state=state)
    for pool in known_of(Pool.objects.all()):
        total.add(pool)
    assert total.total.capacity == 200 * GIB
    assert total.left_out_words == "Ceph (raw), fixed LUNs and stopped pools"
    assert plain(total.sentence).startswith("5 pools on 1 host.")


def test_an_empty_fleet_divides_by_nothing():
    assert FleetSpace().total.used_percent == 0
    assert "None of them" in FleetSpace().sentence[1]


@pytest.mark.django_db
def test_directories_that_may_lie_on_one_file_system_are_counted_with_a_word(make_host, make_pool):
    one, two = make_host("kvm1"), make_host("kvm2")
    for name, fields in {
        "a": {"host": one},
        "b": {"host": one},
        "larger": {"host": one, "capacity": 7 * GIB},
        "elsewhere": {"host": two},
        "volume-group": {"host": two, "type": "logical"},
        "stopped": {"host": two, "state": "inactive"},
    }.items():
        make_pool(name, **fields)
    fleet = FleetSpace()
    for pool in known_of(Pool.objects.all()):
        fleet.add(pool)
    assert fleet.maybe_shared == 2


@pytest.mark.django_db
def test_one_export_that_several_hosts_mount_is_counted_once(make_host, make_pool):
    one, two = make_host("kvm1"), make_host("kvm2")
    for host in (one, two):
        make_pool(f"vms-{host}", host, type="netfs", source="nas1:/export/vms")
        make_pool(f"local-{host}", host, type="logical", source="vg0")
    make_pool("iso", two, type="netfs", source="nas1:/export/iso")
    fleet = FleetSpace()
    for pool in known_of(Pool.objects.all()):
        fleet.add(pool)
    assert fleet.total.capacity == 4 * 100 * GIB
    assert fleet.left_out_words == "what another pool shows already"
