"""What can be done with a pool, each declared once."""

from collections.abc import Callable, Iterator
from typing import Any

from django.utils import timezone
from django.utils.timezone import localtime

from pools import safety, sync
from pools.devices import vms_among, vms_of
from pools.models import Pool
from storagemgr.hosts import embedded
from storagemgr.jobs.models import Job
from storagemgr.jobs.operations import (
    Danger,
    Finding,
    Operation,
    OperationFailed,
    Progress,
    Run,
    Step,
    register,
)
from storagemgr.virt import domains
from storagemgr.virt import pools as virt_pools
from storagemgr.virt.errors import VirtError

Events = Iterator[Step | Progress]


def find(job: Job) -> Pool | None:
    return Pool.objects.select_related("host").filter(host_id=job.host_id, uuid=job.pool_uuid).first()


def unreachable(pool: Pool) -> str:
    """Why nothing can be asked of this pool now, "" when it answers."""
    if not pool.host.answers:
        return f"{pool.host} has not answered since {localtime(pool.host.state_since):%H:%M}."
    if pool.unreachable_since:
        return f"{pool} has not answered since {localtime(pool.unreachable_since):%H:%M}."
    return ""


def check(run: Run) -> None:
    """Read the pool again: the row may be seconds old, and somebody may have used virsh."""
    try:
        sync.read_one(run.open(), run.target)
    except VirtError as error:
        if error.code == "no_pool":
            raise OperationFailed("target_gone") from error
        raise


def _act(title: str, action: Any) -> Any:
    """The function of an operation that is one libvirt call on the pool."""

    def act(run: Run) -> Events:
        yield Step(title)
        connection = run.open()
        try:
            action(connection, str(run.target.uuid))
        finally:
            # Also after a failure: a refresh that fails has stopped the pool.
            read_again(connection, run.target)

    return act


def read_again(connection: Any, pool: Pool) -> None:
    try:
        sync.read_one(connection, pool)
        Pool.objects.filter(pk=pool.pk).update(is_changed=True)
    except VirtError as error:
        if error.code != "no_pool":
            raise
        pool.delete()


def once_it_answers(settle: Callable[[Run], Finding]) -> Callable[[Run], Finding]:
    """Not asked of a pool that does not answer: each such call would stay in libvirtd until it does."""

    def careful(run: Run) -> Finding:
        pool = find(run.job)
        if pool is not None and (reason := unreachable(pool)):
            return Finding(None, f"Cannot look yet: {reason}")
        return settle(run)

    return careful


def _settled(expected: Any, done: str) -> Any:
    """How an interrupted one-call operation ended: `expected(pool)` is true of the pool when it was done."""

    def settle(run: Run) -> Finding:
        pool = run.target
        if pool is not None:
            read_again(run.open(), pool)
            pool = find(run.job)
        if pool is not None and expected(pool):
            return Finding(Job.State.SUCCEEDED, done)
        return Finding(Job.State.FAILED, "It was not done; it can be asked for again.", "nothing_done")

    return once_it_answers(settle)


def virsh(command: str) -> Any:
    return lambda pool, params: f"virsh -c {pool.host.uri} {command} {pool.uuid}"


def label(verb: str) -> Any:
    return lambda pool, params: f"{verb} {pool.name}"


def running_vms(pool: Pool) -> list[str]:
    """Also those whose disk is below the pool's directory and no volume of it."""
    return vms_of(pool, running=True)


def _why_no_start(pool: Pool) -> str:
    return (
        "It is running already." if pool.is_active else unreachable(pool) or pool.kind.why_not("pool.start")
    )


def _why_no_refresh(pool: Pool) -> str:
    return unreachable(pool) or ("" if pool.is_active else "It is stopped; start it first.")


def _why_no_stop(pool: Pool) -> str:
    if reason := unreachable(pool):
        return reason
    if not pool.is_active:
        return "It is stopped already."
    if pool.type != "dir" and (vms := running_vms(pool)):
        names = ", ".join(vms[:3]) + (" and others" if len(vms) > 3 else "")
        return f"Running VMs have disks here: {names}. Shut them down or move their disks first."
    return ""


def _check_stop(run: Run) -> None:
    """The VMs as well: one may have been started since the page was shown."""
    check(run)
    pool = find(run.job)
    if pool is None or pool.type == "dir" or not pool.is_active:
        return
    running = [use for use in domains.list_disk_uses(run.open()) if use.running]
    if vms := vms_among(pool, running):
        raise OperationFailed("changed_since", f"Running VMs have disks here: {', '.join(vms[:3])}.")


def _stop_effects(pool: Pool) -> list[str]:
    effects = [pool.kind.stop]
    if not pool.persistent:
        effects.append("The pool is transient: stopping it also forgets its definition.")
    if vms := running_vms(pool):
        effects.append(f"VMs that run from it go on running: {', '.join(vms[:5])}.")
    effects.append("Its volumes cannot be listed, made or cloned until it is started again.")
    return effects


def _why_no_autostart(pool: Pool) -> str:
    return unreachable(pool) or (
        "" if pool.persistent else "The pool is transient; only defined pools start by themselves."
    )


START = register(
    Operation(
        name="pool.start",
        title="Start",
        sentence="Makes the pool and its volumes usable.",
        icon="play-fill",
        right="pool.start",
        target=Pool,
        find=find,
        check=check,
        is_exclusive=True,
        is_quick=True,
        is_for_many=True,
        is_limited=True,
        run=_act("Start the pool", virt_pools.start),
        settle=_settled(lambda pool: pool.is_active, "The pool runs."),
        why_off=_why_no_start,
        effects=lambda pool: [pool.kind.start],
        virsh=virsh("pool-start"),
        label=label("Start"),
    )
)

REFRESH = register(
    Operation(
        name="pool.refresh",
        title="Refresh",
        sentence="Looks at the storage again: finds what changed outside libvirt.",
        icon="arrow-repeat",
        right="pool.refresh",
        target=Pool,
        find=find,
        check=check,
        is_exclusive=True,
        is_quick=True,
        is_for_many=True,
        is_limited=True,
        is_coalesced=True,
        run=lambda run: _refresh(run),
        settle=_settled(lambda pool: pool.is_active, "The pool runs and was read again."),
        why_off=_why_no_refresh,
        effects=lambda pool: [
            pool.kind.refresh,
            "If the storage cannot be read, libvirt stops the pool. The data stays.",
        ],
        virsh=virsh("pool-refresh"),
        label=label("Refresh"),
    )
)

STOP = register(
    Operation(
        name="pool.stop",
        title="Stop",
        sentence="Takes the pool out of use. The data stays.",
        icon="stop-fill",
        right="pool.stop",
        target=Pool,
        find=find,
        check=_check_stop,
        danger=Danger.ASKS,
        is_exclusive=True,
        is_quick=True,
        is_for_many=True,
        is_limited=True,
        run=_act("Stop the pool", virt_pools.stop),
        settle=_settled(lambda pool: not pool.is_active, "The pool is stopped."),
        why_off=_why_no_stop,
        effects=_stop_effects,
        checks=lambda pool, user: safety.checks(pool, "stop", user),
        virsh=virsh("pool-destroy"),
        label=label("Stop"),
    )
)

AUTOSTART_ON = register(
    Operation(
        name="pool.autostart_on",
        title="Start with the host",
        button="Turn on",
        sentence="Now the pool stays stopped after the host boots, until somebody starts it.",
        icon="power",
        right="pool.start",
        target=Pool,
        find=find,
        check=check,
        is_quick=True,
        is_for_many=True,
        is_limited=True,
        applies=lambda pool: not pool.autostart,
        run=_act("Set autostart", lambda connection, uuid: virt_pools.set_autostart(connection, uuid, True)),
        settle=_settled(lambda pool: pool.autostart, "The pool starts with the host."),
        why_off=_why_no_autostart,
        effects=lambda pool: [f"libvirt starts the pool whenever {pool.host} boots."],
        virsh=virsh("pool-autostart"),
        label=label("Start with the host:"),
    )
)

AUTOSTART_OFF = register(
    Operation(
        name="pool.autostart_off",
        title="Do not start with the host",
        button="Turn off",
        sentence="Now libvirt starts the pool when the host boots.",
        icon="power",
        right="pool.start",
        target=Pool,
        find=find,
        check=check,
        is_quick=True,
        is_for_many=True,
        is_limited=True,
        applies=lambda pool: pool.autostart,
        run=_act(
            "Clear autostart", lambda connection, uuid: virt_pools.set_autostart(connection, uuid, False)
        ),
        settle=_settled(lambda pool: not pool.autostart, "The pool does not start with the host."),
        why_off=_why_no_autostart,
        effects=lambda pool: [f"After {pool.host} boots, the pool stays stopped until somebody starts it."],
        virsh=virsh("pool-autostart --disable"),
        label=label("Do not start with the host:"),
    )
)


def _refresh(run: Run) -> Events:
    pool = Pool.objects.filter(pk=run.target.pk)
    try:
        yield from _act("Refresh the pool", virt_pools.refresh)(run)
    except VirtError as error:
        pool.update(refresh_error=error.detail or error.code)
        raise
    pool.update(refresh_error="", refreshed_at=timezone.now())


def _remove_examples(run: Run) -> Events:
    yield Step("Delete the example volumes, their directory and the pool")
    embedded.remove_examples(run.open())
    run.target.delete()


def _is_examples(pool: Pool) -> bool:
    """By its directory too: somebody's own pool may have the name."""
    ours = embedded.offered_pools(pool.host.mode).get(embedded.EXAMPLES)
    return pool.host.is_embedded and pool.name == embedded.EXAMPLES and pool.target_path == str(ours)


def _why_no_removal(pool: Pool) -> str:
    if reason := unreachable(pool):
        return reason
    used = pool.volumes.filter(uses__isnull=False).order_by("uses__domain_name")
    if vm := used.values_list("uses__domain_name", flat=True).first():
        return f"{vm} has a disk here. Detach it there first."
    others = Pool.objects.filter(host=pool.host_id).exclude(pk=pool.pk)
    if others.filter(volumes__backing_path__in=pool.volumes.values("path")).exists():
        return "Volumes of other pools are built on a volume here. They would be lost with it."
    return safety.why_not(pool, "delete")


REMOVE_EXAMPLES = register(
    Operation(
        name="pool.remove_examples",
        title="Remove the examples",
        button="Remove",
        sentence="Deletes the example volumes, their directory and this pool.",
        icon="trash3",
        right="pool.delete",
        target=Pool,
        find=find,
        danger=Danger.ASKS,
        is_exclusive=True,
        is_quick=True,
        is_limited=True,
        applies=_is_examples,
        run=_remove_examples,
        why_off=_why_no_removal,
        effects=lambda pool: [
            "Deletes the example volumes that were made at the first start, and everything else in this pool.",
            "Removes the pool's directory and its definition. They do not come back.",
        ],
        virsh=lambda pool, params: f"virsh -c {pool.host.uri} pool-undefine {pool.uuid}",
        label=label("Remove"),
    )
)
