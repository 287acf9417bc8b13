"""Passwords of pools and encrypted volumes as secrets of libvirt on the host: private, so nobody reads one back."""

from uuid import NAMESPACE_URL, uuid5

import libvirt
from lxml import etree

from storagemgr.virt.connection import Connection, translate, translated
from storagemgr.virt.errors import VirtError
from storagemgr.virt.field_checks import cephx_key
from storagemgr.virt.pool_guard import USAGE_PREFIX, own_secret

_USAGES = {
    "iscsi": libvirt.VIR_SECRET_USAGE_TYPE_ISCSI,
    "ceph": libvirt.VIR_SECRET_USAGE_TYPE_CEPH,
    "volume": libvirt.VIR_SECRET_USAGE_TYPE_VOLUME,
}
_NO_SECRETS = (libvirt.VIR_ERR_NO_SECRET, libvirt.VIR_ERR_NO_SUPPORT, libvirt.VIR_ERR_ACCESS_DENIED)
_NAMED_BY = {"iscsi": "target", "ceph": "name", "volume": "volume"}


def usage_id(pool_uuid: str) -> str:
    return USAGE_PREFIX + pool_uuid


def put_secret(
    c: Connection, *, usage_type: str, usage_id: str, value: str, uuid: str | None = None, pool_name: str = ""
) -> str:
    """The UUID of the secret that `usage_id` has or gets, with this value: usage_id(pool.uuid) is the way to one each.

    A cephx key comes as base64 and is kept as its bytes: libvirt encodes it again for Ceph.
    Raises VirtError, in which the value never stands; libvirt's limit is 64 KiB.
    """
    # Looked at first: an error of encode() carries the value.
    if not value or not value.isprintable():
        raise VirtError("invalid", "The password is empty or has characters that cannot be printed.")
    content = cephx_key(value) if usage_type == "ceph" else value.encode()
    if content is None:
        raise VirtError("invalid", "The key is not base64, as “ceph auth get-key” prints it.")
    found = find_secret(c, usage_type, usage_id)
    uuid = found or uuid or own_secret(usage_id.removeprefix(USAGE_PREFIX))
    words = f"storagemgr: password of the pool {pool_name or usage_id.removeprefix(USAGE_PREFIX)}"
    try:
        return _define(c, _secret_xml(uuid, usage_type, usage_id, words), content)
    except VirtError:
        if not found:
            forget_secret(c, uuid)
        raise


def _define(c: Connection, xml: str, content: bytes) -> str:
    with translated():
        secret = c.raw.secretDefineXML(xml, 0)
    try:
        secret.setValue(content, 0)
    except libvirt.libvirtError as error:
        failed = translate(error)
    else:
        return str(secret.UUIDString())
    # Outside, so that the value is in no error's context.
    raise failed


def put_volume_secret(c: Connection, path: str, passphrase: str) -> str:
    """The UUID of a new secret with which the volume that will have this path is encrypted.

    libvirt finds it by the path when it reads the pool again. One that is there already is never written over: a volume
    may be lost with it. Raises secret_taken then.
    """
    if not passphrase or not passphrase.isprintable():
        raise VirtError("invalid", "The passphrase is empty or has characters that cannot be printed.")
    if found := find_secret(c, "volume", path):
        raise VirtError("secret_taken", f"The secret {found} belongs to {path}.")
    uuid = _volume_secret(path)
    try:
        xml = _secret_xml(uuid, "volume", path, f"storagemgr: passphrase of the volume {path}")
        return _define(c, xml, passphrase.encode())
    except VirtError:
        forget_volume_secret(c, path)
        raise


def forget_volume_secret(c: Connection, path: str) -> None:
    """virSecretUndefine of what put_volume_secret made; one of somebody else, or none, is left alone."""
    try:
        if find_secret(c, "volume", path) == (uuid := _volume_secret(path)):
            with translated():
                c.raw.secretLookupByUUIDString(uuid).undefine()
    except VirtError as error:
        if error.number not in _NO_SECRETS:
            raise


def _volume_secret(path: str) -> str:
    return str(uuid5(NAMESPACE_URL, f"{USAGE_PREFIX}volume{path}"))


def find_secret(c: Connection, usage_type: str, usage_id: str) -> str | None:
    """Its UUID; None where the host has none of this usage."""
    try:
        return str(c.raw.secretLookupByUsage(_USAGES[usage_type], usage_id).UUIDString())
    except libvirt.libvirtError as error:
        if error.get_error_code() == libvirt.VIR_ERR_NO_SECRET:
            return None
        raise translate(error) from error


def forget_secret(c: Connection, uuid: str) -> None:
    """virSecretUndefine, if it is one of ours; one that is gone already is fine."""
    try:
        secret = c.raw.secretLookupByUUIDString(uuid)
        if not secret.usageID().startswith(USAGE_PREFIX):
            raise VirtError("denied", f"The secret {uuid} was not made here, so it is not deleted here.")
        secret.undefine()
    except libvirt.libvirtError as error:
        if error.get_error_code() != libvirt.VIR_ERR_NO_SECRET:
            raise translate(error) from error


def _secret_xml(uuid: str, usage_type: str, usage_id: str, words: str) -> str:
    secret = etree.Element("secret", ephemeral="no", private="yes")
    try:
        etree.SubElement(secret, "uuid").text = uuid
        etree.SubElement(secret, "description").text = words
        usage = etree.SubElement(secret, "usage", type=usage_type)
        etree.SubElement(usage, _NAMED_BY[usage_type]).text = usage_id
    except ValueError as error:
        raise VirtError("bad_name", f"{usage_id!r} cannot be written as XML.") from error
    return etree.tostring(secret, encoding="unicode")
