import pytest

from storagemgr.virt.connection import Connection
from storagemgr.virt.pool_types import OPERATIONS, TYPES, pool_type

ALL_NAMES = {
    *("dir", "fs", "netfs", "logical", "disk", "iscsi", "iscsi-direct"),
    *("scsi", "mpath", "rbd", "gluster", "zfs", "vstorage", "sheepdog"),
}


def test_every_type_is_there(c: Connection):
    assert set(TYPES) == ALL_NAMES
    assert set(c.facts().pool_types) == ALL_NAMES
    assert len({entry.title for entry in TYPES.values()}) == len(TYPES)


@pytest.mark.parametrize("name", [*sorted(ALL_NAMES), "newer-than-we"])
def test_an_operation_exists_or_has_a_reason(name: str):
    entry = pool_type(name)
    assert entry.name == name
    for operation in OPERATIONS:
        why = entry.why_not(operation)
        assert (operation in entry.operations) == (why == "")
        assert why == "" or (why[0].isalpha() and why.endswith(".") and "{" not in why)
    assert entry.reasons.keys() <= set(OPERATIONS)
    for verb in ("start", "stop", "refresh", "build", "delete"):
        assert getattr(entry, verb).endswith(".")


@pytest.mark.parametrize("name", sorted(ALL_NAMES))
def test_formats_are_for_types_that_can_create(name: str):
    entry = TYPES[name]
    if entry.volume_formats:
        assert "volume.create" in entry.operations
    assert {"pool.start", "pool.stop", "pool.refresh"} <= entry.operations


def test_what_the_table_says():
    assert TYPES["netfs"].stop == "Unmounts the export. The data stays on the server."
    assert TYPES["iscsi"].why_not("volume.create") == (
        "The LUNs are made on the iSCSI target; libvirt cannot create them."
    )
    assert TYPES["dir"].operations == set(OPERATIONS)
    assert TYPES["dir"].volume_formats == ("raw", "qcow2")
    assert {name for name, entry in TYPES.items() if entry.numbers == "luns"} == {
        "iscsi",
        "iscsi-direct",
        "scsi",
    }
    assert (TYPES["mpath"].numbers, TYPES["rbd"].numbers) == ("none", "raw")


def test_an_unknown_type_admits_it_and_an_unknown_operation_is_our_bug():
    entry = pool_type("quantum")
    assert entry.title == "quantum"
    assert "quantum" in entry.why_not("volume.delete")
    assert entry.why_not("pool.stop") == ""
    with pytest.raises(ValueError, match="not an operation"):
        entry.why_not("volume.explode")
