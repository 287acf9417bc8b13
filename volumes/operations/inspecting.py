"""Looking at a volume again: its image, and all that libvirt says of it."""

from pools.operations import once_it_answers, unreachable
from storagemgr.jobs.models import Job
from storagemgr.jobs.operations import Finding, Operation, OperationFailed, Run, Step, register
from storagemgr.templatetags.storage import size
from storagemgr.virt.images import shown
from storagemgr.virt.volumes import read_xml
from volumes import chain, images
from volumes.models import Volume
from volumes.operations.base import Events, check, find, lock, virsh, why_off_in


def _why_no_inspection(volume: Volume) -> str:
    if reason := why_off_in(volume.pool, "volume.download"):
        return reason
    if volume.type == "dir":
        return "It is a directory, not a disk."
    return images.SPECIAL if volume.is_special else ""


def _inspect(run: Run) -> Events:
    volume: Volume = run.target
    yield Step("Read the start of the image")
    image = images.look_at(run.open(), volume, volume.format)
    built_on = f", built on {shown(image.backing)}" if image.backing else ""
    run.log(f"It is {image.format}, a disk of {size(image.virtual_size)}{built_on}.")
    problems = chain.dangers_of(volume, image)
    for problem in problems:
        run.log(problem)
    was_in_quarantine = bool(images.quarantine_of(volume))
    if problems or was_in_quarantine:
        images.quarantine(volume, problems)
    if problems:
        raise OperationFailed("in_quarantine", problems[0])
    run.log("The quarantine is over." if was_in_quarantine else "Nothing in it is dangerous to open.")


def _why_no_reading(volume: Volume) -> str:
    pool = volume.pool
    return unreachable(pool) or ("" if pool.is_active else f"{pool} is stopped; start it first.")


def _read_xml(run: Run) -> Events:
    volume: Volume = run.target
    yield Step("Ask libvirt for the XML")
    run.log(read_xml(run.open(), str(volume.pool.uuid), volume.name).strip())


def _settle_reading(run: Run) -> Finding:
    return Finding(Job.State.FAILED, "It was not read to its end; it can be asked for again.", "nothing_done")


INSPECT = register(
    Operation(
        name="volume.inspect",
        title="Inspect the image",
        button="Inspect",
        sentence="Reads the start of the image and says what it is, and whether it would open other files.",
        icon="search",
        right="volume.create",
        target=Volume,
        find=find,
        check=check,
        is_quick=True,
        is_limited=True,
        run=_inspect,
        settle=once_it_answers(_settle_reading),
        why_off=_why_no_inspection,
        locks=lambda volume, params: [lock(volume.pool, volume.name, is_write=False)],
        volume_of=lambda volume, params: volume.name,
        virsh=lambda volume, params: f"qemu-img info -f {volume.format or 'raw'} -- {volume.path}",
        label=lambda volume, params: f"Inspect {volume.name}",
    )
)


READ_XML = register(
    Operation(
        name="volume.read_xml",
        title="Read the XML",
        button="Read it",
        sentence="Asks libvirt for all that it knows of the volume.",
        icon="journal-text",
        right="pool.view",
        target=Volume,
        find=find,
        is_quick=True,
        is_limited=True,
        run=_read_xml,
        settle=once_it_answers(_settle_reading),
        why_off=_why_no_reading,
        volume_of=lambda volume, params: volume.name,
        virsh=lambda volume, params: virsh(
            volume.pool, "vol-dumpxml", "--pool", volume.pool.name, volume.name
        ),
        label=lambda volume, params: f"Read the XML of {volume.name}",
    )
)
