"""What a volume is built on. Its header names the file, and a VM that writes its own disk can name any file there."""

import posixpath

from django.contrib.auth.models import User

from storagemgr.access.objects import may
from storagemgr.jobs.operations import OperationFailed
from storagemgr.virt import qcow2
from storagemgr.virt import volumes as virt_volumes
from storagemgr.virt.connection import Connection
from storagemgr.virt.volume_xml import backing_file
from volumes.models import Volume

HAS_HEADER = ("qcow", "qcow2")
NAMES_FILES = ("vmdk", "qed", "cow")  # formats that name other files in ways that are not looked into here


def chain_of(volume: Volume) -> list[Volume]:
    """The volume and those below it, as far as they are volumes of the same host."""
    found, seen = [volume], {volume.path}
    here = Volume.objects.select_related("pool").filter(pool__host_id=volume.pool.host_id)
    while found[-1].backing_path and found[-1].backing_path not in seen:
        parent = here.filter(path=found[-1].backing_path).first()
        if parent is None:
            break
        seen.add(parent.path)
        found.append(parent)
    return found


def why_no_copy(volume: Volume) -> str:
    """A copy would hold what is in the files below: of volumes alone, not of any file of the host."""
    for part in (chain := chain_of(volume)):
        if part.format in NAMES_FILES:
            return f"{part} is in the format {part.format}, in which a disk can name any file of the host."
    lowest = chain[-1].backing_path
    if lowest and lowest not in {part.path for part in chain}:
        return f"It is built on {lowest}, which is not a volume of any pool; a copy would show that file."
    return ""


def check(connection: Connection, volume: Volume, requester: User | None) -> None:
    """The same of the headers as they are now, which libvirt reads only at a refresh; and the requester's rights."""
    for part in chain_of(volume):
        pool = part.pool
        if requester and not may(requester, "pool.view", pool.host_id, pool.uuid):
            raise OperationFailed("backing_hidden")
        if part.format in HAS_HEADER and (reason := _why_not_as_listed(connection, part)):
            raise OperationFailed("changed_since", reason)


def _why_not_as_listed(connection: Connection, volume: Volume) -> str:
    def read(offset: int, length: int) -> bytes:
        return virt_volumes.read_bytes(connection, str(volume.pool.uuid), volume.name, offset, length)

    header = qcow2.parse(read(0, qcow2.START))
    if header is None:
        return f"{volume} is not {volume.format} any more; refresh the pool."
    if header.has_data_file:
        return f"{volume} keeps its data in another file, which a copy would read."
    name = read(*header.backing).decode(errors="surrogateescape") if header.backing else ""
    if name and ":" not in name.partition("/")[0]:
        name = posixpath.join(posixpath.dirname(volume.path), name)
    if backing_file(name) != volume.backing_path:
        return f"{volume} names another backing file than when the pool was refreshed; refresh it again."
    return ""
