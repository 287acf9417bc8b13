"""What a person may type about a volume. Each refusal says what to type instead."""

import math
import re
from decimal import Decimal, InvalidOperation
from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from pools.models import Pool
from storagemgr.jobs.operations import OperationForm
from volumes.identity import notes_in_place
from volumes.models import Volume

# libvirt itself takes nearly anything (newlines, a leading dash); programs that read the name later do not.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+@-]*", re.ASCII)
NAME_LIMIT = 128
UNITS = {"b": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5, "e": 6}
SIZE = re.compile(r"([0-9]{1,20}(?:[.][0-9]{1,12})?)\s*(b|bytes|[kmgtpe](?:ib|b)?)", re.IGNORECASE | re.ASCII)
SIZE_LIMIT = 2**63 - 1
SECTOR = 512
PASSPHRASE_LIMIT = 512
ELSEWHERE = "protected through another pool of the same storage"


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
    """Text such as "20 GiB"; cleans to bytes, rounded up to a sector. K, M, G, T count in 1024s, as libvirt does.

    0 when it is empty and may be.
    """

    def clean(self, value: Any) -> int:
        text = str(super().clean(value)).strip().replace("\N{NO-BREAK SPACE}", " ")
        if not text and not self.required:
            return 0
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


class PassphraseField(forms.CharField):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(strip=False, max_length=PASSPHRASE_LIMIT, widget=_new_password(), **kwargs)

    def validate(self, value: str) -> None:
        super().validate(value)
        if not value.isprintable():
            raise ValidationError("Characters that can be printed only.")


def _new_password() -> forms.PasswordInput:
    return forms.PasswordInput(attrs={"autocomplete": "new-password", "spellcheck": "false"})


class NewVolumeForm(OperationForm):
    """The name of something that is not there yet."""

    name = NameField(label="Name")

    def new_pool(self) -> Pool | None:
        """Where it will be; None when that is not chosen well."""
        pool: Pool = getattr(self.target, "pool", self.target)
        return pool

    def clean_name(self) -> str:
        name = str(self.cleaned_data["name"])
        if pool := self.new_pool():
            if Volume.objects.filter(pool=pool, name=name).exists():
                raise ValidationError(f"{pool} already has a volume of this name.")
            if reason := why_name_is_kept(pool, name):
                raise ValidationError(reason)
        return name


def why_name_is_kept(pool: Pool, name: str) -> str:
    """A protected volume that is not there may be away for a moment only, with its export or its disk."""
    in_force = [notes for notes in notes_in_place(pool, name) if notes.is_protected]
    notes = next((one for one in in_force if (one.host_id, one.pool_uuid) == (pool.host_id, pool.uuid)), None)
    if notes is None:
        return f"A volume of this name is {ELSEWHERE}; take another name." if in_force else ""
    because = f": {notes.protected_because}" if notes.protected_because else ""
    return f"A volume of this name is protected{because}. It is away now; take another name, or end the protection."
