"""What a volume is to people: a disk, an image that others are built on, an ISO, a folder."""

from dataclasses import dataclass

from django.db.models import Exists, OuterRef, Q

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


def is_kind(name: str) -> Q:
    """The same of rows. A base image is known by the overlays on its own host."""
    match name:
        case "special":
            return Q(is_special=True)
        case "folder":
            return _IS_FOLDER & Q(is_special=False)
        case "iso":
            return _IS_ISO & Q(is_special=False) & ~_IS_FOLDER
        case "base":
            return _IS_IMAGE & is_built_on()
        case "overlay":
            return _IS_IMAGE & ~Q(backing_path="") & ~is_built_on()
    return _IS_IMAGE & Q(backing_path="") & ~is_built_on()


def is_built_on() -> Q:
    """Volumes that are the backing store of others on their own host. A set that is built once for all rows."""
    overlays = Volume.objects.exclude(backing_path="").order_by()
    here = overlays.filter(backing_path=OuterRef("path"), pool__host=OuterRef("pool__host"))
    bases = Volume.objects.filter(Exists(here), path__in=overlays.values("backing_path")).order_by()
    return Q(pk__in=bases.values("pk"))
