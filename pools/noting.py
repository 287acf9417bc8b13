"""What people note on a pool, and how they protect it. Nothing of it is on the host."""

from typing import Any

from pools.models import Pool, PoolNotes
from pools.notes import declare_notes, declare_protect, declare_unprotect, settle
from pools.operations import find, label


def save(pool: Pool, values: dict[str, Any]) -> None:
    key = {"host_id": pool.host_id, "pool_uuid": pool.uuid}
    PoolNotes.objects.update_or_create(**key, defaults={**values, "pool": pool})


_SHARED: dict[str, Any] = {
    "target": Pool,
    "find": find,
    "is_free": True,
    "is_quick": True,
    "settle": settle,
    "virsh": lambda pool, params: "",
}

declare_notes("pool", save, label, _SHARED)
declare_protect(
    "pool",
    save,
    label,
    _SHARED,
    sentence="Nobody deletes it, or wipes, shrinks or deletes its volumes.",
    effect="Here nobody can delete the storage of the pool or build over it, nor delete, wipe or shrink a volume "
    "in it. Who uses virsh can.",
)
declare_unprotect(
    "pool",
    save,
    label,
    _SHARED,
    sentence="It and its volumes can be deleted again.",
    effect="The pool, and the volumes that are not protected themselves, can be deleted.",
)
