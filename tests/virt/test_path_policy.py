"""Which directories of a host a pool may have."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storagemgr.virt.path_policy import (
    REFUSED,
    REFUSED_TREES,
    why_not_a_path,
    why_not_here,
    why_not_of_devices,
)

WELL = [
    "/srv/vm",
    "/srv/vm/",
    "/data",
    "/var/lib/libvirt/images",
    "/mnt/nas",
    "/home/olga/vms",
    "/opt/vms",
    "/srv/a b/ä",
]


@pytest.mark.parametrize("path", WELL)
def test_a_directory_of_its_own_is_taken(path):
    assert why_not_here(path) == ""


@pytest.mark.parametrize("path", [*REFUSED, *REFUSED_TREES])
def test_a_directory_of_the_system_is_refused(path):
    assert "belongs to the host's system" in why_not_here(path)
    assert "belongs to the host's system" in why_not_here(path.rstrip("/") + "/")


@pytest.mark.parametrize("path", ["/home/olga/.ssh", "/srv/web/.ssh/x", "/home/olga/.config/autostart"])
def test_where_an_account_keeps_its_keys_is_refused(path):
    assert "holds keys and settings of an account" in why_not_here(path)


@pytest.mark.parametrize("tree", REFUSED_TREES)
def test_so_is_what_is_below_it(tree):
    assert why_not_here(f"{tree}/x/y")
    assert why_not_here(f"{tree}-evil/x") == ""


@pytest.mark.parametrize(
    "path",
    [
        "",
        "srv",
        "./srv",
        "//srv/vm",
        "/srv//vm",
        "/srv/../etc",
        "/srv/.",
        "/srv/vm/..",
        "/srv/a\nb",
        "/srv/\0",
    ]
    + [
        "/srv/\u202egnp",
        "/" + "x" * 1024,
        "/srv/\ud800",
        "C:\\vm",
        "~/vm",
        "/srv/vm//",
        "/ ",
        "/srv/vm ",
        "/srv/ vm",
    ],
)
def test_what_is_no_plain_path_is_refused(path):
    for check in (why_not_a_path, why_not_here, why_not_of_devices):
        assert check(path).endswith(".")


def test_only_what_is_below_the_allowed_directories():
    allowed = ("/srv/vm", "/data/")
    assert (
        why_not_here("/srv/vm", allowed)
        == why_not_here("/srv/vm/a", allowed)
        == why_not_here("/data/x", allowed)
        == ""
    )
    for path in ("/srv/vm-evil", "/srv/v", "/opt/x", "/srv/other"):
        said = why_not_here(path, allowed)
        assert path in said
        assert "administrator" in said
    assert "system" in why_not_here("/etc", ("/etc",))


@given(st.lists(st.sampled_from(["..", ".", "", "srv", "etc", "proc", "self", "root", "vm"]), max_size=8))
def test_no_way_leads_into_the_system(parts):
    path = "/" + "/".join(parts)
    if not why_not_here(path):
        assert parts[0] not in ("etc", "proc", "root", "")
        assert not {".", ".."} & set(parts)


@pytest.mark.parametrize(
    "path", ["/dev", "/dev/", "/dev/disk/by-path", "/dev/disk", "/dev/mapper", "/dev/zvol/tank"]
)
def test_devices_are_found_where_they_are(path):
    assert why_not_of_devices(path) == ""


@pytest.mark.parametrize(
    "path", ["/etc", "/dev/shm", "/dev/diskette", "/dev/pts", "/devices", "/", "/srv/vm"]
)
def test_and_nowhere_else(path):
    assert path in why_not_of_devices(path)
