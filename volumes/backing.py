"""The volume that a new one is built on: picked from those that the person sees and the host can read."""

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from pools.models import Pool
from storagemgr.templatetags.storage import printable
from volumes import chain
from volumes.models import Volume

OFFERED = 200  # so many stand in the list; others can be typed
FORMATS = frozenset({"raw", "iso", "qcow2", "qed", "qcow", "vmdk", "vdi", "vpc"})


class NameInList(forms.TextInput):
    """A text with suggestions, which a browser without scripts shows too."""

    def __init__(self) -> None:
        super().__init__(attrs={"autocomplete": "off", "spellcheck": "false"})
        self.offered: list[str] = []

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        field = super().render(name, value, (attrs or {}) | {"list": f"{name}-list"}, renderer)
        options = format_html_join("", '<option value="{}"></option>', ([text] for text in self.offered))
        return format_html('{}<datalist id="{}-list">{}</datalist>', field, name, options)


class BackingField(forms.CharField):
    """ "pool/volume" or the name of a volume of the same pool, as typed. Whose list it is comes with offer()."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(
            strip=True,
            widget=NameInList(),
            help_text="A volume of this pool, pool/volume, or a path: only what differs from it is written.",
            **kwargs,
        )
        self.pool: Pool | None = None
        self.user: Any = None

    def offer(self, pool: Pool, user: Any) -> None:
        self.pool, self.user = pool, user
        rows = readable(pool, user).order_by("pool__name", "name")[:OFFERED]
        self.widget.offered = [text_of(row) for row in rows]

    def validate(self, value: str) -> None:
        super().validate(value)
        if not value or self.pool is None:
            return
        parent = find(self.pool, value, self.user)
        if parent is None:
            raise ValidationError(
                "No volume of this host that you see has this name; write pool/volume for one of another pool."
            )
        if reason := why_unfit(parent):
            raise ValidationError(reason)


def text_of(volume: Volume) -> str:
    return f"{volume.pool.name}/{volume.name}"


def readable(pool: Pool, user: Any) -> QuerySet[Volume]:
    """What a new volume of this pool may be built on, as far as its rows tell."""
    rows = Volume.objects.select_related("pool__host", "notes").filter(pool__host_id=pool.host_id)
    rows = rows.visible_to(user) if user is not None else rows.none()
    if pool.type == "logical":
        return rows.filter(pool=pool, type="block", backing_path="")
    fits = rows.filter(type__in=("file", "block"), encrypted=False, is_special=False, unverified_since=None)
    return fits.exclude(pool__state=Pool.State.INACTIVE).exclude(path="")


def find(pool: Pool, text: str, user: Any) -> Volume | None:
    """By "pool/volume", by its path, or by its name in this pool."""
    rows = readable(pool, user)
    if text.startswith("/"):
        return rows.filter(path=text).order_by("pk").first()
    pool_name, slash, name = text.partition("/")
    if not slash:
        return rows.filter(pool=pool, name=text).first()
    return rows.filter(pool__name=pool_name, name=name).first()


def why_unfit(parent: Volume) -> str:
    if parent.type == "file" and parent.format not in FORMATS:
        return (
            f"{printable(parent)} is in the format {parent.format or 'unknown'}, on which none can be built."
        )
    return chain.why_no_copy(parent)


def format_of(parent: Volume) -> str:
    """As the overlay's header says it: a device of the host holds plain bytes, whatever its partition is for."""
    return "raw" if parent.type == "block" or parent.format == "iso" else parent.format
