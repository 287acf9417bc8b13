"""What people note on a pool, and how they protect it. Nothing of it is on the host."""

from typing import Any

from pools.models import Pool, PoolNotes
from pools.notes import NotesForm, ProtectForm, protect, settle, unprotect, was_protected, write
from pools.operations import find, label
from storagemgr.jobs.operations import Danger, Operation, register


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

NOTE = register(
    Operation(
        name="pool.note",
        title="Notes",
        sentence="Owner, ticket, note, and until when it is needed.",
        icon="journal-text",
        right="pool.note",
        form=NotesForm,
        run=write(save),
        effects=lambda pool: ["It stands on the page of the pool. Nothing changes on the host."],
        label=label("Notes on"),
        **_SHARED,
    )
)

PROTECT = register(
    Operation(
        name="pool.protect",
        title="Protect",
        sentence="Nobody deletes it, or wipes, shrinks or deletes its volumes.",
        icon="shield-check",
        right="pool.note",
        form=ProtectForm,
        is_for_many=True,
        run=protect(save),
        effects=lambda pool: [
            "Here nobody can delete the storage of the pool or build over it, nor delete, wipe or shrink a volume "
            "in it. Who uses virsh can."
        ],
        label=label("Protect"),
        **_SHARED,
    )
)

UNPROTECT = register(
    Operation(
        name="pool.unprotect",
        title="Take the protection away",
        button="Unprotect",
        sentence="It and its volumes can be deleted again.",
        icon="shield-check",
        right="pool.unprotect",
        danger=Danger.ASKS,
        applies=was_protected,
        run=unprotect(save),
        effects=lambda pool: ["The pool, and the volumes that are not protected themselves, can be deleted."],
        label=label("Unprotect"),
        **_SHARED,
    )
)
