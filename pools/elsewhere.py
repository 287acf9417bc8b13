"""Who needs the storage of a pool by another pool: of the same directory, or on a host that mounts the same export."""

from typing import Any

from django.db.models import Q, QuerySet

from pools import devices
from pools.devices import some
from pools.models import Pool, PoolNotes
from pools.same_place import pools_of_place, volumes_elsewhere
from storagemgr.hosts import calls
from storagemgr.hosts.reaching import in_time, open_in_time
from storagemgr.jobs.operations import OperationFailed, Run
from storagemgr.virt import domains
from storagemgr.virt.errors import VirtError

READ_S = 10.0


def has_protected_pool(pool: Pool) -> bool:
    beside = Q(pool__in=_others(pool).values("pk")) | Q(pool__in=volumes_elsewhere(pool).values("pool"))
    return any(notes.is_protected for notes in PoolNotes.objects.filter(beside, protected_at__isnull=False))


def uses_elsewhere(pool: Pool) -> QuerySet[Any]:
    """Those of VMs that are none of devices.vms_of(pool)."""
    means = Q(volume__in=volumes_elsewhere(pool).values("pk"))
    for other in _others(pool):
        means |= Q(host=other.host_id) & devices.disks_in(other)
    uses = pool.host.disk_uses.model.objects.filter(means)
    return uses.exclude(host=pool.host_id, domain_name__in=devices.vms_of(pool))


def built_on_elsewhere(pool: Pool) -> set[int]:
    """The ids of the pools, of whatever host, that need the same bytes by another path."""
    found: set[int] = set()
    rows = volumes_elsewhere(pool).exclude(path="").order_by()
    for host_id in set(rows.values_list("pool__host", flat=True)):
        paths = rows.filter(pool__host=host_id).values("path")
        built = Pool.objects.filter(host=host_id, volumes__backing_path__in=paths)
        found.update(built.values_list("pk", flat=True))
    for other in _others(pool):
        found |= devices.pools_built_on(other)
    return found - set(pools_of_place(pool).values_list("pk", flat=True))


def refuse_used(run: Run, pool: Pool) -> None:
    """Asks the other hosts now. Of one that does not answer, what it said last stays in force (safety.why_not)."""
    for other in _others(pool).exclude(host=pool.host_id).select_related("host"):
        host, key = other.host, ("uses", other.host_id)
        if not host.answers or calls.overdue_since(key):
            continue
        try:
            with open_in_time(host) as connection:
                uses = in_time(host, key[0], READ_S, lambda: domains.list_disk_uses(connection))
        except VirtError as error:
            run.log(f"{host} shares the storage and could not be asked about its VMs: {error.code}")
            continue
        if vms := devices.vms_among(other, uses):
            number = f"{len(vms)} VMs" if len(vms) > 1 else "A VM"
            run.log(f"{host}: {some(vms)}")
            raise OperationFailed("changed_since", f"{number} of another host have a disk here.")


def _others(pool: Pool) -> QuerySet[Pool]:
    return pools_of_place(pool).exclude(pk=pool.pk).order_by()
