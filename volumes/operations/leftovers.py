"""What came of uploads whose last run could not delete it: the right was taken away, or the pool was stopped."""

import uuid
from datetime import datetime, timedelta

from pools.sync import ACTIVE
from storagemgr.hosts.models import Host
from storagemgr.jobs.models import Job
from storagemgr.jobs.operations import REGISTRY
from storagemgr.jobs.submit import Held, submit
from volumes.models import Transfer, Volume, VolumeNotes
from volumes.operations.deleting import marks_of
from volumes.operations.uploading import INCOMPLETE

AT_ONCE = 5
CLOCKS = timedelta(minutes=1)  # the host's clock may be so far ahead


def delete_leftovers(now: datetime) -> None:
    """Asks for the deletion of a few, once a day for each; a job of the schedule does it, with all its checks."""
    parts = VolumeNotes.objects.filter(quarantined_because__startswith=INCOMPLETE, volume__isnull=False)
    ready = parts.filter(
        quarantined_because__gt="",
        volume__pool__state__in=ACTIVE,
        volume__pool__unreachable_since=None,
        host__state=Host.State.UP,
    )
    for notes in ready.select_related("volume__pool__host").order_by("pk")[:AT_ONCE]:
        transfer = _transfer_of(notes)
        if transfer is not None and _is_its_part(notes.volume, transfer):
            _ask(notes.volume, uuid.uuid5(transfer.pk, now.date().isoformat()))


def _transfer_of(notes: VolumeNotes) -> Transfer | None:
    """The last one that filled a volume of this name, if its job has ended badly."""
    up = Transfer.objects.select_related("job").filter(direction=Transfer.Direction.UP, is_ready=True)
    here = up.filter(job__host_id=notes.host_id, job__pool_uuid=notes.pool_uuid)
    last = here.filter(job__volume_name=notes.volume_name).order_by("job_id").last()
    return last if last and last.job.state in (Job.State.FAILED, Job.State.CANCELLED) else None


def _is_its_part(volume: Volume, transfer: Transfer) -> bool:
    """Not what somebody on the host has put in its place meanwhile. Bytes."""
    ended = transfer.job.finished_at
    if volume.type != "file" or volume.modified is None or ended is None:
        return False
    return volume.physical == transfer.size and volume.modified <= ended + CLOCKS


def _ask(volume: Volume, key: uuid.UUID) -> None:
    if Job.objects.filter(key=key).exists():
        return
    try:
        submit(REGISTRY["volume.delete_now"], volume, actor=None, params={"meant": marks_of(volume)}, key=key)
    except Held:
        return
