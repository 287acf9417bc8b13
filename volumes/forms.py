"""What a person may type about a volume. Each refusal says what to type instead."""

import math
import re
from decimal import Decimal, InvalidOperation
from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from storagemgr.jobs.operations import OperationForm
from storagemgr.templatetags.storage import size
from volumes.models import Volume

# libvirt itself takes nearly anything (newlines, a leading dash); programs that read the name later do not.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+@-]*", re.ASCII)
NAME_LIMIT = 128
UNITS = {"b": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}
SIZE = re.compile(r"([0-9]{1,20}(?:[.][0-9]{1,12})?)\s*(b|bytes|[kmgtp](?:ib|b)?)", re.IGNORECASE | re.ASCII)
SIZE_LIMIT = 2**63 - 1
SECTOR = 512


def check_name(name: str) -> None:
    if len(name) > NAME_LIMIT:
        raise ValidationError(f"At most {NAME_LIMIT} characters; this has {len(name)}.")
    if not NAME.fullmatch(name):
        raise ValidationError(
            "Letters, digits and . _ + @ - only, and a letter or digit first; no spaces, no slashes."
        )


class NameField(forms.CharField):
    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("widget", forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}))
        super().__init__(strip=False, validators=[check_name], **kwargs)


class SizeField(forms.CharField):
    """Text such as "20 GiB"; cleans to bytes, rounded up to a sector. K, M, G, T count in 1024s, as libvirt does."""

    def clean(self, value: Any) -> int:
        text = str(super().clean(value)).strip().replace("\N{NO-BREAK SPACE}", " ")
        if re.fullmatch(r"[0-9.]+", text):
            raise ValidationError("Add the unit, for example 20 GiB.")
        match = SIZE.fullmatch(text)
        if match is None:
            raise ValidationError("Not a size. Write a number and a unit, for example 20 GiB or 512 MiB.")
        bytes_ = self._bytes(match[1], match[2])
        if bytes_ < 1:
            raise ValidationError("It must be more than nothing.")
        if bytes_ > SIZE_LIMIT:
            raise ValidationError("That is more than libvirt can count (8 EiB).")
        return bytes_

    def prepare_value(self, value: Any) -> Any:
        """Bytes, as a job keeps them, in the largest unit that is exact; what was typed stays as it is."""
        if not isinstance(value, int):
            return value
        exact = [unit for unit, power in UNITS.items() if value and value % 1024**power == 0]
        unit = exact[-1] if exact else "b"
        word = "bytes" if unit == "b" else f"{unit.upper()}iB"
        return f"{value // 1024 ** UNITS[unit]} {word}"

    def _bytes(self, number: str, unit: str) -> int:
        try:
            exact = Decimal(number) * 1024 ** UNITS[unit[0].lower()]
        except InvalidOperation as error:
            raise ValidationError("Not a number.") from error
        return math.ceil(exact / SECTOR) * SECTOR


class NewVolumeForm(OperationForm):
    """The parts that create and clone share: the name of something that is not there yet."""

    name = NameField(label="Name")

    def clean_name(self) -> str:
        name = str(self.cleaned_data["name"])
        pool = getattr(self.target, "pool", self.target)
        if Volume.objects.filter(pool=pool, name=name).exists():
            raise ValidationError(f"{pool} already has a volume of this name.")
        return name


class CreateForm(NewVolumeForm):
    format = forms.ChoiceField(
        label="Format",
        help_text="qcow2 grows as it is filled and can have snapshots; raw is plain bytes.",
    )
    capacity = SizeField(label="Size", help_text="What the VM sees, for example 20 GiB.")
    space = forms.ChoiceField(
        label="Space",
        choices=[("sparse", "Take space as it is written"), ("full", "Take all of it now")],
        initial="sparse",
    )
    # Asked for only when it matters.
    outgrow = forms.BooleanField(label="Make it all the same", required=False)

    field_order = ["name", "format", "capacity", "space", "outgrow"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        formats = [name for name in ("qcow2", "raw") if name in self.target.kind.volume_formats]
        self.fields["format"].choices = [(name, name) for name in formats]
        self.fields["format"].initial = next(iter(formats), None)
        if not formats:
            del self.fields["format"]
        if not self._can_outgrow():
            del self.fields["outgrow"]

    def _can_outgrow(self) -> bool:
        """Whether the size as typed is more than the whole pool will ever hold."""
        try:
            capacity = SizeField().clean(self.data.get("capacity"))
        except ValidationError:
            return False
        return self.data.get("space") == "sparse" and 0 < self.target.capacity < capacity

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        capacity, free = cleaned.get("capacity"), self.target.available
        if capacity and cleaned.get("space") == "full" and capacity > free:
            self.add_error(
                "capacity", f"{size(capacity)} is wanted now, {size(free)} is free in {self.target}."
            )
        if capacity and "outgrow" in self.fields and not cleaned.get("outgrow"):
            self.add_error(
                "outgrow",
                f"It may grow to {size(capacity)}, and {self.target} as a whole has {size(self.target.capacity)}: "
                "its VM stops when the pool is full.",
            )
        return cleaned

    def params(self) -> dict[str, Any]:
        return {name: value for name, value in super().params().items() if name != "outgrow"}


class CloneForm(NewVolumeForm):
    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        needed, free = self.target.allocation, self.target.pool.available
        if needed > free:
            self.add_error(
                None, f"The copy needs {size(needed)}, {size(free)} is free in {self.target.pool}."
            )
        return cleaned

    def params(self) -> dict[str, Any]:
        return super().params() | {"source": self.target.name}
