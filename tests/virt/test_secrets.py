"""Passwords of pools as libvirt secrets, on a daemon of our own."""

import pickle
import traceback
from base64 import b64encode
from pathlib import Path
from uuid import uuid4

import libvirt
import pytest
from daemon import PrivateDaemon
from lxml import etree

from storagemgr.virt import pool_xml, pools, secrets
from storagemgr.virt.connection import Connection, connect
from storagemgr.virt.errors import VirtError

VALUE = "Xk9NotToBeSeen" + "4f1cAA"  # also base64, as a key of Ceph is
KINDS = pytest.mark.parametrize("kind", ["iscsi", "ceph"])


def put(c, kind="iscsi", value=VALUE, pool=None, **more):
    return secrets.put_secret(
        c, usage_type=kind, usage_id=secrets.usage_id(pool or str(uuid4())), value=value, **more
    )


def texts_below(directory: Path) -> list[Path]:
    """The files that hold the value as it is or as libvirt stores it (base64)."""
    needles = (VALUE.encode(), b64encode(VALUE.encode())[:24])
    files = [path for path in directory.rglob("*") if path.is_file()]
    return [path for path in files if any(needle in path.read_bytes() for needle in needles)]


@KINDS
def test_nobody_reads_it_back(c: Connection, kind):
    pool = str(uuid4())
    uuid = put(c, kind, pool=pool, pool_name="san & co")
    secret = c.raw.secretLookupByUUIDString(uuid)
    with pytest.raises(libvirt.libvirtError) as caught:
        secret.value()
    assert caught.value.get_error_code() == libvirt.VIR_ERR_INVALID_SECRET
    root = etree.fromstring(secret.XMLDesc().encode())
    assert (root.get("private"), root.get("ephemeral")) == ("yes", "no")
    assert root.findtext("description") == "storagemgr: password of the pool san & co"
    assert secret.usageID() == f"storagemgr/{pool}"
    assert VALUE not in secret.XMLDesc()


@KINDS
def test_each_pool_has_one_and_a_new_value_replaces_it(c: Connection, kind):
    pool = str(uuid4())
    first = put(c, kind, pool=pool)
    assert put(c, kind, "another+", pool=pool) == first == pool_xml.own_secret(pool)
    assert put(c, kind) != first
    assert secrets.find_secret(c, kind, secrets.usage_id(pool)) == first
    assert len([s for s in c.raw.listAllSecrets() if s.usageID() == secrets.usage_id(pool)]) == 1


def test_one_that_the_host_has_for_this_pool_already_is_used(c: Connection):
    """As after a pool that was restored from a backup of its definition."""
    pool, older = str(uuid4()), str(uuid4())
    assert put(c, pool=pool, uuid=older) == older
    assert put(c, pool=pool) == older


def test_it_is_forgotten_once_and_no_error_twice(c: Connection):
    pool = str(uuid4())
    uuid = put(c, pool=pool)
    secrets.forget_secret(c, uuid)
    assert secrets.find_secret(c, "iscsi", secrets.usage_id(pool)) is None
    secrets.forget_secret(c, uuid)


def test_a_secret_that_somebody_else_made_stays(c: Connection):
    xml = "<secret private='yes'><usage type='iscsi'><target>theirs</target></usage></secret>"
    theirs = c.raw.secretDefineXML(xml)
    with pytest.raises(VirtError) as caught:
        secrets.forget_secret(c, theirs.UUIDString())
    assert caught.value.code == "denied"
    assert c.raw.secretLookupByUsage(libvirt.VIR_SECRET_USAGE_TYPE_ISCSI, "theirs")


def test_a_refused_value_leaves_no_secret_and_is_in_no_error(c: Connection):
    pool = str(uuid4())
    for value in (VALUE * 10_000, VALUE + "\ud800", VALUE + "\n", ""):
        with pytest.raises(VirtError) as caught:
            put(c, value=value, pool=pool)
        error = caught.value
        said = "".join(traceback.format_exception(error)) + repr(error) + str(pickle.dumps(error))
        assert VALUE not in said
        assert error.__context__ is None
        assert secrets.find_secret(c, "iscsi", secrets.usage_id(pool)) is None


def test_a_refused_new_value_leaves_the_old_secret(c: Connection):
    pool = str(uuid4())
    uuid = put(c, pool=pool)
    with pytest.raises(VirtError):
        put(c, value="x" * 100_000, pool=pool)
    assert secrets.find_secret(c, "iscsi", secrets.usage_id(pool)) == uuid


def test_names_stay_text(c: Connection):
    uuid = put(c, pool_name="</description><usage type='volume'><volume>/etc</volume></usage>")
    root = etree.fromstring(c.raw.secretLookupByUUIDString(uuid).XMLDesc().encode())
    assert len(root.findall("usage")) == 1
    with pytest.raises(VirtError) as caught:
        put(c, pool_name="nul\0")
    assert caught.value.code == "bad_name"


def test_it_stands_in_one_file_of_the_daemon_alone(own_daemon: PrivateDaemon, tmp_path: Path):
    with connect(own_daemon.uri) as c:
        uuid = put(c)
        assert [path.name for path in texts_below(own_daemon.directory)] == [f"{uuid}.base64"]
        file = texts_below(own_daemon.directory)[0]
        assert file.stat().st_mode & 0o077 == 0
        own_daemon.restart()
    with connect(own_daemon.uri) as c:
        secrets.forget_secret(c, uuid)
        assert texts_below(own_daemon.directory) == []


def test_a_pool_asks_for_its_secret_and_says_when_it_is_gone(c: Connection):
    """iscsi-direct looks the secret up before it connects."""
    if not c.facts().pool_types["iscsi-direct"]:
        pytest.skip("libvirt's iSCSI direct is not installed here")
    pool = str(uuid4())
    values = {
        "source_host": "127.0.0.1",
        "source_port": "1",
        "target_iqn": "iqn.2026-01.com.example:disks",
        "initiator": "iqn.2026-01.com.example:host",
        "auth_user": "host1",
    }
    uuid = pools.define(c, pool_xml.build("iscsi-direct", "with a secret", pool, values))
    try:
        with pytest.raises(VirtError) as caught:
            pools.start(c, uuid)
        assert caught.value.code == "secret_missing"
        put(c, pool=pool)
        with pytest.raises(VirtError) as caught:
            pools.start(c, uuid)
        assert caught.value.code != "secret_missing"
        assert VALUE not in str(caught.value)
    finally:
        pools.undefine(c, uuid)


def test_a_key_of_ceph_is_base64(c: Connection):
    """libvirt encodes its bytes again for Ceph; that they arrive there is seen in the lab."""
    pool = str(uuid4())
    with pytest.raises(VirtError, match="not base64"):
        put(c, "ceph", "not-base64!", pool=pool)
    assert secrets.find_secret(c, "ceph", secrets.usage_id(pool)) is None
    assert secrets.cephx_key("QUJDRA==") == b"ABCD"
