"""The history of what a pool was defined as, and what waits for its next start."""

from datetime import timedelta
from uuid import UUID

import pytest
from django.utils import timezone
from sync_tools import pool_row

from pools import sync
from pools.configuration import history
from pools.models import Pool, PoolConfiguration
from storagemgr.virt import pools as virt_pools


@pytest.fixture
def define(c, virsh, tmp_path):
    """`virsh pool-define` of the pool with something in its XML replaced."""

    def change(uuid: str, old: str, new: str) -> str:
        xml = virt_pools.read_config(c, uuid).xml
        assert old in xml
        file = tmp_path / "pool.xml"
        file.write_text(xml.replace(old, new))
        virsh("pool-define", file)
        return str(file)

    return change


def kept(uuid: str) -> list[PoolConfiguration]:
    return list(PoolConfiguration.objects.filter(pool_uuid=uuid))


def test_the_first_reading_is_the_first_configuration(read, new_pool, tmp_path):
    uuid = new_pool()
    read()
    read()
    [first] = kept(uuid)
    assert (first.made_by, first.job_id) == ("", None)
    assert f"<path>{tmp_path / 'pool0'}</path>" in first.xml
    assert "<capacity" not in first.xml


def test_a_pool_whose_row_is_older_than_its_history(read, new_pool):
    uuid = new_pool()
    read()
    PoolConfiguration.objects.all().delete()
    read()
    assert len(kept(uuid)) == 1


def test_what_virsh_defines_is_seen_at_the_next_reading_and_waits_for_the_start(
    read, new_pool, virsh, define, tmp_path
):
    uuid, other = new_pool(), tmp_path / "other"
    other.mkdir()
    read()
    define(uuid, str(tmp_path / "pool0"), str(other))
    read()
    row, (_, changed) = pool_row(uuid), kept(uuid)
    assert str(other) in changed.xml
    assert changed.made_by == ""
    assert (row.target_path, str(tmp_path / "pool0") in row.running_xml) == (str(other), True)
    virsh("pool-destroy", uuid)
    virsh("pool-start", uuid)
    read()
    assert pool_row(uuid).running_xml == ""
    assert len(kept(uuid)) == 2


def test_the_rights_that_a_start_finds_are_no_change(read, c, virsh, tmp_path):
    uuid = virt_pools.define(c, virt_pools.dir_pool_xml("quiet", str(tmp_path)))
    read()
    virsh("pool-start", uuid)
    read()
    tmp_path.chmod(0o700)
    virsh("pool-refresh", uuid)
    read()
    assert "<mode>0700</mode>" in pool_row(uuid).xml
    virsh("pool-destroy", uuid)
    read()
    assert len(kept(uuid)) == 1
    virsh("pool-undefine", uuid)


def test_the_rights_that_somebody_gives_a_stopped_pool_are_one(read, new_pool, virsh, define):
    uuid = new_pool()
    read()
    virsh("pool-destroy", uuid)
    read()
    define(uuid, "<mode>0755</mode>", "<mode>0700</mode>")
    read()
    assert [("0700" in one.xml) for one in kept(uuid)] == [False, True]


def test_the_same_definition_again_is_no_change(read, new_pool, define):
    uuid = new_pool()
    read()
    define(uuid, "<pool type='dir'>", "<pool type='dir'><!-- again -->")
    read()
    assert (len(kept(uuid)), pool_row(uuid).running_xml) == (1, "")


def test_history_is_there_again_when_the_pool_comes_back(read, new_pool, virsh, define, tmp_path):
    uuid = new_pool()
    read()
    file = define(uuid, str(tmp_path / "pool0"), str(tmp_path))
    virsh("pool-destroy", uuid)
    virsh("pool-undefine", uuid)
    read()
    assert not Pool.objects.filter(uuid=uuid).exists()
    assert len(kept(uuid)) == 1
    virsh("pool-define", file)
    read()
    assert [str(tmp_path / "pool0") in one.xml for one in kept(uuid)] == [True, False]
    virsh("pool-undefine", uuid)


def test_a_job_claims_what_a_reading_saw_before_it_wrote_it_down(host, read, c, new_pool, define, tmp_path):
    uuid = new_pool()
    read()
    maker = history.Maker("mona", 7, timezone.now())
    define(uuid, str(tmp_path / "pool0"), str(tmp_path))
    read()
    sync.read_one(c, pool_row(uuid), maker)
    first, changed = kept(uuid)
    assert (first.made_by, changed.made_by, changed.job_id) == ("", "mona", 7)
    sync.read_one(c, pool_row(uuid), history.Maker("otto", 8, timezone.now()))
    assert [one.made_by for one in kept(uuid)] == ["", "mona"]


def test_the_reading_that_came_later_does_not_take_it_from_the_job(read, c, new_pool, define, tmp_path):
    uuid = new_pool()
    read()
    define(uuid, str(tmp_path / "pool0"), str(tmp_path))
    sync.read_one(c, pool_row(uuid), history.Maker("mona", 7, timezone.now()))
    read()
    assert [one.made_by for one in kept(uuid)] == ["", "mona"]


def test_a_change_outside_is_seen_by_the_look_before_a_job(read, c, new_pool, define, tmp_path):
    uuid = new_pool()
    read()
    define(uuid, str(tmp_path / "pool0"), str(tmp_path))
    sync.read_one(c, pool_row(uuid))
    assert [one.made_by for one in kept(uuid)] == ["", ""]


def test_the_first_and_the_latest_are_kept(monkeypatch, host, make_pool):
    monkeypatch.setattr(history, "KEPT", 5)
    uuid = make_pool(host=host).uuid
    xml = "<pool type='dir'><name>p</name><target><path>/srv/{}</path></target></pool>"
    for number in range(12):
        history.record(host.pk, [history.Seen(UUID(str(uuid)), xml.format(number), False)])
    assert [one.xml.partition("/srv/")[2][:2].strip("<") for one in kept(str(uuid))] == [
        *("0", "8", "9", "10", "11")
    ]


def test_a_row_written_since_the_reading_began_is_not_history(read, new_pool, define, tmp_path):
    uuid = new_pool()
    read()
    define(uuid, str(tmp_path / "pool0"), str(tmp_path))
    Pool.objects.filter(uuid=uuid).update(seen_at=timezone.now() + timedelta(minutes=1))
    read()
    assert len(kept(uuid)) == 1


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            "<pool type='iscsi'><source><host name='nas'/></source></pool>",
            "<pool type='iscsi'><source><host name='nas' port='3260'/></source></pool>",
        ),
        (
            "<pool type='disk'><source><device path='/dev/sdb'/><format type='unknown'/></source></pool>",
            "<pool type='disk'><source><device path='/dev/sdb'><freeExtent start='0' end='9'/></device>"
            "<format type='dos'/></source></pool>",
        ),
        (
            "<pool type='scsi'><source><adapter type='fc_host' wwnn='1' wwpn='2'/></source></pool>",
            "<pool type='scsi'><source><adapter type='fc_host' managed='yes' wwnn='1' wwpn='2'/></source></pool>",
        ),
    ],
)
def test_what_libvirt_writes_as_it_starts_a_pool_is_no_change(before, after):
    assert not history.is_change(before, after, is_active=True)
    assert not history.is_pending(before, after)
    other = after.replace("nas", "nas2").replace("dos", "gpt").replace("'2'", "'3'")
    assert history.is_change(before, other, is_active=True)
