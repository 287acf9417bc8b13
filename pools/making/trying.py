"""Tries out on a host what a new pool would be, and leaves nothing behind there."""

import dataclasses
import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from django.utils import timezone

from pools.making.creation import DraftForm, find, look_name
from pools.making.finding import unanswering
from pools.making.limits import limited
from pools.making.plans import fingerprint
from pools.models import Look, NewPool
from storagemgr.jobs import sealed
from storagemgr.jobs.models import Job
from storagemgr.jobs.operations import Finding, Operation, Run, Step, register
from storagemgr.virt import content, discovery, pool_xml, secrets, volumes
from storagemgr.virt import pools as virt_pools
from storagemgr.virt.connection import Connection
from storagemgr.virt.errors import VirtError
from storagemgr.virt.pool_types import pool_type

TEST_S = 60.0
LATE_LOOKS = 5
MIB = 1024**2


class TestForm(DraftForm):
    def params(self) -> dict[str, Any]:
        return test_params(self.target)

    def secrets(self) -> dict[str, str]:
        return sealed.unseal(self.target.draft.sealed) if self.target.draft else {}


def test_params(new: NewPool) -> dict[str, Any]:
    draft = new.draft
    if draft is None:
        return {}
    return {
        "type": draft.type,
        "values": draft.values,
        "build": draft.options.get("build", "no"),
        "of": fingerprint(draft),
    }


def _why_no_test(new: NewPool) -> str:
    if new.draft is None:
        return "Its draft was thrown away."
    if not pool_type(new.draft.type).test:
        return "There is nothing to try without making a pool of this type."
    return unanswering(new)


def _test(run: Run) -> Iterator[Step]:
    params, new = run.job.params, run.target
    how = pool_type(params["type"]).test
    _end_late_looks(run)
    yield Step(TEST_WORDS[how])
    act = {"mount": _mount, "connect": _connect, "discover": _discover, "look": _look}[how]
    said = limited(run, TEST_S, partial(act, look=look_of(run.job), params=params, passwords=run.secrets))
    for path, on_it in said.pop("contents", {}).items():
        Look.objects.update_or_create(
            host=new.host, path=path, defaults={"content": on_it, "at": timezone.now()}
        )
    NewPool.objects.filter(pk=new.pk).update(
        tested={"of": params["of"], "how": how, "build": params["build"]} | said, tested_at=timezone.now()
    )


def _end_late_looks(run: Run) -> None:
    """Those of tests that were given up: their call ends by itself what it made, unless its worker died before."""
    late = Job.objects.filter(host_id=run.job.host_id, operation=run.job.operation, error_code="too_slow")
    for job in late.order_by("-pk")[:LATE_LOOKS]:
        try:
            limited(run, TEST_S, partial(end_look, look=look_of(job)))
        except VirtError as error:
            run.log(f"what job {job.pk} made is still there: {error.detail or error.code}")


TEST_WORDS = {
    "mount": "Mount it for a moment, write and delete a small file, unmount it",
    "connect": "Connect to it for a moment",
    "discover": "Ask the portal for its targets",
    "look": "Look at the device",
}


def _words(new: NewPool) -> str:
    return TEST_WORDS.get(pool_type(new.draft.type).test, "") if new.draft else ""


def look_of(job: Job) -> str:
    """The UUID of the pool that is there for as long as this test, and no pool of anybody else."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"storagemgr/test/{job.pk}/{job.key}"))


@contextmanager
def look_secret(
    c: Connection, look: str, params: dict[str, Any], passwords: dict[str, str]
) -> Iterator[dict[str, Any]]:
    """The values with a reference to a secret that is there for as long as the test."""
    values, password = dict(params["values"]), passwords.get("auth_password")
    if not password:
        yield values
        return
    kind = "ceph" if params["type"] == "rbd" else "iscsi"
    secret = secrets.put_secret(c, usage_type=kind, usage_id=secrets.usage_id(look), value=password)
    try:
        yield values | {"auth_secret": secret}
    finally:
        secrets.forget_secret(c, secret)


def _mount(c: Connection, look: str, params: dict[str, Any], passwords: dict[str, str]) -> dict[str, Any]:
    """Beside the place where it will be mounted, under a name of its own; whatever happens, it goes again."""
    name = look_name()
    path = f"{params['values']['target_path'].rstrip('/')}.{name}"
    values = params["values"] | {"target_path": path}
    if values.get("format") == "nfs":
        # Else mount tries a silent server for two minutes.
        values["mount_options"] = [*(values.get("mount_options") or []), "retry=0"]
    virt_pools.define(c, pool_xml.build(params["type"], name, look, values))
    try:
        virt_pools.build(c, look)
        virt_pools.start(c, look)
        status = virt_pools.read_pool(c, look)
        return {"capacity": status.capacity, "available": status.available} | _write(c, look)
    finally:
        end_look(c, look)


def _write(c: Connection, look: str) -> dict[str, Any]:
    """Whether a small volume can be made there; a share that may only be read is no failure."""
    name = f"{look_name()}.img"
    try:
        volumes.create(c, look, volumes.NewVolume(name=name, format="raw", capacity=MIB))
    except VirtError as error:
        if error.code not in ("permission_on_host", "no_space", "command_failed", "io_error"):
            raise
        return {"writes": False, "why": error.detail.splitlines()[0] if error.detail else error.code}
    volumes.delete(c, look, name)
    return {"writes": True}


def end_look(c: Connection, look: str) -> None:
    """Stop, remove the mount point, undefine; what is not so any more is passed over."""
    for end in (virt_pools.stop, virt_pools.delete, virt_pools.undefine):
        try:
            end(c, look)
        except VirtError as error:
            if error.code not in ("pool_inactive", "no_pool", "not_found_on_host", "no_support"):
                raise


def _connect(c: Connection, look: str, params: dict[str, Any], passwords: dict[str, str]) -> dict[str, Any]:
    with look_secret(c, look, params, passwords) as values:
        virt_pools.create_transient(c, pool_xml.build(params["type"], look_name(), look, values))
        try:
            status = virt_pools.read_pool(c, look)
        finally:
            virt_pools.stop(c, look)
    return {"capacity": status.capacity, "available": status.available, "volumes": status.volume_count}


def _discover(c: Connection, look: str, params: dict[str, Any], passwords: dict[str, str]) -> dict[str, Any]:
    values = params["values"]
    sources = discovery.find_sources(
        c,
        "iscsi",
        host=values.get("source_host", ""),
        port=values.get("source_port", ""),
        initiator=values.get("initiator", ""),
    )
    offered = [source.values.get("target_iqn") for source in sources]
    if values.get("target_iqn") not in offered:
        raise VirtError(
            "not_found_on_host", f"The portal offers {', '.join(map(str, offered)) or 'no target'}."
        )
    return {"offered": len(offered)}


def _look(c: Connection, look: str, params: dict[str, Any], passwords: dict[str, str]) -> dict[str, Any]:
    """What is on the devices now. A volume group that is used as it is is looked up by its name."""
    values = params["values"]
    if params["type"] == "logical" and params["build"] == "no":
        return _look_group(c, values.get("source_name", ""))
    paths = [values["device"]] if values.get("device") else list(values.get("devices") or [])
    if not paths:
        raise VirtError("invalid", "No device was named that a volume group could be built of.")
    found_on = {path: _plain(content.inspect(c, path)) for path in paths}
    return {"contents": found_on, "devices": found_on}


def _look_group(c: Connection, name: str) -> dict[str, Any]:
    groups = [source.values.get("source_name") for source in discovery.find_sources(c, "logical")]
    if name not in groups:
        raise VirtError(
            "not_found_on_host", f"The host has {', '.join(map(str, groups)) or 'no volume group'}."
        )
    return {"group": name}


def _plain(on_it: content.Content) -> dict[str, Any]:
    """In JSON types."""
    plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(on_it)))
    return plain


def _settle_test(run: Run) -> Finding:
    """Removes what a test that died left behind."""
    connection, look = run.open(), look_of(run.job)
    end_look(connection, look)
    if any(field.kind == "secret" for field in pool_type(run.job.params["type"]).fields):
        secrets.forget_secret(connection, pool_xml.own_secret(look))
    return Finding(
        Job.State.FAILED, "It was not finished. What it had made on the host is gone.", "nothing_done"
    )


TEST = register(
    Operation(
        name="pool.test",
        title="Test",
        sentence="Tries on the host whether a pool could be made so, and leaves nothing behind.",
        icon="check-circle",
        right="pool.define",
        target=NewPool,
        form=TestForm,
        find=find,
        run=_test,
        settle=_settle_test,
        why_off=_why_no_test,
        effects=lambda new: [f"{words}." for words in [_words(new)] if words],
        virsh=lambda new, params: f"virsh -c {new.host.uri} pool-create test.xml",
        label=lambda new, params: f"Test {new.name or 'a new pool'}",
    )
)
