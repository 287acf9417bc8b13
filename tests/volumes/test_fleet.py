"""What the lists find by the ways for few volumes and for very many, against a plain look at every row."""

import pytest
from django.core.cache import cache
from django.http import QueryDict
from django.test import RequestFactory
from fleet_rows import make_fleet

from pools.models import Pool
from volumes import filters, ordering
from volumes.export import wanted_of
from volumes.filters import VolumeFilter
from volumes.kinds import KINDS
from volumes.models import Volume, VolumeNotes
from volumes.rows import rows_of

pytestmark = pytest.mark.django_db
STATES = {"used": True, "unused": False}


@pytest.fixture
def fleet():
    make_fleet(hosts=2, pools=4, each=40)
    VolumeNotes.objects.filter(volume__name__endswith="0007.img").delete()
    return rows_of(Volume.objects.select_related("pool__host"))


@pytest.fixture(params=["few", "many"])
def way(request, monkeypatch):
    cache.clear()
    number = 5 if request.param == "many" else 100_000
    for module in (filters, ordering):
        monkeypatch.setattr(module, "FEW", number)
    monkeypatch.setattr(filters, "MANY", number)
    yield request.param
    cache.clear()


def found(query, volumes=None):
    request = RequestFactory().get("/volumes/", QueryDict(query))
    wanted = wanted_of(request, Volume.objects.all() if volumes is None else volumes)
    ids = list(wanted.rows.ids())
    assert wanted.count == len(ids) == len(set(ids)), query
    # A page from either end is the same as that part of all.
    assert wanted.rows[:7] == ids[:7]
    assert wanted.rows[max(0, len(ids) - 7) : len(ids)] == ids[-7:]
    return ids


def owner_of(row):
    return str(row.notes.owner) if row.notes else ""


def expiry_of(row):
    return row.notes and row.notes.expires_on


def test_kind_and_state(fleet, way):
    for kind in ("disk", "base", "overlay", "iso"):
        for state in ("", *STATES):
            rows = [row for row in fleet if not state or bool(row.vms) == STATES[state]]
            wanted = {row.volume.pk for row in rows if row.kind == KINDS[kind]}
            assert set(found(f"kind={kind}&state={state}")) == wanted, (kind, state)
            assert wanted or (kind, state) in {("base", "unused"), ("iso", "used")}


FILTERS = {
    "format=qcow2&state=unused": lambda row: row.volume.format == "qcow2" and not row.vms,
    "format=raw&format=iso&sort=modified": lambda row: row.volume.format in ("raw", "iso"),
    "q=disk003": lambda row: "disk003" in row.volume.name,
    "q=OPS-9": lambda row: row.notes and "OPS-9" in row.notes.ticket,
    "owner=none": lambda row: row.notes is None,
    "state=protected": lambda row: row.notes and row.notes.is_protected,
    "state=expired&sort=expires": lambda row: row.notes and row.notes.is_expired,
}


def test_filters(fleet, way):
    for query, fits in FILTERS.items():
        wanted = {row.volume.pk for row in fleet if fits(row)}
        assert wanted, query
        assert set(found(query)) == wanted, query


def test_by_owner_and_by_expiry_first_those_that_have_one(fleet, way):
    for state in ("", *STATES):
        rows = {row.volume.pk: row for row in fleet if not state or bool(row.vms) == STATES[state]}
        for sort, value in (("owner", owner_of), ("expires", expiry_of)):
            have = sorted(filter(None, map(value, rows.values())))
            for is_down in (False, True):
                ids = found(f"state={state}&sort={'-' * is_down}{sort}")
                assert set(ids) == set(rows)
                values = [value(rows[pk]) or None for pk in ids]
                assert values == [*(have[::-1] if is_down else have), *[None] * (len(ids) - len(have))]


def test_what_is_remembered_of_all_is_not_shown_to_one_who_sees_a_pool(fleet, way, make_user):
    pool = Pool.objects.get(name="nfs01", host__name="hv-fra-02")
    one = make_user("one", "viewer", host=pool.host, pool_uuid=pool.uuid)
    for query in ("", "kind=overlay", "sort=owner", "sort=pool&state=unused", "format=qcow2", "q=disk"):
        everything = found(query)
        seen = Volume.objects.visible_to(one)
        mine = [pk for pk in everything if pk in set(seen.values_list("pk", flat=True))]
        assert 0 < len(mine) < len(everything)
        assert found(query, seen) == mine
        assert VolumeFilter(QueryDict(query), seen).count("", "") <= 40
