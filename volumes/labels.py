"""The name that an ISO image bears inside, read once from each. For many, "1.iso" says nothing."""

from collections.abc import Iterable
from functools import partial

from pools import sync as pool_sync
from pools.models import Pool
from storagemgr.hosts import calls
from storagemgr.hosts.sync import Reading
from storagemgr.jobs.models import Job, JobLock
from storagemgr.virt import volumes as virt_volumes
from storagemgr.virt.connection import Connection
from storagemgr.virt.errors import VirtError
from volumes.models import Volume

AT_ONCE = 5  # in one reading of a host
READ_S = 2.0
_DESCRIPTOR = 32_768  # of the primary volume: its 32 bytes from 40 on are the label
_LABEL = slice(40, 72)


def read_due(reading: Reading) -> None:
    """A few per reading. A volume that cannot be read has no label; one that does not answer ends it for now."""
    key = ("labels", reading.host.pk)
    if calls.overdue_since(key):
        return
    for volume in _due(reading):
        read = partial(_read, pool_uuid=str(volume.pool.uuid), name=volume.name)
        try:
            found = reading.ask(key, READ_S, read, lambda late: None)
        except calls.Overdue:
            return
        except VirtError as error:
            if error.code == "connection_lost":
                raise
            found = ""
        Volume.objects.filter(pk=volume.pk, modified=volume.modified).update(label=found)


def _due(reading: Reading) -> list[Volume]:
    rows = Volume.objects.select_related("pool").filter(
        pool__host=reading.host,
        pool__state__in=pool_sync.ACTIVE,
        pool__unreachable_since=None,
        format="iso",
        label=None,
        is_special=False,
    )
    return [volume for volume in rows.order_by()[:AT_ONCE] if not _is_written(volume)]


def _is_written(volume: Volume) -> bool:
    pool = volume.pool
    locks = JobLock.objects.filter(host_id=pool.host_id, pool_uuid=pool.uuid, volume_name=volume.name)
    return locks.filter(is_write=True, job__state__in=Job.ACTIVE).exists()


def _read(connection: Connection, pool_uuid: str, name: str) -> str:
    return label_in(virt_volumes.read_bytes(connection, pool_uuid, name, _DESCRIPTOR, _LABEL.stop))


def label_in(descriptor: bytes) -> str:
    """ "" where it is no primary volume descriptor. Whoever made the image can write anything there."""
    if descriptor[:6] != b"\x01CD001":
        return ""
    text = descriptor[_LABEL].decode(errors="replace")
    return "".join(letter if letter.isprintable() else " " for letter in text).strip()


def forget(pool: Pool, names: Iterable[str]) -> None:
    """They have changed: what is inside is to be read again."""
    Volume.objects.filter(pool=pool, name__in=list(names), format="iso").exclude(label=None).update(
        label=None
    )
