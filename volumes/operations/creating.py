"""Making an empty volume."""

from pools.models import Pool
from pools.operations import check as check_pool
from pools.operations import find as find_pool
from pools.operations import once_it_answers
from storagemgr.jobs.operations import Operation, Run, Step, register
from storagemgr.virt import volumes as virt_volumes
from volumes.forms import CreateForm
from volumes.operations.base import Events, Params, lock, made, read_new, settle_new, virsh, why_off_in


def _why_no_create(pool: Pool) -> str:
    if pool.type == "disk":
        return "The kernel names partitions by their number; make this one with virsh vol-create-as, then refresh."
    return why_off_in(pool, "volume.create")


def _create(run: Run) -> Events:
    pool, params, connection = run.target, run.job.params, run.open()
    yield Step(f"Create {params['name']}")
    virt_volumes.create(
        connection,
        str(pool.uuid),
        virt_volumes.NewVolume(
            name=params["name"],
            format=params.get("format", ""),
            capacity=params["capacity"],
            preallocation="falloc" if params["space"] == "full" else "off",
        ),
    )
    yield Step("Read the new volume")
    read_new(connection, pool, params["name"])


def _virsh_create(pool: Pool, params: Params) -> str:
    words: list[object] = [
        "vol-create-as",
        pool.name,
        params.get("name", "NAME"),
        params.get("capacity", "SIZE"),
    ]
    if params.get("format"):
        words += ["--format", params["format"]]
    if params.get("space") != "full":
        words += ["--allocation", 0]
    elif params.get("format") == "qcow2":
        words += ["--allocation", params.get("capacity", "SIZE"), "--prealloc-metadata"]
    return virsh(pool, *words)


CREATE = register(
    Operation(
        name="volume.create",
        title="New volume",
        sentence="Makes an empty disk in this pool.",
        icon="plus-lg",
        right="volume.create",
        target=Pool,
        find=find_pool,
        check=check_pool,
        form=CreateForm,
        run=_create,
        settle=once_it_answers(settle_new),
        result=made,
        is_quick=True,
        why_off=_why_no_create,
        locks=lambda pool, params: [lock(pool, params["name"], is_write=True)],
        volume_of=lambda pool, params: params["name"],
        virsh=_virsh_create,
        label=lambda pool, params: f"Create {params['name']}",
    )
)
