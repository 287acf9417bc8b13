"""The step Source: what the pool is made of, found by the hosts or typed."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from django.http import HttpRequest, HttpResponse, QueryDict

from pools.drafts.asking import Asked, ask, asked_of
from pools.drafts.conflicts import MAIN_FIELD, Holder, Taken, sentence
from pools.drafts.pages import step_page
from pools.drafts.steps import Wizard
from pools.forms import PoolFieldsForm, field_form
from pools.making import finding
from storagemgr.jobs import sealed
from storagemgr.jobs.pages import see
from storagemgr.templatetags.storage import count
from storagemgr.virt import devices
from storagemgr.virt.discovery import NEEDS_HOST

TYPED = "typed"
BUTTONS = {
    "netfs": "Ask for its exports",
    "gluster": "Ask for its volumes",
    "iscsi": "Ask for its targets",
}
NO_SEARCH = {
    "iscsi-direct": "libvirt's search for this type is unsafe: a portal with several targets damages the memory of its "
    "daemon. A search with the type iSCSI LUNs finds the same targets; copy the name from there.",
}


@dataclass
class Result:
    """One thing that was found, on all hosts together. `off`: why it cannot be chosen."""

    key: str
    text: str
    detail: str
    values: dict[str, Any]
    size: int | None = None
    holds: str = ""
    free: bool | None = None
    link: str = ""
    hosts: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    holders: list[Holder] = field(default_factory=list)
    is_chosen: bool = False
    is_off: bool = False

    @property
    def badge(self) -> tuple[str, str]:
        total = len(self.hosts) + len(self.missing)
        if self.is_off:
            return "", "in use"
        if self.missing:
            return "warn", f"{len(self.hosts)} of {count(total, 'host')}"
        return ("ok", f"all {count(total, 'host')}") if total > 1 else ("", "")


def results_of(wizard: Wizard, asked: list[Asked], taken: Taken) -> list[Result]:
    """What the hosts that have answered found, each thing once, the free ones first."""
    found: dict[str, Result] = {}
    names: dict[str, tuple[Iterable[str], Iterable[str]]] = {}
    answered = [answer for answer in asked if _is_about(answer, wizard)]
    for answer in answered:
        for row in answer.result["sources"]:
            known = {name: row[name] for name in ("key", "text", "detail", "values")}
            more = {name: row.get(name) for name in ("size", "free")}
            said = {name: row.get(name, "") for name in ("holds", "link")}
            result = found.setdefault(row["key"], Result(**known, **more, **said))
            names[row["key"]] = (row.get("names") or (), row.get("groups") or ())
            if answer.new.host.name not in result.hosts:
                result.hosts.append(answer.new.host.name)
    for result in found.values():
        result.missing = [a.new.host.name for a in answered if a.new.host.name not in result.hosts]
        result.holders = taken.source(wizard.draft.type, result.values)
        others = taken.device(*names[result.key])
        result.holders += [holder for holder in others if holder not in result.holders]
        held_on = {holder.host.name for holder in result.holders}
        result.is_off = bool(held_on) and held_on >= set(result.hosts)
        result.is_chosen = not result.is_off and _fits(result.values, wizard.values)
    return sorted(found.values(), key=lambda result: (result.is_off, result.text))


def _is_about(answer: Asked, wizard: Wizard) -> bool:
    return bool(answer.result) and answer.result["asked"].get("type") == wizard.draft.type


def _fits(found: dict[str, Any], values: dict[str, Any]) -> bool:
    return all(values.get(name) == value for name, value in found.items() if name != "format")


def source(request: HttpRequest, wizard: Wizard) -> HttpResponse:
    taken = Taken(request.user, wizard.hosts, but=[new.uuid for new in wizard.pools])
    asked = asked_of(wizard, finding.FIND, "found")
    results = results_of(wizard, asked, taken)
    if request.method != "POST":
        return _page(request, wizard, _form(wizard, None), asked, results)
    data = _with_picked(request.POST, results)
    form = _form(wizard, data)
    if "find" in request.POST:
        return _find(request, wizard, form, asked, results)
    if form.is_valid() and not _is_held(wizard, form, taken):
        keep(wizard, form)
        return see(wizard.after("source"))
    keep_typed(wizard, form)
    return _page(request, wizard, form, asked, results, status=422)


def _form(wizard: Wizard, data: QueryDict | None) -> PoolFieldsForm:
    form: PoolFieldsForm = field_form(wizard.draft.type, "source")(
        data, values=wizard.values, kept=wizard.kept
    )
    return form


def _with_picked(data: QueryDict, results: list[Result]) -> QueryDict:
    """What was typed, overruled by what was picked among the results."""
    picked = next((r for r in results if r.key == data.get("pick") and not r.is_off), None)
    data = data.copy()
    for name, value in (picked.values if picked else {}).items():
        data[name] = "\n".join(value) if isinstance(value, list) else value
    return data


def _is_held(wizard: Wizard, form: PoolFieldsForm, taken: Taken) -> bool:
    """On all of the hosts; where it is only on some, those can be left out at the review."""
    holders = taken.source(wizard.draft.type, form.pool_values())
    if {holder.host.pk for holder in holders} < {host.pk for host in wizard.hosts} or not holders:
        return False
    name = MAIN_FIELD.get(wizard.draft.type, "source_name")
    form.add_error(name if name in form.fields else None, sentence("uses this already", holders))
    return True


def keep(wizard: Wizard, form: PoolFieldsForm) -> None:
    draft = wizard.draft
    draft.values = form.pool_values()
    draft.sealed = _sealed(draft.sealed, form.pool_secrets())
    draft.save(update_fields=["values", "sealed", "updated_at"])


def _sealed(text: str, typed: dict[str, str | None]) -> str:
    """The same text while no password changes: it counts for whether a test is still of use."""
    before = sealed.unseal(text)
    after = {name: value for name, value in (before | typed).items() if value}
    return text if after == before else sealed.seal(after)


def keep_typed(wizard: Wizard, form: PoolFieldsForm) -> None:
    """Also what is wrong as yet: it is checked again before anything is done with it."""
    draft = wizard.draft
    typed = form.typed_values()
    telling = form.telling(typed)
    draft.values = wizard.values | {name: value for name, value in typed.items() if name not in telling}
    secrets = {name: value for name, value in form.typed_secrets().items() if name not in form.errors}
    draft.sealed = _sealed(draft.sealed, secrets)
    draft.save(update_fields=["values", "sealed", "updated_at"])


def _find(
    request: HttpRequest, wizard: Wizard, form: PoolFieldsForm, asked: list[Asked], results: list[Result]
) -> HttpResponse:
    """Only what is asked for has to be right by now."""
    form.full_clean()
    for name in [name for name in form.errors if name not in finding.ASKED]:
        del form.errors[name]
    keep_typed(wizard, form)
    if form.errors:
        return _page(request, wizard, form, asked, results, status=422)
    if wizard.kind.finds:
        ask(
            request,
            wizard,
            finding.FIND,
            "found",
            params=lambda new: finding.search_params(new, wizard.draft.values),
        )
    return see(f"{wizard.url('source')}#found")


def _has_typed(wizard: Wizard) -> bool:
    first = MAIN_FIELD.get(wizard.draft.type, "source_name")
    return bool(wizard.values.get(first)) and first != "adapter_kind"


def _page(
    request: HttpRequest,
    wizard: Wizard,
    form: PoolFieldsForm,
    asked: list[Asked],
    results: list[Result],
    *,
    status: int = 200,
) -> HttpResponse:
    first = finding.ASKED if wizard.draft.type in NEEDS_HOST else ()
    answered = [answer for answer in asked if _is_about(answer, wizard)]
    was_asked = [
        answer for answer in asked if answer.job and answer.job.params.get("type") == wizard.draft.type
    ]
    fields = [form[name] for name in form.fields]
    context = {
        "form": form,
        "server": form["source_host"] if first else None,
        "search_fields": [f for f in fields if f.name in first and f.name != "source_host"],
        "fields": [f for f in fields if f.name not in first],
        "errors": [form[name] for name in form.fields if name in form.errors],
        "general_errors": list(form.non_field_errors()),
        "find_button": BUTTONS.get(
            wizard.draft.type, "Look at the hosts" if len(asked) > 1 else "Look at the host"
        ),
        "no_search": NO_SEARCH.get(wizard.draft.type, ""),
        "asked": was_asked,
        "silent": [answer.new.host for answer in asked if not answer.new.host.answers],
        "results": results,
        "is_working": any(answer.is_working for answer in was_asked),
        "asked_at": max((answer.at for answer in answered if answer.at), default=None),
        "filled": " ".join(
            sorted({name for result in results for name in result.values if name != "format"})
        ),
        "is_typed": _has_typed(wizard) and not any(result.is_chosen for result in results),
        "unseen": devices.UNSEEN if wizard.draft.type in ("fs", "disk") else "",
        "what": finding.what_is_found(wizard.draft.type, answered[0].result["asked"] if answered else {}),
        "is_wide": not was_asked or bool(form.errors),
    }
    return step_page(request, wizard, "source", context, status=status)
