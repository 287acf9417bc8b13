"""In the audit: from where bytes are fetched or sent. A ticket works for whoever has it."""

import uuid

from django.http import HttpRequest

from storagemgr.access import audit
from storagemgr.jobs.operations import REGISTRY
from volumes.models import Transfer

_told: set[tuple[uuid.UUID, str | None]] = set()
_TOLD_LIMIT = 10_000


def note_address(request: HttpRequest, transfer: Transfer) -> None:
    """Once for each address: a transfer comes in many pieces."""
    place = (transfer.pk, audit.address_of(request))
    if place in _told:
        return
    if len(_told) >= _TOLD_LIMIT:
        _told.clear()
    _told.add(place)
    job = transfer.job
    audit.record(
        "volume.fetch" if transfer.direction == Transfer.Direction.DOWN else "volume.send",
        audit.Outcome.DONE,
        actor=job.requested_by,
        right=REGISTRY[job.operation].right,
        object_text=job.title,
        host_id=job.host_id,
        pool_uuid=job.pool_uuid,
        volume_name=job.volume_name,
        job_id=job.pk,
        address=place[1],
        details={"file": transfer.file_name, "bytes": transfer.size},
    )
