import re
import shutil
import subprocess

import libvirt
import pytest

from storagemgr.virt.connection import Connection
from storagemgr.virt.pool_types import OPERATIONS, TYPES, pool_type
from storagemgr.virt.wipe_algorithms import ALGORITHMS

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
    assert set(TYPES["dir"].volume_formats) > {"raw", "qcow2", "vmdk", "dir"}
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


# type by type: what libvirt 9.0's backends can, from their function tables and not from ours.
# c create, f create from another (clone), d delete, r resize, g resize, never smaller, u upload, l download.
MATRIX = {
    "dir": "cfdr ul",
    "fs": "cfdr ul",
    "netfs": "cfdr ul",
    "logical": "cfd ul",
    "disk": "cfd ul",
    "iscsi": "ul",
    "iscsi-direct": "",
    "scsi": "ul",
    "mpath": "ul",
    "rbd": "cfdg",
    "gluster": "d",
    "zfs": "cd ul",
    "vstorage": "cfdr ul",
}
LETTERS = {"create": "c", "clone": "f", "delete": "d", "resize": "rg", "upload": "u", "download": "l"}
PATTERNS = ("nnsa", "dod", "bsi", "gutmann", "schneier", "pfitzner7", "pfitzner33", "random")
ZERO = {*MATRIX} - {"gluster", "zfs"}
SCRUB = ZERO - {"iscsi-direct", "rbd"}
BUILDS = {"dir", "fs", "netfs", "logical", "disk", "zfs", "vstorage"}


@pytest.mark.parametrize("name", sorted(MATRIX))
def test_each_type_can_what_libvirt_can(name: str):
    entry, can = TYPES[name], MATRIX[name]
    for verb, letters in LETTERS.items():
        assert (entry.why_not(f"volume.{verb}", "9.0.0") == "") == any(x in can for x in letters), verb
    assert entry.only_grows == ("g" in can or name == "zfs")
    assert (entry.why_not("volume.wipe") == "") == (name in ZERO)
    assert (entry.why_no_wipe("zero") == "") == (name in ZERO)
    assert {entry.why_no_wipe(pattern) == "" for pattern in PATTERNS} == {name in SCRUB}
    assert (entry.why_no_wipe("trim") == "") == (name == "rbd")
    assert entry.builds == (name in BUILDS)
    assert (entry.why_not("pool.delete") == "") == (name in BUILDS)


def test_a_zfs_volume_grows_from_libvirt_11_7_on():
    why = [TYPES["zfs"].why_not("volume.resize", version) for version in ("", "9.0.0", "11.6.0", "11.7.0")]
    assert [bool(reason) for reason in why] == [True, True, True, False]
    assert TYPES["logical"].why_not("volume.resize", "12.5.0")


@pytest.mark.parametrize(
    ("path", "is_in_vain"),
    [
        ("/dev/vg1/web01", True),
        ("/dev/mapper/mpatha", True),
        ("/dev/disk/by-path/ip-10.0.0.1:3260-iscsi-iqn.2026-01.x:y-lun-1", True),
        ("/dev/sdb1", False),
        ("/var/lib/libvirt/images/dev/web01.raw", False),
    ],
)
def test_patterns_are_not_for_devices_behind_a_link(path: str, is_in_vain: bool):
    assert ("nothing behind a link" in TYPES["logical"].why_no_wipe("random", path)) == is_in_vain
    assert TYPES["logical"].why_no_wipe("zero", path) == ""


def test_the_algorithms_are_those_of_libvirt():
    constants = {name for name in dir(libvirt) if name.startswith("VIR_STORAGE_VOL_WIPE_ALG_")}
    prefix = "VIR_STORAGE_VOL_WIPE_ALG_"
    assert {f"{prefix}{name.upper()}" for name in ALGORITHMS} == constants - {f"{prefix}LAST"}
    assert "No algorithm" in TYPES["dir"].why_no_wipe("magnet")


@pytest.mark.skipif(not shutil.which("scrub"), reason="no scrub here")
def test_the_passes_are_those_of_scrub():
    said = subprocess.run(["scrub", "--help"], capture_output=True, text=True).stderr
    found = re.findall(r"^ +(\w+) +(\d+)-pass", said, re.M)
    passes = {name: entry.passes for name, entry in ALGORITHMS.items() if entry.needs_scrub}
    assert passes == {name: int(number) for name, number in found if name in PATTERNS}
