"""The question whether a disk fits. Asked by GET: the answer has an address and changes nothing."""

import re
from collections.abc import Iterable
from functools import cached_property
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import QueryDict

from pools.fits import Question
from pools.models import Pool
from pools.places import Place, Storage, places_of, storages_of
from storagemgr.templatetags.storage import printable
from storagemgr.virt.pool_types import pool_type
from volumes.forms import SizeField

ANYWHERE = ""
UNITS = [("MiB", "MiB"), ("GiB", "GiB"), ("TiB", "TiB")]
HOWS = [("full", "All of it at once"), ("thin", "Only what is written to it")]


class FitForm(forms.Form):
    """`pools`: all that the person sees; they are what can be chosen."""

    size = forms.CharField(
        label="Size",
        max_length=40,
        widget=forms.TextInput(attrs={"inputmode": "decimal", "autocomplete": "off"}),
    )
    unit = forms.ChoiceField(label="Unit", choices=UNITS)
    where = forms.ChoiceField(
        label="Where",
        required=False,
        error_messages={"invalid_choice": "That is not there any more. Choose again."},
    )
    how = forms.ChoiceField(label="Space it takes", choices=HOWS)

    def __init__(self, data: QueryDict, pools: QuerySet[Pool]) -> None:
        self.pools = pools
        is_asked = "size" in data
        usual = {"unit": "GiB", "how": "full"}
        first = {"size": "200", "where": data.get("where", ""), **usual}
        super().__init__({**usual, **data.dict()} if is_asked else None, initial=first, auto_id="fit-%s")
        wanted = data.get("where", "")
        choices = [(ANYWHERE, "Anywhere"), *self._pool(wanted), *_choices(pools)]
        self.fields["where"].choices = choices
        if not is_asked and wanted not in _values(choices):
            self.initial["where"] = ANYWHERE

    @cached_property
    def places(self) -> list[Place]:
        return places_of(self.pools)

    def _pool(self, wanted: str) -> list[tuple[str, str]]:
        """The choice of one pool: only where the address names it."""
        if not wanted.startswith("pool:"):
            return []
        asked = (one for one in storages_of(self.places) if any(f"pool:{p.pk}" == wanted for p in one.places))
        return [(wanted, f"{one.name} {one.where}") for one in asked]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        text = cleaned.get("size", "").replace(",", ".").strip()
        if text and "unit" in cleaned:
            try:
                typed = f"{text} {cleaned['unit']}" if re.fullmatch(r"[0-9.]+", text) else text
                cleaned["bytes"] = SizeField().clean(typed)
            except ValidationError as error:
                self.add_error("size", error)
        return cleaned

    @property
    def of_size(self) -> list[forms.BoundField]:
        return [self["size"], self["unit"]]

    @property
    def question(self) -> Question:
        return Question(self.cleaned_data["bytes"], self.cleaned_data["how"] == "thin")

    @property
    def storages(self) -> list[Storage]:
        """Where it may go."""
        kind, _, value = self.cleaned_data["where"].partition(":")
        chosen = {
            "host": lambda place: str(place.host_id) == value,
            "type": lambda place: place.type == value,
            "team": lambda place: place.owner == value,
        }.get(kind)
        return storages_of(filter(chosen, self.places) if chosen else self.places)

    @property
    def asked_for(self) -> int | None:
        """The id of the one pool that is asked about."""
        kind, _, value = self.cleaned_data["where"].partition(":")
        return int(value) if kind == "pool" else None

    @property
    def place(self) -> str:
        """ "on hv-fra-01", "anywhere"."""
        value = self.cleaned_data["where"]
        if not value:
            return "anywhere"
        title = dict(_flat(self.fields["where"].choices))[value]
        kind = value.partition(":")[0]
        return {"type": f"on storage of the kind {title}", "team": f"on storage of the team {title}"}.get(
            kind, f"on {title}"
        )


def _choices(pools: QuerySet[Pool]) -> list[tuple[str, list[tuple[str, str]]]]:
    columns = ("host_id", "host__name", "type", "notes__owner__name")
    rows = list(pools.order_by().values_list(*columns).distinct())
    hosts = sorted({(printable(name), pk) for pk, name, _, _ in rows})
    types = sorted({(pool_type(kind).title, kind) for _, _, kind, _ in rows})
    teams = sorted({team for *_, team in rows if team})
    groups = [
        ("On the host", [(f"host:{pk}", name) for name, pk in hosts]),
        ("Storage of the team", [(f"team:{name}", printable(name)) for name in teams]),
        ("Kind of storage", [(f"type:{name}", title) for title, name in types]),
    ]
    return [group for group in groups if group[1]]


def _flat(choices: Iterable[Any]) -> list[tuple[str, str]]:
    flat = []
    for value, title in choices:
        flat += list(title) if isinstance(title, list | tuple) else [(value, title)]
    return flat


def _values(choices: Iterable[Any]) -> set[str]:
    return {value for value, _ in _flat(choices)}
