"""The step Options: name and place, and what else is done as the pool is made."""

import re
from typing import Any

from django import forms
from django.conf import settings
from django.http import HttpRequest, HttpResponse

from pools.drafts.conflicts import Taken, sentence
from pools.drafts.pages import step_page
from pools.drafts.source import keep, keep_typed
from pools.drafts.steps import Wizard
from pools.forms import PoolFieldsForm, field_form
from pools.making.plans import ON_A_DIRECTORY
from pools.models import NewPool
from storagemgr.jobs.pages import see
from storagemgr.virt.field_checks import CHECKS
from storagemgr.virt.look import LOOK_PREFIX
from storagemgr.virt.pool_types import PoolType

OURS = ("persistent", "build", "start", "autostart")
NAME_FROM = ("source_dir", "source_name", "target_iqn", "device", "adapter_name")


def build_choices(kind: PoolType) -> list[tuple[str, str]]:
    """What build can be asked for; [] where libvirt builds nothing."""
    if not kind.builds:
        return []
    if kind.name in ON_A_DIRECTORY:
        noun = "directory" if kind.name == "dir" else "mount point"
        choices = [("yes", f"Make the {noun} if it is missing"), ("no", "Do not: it is there")]
    else:
        choices = [("no", "Do not: use what is there already")]
    if kind.name == "fs":
        choices += [
            ("keep", "Format the device, but only if there is nothing on it"),
            ("overwrite", "Format the device, whatever is on it"),
        ]
    elif kind.overwrites:
        choices += [
            ("keep", f"{kind.build.partition('.')[0]}, but only if there is nothing on it"),
            ("overwrite", f"{kind.build.partition('.')[0]}, whatever is on it"),
        ]
    elif kind.name not in ON_A_DIRECTORY:
        choices.append(("yes", kind.build.partition(".")[0]))
    return choices


class OptionsForm(PoolFieldsForm):
    name = forms.CharField(
        label="Name",
        required=False,
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false", "aria-required": "true"}),
        help_text="Letters, digits and . _ : + @ -",
    )
    persistent = forms.ChoiceField(
        label="How long it lasts",
        choices=[
            ("yes", "Defined: it is kept when it is stopped"),
            ("no", "Transient: it vanishes when it is stopped"),
        ],
        widget=forms.RadioSelect,
    )
    build = forms.ChoiceField(label="Build", widget=forms.RadioSelect)
    start = forms.BooleanField(label="Start it at once", required=False)
    autostart = forms.BooleanField(
        label="Start it whenever the host boots",
        required=False,
        widget=forms.CheckboxInput(attrs={"data-when": "persistent", "data-is": "yes"}),
    )

    def __init__(self, *args: Any, kind: PoolType, taken: Taken, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.kind, self.taken = kind, taken
        choices = build_choices(kind)
        self.fields["build"].choices = choices
        if not choices:
            del self.fields["build"]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        name = cleaned.get("name") or ""
        if wrong := CHECKS["name"](name) if name else "The name is missing.":
            self.add_error("name", wrong)
        elif name.startswith(LOOK_PREFIX):
            self.add_error(
                "name", f"Names that begin with {LOOK_PREFIX} are those of looks, which are not listed."
            )
        elif holders := self.taken.name(name):
            self.add_error("name", sentence("has this name already", holders))
        path = cleaned.get("target_path")
        if path and (holders := self.taken.directory(path)):
            self.add_error("target_path", sentence("is there already", holders))
        if cleaned.get("persistent") == "no":
            self._check_transient(cleaned)
        return cleaned

    def _check_transient(self, cleaned: dict[str, Any]) -> None:
        if cleaned.get("build") in ("keep", "overwrite"):
            self.add_error("build", "A transient pool cannot be formatted as it is made; define it instead.")


def _initial(wizard: Wizard) -> dict[str, Any]:
    options = wizard.options
    choices = build_choices(wizard.kind)
    name = wizard.draft.name or _name_from(wizard.values)
    found = {
        "name": name,
        "persistent": "yes" if options.get("persistent", True) else "no",
        "build": options.get("build", choices[0][0] if choices else "no"),
        "start": options.get("start", True),
        "autostart": options.get("autostart", True),
    }
    if wizard.kind.name in ON_A_DIRECTORY and name and not wizard.values.get("target_path"):
        base = settings.POOL_PATHS[0].rstrip("/") if settings.POOL_PATHS else "/srv"
        found["target_path"] = f"{base}/{name}"
    return found


def _name_from(values: dict[str, Any]) -> str:
    text = next((str(values[name]) for name in NAME_FROM if values.get(name)), "")
    last = re.split(r"[/:]", text.rstrip("/"))[-1]
    return re.sub(r"[^A-Za-z0-9_.+@-]+", "-", last).strip("-.")[:60]


def options(request: HttpRequest, wizard: Wizard) -> HttpResponse:
    taken = Taken(request.user, [new.host for new in wizard.pools if not new.done],
                  but=[new.uuid for new in wizard.pools])  # fmt: skip
    form_class = field_form(wizard.draft.type, "place", "options", base=OptionsForm)
    data = request.POST if request.method == "POST" else None
    known = {"values": wizard.values, "kept": wizard.kept, "initial": _initial(wizard)}
    form = form_class(data, kind=wizard.kind, taken=taken, **known)
    if data is None:
        return _page(request, wizard, form)
    if form.is_valid():
        keep(wizard, form)
        _keep_options(wizard, form.cleaned_data)
        return see(wizard.after("options"))
    keep_typed(wizard, form)
    return _page(request, wizard, form, status=422)


def _keep_options(wizard: Wizard, cleaned: dict[str, Any]) -> None:
    persistent = cleaned["persistent"] == "yes"
    build, draft = cleaned.get("build", "no"), wizard.draft
    chosen = {
        "persistent": persistent,
        "build": build,
        "start": cleaned["start"] or not persistent,
        "autostart": cleaned["autostart"] and persistent,
    }
    draft.options = wizard.options | chosen
    draft.name = cleaned["name"]
    draft.save(update_fields=["name", "options", "updated_at"])
    NewPool.objects.filter(draft=draft, done=[]).update(name=draft.name)


def _page(request: HttpRequest, wizard: Wizard, form: Any, *, status: int = 200) -> HttpResponse:
    mine = [form[name] for name in form.fields]
    groups = {f.name: f.group for f in form.pool_fields}
    optional = [f for f in mine if groups.get(f.name) == "options"]
    context = {
        "form": form,
        "place": [f for f in mine if groups.get(f.name) == "place"],
        "more": optional,
        "is_wide": any(f.errors or f.value() for f in optional),
        "errors": [form[name] for name in form.fields if name in form.errors],
        "general_errors": list(form.non_field_errors()),
        "build": form["build"] if "build" in form.fields else None,
        "can_lose": wizard.kind.overwrites,
    }
    return step_page(request, wizard, "options", context, status=status)
