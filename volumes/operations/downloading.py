"""Downloading: the job holds the volume while the transfer process gives its bytes to whoever has the ticket."""

from django.utils import timezone

from pools.operations import once_it_answers
from storagemgr.jobs.lease import move
from storagemgr.jobs.models import Job
from storagemgr.jobs.operations import Finding, Handed, Operation, OperationForm, Run, Step, Stopped, register
from storagemgr.virt import volumes as virt_volumes
from volumes.identity import uses_of
from volumes.images import why_unfit
from volumes.models import Transfer, Volume
from volumes.operations.base import Events, check, find, lock, some, virsh, why_off_in
from volumes.transfer.job_page import sending
from volumes.transfer.tickets import transfer_of


class DownloadForm(OperationForm):
    """Nothing to fill in, yet not done at a click: the page of the job has the link to the bytes."""


def _why_off(volume: Volume) -> str:
    if reason := why_off_in(volume.pool, "volume.download"):
        return reason
    if volume.type == "dir":
        return "It is a directory, not a disk."
    if volume.unverified_since:
        return "It is an unverified copy: accept or delete it first."
    return why_unfit(volume)


def _download(run: Run) -> Events:
    volume, connection = run.target, run.open()
    transfer = transfer_of(run.job)
    if run.job.cancel_asked_at:
        raise Stopped
    yield Step(f"Send {volume.name}")
    info = virt_volumes.read_volume(connection, str(volume.pool.uuid), volume.name)
    size = info.physical if info.type == "file" and info.physical is not None else info.capacity
    rows = Transfer.objects.filter(pk=transfer.pk)
    rows.update(size=size, is_ready=True, moved_at=timezone.now())
    Job.objects.filter(pk=run.job.pk).update(total_bytes=size, done_bytes=transfer.done)
    raise Handed(f"waits for somebody to fetch {volume.name}")


def _settle(run: Run) -> Finding:
    """Nothing on the host is changed by it, so it goes on."""
    if move(run.job, from_state=Job.State.INTERRUPTED, to_state=Job.State.QUEUED):
        return Finding(None, "Nothing was lost; it goes on.")
    return Finding(Job.State.FAILED, "It can be asked for again.", "nothing_done")


def _effects(volume: Volume) -> list[str]:
    effects = [
        "Nobody can change or delete the volume until all of it was fetched, or 10 minutes passed without a byte."
    ]
    if running := sorted(set(uses_of(volume).filter(running=True).values_list("domain_name", flat=True))):
        effects.append(
            f"{some(running)} writes to it meanwhile: what you get is no state that the disk ever had."
        )
    if volume.backing_path:
        effects.append("It is built on another volume, which does not come with it.")
    return effects


DOWNLOAD = register(
    Operation(
        name="volume.download",
        title="Download",
        sentence="Gives you its bytes as a file.",
        icon="download",
        right="volume.data-read",
        target=Volume,
        find=find,
        form=DownloadForm,
        part=sending,
        check=check,
        run=_download,
        settle=once_it_answers(_settle),
        is_quick=True,
        why_off=_why_off,
        effects=_effects,
        locks=lambda volume, params: [lock(volume.pool, volume.name, is_write=False)],
        volume_of=lambda volume, params: volume.name,
        virsh=lambda volume, params: virsh(
            volume.pool, "vol-download", "--pool", volume.pool.name, volume.name, volume.name
        ),
        label=lambda volume, params: f"Download {volume.name}",
    )
)
