"""Makes a pool on a host, step by step, and undoes what was made of it."""

import secrets as random
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

from django import forms
from django.conf import settings
from django.urls import reverse
from django.utils import timezone

from pools import sync
from pools.configuration import history
from pools.making import overwriting
from pools.making.limits import limited
from pools.making.plans import (
    MADE,
    MADE_DIRECTORY,
    ON_A_DIRECTORY,
    STEPS,
    effects_of,
    is_tested,
    plan_of,
    problems_of,
    steps_of,
    virsh_lines,
)
from pools.models import NewPool, Pool, PoolDraft
from storagemgr.jobs import sealed
from storagemgr.jobs.models import Job
from storagemgr.jobs.operations import (
    Danger,
    Finding,
    Operation,
    OperationForm,
    Run,
    Step,
    register,
)
from storagemgr.jobs.pages import TypedName
from storagemgr.virt import pool_xml, secrets
from storagemgr.virt import pools as virt_pools
from storagemgr.virt.connection import Connection
from storagemgr.virt.errors import VirtError
from storagemgr.virt.look import LOOK_PREFIX

CALL_S = 20.0
START_S = float(settings.JOB_LIMIT)
FORMAT_S = 24 * 3600.0


def find(job: Job) -> NewPool | None:
    rows = NewPool.objects.select_related("host", "draft")
    return rows.filter(host_id=job.host_id, uuid=job.pool_uuid).first()


class DraftForm(OperationForm):
    """Nothing to fill in: it is all in the draft, which may have been left half done."""

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        draft = self.target.draft
        if draft is None or not draft.name or problems_of(draft):
            raise forms.ValidationError(
                "The draft is not complete, or something in it is wrong. Go through its steps."
            )
        return cleaned


class CreationForm(DraftForm):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if plan_of(self.target).get("build") == "overwrite":
            self.fields["typed_word"] = TypedName("overwrite", "the word overwrite")

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        if "typed_word" in self.fields and not is_tested(self.target, self.target.draft):
            raise forms.ValidationError("Look first at what is on the device now: step Test of the draft.")
        return cleaned

    def params(self) -> dict[str, Any]:
        return plan_of(self.target)

    def secrets(self) -> dict[str, str]:
        return sealed.unseal(self.target.draft.sealed) if self.target.draft else {}


def _why_no_creation(new: NewPool) -> str:
    if MADE in new.done:
        return "It is made already."
    if not new.host.answers:
        return f"{new.host} does not answer now."
    return ""


def _create(run: Run) -> Iterator[Step]:
    plan, new = run.job.params, run.target
    _forget_elsewhere(run, new, plan)
    if plan["build"] == "overwrite" and "build" not in new.done:
        yield Step("Look at the device once more")
        overwriting.check(run, new, plan)
    for name in steps_of(plan):
        if name == "build" and name in new.done:
            # Built already by a creation that failed later; to build once more could destroy.
            continue
        yield Step(STEPS[name])
        # Looked at before the pool is defined, and noted once that is so: undoing removes what the definition says.
        makes = name == "define" and "build" not in new.done and _is_to_make_directory(run, plan)
        formats = name == "build" and plan["build"] in ("keep", "overwrite")
        act = partial(_ACTS[name], new=new, plan=plan, passwords=run.secrets)
        limited(run, FORMAT_S if formats else START_S, act)
        _note(new, *((MADE_DIRECTORY, name) if makes else (name,)))
        if name == "define":
            _show(run, new)
    _note(new, MADE)
    _show(run, new)
    forget_passwords(new)


def _is_to_make_directory(run: Run, plan: dict[str, Any]) -> bool:
    """Whether the build will make a directory that is not there now, so that undoing may remove it."""
    if plan["build"] == "no" or plan["type"] not in ON_A_DIRECTORY:
        return False
    return not limited(run, CALL_S, partial(is_directory, path=plan["target_path"]))


def look_name() -> str:
    return f"{LOOK_PREFIX}{int(time.time()):08x}{random.token_hex(4)}"


def is_directory(c: Connection, path: str) -> bool:
    """Whether the host has it, as a pool that is there for a moment tells; True where that cannot be known."""
    name, here = look_name(), {"target_path": path}
    try:
        look = virt_pools.create_transient(c, pool_xml.build("dir", name, "", here))
    except VirtError as error:
        if error.code in ("connection_lost", "denied"):
            raise
        return error.code != "not_found_on_host"
    virt_pools.stop(c, look)
    return True


def _store_secret(c: Connection, *, new: NewPool, plan: dict[str, Any], passwords: dict[str, str]) -> None:
    value = passwords.get("auth_password")
    if not value:
        raise VirtError(
            "secret_missing", "The password is not kept any more; type it once more in the step Source."
        )
    usage = {"usage_type": "ceph" if plan["type"] == "rbd" else "iscsi"}
    secrets.put_secret(c, **usage, usage_id=secrets.usage_id(str(new.uuid)), value=value, pool_name=new.name)


def _define(c: Connection, *, plan: dict[str, Any], **_: Any) -> None:
    virt_pools.define(c, plan["xml"], validate=True)


def _build(c: Connection, *, new: NewPool, plan: dict[str, Any], **_: Any) -> None:
    virt_pools.build(c, str(new.uuid), "" if plan["build"] == "yes" else plan["build"])


def _start(c: Connection, *, new: NewPool, plan: dict[str, Any], **_: Any) -> None:
    if not plan["persistent"]:
        virt_pools.create_transient(c, plan["xml"], build=plan["build"] != "no")
        return
    try:
        virt_pools.start(c, str(new.uuid))
    except VirtError as error:
        if error.code != "pool_active":
            raise


def _autostart(c: Connection, *, new: NewPool, **_: Any) -> None:
    virt_pools.set_autostart(c, str(new.uuid), True)


_ACTS = {
    "secret": _store_secret,
    "define": _define,
    "build": _build,
    "start": _start,
    "autostart": _autostart,
}


def _note(new: NewPool, *names: str) -> None:
    """Written at once: what was done is known even if this worker dies in the next step."""
    if new_ones := [name for name in names if name not in new.done]:
        new.done = [*new.done, *new_ones]
        NewPool.objects.filter(pk=new.pk).update(done=new.done)


def _forget_elsewhere(run: Run, new: NewPool, plan: dict[str, Any]) -> None:
    """A build for other storage, before the draft was changed, is none for this: nor is the directory it made."""
    earlier = Job.objects.filter(operation=CREATE.name, host_id=new.host_id, pool_uuid=new.uuid)
    last = earlier.filter(pk__lt=run.job.pk).order_by("pk").last()
    if last is None or not history.is_elsewhere(last.params["xml"], plan["xml"]):
        return
    if MADE_DIRECTORY in new.done:
        run.log(f"{last.params['target_path']} was made for it before and stays")
    new.done = [name for name in new.done if name not in ("build", MADE_DIRECTORY)]
    NewPool.objects.filter(pk=new.pk).update(done=new.done)


def _show(run: Run, new: NewPool) -> None:
    """The pool in the list, without waiting for the next reading of its host."""
    now = timezone.now()
    first = {"name": new.name, "type": run.job.params.get("type", ""), "state": Pool.State.INACTIVE}
    pool, _ = Pool.objects.get_or_create(
        host=new.host, uuid=new.uuid, defaults=first | {"state_since": now, "seen_at": now}
    )
    connection = run.open()
    maker = history.Maker(run.job.requester_name, run.job.pk, run.job.started_at or now)
    # What libvirt adds when the pool starts is nobody's change.
    sync.read_one(connection, pool, None if history.latest(pool) else maker)
    Pool.objects.filter(pk=pool.pk).update(is_changed=True)


def forget_passwords(new: NewPool) -> None:
    """Those of the draft, once its pool is made on every host that was not left out."""
    draft = PoolDraft.objects.filter(pk=new.draft_id).first()
    if draft is None:
        return
    left_out = draft.options.get("left_out", [])
    waiting = draft.pools.exclude(host_id__in=left_out)
    if all(MADE in other.done for other in waiting):
        PoolDraft.objects.filter(pk=draft.pk).update(sealed="")


def _settle(run: Run) -> Finding:
    """Which steps are true on the host now."""
    plan, new = run.job.params, run.target
    if new is None:
        return Finding(Job.State.FAILED, "The draft is gone; look at the host's pools.", "end_unknown")
    try:
        status = virt_pools.read_pool(run.open(), str(new.uuid))
    except VirtError as error:
        if error.code != "no_pool":
            raise
        status = None
    told = {
        "define": status is not None and status.persistent,
        "start": status is not None and status.state in sync.ACTIVE,
        "autostart": status is not None and status.autostart,
    }
    known = set(new.done) - told.keys() | {name for name, is_so in told.items() if is_so}
    new.done = [name for name in (MADE_DIRECTORY, *STEPS) if name in known]
    NewPool.objects.filter(pk=new.pk).update(done=new.done)
    if status is not None:
        _show(run, new)
    if set(steps_of(plan)) <= known:
        _note(new, MADE)
        forget_passwords(new)
        return Finding(Job.State.SUCCEEDED, "All of it was done.")
    return Finding(Job.State.FAILED, "It was not done to its end.", "creation_cut_short")


def done_of(job: Job) -> list[str]:
    """The titles of the steps that were done, for the page of the job."""
    new = find(job)
    return [title for name, title in STEPS.items() if new and name in new.done]


def _next_step(job: Job) -> tuple[str, str] | None:
    new = find(job)
    if job.state == Job.State.FAILED and new and new.done and MADE not in new.done:
        return "Undo what was done", reverse("pools:undo-creation", args=[new.pk])
    return None


def _made_pool(job: Job) -> Pool | None:
    return Pool.objects.filter(host_id=job.host_id, uuid=job.pool_uuid).first()


CREATE = register(
    Operation(
        name="pool.create",
        title="Make",
        button="Make it",
        sentence="Makes the pool of a draft on this host.",
        icon="check-lg",
        right="pool.define",
        target=NewPool,
        form=CreationForm,
        find=find,
        danger=Danger.ASKS,
        is_exclusive=True,
        run=_create,
        settle=_settle,
        why_off=_why_no_creation,
        effects=lambda new: [sentence for _, sentence in effects_of(plan_of(new))],
        virsh=lambda new, plan: "\n".join(virsh_lines(new, plan)),
        label=lambda new, plan: f"Make {new.name}",
        result=_made_pool,
        done=done_of,
        next_step=_next_step,
    )
)
