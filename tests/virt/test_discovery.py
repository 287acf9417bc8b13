"""Sources of pools, asked of a libvirtd of our own and of test:///; those of real servers: tests/lab."""

import os
import shutil
from collections.abc import Iterator

import pytest

from storagemgr.virt.connection import Connection, connect
from storagemgr.virt.discovery import find_sources, source_elements
from storagemgr.virt.errors import VirtError

HOSTILE = """a&b'<c>"d"""


@pytest.fixture
def test_driver() -> Iterator[Connection]:
    with connect("test:///default", keepalive=False) as connection:
        yield connection


def refusal(c: Connection, pool_type: str, **where: str) -> VirtError:
    with pytest.raises(VirtError) as caught:
        find_sources(c, pool_type, **where)
    return caught.value


def test_volume_groups_come_with_their_devices(test_driver: Connection) -> None:
    first, second = find_sources(test_driver, "logical")
    assert first.values == {"source_name": "testvg1", "devices": ["/dev/sda20"], "format": "lvm2"}
    assert first.text == "testvg1 (/dev/sda20)"
    assert second.values["source_name"] == "testvg2"


def test_an_export_fills_the_fields_of_its_pool(test_driver: Connection) -> None:
    (export,) = find_sources(test_driver, "netfs", host="nas1.example.com")
    assert export.values == {"source_host": "nas1.example.com", "source_dir": "/testshare", "format": "nfs"}
    assert (export.text, export.format) == ("nas1.example.com:/testshare", "nfs")


def test_the_name_of_the_server_cannot_break_out_of_the_request(c: Connection) -> None:
    assert f"on host '{HOSTILE}'" in refusal(c, "netfs", host=HOSTILE).detail


@pytest.mark.parametrize("host", ["", "nas\x01", "-h"], ids=["none", "control character", "option"])
def test_a_server_that_cannot_be_asked_is_refused_before(test_driver: Connection, host: str) -> None:
    assert refusal(test_driver, "netfs", host=host).code == "invalid"


def test_iscsi_direct_is_never_searched(test_driver: Connection) -> None:
    error = refusal(test_driver, "iscsi-direct", host="san1", initiator="iqn.2026-01.lab:x")
    assert error.code == "no_support"
    assert error.number is None, "libvirt was asked"
    assert "Search with the type iSCSI" in error.detail


@pytest.mark.parametrize("pool_type", ["dir", "disk", "rbd", "nonsense"])
def test_other_types_have_no_sources(test_driver: Connection, pool_type: str) -> None:
    assert refusal(test_driver, pool_type).code == "no_support"


@pytest.mark.skipif(os.geteuid() != 0, reason="LVM tells its groups to root alone")
def test_a_host_without_groups_answers_with_none(c: Connection) -> None:
    assert [one for one in find_sources(c, "logical") if not one.values["source_name"]] == []


def test_a_server_without_nfs_is_told_from_one_without_exports(c: Connection) -> None:
    error = refusal(c, "netfs", host="127.0.0.1")
    assert (error.code, error.number) == ("command_failed", 9)
    assert error.detail.startswith("127.0.0.1 named no NFS export and no Gluster volume.")


def test_a_portal_that_does_not_answer(c: Connection) -> None:
    error = refusal(c, "iscsi", host="127.0.0.1", port="9")
    assert error.code == ("command_failed" if shutil.which("iscsiadm") else "program_missing")
    assert "127.0.0.1:9" in error.detail


def test_answers_are_read_without_entities() -> None:
    (element,) = source_elements(
        "<!DOCTYPE s [<!ENTITY x SYSTEM 'file:///etc/hostname'>]>"
        "<sources><source><name>&x;</name></source></sources>"
    )
    assert not element.findtext("name")


def test_answers_that_cannot_be_read_are_told() -> None:
    laughs = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 10))
    bomb = f'<!DOCTYPE s [<!ENTITY a0 "ha">{laughs}]><sources><source><name>&a9;</name></source></sources>'
    for answer in ("<sources><source>", bomb):
        with pytest.raises(VirtError) as caught:
            source_elements(answer)
        assert caught.value.code == "unknown"
