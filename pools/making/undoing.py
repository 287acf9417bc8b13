"""Takes back what was done of a pool whose creation failed. Never data."""

from collections.abc import Iterator
from functools import partial
from typing import Any

from pools.making.creation import START_S, find
from pools.making.limits import limited
from pools.making.plans import MADE, MADE_DIRECTORY, ON_A_DIRECTORY
from pools.models import NewPool, Pool
from pools.operations import running_vms
from storagemgr.jobs.models import Job
from storagemgr.jobs.operations import Danger, Finding, Operation, Run, Step, register
from storagemgr.virt import pool_xml, secrets
from storagemgr.virt import pools as virt_pools
from storagemgr.virt.connection import Connection
from storagemgr.virt.errors import VirtError


def undo_effects(new: NewPool) -> list[str]:
    kind, values = (new.draft.type, new.draft.values) if new.draft else ("", {})
    said = {
        "start": "Stops the pool. The data of the storage behind it stays.",
        MADE_DIRECTORY: f"Removes the directory {values.get('target_path', '')} that was made for it, if it is empty.",
        "define": "Makes libvirt forget the pool (undefine).",
        "secret": "Deletes the password from libvirt's secrets there.",
    }
    found = [sentence for name, sentence in said.items() if name in new.done]
    if "build" in new.done and kind not in ON_A_DIRECTORY:
        found.append("What the build wrote on the devices stays: nothing is deleted there.")
    return found


def _why_no_undo(new: NewPool) -> str:
    if MADE in new.done:
        return "It was made completely. Stop and forget it on its own page."
    if not new.done:
        return "Nothing was done, so there is nothing to undo."
    if not new.host.answers:
        return f"{new.host} does not answer now."
    pool = Pool.objects.filter(host_id=new.host_id, uuid=new.uuid).first()
    if pool and (vms := running_vms(pool)):
        return f"Running VMs have disks here: {', '.join(vms[:3])}."
    return ""


def _undo(run: Run) -> Iterator[Step]:
    new, uuid_ = run.target, str(run.target.uuid)
    for name, (title, act) in _UNDOES.items():
        if name not in new.done:
            continue
        yield Step(title)
        try:
            limited(run, START_S, partial(act, uuid_=uuid_))
        except VirtError as error:
            if error.code not in _UNDONE_ALREADY[name]:
                raise
            run.log(f"{title}: {error.detail or error.code}")
        _forget(new, name, *(("autostart", "build") if name == "define" else ()))
    _forget(new, "build", "autostart")
    Pool.objects.filter(host_id=new.host_id, uuid=new.uuid).delete()


def _forget(new: NewPool, *names: str) -> None:
    new.done = [name for name in new.done if name not in names]
    NewPool.objects.filter(pk=new.pk).update(done=new.done)


def _forget_secret(c: Connection, uuid_: str) -> None:
    secrets.forget_secret(c, pool_xml.own_secret(uuid_))


_UNDOES: dict[str, tuple[str, Any]] = {
    "start": ("Stop", lambda c, uuid_: virt_pools.stop(c, uuid_)),
    MADE_DIRECTORY: ("Remove the empty directory", lambda c, uuid_: virt_pools.delete(c, uuid_)),
    "define": ("Forget the pool", lambda c, uuid_: virt_pools.undefine(c, uuid_)),
    "secret": ("Delete the password", _forget_secret),
}
# A directory that is not empty any more stays.
_UNDONE_ALREADY: dict[str, tuple[str, ...]] = {
    "start": ("pool_inactive", "no_pool"),
    MADE_DIRECTORY: ("not_empty", "not_found_on_host", "no_pool"),
    "define": ("no_pool",),
    "secret": (),
}


def _settle_undo(run: Run) -> Finding:
    new = run.target
    if new is None or not new.done:
        return Finding(Job.State.SUCCEEDED, "All of it was undone.")
    return Finding(
        Job.State.FAILED, "It was not undone to its end; it can be asked for again.", "nothing_done"
    )


UNDO = register(
    Operation(
        name="pool.undo_creation",
        title="Undo the creation",
        button="Undo what was done",
        sentence="Takes back what was done before the creation failed.",
        icon="eraser",
        right="pool.define",
        target=NewPool,
        find=find,
        danger=Danger.ASKS,
        is_exclusive=True,
        run=_undo,
        settle=_settle_undo,
        why_off=_why_no_undo,
        effects=undo_effects,
        virsh=lambda new, params: "\n".join(
            f"virsh -c {new.host.uri} {word} {new.uuid}"
            for name, word in (
                ("start", "pool-destroy"),
                (MADE_DIRECTORY, "pool-delete"),
                ("define", "pool-undefine"),
            )
            if name in new.done
        ),
        label=lambda new, params: f"Undo what was made of {new.name}",
    )
)
