"""What a person says about a new volume. Only what its pool and format know is asked and taken."""

import re
from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from storagemgr.templatetags.storage import size
from storagemgr.virt.volume_formats import CLUSTER_SIZES, FORMATS, IN_FILES, ON_BACKING, PLAIN, WITH_LUKS
from volumes import backing, room
from volumes.forms import NewVolumeForm, PassphraseField, SizeField
from volumes.operations.base import Params
from volumes.partitions import next_partition

SPARSE = ("sparse", "Take space as it is written")
FULL = ("falloc", "Take all of it now")
SPACES = {
    "logical": [
        ("falloc", "All of it now: an ordinary logical volume"),
        ("sparse", "Sparse: an LVM snapshot, which is lost when its own space is full"),
    ],
    "zfs": [SPARSE, FULL],
}
SPACES_OF_FILES = [
    SPARSE,
    ("metadata", "Make the tables now, take space as it is written (qcow2)"),
    FULL,
    ("full", "Take all of it now and write zeros over it (raw; slow)"),
]
ID_LIMIT = 2**32 - 2
MODE = re.compile(r"\A0?[0-7]{3}\Z", re.ASCII)

_OF_FILES = ("format", "space", "backing", "cluster_size", "compat", "lazy_refcounts", "nocow")
_ASKED = {
    "logical": ("space", "allocation", "backing", "passphrase"),
    "zfs": ("space",),
    "rbd": ("format",),
    "disk": (),
}


class CreateForm(NewVolumeForm):
    secret_fields = ("passphrase",)
    more = (
        "backing",
        "allocation",
        "cluster_size",
        "compat",
        "lazy_refcounts",
        "nocow",
        "passphrase",
        "mode",
        "owner",
        "group",
    )

    format = forms.ChoiceField(label="Format")
    capacity = SizeField(label="Size", required=False, help_text="What the VM sees, for example 20 GiB.")
    space = forms.ChoiceField(label="Space", choices=SPACES_OF_FILES)
    # Asked for only when it matters.
    outgrow = forms.BooleanField(label="Make it all the same", required=False)
    backing = backing.BackingField(label="Built on", required=False)
    allocation = SizeField(
        label="Own space", required=False, help_text="Of a sparse volume or a snapshot, for example 2 GiB."
    )
    cluster_size = forms.TypedChoiceField(
        label="Cluster size",
        required=False,
        coerce=int,
        empty_value=None,
        choices=[("", "64 KiB, as qemu-img does"), *[(number, size(number)) for number in CLUSTER_SIZES]],
        help_text="Of qcow2. Larger ones are faster for large writes and waste more space.",
    )
    compat = forms.ChoiceField(
        label="Version",
        required=False,
        choices=[("", "1.1"), ("0.10", "0.10, for QEMU before 1.1")],
        help_text="Of qcow2.",
    )
    lazy_refcounts = forms.BooleanField(
        label="Lazy reference counts",
        required=False,
        help_text="qcow2 1.1: faster writes, and a check after a power cut.",
    )
    nocow = forms.BooleanField(
        label="No copy-on-write",
        required=False,
        help_text="On btrfs only; elsewhere the host refuses it for a raw file.",
    )
    passphrase = PassphraseField(
        label="Passphrase",
        required=False,
        help_text="Encrypts the volume with LUKS. The host keeps it as a libvirt secret; nobody can read it back. "
        "To make its key takes up to half a minute.",
    )
    mode = forms.RegexField(
        MODE,
        label="Mode",
        required=False,
        help_text="As chmod takes it, for example 0640. Empty: as the host does.",
        error_messages={"invalid": "Three octal digits, for example 0640."},
    )
    owner = forms.IntegerField(
        label="Owner", required=False, min_value=0, max_value=ID_LIMIT, help_text="A user ID of the host."
    )
    group = forms.IntegerField(
        label="Group", required=False, min_value=0, max_value=ID_LIMIT, help_text="A group ID of the host."
    )

    field_order = ("name", "format", "capacity", "space", "outgrow", *more)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        kind = self.target.kind
        of_files = (*_OF_FILES, "passphrase", "mode", "owner", "group")
        asked = {"name", "capacity", *_ASKED.get(self.target.type, of_files if self.in_files else ())}
        formats = [name for name in FORMATS if name in kind.volume_formats]
        self.fields["format"].choices = [(name, f"{name}: {FORMATS[name]}") for name in formats]
        self.fields["format"].initial = next(iter(formats), None)
        self.fields["space"].choices = spaces = SPACES.get(self.target.type, SPACES_OF_FILES)
        self.fields["space"].initial = spaces[0][0]
        if "backing" in asked:
            self.fields["backing"].offer(self.target, self.user)
        if self.target.type == "disk":
            self._fix_name()
        if self._can_outgrow():
            asked.add("outgrow")
        for name in set(self.fields) - asked - {"key"}:
            del self.fields[name]

    @property
    def in_files(self) -> bool:
        return self.target.type in IN_FILES

    def _fix_name(self) -> None:
        field = self.fields["name"]
        field.initial = next_partition(self.target)
        field.help_text = "Given by the kernel, which numbers the partitions."
        field.widget.attrs["readonly"] = True

    def _can_outgrow(self) -> bool:
        """Whether the size as typed is more than the whole pool will ever hold."""
        try:
            capacity = SizeField().clean(self.data.get("capacity"))
        except ValidationError:
            return False
        takes_all = self.data.get("space") in ("falloc", "full")
        return self.in_files and not takes_all and 0 < self.target.capacity < capacity

    def clean_name(self) -> str:
        name = super().clean_name()
        if self.target.type == "disk" and name != (fixed := next_partition(self.target)):
            raise ValidationError(f"The kernel numbers the partitions: this one has to be {fixed}.")
        return name

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        format = cleaned.get("format", "")
        if self.in_files and not format:
            return cleaned
        self._check_size(cleaned)
        self._check_space(format, cleaned)
        if self.in_files:
            self._check_format(format, cleaned)
        self._check_backing(format, cleaned)
        return cleaned

    def _check_size(self, cleaned: dict[str, Any]) -> None:
        is_told = cleaned.get("format") == "dir" or cleaned.get("backing")
        if not is_told and not cleaned.get("capacity") and "capacity" not in self.errors:
            self.add_error("capacity", "Write the size, for example 20 GiB.")

    def _check_space(self, format: str, cleaned: dict[str, Any]) -> None:
        space, capacity = cleaned.get("space", ""), cleaned.get("capacity")
        if format not in ("", *PLAIN, "qcow2") and space in ("metadata", "falloc", "full"):
            self.add_error("space", f"{format} takes its space as it is written; choose that.")
        elif space == "metadata" and format != "qcow2":
            self.add_error("space", "Only qcow2 has tables that can be made before.")
        elif space == "full" and format == "qcow2":
            self.add_error(
                "space", "libvirt writes zeros in raw volumes only; for qcow2 it can take all space."
            )
        needed = capacity if self.takes_all(space) else cleaned.get("allocation") or 0
        if not cleaned.get("backing") and (reason := room.why_none(self.target, needed or 0)):
            self.add_error("capacity", f"{size(needed)} is wanted now, {reason}")
        if capacity and "outgrow" in self.fields and not cleaned.get("outgrow"):
            self.add_error(
                "outgrow",
                f"It may grow to {size(capacity)}, and {self.target} as a whole has {size(self.target.capacity)}: "
                "its VM stops when the pool is full.",
            )

    def takes_all(self, space: str) -> bool:
        return space in ("falloc", "full") or self.target.type == "disk"

    def _check_format(self, format: str, cleaned: dict[str, Any]) -> None:
        if format != "qcow2":
            for name in ("cluster_size", "compat", "lazy_refcounts"):
                if cleaned.get(name):
                    self.add_error(name, "Only qcow2 has this; leave it as it was.")
        elif cleaned.get("lazy_refcounts") and cleaned.get("compat") == "0.10":
            self.add_error("lazy_refcounts", "Version 0.10 does not have them; choose 1.1.")
        capacity, cluster = cleaned.get("capacity"), cleaned.get("cluster_size")
        # The first table, of 32 MiB at most, points to tables of one cluster each, 8 bytes an entry.
        if capacity and cluster and capacity > 2**22 * cluster * cluster // 8:
            self.add_error("cluster_size", f"qcow2 cannot be that large with clusters of {size(cluster)}.")
        if cleaned.get("nocow") and format not in (*PLAIN, "qcow2"):
            self.add_error("nocow", "Only raw and qcow2 take this.")
        if cleaned.get("passphrase") and format not in WITH_LUKS:
            self.add_error("passphrase", "Only raw and qcow2 can be encrypted.")
        if cleaned.get("passphrase") and cleaned.get("space") not in ("sparse", "", None):
            self.add_error("space", "An encrypted volume takes its space as it is written; choose that.")

    def _check_backing(self, format: str, cleaned: dict[str, Any]) -> None:
        parent = cleaned.get("backing") and backing.find(self.target, cleaned["backing"], self.user)
        if self.target.type == "logical":
            return self._check_snapshot(parent, cleaned)
        if not parent:
            return None
        if format not in ON_BACKING:
            self.add_error("backing", f"{format} cannot be built on another volume; qcow2 can.")
        if cleaned.get("space") not in ("sparse", "", None):
            self.add_error(
                "space", "What is built on another volume takes space as it is written; choose that."
            )
        if cleaned.get("passphrase"):
            self.add_error("passphrase", "A volume that is built on another one is not encrypted from here.")
        capacity = cleaned.get("capacity")
        if capacity and capacity < parent.capacity:
            self.add_error("capacity", f"{parent} has {size(parent.capacity)}; it cannot be smaller.")
        return None

    def _check_snapshot(self, parent: Any, cleaned: dict[str, Any]) -> None:
        own, capacity = cleaned.get("allocation"), cleaned.get("capacity")
        if not parent and cleaned.get("space") != "sparse":
            if own:
                self.add_error("allocation", "Only a sparse volume or a snapshot has this; leave it empty.")
            return
        if not own and "allocation" not in self.errors:
            self.add_error("allocation", "Say how much space it gets of its own.")
        if cleaned.get("passphrase"):
            self.add_error("passphrase", "A snapshot or a sparse volume cannot be encrypted.")
        if parent and capacity and capacity != parent.capacity:
            self.add_error("capacity", f"A snapshot is as large as {parent}; leave the size empty.")
        whole = parent.capacity if parent else capacity
        if own and whole and own > whole - (not parent):
            self.add_error("allocation", f"That is not less than {size(whole)}, the whole of it.")

    def params(self) -> Params:
        """Without what was left empty."""
        params = {name: value for name, value in super().params().items() if value not in (None, "", False)}
        params.pop("outgrow", None)
        if params.get("format") == "dir":
            params.pop("capacity", None)
        if self.cleaned_data.get("passphrase"):
            params["luks"] = True
        if parent := self.cleaned_data.get("backing") and backing.find(
            self.target, self.cleaned_data["backing"], self.user
        ):
            params |= {"backing_pool": str(parent.pool.uuid), "backing_volume": parent.name}
        return params
