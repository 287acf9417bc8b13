"""Whether the image in a volume is what it is said to be, and the quarantine of those that are not."""

from collections.abc import Sequence

from django.conf import settings

from storagemgr.virt import images
from storagemgr.virt import volumes as virt_volumes
from storagemgr.virt.connection import Connection
from storagemgr.virt.images import Image
from volumes.dependents import look_of
from volumes.models import Volume, VolumeNotes

SPECIAL = "It is a link or a special file on the host and no disk, so it is never read."


def look_at(connection: Connection, volume: Volume, declared: str) -> Image:
    """The image as its bytes are now; `declared`: the format that it is said to have, "" for any."""
    pool_uuid = str(volume.pool.uuid)
    info = virt_volumes.read_volume(connection, pool_uuid, volume.name)
    size = info.capacity if info.physical is None or info.type != "file" else info.physical

    def read(offset: int, length: int) -> bytes:
        length = min(length, size - offset)
        if length <= 0:
            return b""
        return virt_volumes.read_bytes(connection, pool_uuid, volume.name, offset, length)

    return images.inspect(read, size, settings.VIRTUAL_SIZE_LIMIT, declared)


def problems_of(connection: Connection, volume: Volume, declared: str) -> list[str]:
    """Why nobody should open it: for what came from outside, which so far no volume is built on."""
    if volume.is_special:
        return [SPECIAL]
    image = look_at(connection, volume, declared or "raw")
    problems = list(image.problems)
    if image.format == "luks" and not volume.encrypted:
        problems.append("It is encrypted with LUKS, so nobody can say what is in it.")
    return problems


def code_of(problems: Sequence[str]) -> str:
    """Of the refusal of an image that has these."""
    return "other_format" if images.is_only_another_format(problems) else "image_refused"


def quarantine(volume: Volume, problems: Sequence[str]) -> None:
    """Without problems it ends, also that of the same bytes in other pools."""
    if not problems:
        ended = [notes.pk for notes in look_of(volume).quarantines]
        VolumeNotes.objects.filter(pk__in=ended).update(quarantined_because="")
        return
    place = {"host": volume.pool.host, "pool_uuid": volume.pool.uuid, "volume_name": volume.name}
    VolumeNotes.objects.update_or_create(
        **place, defaults={"volume": volume, "quarantined_because": "\n".join(problems)}
    )


def quarantine_of(volume: Volume) -> list[str]:
    """What was found in it, by whatever pool, in sentences; empty when it is in no quarantine."""
    found = look_of(volume).quarantines
    return list(dict.fromkeys(line for notes in found for line in notes.quarantined_because.splitlines()))


def why_unfit(volume: Volume) -> str:
    """Why nobody reads, copies or attaches it from here; "" when that is fine."""
    if volume.is_special:
        return SPECIAL
    return "It is in quarantine: its image is dangerous to open." if quarantine_of(volume) else ""
