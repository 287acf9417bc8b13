"""Forms for what a pool is made of: one form field for each of virt.pool_fields, whoever shows them."""

from collections.abc import Collection, Mapping
from pathlib import PurePosixPath
from typing import Any

from django import forms
from django.conf import settings

from storagemgr.virt import path_policy
from storagemgr.virt.pool_fields import Field, fields_of, problems

# A field that means something only while another one has one of these values.
WHEN = {
    "protocol_version": ("format", ("nfs", "auto")),
    "adapter_name": ("adapter_kind", ("scsi_host",)),
    "parent_address": ("adapter_kind", ("scsi_parent",)),
    "unique_id": ("adapter_kind", ("scsi_parent",)),
    "wwnn": ("adapter_kind", ("fc_host",)),
    "wwpn": ("adapter_kind", ("fc_host",)),
    "parent": ("adapter_kind", ("fc_host",)),
    "managed": ("adapter_kind", ("fc_host",)),
}
# Options of mount.cifs and of librados that hold a secret; whoever sees the pool would read them.
TELLING = ("password", "password2", "pass", "key")
TELLS = (
    "A password here could be read by everybody who sees the pool. Put it in a file on the host and name that file, "
    "such as credentials=/etc/share.cred."
)
# Far more than any check takes; a draft keeps what was typed, right or wrong.
LONGEST, LONGEST_LINES = 4096, 64 * 1024
KEPT_NOTE = "One is kept; leave this empty to go on using it."


def all_problems(pool_type: str, values: Mapping[str, Any]) -> dict[str, str]:
    """Those of virt.pool_fields, and what POOL_PATHS does not allow."""
    found = problems(pool_type, values)
    allowed = tuple(settings.POOL_PATHS)
    for field in fields_of(pool_type):
        path = values.get(field.name)
        if (
            field.takes == "path"
            and path
            and (wrong := path_policy.why_not_here(path, allowed) or _ours(path))
        ):
            found.setdefault(field.name, wrong)
    return found


def _ours(path: str) -> str:
    """A pool there would hand out our keys, accounts and code: its volumes are what the directory holds."""
    here = PurePosixPath(path)
    if any(here.is_relative_to(base) for base in (settings.DATA_DIR, settings.BASE_DIR)):
        return f"{path} belongs to this program. A pool needs a directory of its own, such as /srv/vm."
    return ""


class LinesField(forms.CharField):
    """Lines of text to a list; empty ones go."""

    widget = forms.Textarea

    def to_python(self, value: Any) -> Any:
        return [line.strip() for line in str(super().to_python(value)).splitlines() if line.strip()]

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(value) if isinstance(value, list) else value


class PoolFieldsForm(forms.Form):
    """`values`: what is known of all fields of the type, also of those that stand on other pages.

    `kept`: the secrets that are known already; they are never sent to the browser.
    """

    pool_type = ""

    def __init__(
        self, *args: Any, values: Mapping[str, Any] | None = None, kept: Collection[str] = (), **kwargs: Any
    ) -> None:
        self.known, self.kept = dict(values or {}), kept
        kwargs["initial"] = self.known | (kwargs.get("initial") or {})
        super().__init__(*args, **kwargs)
        for name in kept:
            if name in self.fields:
                self.fields[name].help_text = KEPT_NOTE

    @property
    def pool_fields(self) -> list[Field]:
        return [field for field in fields_of(self.pool_type) if field.name in self.fields]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        values = self.known | {field.name: cleaned.get(field.name) for field in self.pool_fields}
        for name in self._kept_now(values):
            values[name] = "kept"
        for name, sentence in self._problems(values).items():
            if name in self.fields and name not in self.errors:
                self.add_error(name, sentence)
        for name in self.telling(cleaned):
            self.add_error(name, TELLS)
        return cleaned

    def telling(self, values: Mapping[str, Any]) -> list[str]:
        """The fields with a new line that holds a password; what a pool has already is not for us to refuse."""
        found = []
        for field in self.pool_fields:
            lines = values.get(field.name) if field.kind == "lines" else None
            new = set(lines or []) - set(self.known.get(field.name) or [])
            if any(line.partition("=")[0].lower() in TELLING for line in new):
                found.append(field.name)
        return found

    def _problems(self, values: dict[str, Any]) -> dict[str, str]:
        return all_problems(self.pool_type, values)

    def _kept_now(self, values: Mapping[str, Any]) -> list[str]:
        """A kept password goes with its user."""
        return [name for name in self.kept if not values.get(name) and values.get("auth_user")]

    def pool_values(self) -> dict[str, Any]:
        """All values, passwords left out, without the fields that another one makes meaningless."""
        values = self.known | {field.name: self.cleaned_data[field.name] for field in self.pool_fields}
        secret = {field.name for field in fields_of(self.pool_type) if field.kind == "secret"}
        idle = {
            name for name, (other, _) in WHEN.items() if other == "adapter_kind" and is_idle(name, values)
        }
        return {name: value for name, value in values.items() if name not in secret | idle}

    def typed_values(self) -> dict[str, Any]:
        """As they were typed, right or wrong, passwords left out. What no field could ever hold is dropped."""
        found = {}
        for field in self.pool_fields:
            if field.kind != "secret":
                try:
                    found[field.name] = self.fields[field.name].clean(self[field.name].data)
                except forms.ValidationError:
                    continue
        return found

    def typed_secrets(self) -> dict[str, str]:
        secrets = [field.name for field in self.pool_fields if field.kind == "secret"]
        return {name: typed for name in secrets if (typed := self.cleaned_data.get(name))}

    def pool_secrets(self) -> dict[str, str | None]:
        """Passwords that were typed; None for one that was kept and is to be forgotten."""
        found: dict[str, str | None] = {}
        for field in self.pool_fields:
            if field.kind == "secret":
                typed = self.cleaned_data[field.name]
                if typed:
                    found[field.name] = typed
                elif field.name in self.kept and not self.cleaned_data.get("auth_user"):
                    found[field.name] = None
        return found


def is_idle(name: str, values: Mapping[str, Any]) -> bool:
    """Whether the value of another field makes this one meaningless."""
    other, wanted = WHEN.get(name, ("", ()))
    return bool(other) and values.get(other) not in wanted


def field_form(pool_type: str, *groups: str, base: type[PoolFieldsForm] = PoolFieldsForm) -> Any:
    """A form class for the fields of these groups ("source", "place", "options"); for all of them without any."""
    wanted = [field for field in fields_of(pool_type) if not groups or field.group in groups]
    members: dict[str, Any] = {field.name: form_field(field) for field in wanted}
    return type("PoolForm", (base,), members | {"pool_type": pool_type})


def _can_be_kept(lines: list[str]) -> None:
    """Django looks for NUL in one text alone; PostgreSQL stores none."""
    if sum(map(len, lines)) > LONGEST_LINES:
        raise forms.ValidationError("This is too much text.")
    if any("\0" in line for line in lines):
        raise forms.ValidationError("Null characters are not allowed.")


def form_field(field: Field) -> forms.Field:
    """Nothing is required in HTML: the sentences of problems() say what is missing."""
    attrs: dict[str, Any] = {"autocomplete": "off", "spellcheck": "false"}
    if field.required:
        attrs["aria-required"] = "true"
    if field.example:
        attrs["placeholder"] = f"for example {field.example}"
    if field.name in WHEN:
        other, values = WHEN[field.name]
        attrs |= {"data-when": other, "data-is": " ".join(values)}
    common = {
        "label": field.label,
        "help_text": field.help,
        "initial": field.initial,
        "required": False,
    }
    if field.kind == "lines":
        lines = forms.Textarea(attrs=attrs | {"rows": 3})
        return LinesField(widget=lines, validators=[_can_be_kept], **common)
    if field.kind == "choice":
        del attrs["autocomplete"], attrs["spellcheck"]
        choice = forms.Select(attrs=attrs, choices=field.choices)
        return forms.CharField(widget=choice, max_length=LONGEST, **common)
    if field.kind == "secret":
        attrs["autocomplete"] = "new-password"
        return forms.CharField(strip=False, widget=forms.PasswordInput(attrs=attrs), **common)
    return forms.CharField(widget=forms.TextInput(attrs=attrs), max_length=LONGEST, **common)
