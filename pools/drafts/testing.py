"""The step Test: whether each host could really have such a pool."""

from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest, HttpResponse

from pools.drafts.asking import Asked, ask, asked_of
from pools.drafts.pages import step_page
from pools.drafts.steps import Wizard
from pools.making import trying
from pools.making.plans import is_tested
from storagemgr.jobs import sealed
from storagemgr.jobs.pages import see
from storagemgr.templatetags.storage import size

WORDS = {
    "mount": "Each host mounts it for a moment beside its real place, reads how big it is, writes and deletes a file, "
    "and unmounts it. Nothing stays behind.",
    "connect": "Each host connects for a moment, reads what is there, and disconnects. Nothing is written.",
    "discover": "Each host asks the portal whether it offers this target. Nobody logs in yet: whether a password is "
    "right shows only when the pool starts.",
    "look": "Each host looks at what is on the device now. Nothing is written.",
}


@dataclass(frozen=True)
class Tested:
    """What a host said in the end: `kind` is the colour, `word` two or three words, `more` a sentence."""

    asked: Asked
    kind: str = ""
    icon: str = "dash-circle"
    word: str = "not tested"
    more: str = ""


def tested_of(wizard: Wizard) -> list[Tested]:
    return [_tested(wizard, asked) for asked in asked_of(wizard, trying.TEST, "tested")]


def _tested(wizard: Wizard, asked: Asked) -> Tested:
    if asked.is_working:
        return Tested(asked, "info", "hourglass-split", "being tested")
    if asked.error and (asked.job is not None and asked.job.params == trying.test_params(asked.new)):
        return Tested(asked, "bad", "exclamation-octagon", "does not work", asked.error.title)
    if not is_tested(asked.new, wizard.draft):
        why = "It was changed since the test." if asked.result else ""
        if not asked.new.host.answers:
            why = "The host does not answer now."
        return Tested(asked, more=why)
    return _said(asked)


def _said(asked: Asked) -> Tested:
    said: dict[str, Any] = asked.result
    room = f"{size(said['available'])} free of {size(said['capacity'])}" if said.get("capacity") else ""
    match said["how"]:
        case "mount" if not said.get("writes"):
            return Tested(asked, "warn", "exclamation-triangle", "reads only", _why_not_written(asked, said))
        case "mount":
            return Tested(asked, "ok", "check-circle", "reads and writes", room)
        case "connect":
            return Tested(asked, "ok", "check-circle", "connects", room)
        case "discover":
            return Tested(asked, "ok", "check-circle", "offers the target")
    if said.get("group"):
        return Tested(asked, "ok", "check-circle", "has the group", f"Volume group {said['group']}")
    return _looked(asked, said.get("build", "no"), list(said.get("devices", {}).values()))


def _why_not_written(asked: Asked, said: dict[str, Any]) -> str:
    draft, why = asked.new.draft, str(said.get("why", ""))
    if draft is None or draft.type != "netfs":
        return why
    return f"{why.rstrip('.')}. libvirt writes as root: an NFS export has to allow that (rw,no_root_squash)."


def _looked(asked: Asked, build: str, devices: list[dict[str, Any]]) -> Tested:
    """Data is what one wants where nothing is built, and what is lost where all is overwritten."""
    texts = "; ".join(f"{on_it['path']}: {on_it['text']}" for on_it in devices)
    verdicts = {on_it["verdict"] for on_it in devices}
    formats = build in ("keep", "overwrite")
    if verdicts == {"empty"}:
        if formats:
            return Tested(asked, "ok", "check-circle", "empty", texts)
        more = f"{texts}. Nothing can be used there before it is built."
        return Tested(asked, "warn", "exclamation-triangle", "empty", more)
    if "data" not in verdicts:
        return Tested(asked, "warn", "exclamation-triangle", "could not be read", texts)
    if build == "keep":
        return Tested(
            asked, "bad", "exclamation-octagon", "holds data", f"{texts}. libvirt will refuse to build."
        )
    kind, icon = ("warn", "exclamation-triangle") if formats else ("ok", "check-circle")
    return Tested(asked, kind, icon, "holds data", texts)


def test(request: HttpRequest, wizard: Wizard) -> HttpResponse:
    must = wizard.options.get("build") == "overwrite"
    if request.method == "POST" and wizard.kind.test:
        if "test" in request.POST:
            _ask(request, wizard)
            return see(wizard.url("test"))
        if not must or all(is_tested(new, wizard.draft) for new in wizard.chosen):
            return _go_on(wizard)
    elif request.method == "POST":
        return _go_on(wizard)
    tested = tested_of(wizard)
    context = {
        "tested": tested,
        "words": WORDS.get(wizard.kind.test, ""),
        "is_working": any(one.asked.is_working for one in tested),
        "was_asked": any(one.asked.job or one.asked.result for one in tested),
        "works": sum(1 for one in tested if one.kind in ("ok", "warn")),
        "must": must,
        "is_refused": request.method == "POST",
    }
    return step_page(request, wizard, "test", context, status=422 if request.method == "POST" else 200)


def _ask(request: HttpRequest, wizard: Wizard) -> None:
    passwords = sealed.unseal(wizard.draft.sealed)
    ask(request, wizard, trying.TEST, "tested", params=trying.test_params, secrets=passwords)


def _go_on(wizard: Wizard) -> HttpResponse:
    passed = sorted({*wizard.options.get("passed", []), "test"})
    wizard.draft.options = wizard.options | {"passed": passed}
    wizard.draft.save(update_fields=["options", "updated_at"])
    return see(wizard.after("test"))
