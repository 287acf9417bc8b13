"""The last steps: what will happen on each host, and what became of it."""

import uuid
from dataclasses import dataclass
from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse

from pools.drafts.conflicts import Taken, sentence
from pools.drafts.pages import address_of, require_define, step_page
from pools.drafts.steps import Wizard, source_words
from pools.drafts.testing import Tested, tested_of
from pools.making import creation, overwriting
from pools.making.plans import MADE, STEPS, effects_of, plan_of, steps_of, virsh_lines
from pools.models import NewPool, Pool
from storagemgr.access.recent import require_recent
from storagemgr.jobs import sealed
from storagemgr.jobs.models import Job
from storagemgr.jobs.pages import TypedName, see
from storagemgr.jobs.submit import Held, KeyUsed, submit
from storagemgr.jobs.words import ShownJob, shown
from storagemgr.templatetags.storage import count

WORD = "overwrite"


@dataclass(frozen=True)
class OnHost:
    """`problem`: why it cannot be made there now, "" when it can."""

    new: NewPool
    tested: Tested
    problem: str
    is_chosen: bool
    virsh: list[str]


class ReviewForm(forms.Form):
    key = forms.UUIDField(widget=forms.HiddenInput)

    def __init__(self, *args: Any, overwrites: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if overwrites:
            self.fields["typed_name"] = TypedName(WORD, f"the word {WORD}")


def rows_of(request: HttpRequest, wizard: Wizard) -> list[OnHost]:
    taken = Taken(request.user, wizard.hosts, but=[new.uuid for new in wizard.pools])
    left_out = wizard.options.get("left_out", [])
    tested = {one.asked.new.pk: one for one in tested_of(wizard)}
    found = []
    for new in wizard.pools:
        problem = _problem(wizard, new, taken, tested[new.pk])
        found.append(
            OnHost(
                new,
                tested[new.pk],
                problem,
                not problem and new.host_id not in left_out,
                virsh_lines(new, plan_of(new)),
            )
        )
    return found


def _problem(wizard: Wizard, new: NewPool, taken: Taken, tested: Tested) -> str:
    if MADE in new.done:
        return "It is made there already."
    job = wizard.job(new, "pool.create")
    if job and job.is_active:
        return "It is being made there now."
    if not new.host.answers:
        return "The host does not answer now."
    draft = wizard.draft
    holders = {
        "has this name already": taken.name(draft.name),
        "uses this source already": taken.source(draft.type, draft.values),
        "is in this directory already": taken.directory(draft.values.get("target_path", "")),
    }
    for what, found in holders.items():
        if here := [holder for holder in found if holder.host.pk == new.host_id]:
            return sentence(what, here)
    if wizard.options.get("build") != WORD:
        return ""
    if tested.kind not in ("ok", "warn"):
        return "Look first at what is on the device there: step Test."
    return overwriting.why_in_use(new, tested.asked.result.get("devices", {}))


def review(request: HttpRequest, wizard: Wizard) -> HttpResponse:
    rows = rows_of(request, wizard)
    overwrites = wizard.options.get("build") == WORD
    form = ReviewForm(request.POST or None, overwrites=overwrites)
    error = ""
    if request.method == "POST":
        if form.is_valid() and _was_sent(request, wizard, form.cleaned_data["key"]):
            return see(wizard.url("result"))
        chosen, error = _choose(wizard, rows, request.POST.getlist("hosts"))
        if form.is_valid() and not error:
            if overwrites:
                require_recent(request, "Make pools over what is on the devices")
            error = _create(request, wizard, chosen, form.cleaned_data["key"])
            if not error:
                return see(wizard.url("result"))
        rows = rows_of(request, wizard)
    return _page(request, wizard, rows, form, error)


def _was_sent(request: HttpRequest, wizard: Wizard, key: uuid.UUID) -> bool:
    """A second click, or a reload: the jobs of this very page are there."""
    keys = [_key(key, new) for new in wizard.pools]
    return Job.objects.filter(key__in=keys, requested_by_id=request.user.pk).exists()


def _key(key: uuid.UUID, new: NewPool) -> uuid.UUID:
    return uuid.uuid5(key, str(new.uuid))


def _choose(wizard: Wizard, rows: list[OnHost], asked: list[str]) -> tuple[list[NewPool], str]:
    """The hosts that are ticked; which were left out is kept for the next look at the page."""
    chosen = [row for row in rows if str(row.new.pk) in asked]
    draft, ids = wizard.draft, {row.new.host_id for row in chosen}
    left_out = [row.new.host_id for row in rows if row.new.host_id not in ids and MADE not in row.new.done]
    draft.options = wizard.options | {"left_out": left_out}
    draft.save(update_fields=["options", "updated_at"])
    bad = [row for row in chosen if row.problem]
    if bad:
        return [], " ".join(f"{row.new.host}: {row.problem}" for row in bad)
    return [row.new for row in chosen], "" if chosen else "Choose at least one host."


def _create(request: HttpRequest, wizard: Wizard, chosen: list[NewPool], key: uuid.UUID) -> str:
    """What is wrong, "" when the jobs are there."""
    require_define(request, creation.CREATE, wizard)
    passwords = sealed.unseal(wizard.draft.sealed)
    try:
        for new in chosen:
            new.draft = wizard.draft
            submit(
                creation.CREATE,
                new,
                actor=request.user,
                params=plan_of(new),
                secrets=passwords,
                key=_key(key, new),
                address=address_of(request),
            )
    except (Held, KeyUsed):
        return "This page was sent before with other values. Look at it once more and send it again."
    return ""


def _page(
    request: HttpRequest, wizard: Wizard, rows: list[OnHost], form: ReviewForm, error: str
) -> HttpResponse:
    first = next((row.new for row in rows if row.is_chosen), rows[0].new)
    plan, chosen = plan_of(first), [row for row in rows if row.is_chosen]
    is_bad = request.method == "POST"
    key_lost = "This form had lost its number, so nothing was started. Send it again."
    context = {
        "rows": rows,
        "chosen": chosen,
        "plan": plan,
        "effects": effects_of(plan),
        "sentence": sentence_of(wizard, plan, len(chosen) or len(rows)),
        "virsh": (chosen or rows)[0].virsh,
        "virsh_host": first.host,
        "form": form,
        "typed": form["typed_name"] if "typed_name" in form.fields else None,
        "word": WORD,
        "key": uuid.uuid4(),
        "error": error or (key_lost if is_bad and "key" in form.errors else ""),
        "errors": [form["typed_name"]] if is_bad and "typed_name" in form.errors else [],
        "skipped": wizard.kind.test and not any(row.tested.kind in ("ok", "warn") for row in rows),
        "losses": [row for row in chosen if row.tested.asked.result]
        if wizard.options.get("build") == WORD
        else [],
    }
    return step_page(request, wizard, "review", context, status=422 if is_bad else 200)


def sentence_of(wizard: Wizard, plan: dict[str, Any], number: int) -> tuple[str, str, str]:
    """Make the pool NAME on N HOSTS, and the rest of the sentence."""
    said, values = [], wizard.values
    source = source_words(wizard.draft.type, values)
    path = values.get("target_path", "")
    where = f"a {wizard.kind.title} pool"
    if wizard.draft.type == "dir":
        where = f"in {path}"
    elif wizard.draft.type in ("fs", "netfs", "vstorage"):
        where = f"from {source}, mounted at {path}"
    elif source:
        where = f"from {source}"
    if plan["build"] == WORD:
        said.append("destroy what is on the device")
    said.append("start it" if plan["start"] else "leave it stopped")
    if plan["autostart"]:
        said.append(
            "start it again whenever the host boots" if number == 1 else "start it again when they boot"
        )
    ending = f"{', '.join(said[:-1])} and {said[-1]}" if len(said) > 1 else said[0]
    return wizard.draft.name, count(number, "host"), f"{where}, {ending}"


@dataclass(frozen=True)
class Outcome:
    new: NewPool
    row: ShownJob | None
    steps: list[tuple[str, bool]]
    pool: Pool | None

    @property
    def words(self) -> str:
        """The first line of what libvirt, or we, said; the page of the job has all of it."""
        text = self.row.job.error_text if self.row else ""
        return text.splitlines()[0][:400] if text else ""

    @property
    def can_undo(self) -> bool:
        ended = self.row is not None and self.row.job.state == Job.State.FAILED
        return ended and bool(self.new.done) and MADE not in self.new.done


def outcomes_of(request: HttpRequest, wizard: Wizard) -> list[Outcome]:
    jobs = {new.pk: wizard.job(new, "pool.create") for new in wizard.pools}
    rows = {row.job.pk: row for row in shown(request.user, [job for job in jobs.values() if job])}
    pools = {pool.uuid: pool for pool in Pool.objects.filter(uuid__in=[new.uuid for new in wizard.pools])}
    found = []
    for new in wizard.pools:
        job = jobs[new.pk]
        steps = steps_of(job.params) if job else []
        shown_steps = [(STEPS[name], name in new.done) for name in steps]
        found.append(Outcome(new, rows.get(job.pk) if job else None, shown_steps, pools.get(new.uuid)))
    return found


def result(request: HttpRequest, wizard: Wizard) -> HttpResponse:
    outcomes = outcomes_of(request, wizard)
    context = {
        "outcomes": outcomes,
        "source_url": wizard.url("source"),
        "is_working": any(one.row and one.row.job.is_active for one in outcomes),
        "made": [one for one in outcomes if MADE in one.new.done],
        "failed": [one for one in outcomes if one.row and one.row.job.state == Job.State.FAILED],
    }
    return step_page(request, wizard, "result", context)
