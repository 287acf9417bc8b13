"""How the storage of a pool is destroyed, and how the pool itself is forgotten."""

from collections.abc import Iterator

from django.db.models import Q
from lxml import etree

from pools import building, devices, elsewhere, safety
from pools.devices import some
from pools.models import Pool
from pools.operations import check, find, label, once_it_answers, read_again, unreachable, virsh
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
from storagemgr.templatetags.storage import count, moment_long, size
from storagemgr.virt import domains, secrets
from storagemgr.virt import pools as virt_pools
from storagemgr.virt.connection import Connection
from storagemgr.virt.errors import VirtError
from storagemgr.virt.pool_guard import USAGE_PREFIX, own_secret
from storagemgr.virt.sizes import total

Events = Iterator[Step | Progress]

# Of the others libvirt removes an empty directory.
_DESTROYED = ("logical", "disk", "zfs")
_ON_DISKS = ("logical", "disk")


def _why_no_delete(pool: Pool) -> str:
    if reason := pool.kind.why_not("pool.delete") or unreachable(pool):
        return reason
    if pool.is_active:
        return "It is running. Stop it first."
    if vms := devices.vms_of(pool):
        return f"VMs have a disk here: {some(vms)}. Detach it from them first, also when they are shut off."
    if number := devices.built_on(pool):
        return f"Volumes or devices of {count(number, 'other pool')} of the host are built on volumes here."
    in_use = _why_in_use(pool) if pool.type in _ON_DISKS else ""
    return in_use or safety.why_not(pool, "delete")


def _why_in_use(pool: Pool) -> str:
    """By others that have its devices under whatever name; those that a look found too."""
    if others := devices.pools_on_devices(pool):
        who = "Another pool" if len(others) == 1 else count(len(others), "other pool")
        return f"{who} of the host uses the same device or a part of it."
    vms = some(devices.vms_on_devices(pool))
    return f"VMs have a disk on its device: {vms}. Detach it from them first." if vms else ""


def _delete_effects(pool: Pool) -> list[str]:
    what = _what_is_deleted(pool)
    return [*what, _how_fresh(pool), "The pool stays defined; it can be built again, or forgotten."]


def _what_is_deleted(pool: Pool) -> list[str]:
    volumes, on = _volumes(pool), some(devices.devices_of(pool))
    source = devices.source_of(pool, "name") or pool.name
    match pool.type:
        case "dir":
            left = f" It had {volumes}." if volumes else ""
            return [
                f"Removes the directory {pool.target_path}. It has to be empty, or nothing is done.{left}"
            ]
        case "logical":
            label_ = [f"Removes the LVM label from {on}."] if on else []
            return [
                f"Removes the volume group {source} with {volumes or 'all its logical volumes'}.",
                *label_,
            ]
        case "disk":
            lost = volumes or "all its partitions"
            return [f"Overwrites the start and the end of {on}, and with them {lost}."]
        case "zfs":
            more = "snapshots and datasets that libvirt does not list too"
            return [f"Destroys {source} with {volumes or 'everything in it'}, {more}."]
    return [f"{pool.kind.delete} It is {pool.target_path}."]


def _volumes(pool: Pool) -> str:
    """ "3 volumes (412 GiB): a, b, c", "" where none are known."""
    rows = pool.volumes.order_by("name")
    number, capacity = rows.count(), total(rows.values_list("capacity", flat=True))
    if not number:
        return ""
    names = list(rows.values_list("name", flat=True)[: devices.NAMED])
    more = f" and {number - len(names)} more" if number > len(names) else ""
    return f"{count(number, 'volume')} ({size(capacity)}): {', '.join(names)}{more}"


def _how_fresh(pool: Pool) -> str:
    if pool.volumes_read_at is None:
        return "Its volumes were never read here, so what is in it is not known. Start it to see."
    at = moment_long(pool.volumes_read_at)
    return f"Its volumes were last read at {at}, while it ran; what came since is not known here."


def _check_delete(run: Run) -> None:
    check(run)
    pool, connection = find(run.job), run.open()
    if pool is None:
        return
    if pool.type in _ON_DISKS:
        _learn_names(connection, pool)
    uses = domains.list_disk_uses(connection)
    names, groups = devices.names_of(pool), devices.groups_of(pool)
    vms = set(devices.vms_among(pool, uses))
    if pool.type in _ON_DISKS:
        vms |= {use.domain_name for use in uses if devices.is_on(use.path, names, groups)}
    if vms:
        raise OperationFailed("changed_since", f"VMs have a disk here: {some(sorted(vms))}.")
    elsewhere.refuse_used(run, pool)


def _learn_names(connection: Connection, pool: Pool) -> None:
    """By a look at its devices. One whose path is none of a device is known by that path alone."""
    try:
        building.look_at(connection, pool)
    except VirtError as error:
        if error.code != "invalid":
            raise


def _delete(run: Run) -> Events:
    pool, connection = run.target, run.open()
    yield Step("Delete the storage")
    virt_pools.delete(connection, str(pool.uuid))
    if pool.type in _DESTROYED:
        pool.volumes.all().delete()
    read_again(connection, pool)


def _settle_delete(run: Run) -> Finding:
    if run.target is not None:
        read_again(run.open(), run.target)
    pool = find(run.job)
    if pool is None:
        return Finding(Job.State.FAILED, "The pool is gone.", "target_gone")
    if pool.is_active:
        return Finding(Job.State.FAILED, "The pool runs: its storage is there.", "nothing_done")
    text = "libvirt does not tell whether the storage was deleted. Start the pool: if it starts, it is there."
    return Finding(Job.State.FAILED, text, "end_unknown")


def _why_no_undefine(pool: Pool) -> str:
    if reason := unreachable(pool):
        return reason
    if not pool.persistent:
        return "The pool is transient: stopping it forgets it."
    return "It is running. Stop it first." if pool.is_active else ""


def _undefine_effects(pool: Pool) -> list[str]:
    effects = [f"{pool.host} forgets the definition of the pool. The data stays where it is."]
    if pool.autostart:
        effects.append(f"It does not start with {pool.host} any more.")
    named = pool.host.disk_uses.filter(pool_name=pool.name).order_by("domain_name")
    vms = list(named.values_list("domain_name", flat=True).distinct())
    if vms:
        effects.append(f"VMs that name this pool do not start any more: {some(vms)}.")
    if others := [name for name in devices.vms_of(pool) if name not in vms]:
        effects.append(f"VMs that have a disk here by its path keep it as it is: {some(others)}.")
    if _secret_of(pool.xml):
        effects.append("The password that was put on the host for this pool is removed there.")
    effects.append("To have it back, define it again; copy its XML from its page before.")
    return effects


def _undefine(run: Run) -> Events:
    pool, connection = run.target, run.open()
    yield Step("Forget the pool")
    virt_pools.undefine(connection, str(pool.uuid))
    _forget(connection, pool)


def _forget(connection: Connection, pool: Pool) -> None:
    """What is left when the host knows the pool no more: its row, and the password that was put there for it.

    Also one that its configuration named before and does not name any more.
    """
    takes_password = any(field.kind == "secret" for field in pool.kind.fields)
    host_id, uuid = pool.host_id, str(pool.uuid)
    pool.delete()
    if takes_password and not _is_needed(uuid, host_id):
        try:
            secrets.forget_secret(connection, own_secret(uuid))
        except VirtError as error:
            if error.code != "no_support":
                raise


def _secret_of(xml: str) -> str:
    """The UUID of the secret that was made for this pool and that it names, else ""."""
    if not xml:
        return ""
    root = etree.fromstring(xml.encode())
    pool_uuid = root.findtext("uuid", "").strip().lower()
    own = own_secret(pool_uuid)
    named = {
        secret.get("uuid") or secret.get("usage") or "" for secret in root.iterfind("source/auth/secret")
    }
    return own if pool_uuid and {name.lower() for name in named} & {own, USAGE_PREFIX + pool_uuid} else ""


def _is_needed(uuid: str, host_id: int) -> bool:
    """Whether another pool of the host names the secret of this one, which somebody did by hand."""
    named = Q(xml__icontains=own_secret(uuid)) | Q(xml__icontains=USAGE_PREFIX + uuid)
    return Pool.objects.filter(named, host=host_id).exclude(uuid=uuid).exists()


def _settle_undefine(run: Run) -> Finding:
    connection, pool = run.open(), run.target
    try:
        virt_pools.read_pool(connection, str(run.job.pool_uuid))
    except VirtError as error:
        if error.code != "no_pool":
            raise
        if pool is not None:
            _forget(connection, pool)
        return Finding(Job.State.SUCCEEDED, "The host does not know the pool any more.")
    return Finding(Job.State.FAILED, "It was not done; it can be asked for again.", "nothing_done")


UNDEFINE = register(
    Operation(
        name="pool.undefine",
        title="Forget",
        sentence="The host forgets the pool (undefine). The data stays.",
        icon="x-lg",
        right="pool.define",
        target=Pool,
        find=find,
        check=check,
        danger=Danger.ASKS,
        is_exclusive=True,
        is_quick=True,
        is_limited=True,
        is_for_many=True,
        run=_undefine,
        settle=once_it_answers(_settle_undefine),
        why_off=_why_no_undefine,
        effects=_undefine_effects,
        checks=lambda pool, user: safety.checks(pool, "undefine", user),
        virsh=virsh("pool-undefine"),
        label=label("Forget"),
    )
)

DELETE = register(
    Operation(
        name="pool.delete",
        title="Delete the storage",
        button="Delete",
        sentence="Destroys what the pool is made of. The pool stays defined.",
        icon="trash3",
        right="pool.delete",
        target=Pool,
        find=find,
        check=_check_delete,
        danger=Danger.DESTROYS,
        is_exclusive=True,
        is_for_many=True,
        run=_delete,
        settle=once_it_answers(_settle_delete),
        why_off=_why_no_delete,
        effects=_delete_effects,
        checks=lambda pool, user: safety.checks(pool, "delete", user),
        virsh=virsh("pool-delete"),
        label=label("Delete the storage of"),
    )
)
