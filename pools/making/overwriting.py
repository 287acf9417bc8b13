"""Before a new pool is built over what is there: whether it is what a person saw, and whether anybody uses it."""

import dataclasses
import json
from collections.abc import Iterable
from functools import partial
from typing import Any

from lxml import etree

from pools import devices
from pools.devices import Contents, some
from pools.making.limits import limited
from pools.models import NewPool, Pool
from storagemgr.jobs.operations import OperationFailed, Run
from storagemgr.virt import domains
from storagemgr.virt.connection import Connection
from storagemgr.virt.content import inspect

LOOK_S = 60.0


def why_in_use(new: NewPool, contents: Contents) -> str:
    """Who has a device of these under any of its names, as a sentence; "" for nobody. Reads rows only."""
    names, groups = devices.names_in(contents), devices.groups_in(contents)
    others = Pool.objects.filter(host=new.host_id).exclude(uuid=new.uuid)
    if devices.pools_among(others, names, groups) or any(on_it.get("pools") for on_it in contents.values()):
        return "Another pool of the host uses the same device."
    built = others.filter(volumes__path__in=names, volumes__uses__isnull=False)
    vms = {
        *devices.vms_on(new.host, names, groups),
        *built.values_list("volumes__uses__domain_name", flat=True),
    }
    return _of_vms(vms)


def _of_vms(vms: Iterable[str]) -> str:
    names = some(sorted(vms))
    return (
        f"VMs have a disk there: {names}. Detach it from them first, also when they are shut off."
        if names
        else ""
    )


def check(run: Run, new: NewPool, plan: dict[str, Any]) -> None:
    """Looks once more; OperationFailed changed_since when something else is there, or somebody uses it by now."""
    paths = [device.get("path", "") for device in etree.fromstring(plan["xml"]).iterfind("source/device")]
    shown = plan.get("seen") or {}
    now = limited(run, LOOK_S, partial(_look, paths=paths, is_defined="define" in new.done))
    if devices.digest(shown) != devices.digest(now):
        raise OperationFailed("changed_since", devices.difference(shown, now))
    if why := why_in_use(new, now):
        raise OperationFailed("changed_since", why)
    names, groups = devices.names_in(now), devices.groups_in(now)
    uses = limited(run, LOOK_S, domains.list_disk_uses)
    if why := _of_vms({use.domain_name for use in uses if devices.is_on(use.path, names, groups)}):
        raise OperationFailed("changed_since", why)


def _look(c: Connection, paths: list[str], is_defined: bool) -> Contents:
    found = {path: inspect(c, path, is_in_pool=is_defined) for path in paths}
    plain: Contents = json.loads(json.dumps({path: dataclasses.asdict(one) for path, one in found.items()}))
    return plain
