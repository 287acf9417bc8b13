"""Elements put into the XML of a pool and taken out of it, so that its lines and indents stay as they were."""

from lxml import etree

Element = etree._Element

NAMESPACES = {
    "fs": "http://libvirt.org/schemas/storagepool/fs/1.0",
    "rbd": "http://libvirt.org/schemas/storagepool/rbd/1.0",
}
# As libvirt writes them; what stands in none of them goes where it comes.
_ORDER = ("name", "uuid", "capacity", "allocation", "available", "features", "source", "target", "refresh",
          "host", "device", "dir", "adapter", "initiator", "format", "protocol", "auth", "vendor", "product",
          "path", "permissions", "mode", "owner", "group", "label", "parentaddr")  # fmt: skip


def tag_of(path: str) -> str:
    name = path.rpartition("/")[2]
    prefix, colon, local = name.partition(":")
    return f"{{{NAMESPACES[prefix]}}}{local}" if colon else name


def need(parent: Element, path: str) -> Element:
    """The element at `path`, made with those above it where they are missing."""
    for step in path.split("/"):
        found = parent.find(step, NAMESPACES)
        if found is None:
            prefix = step.partition(":")[0]
            space = {prefix: NAMESPACES[prefix]} if ":" in step else None
            found = etree.Element(tag_of(step), nsmap=space)
            insert(parent, found)
        parent = found
    return parent


def _rank(element: Element, parent: Element) -> int:
    in_source = (parent.tag, element.tag) == ("source", "name")
    tag = "adapter" if in_source else element.tag
    return _ORDER.index(tag) if tag in _ORDER else len(_ORDER)


def insert(parent: Element, child: Element, at: int | None = None) -> None:
    if at is None:
        before = [i for i, other in enumerate(parent) if _rank(other, parent) <= _rank(child, parent)]
        at = before[-1] + 1 if before else 0
    if len(parent):
        previous = parent[at - 1] if at else None
        if previous is None:
            child.tail = parent.text
        else:
            child.tail = previous.tail
            previous.tail = parent.text if at == len(parent) else previous.tail
    else:
        _open_up(parent, child)
    parent.insert(at, child)


def _open_up(parent: Element, child: Element) -> None:
    """The first child of an element that had none."""
    depth = sum(1 for _ in parent.iterancestors())
    top = parent.getroottree().getroot()
    if "\n" in (top.text or "") and not (parent.text or "").strip():
        parent.text, child.tail = "\n" + "  " * (depth + 1), "\n" + "  " * depth


def remove_at(parent: Element, path: str) -> None:
    found = parent.find(path)
    if found is not None:
        remove(found)


def remove(element: Element) -> None:
    parent = element.getparent()
    if parent is None:
        return
    previous = element.getprevious()
    if element.getnext() is None:
        if previous is None:
            parent.text = None
        else:
            previous.tail = element.tail
    element.tail = None
    parent.remove(element)
