"""What a volume is to people: a disk, an image that others are built on, an ISO, a folder."""

from dataclasses import dataclass

from django.db.models import Q

from volumes.models import Volume


@dataclass(frozen=True)
class Kind:
    icon: str
    title: str


DISK, BASE, OVERLAY = Kind("hdd", "Disk"), Kind("layers", "Base image"), Kind("files", "Overlay")
ISO, FOLDER, SPECIAL = Kind("disc", "ISO"), Kind("folder2", "Folder"), Kind("slash-circle", "Special file")
KINDS = {"disk": DISK, "base": BASE, "overlay": OVERLAY, "iso": ISO, "folder": FOLDER, "special": SPECIAL}

_IS_FOLDER = Q(type="dir")
_IS_ISO = Q(format="iso") | Q(name__iendswith=".iso") | Q(label__gt="")
_IS_IMAGE = ~_IS_FOLDER & Q(is_special=False) & ~Q(format="iso") & ~Q(name__iendswith=".iso")
_IS_IMAGE &= Q(label__isnull=True) | Q(label="")


def kind_of(volume: Volume, children: int) -> Kind:
    if volume.is_special:
        return SPECIAL
    if volume.type == "dir":
        return FOLDER
    if volume.format == "iso" or volume.name.lower().endswith(".iso") or volume.label:
        return ISO
    if children:
        return BASE
    return OVERLAY if volume.backing_path else DISK


def is_kind(name: str, is_base: Q) -> Q:
    """The same of rows. `is_base`: those of base_ids."""
    match name:
        case "special":
            return Q(is_special=True)
        case "folder":
            return _IS_FOLDER & Q(is_special=False)
        case "iso":
            return _IS_ISO & Q(is_special=False) & ~_IS_FOLDER
        case "base":
            return _IS_IMAGE & is_base
        case "overlay":
            return _IS_IMAGE & ~Q(backing_path="") & ~is_base
    # Most have none: an index to find them would only keep the database from the one that gives the order.
    return _IS_IMAGE & ~Q(backing_path__gt="") & ~is_base


def base_ids() -> list[int]:
    """The volumes that are the backing store of others on their own host."""
    overlays = Volume.objects.exclude(backing_path="").order_by()
    wanted = set(overlays.values_list("pool__host", "backing_path").distinct())
    bases = Volume.objects.filter(path__in=overlays.values("backing_path")).order_by()
    rows = bases.values_list("pk", "pool__host", "path")
    return sorted(pk for pk, host, path in rows if (host, path) in wanted)
