"""The XML of pools: made of what a form says, read back, changed. Imports no libvirt.

An edit touches what it changes and leaves everything else as it stands: elements and attributes that no field knows,
namespaces, comments, the order.
"""

from typing import Any

from lxml import etree

from storagemgr.virt.errors import VirtError
from storagemgr.virt.pool_compare import DiffLine as DiffLine
from storagemgr.virt.pool_compare import diff as diff
from storagemgr.virt.pool_compare import differences as differences
from storagemgr.virt.pool_compare import same as same
from storagemgr.virt.pool_fields import FIELDS, Values
from storagemgr.virt.pool_guard import check as check
from storagemgr.virt.pool_guard import own_secret as own_secret
from storagemgr.virt.pool_guard import parse as parse
from storagemgr.virt.pool_guard import schema_problems as schema_problems
from storagemgr.virt.pool_places import follow_name, put_values, values_at
from storagemgr.virt.pool_tree import NAMESPACES, need


def build(pool_type: str, name: str, uuid: str, values: Values) -> str:
    """The XML of a new pool. With `auth_user` and no `auth_secret` it names own_secret(uuid)."""
    if pool_type not in FIELDS:
        raise VirtError("no_support", f"Pools of type {pool_type} are not known here.")
    root = etree.Element("pool", type=pool_type, nsmap=_spaces(values))
    try:
        etree.SubElement(root, "name").text = name
        if uuid:
            etree.SubElement(root, "uuid").text = uuid
    except ValueError as error:
        raise VirtError("bad_name", f"{name!r} cannot be written as XML.") from error
    source = need(root, "source")
    if pool_type not in _NO_TARGET:
        need(root, "target/path")
    follow_name(root)
    put_values(root, values)
    if not len(source):
        root.remove(source)
    etree.indent(root)
    return etree.tostring(root, encoding="unicode") + "\n"


_NO_TARGET = ("iscsi-direct", "rbd", "gluster", "sheepdog")


def _spaces(values: Values) -> dict[str, str]:
    used = {"fs": values.get("mount_options"), "rbd": values.get("settings")}
    return {prefix: NAMESPACES[prefix] for prefix, lines in used.items() if lines}


def values_of(xml: str) -> dict[str, Any]:
    """What the fields say of this XML: "" or [] where it has nothing. `auth_secret` is a UUID or a usage."""
    return values_at(parse(xml))


def edited(xml: str, values: Values) -> str:
    """`xml` with the fields that `values` has; "" and [] take one away, a field that is not in it stays."""
    root = parse(xml)
    put_values(root, values)
    return etree.tostring(root.getroottree(), encoding="unicode") + "\n"
