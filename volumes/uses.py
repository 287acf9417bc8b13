"""Who uses a volume, as its page shows it: each VM once, with all the ways in which it does."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from storagemgr.access.scopes import Actor, scope
from storagemgr.hosts.models import Host
from volumes.among import among
from volumes.dependents import Look
from volumes.models import DiskUse, Volume
from volumes.panel import HOW

VMS_SHOWN = 20


@dataclass
class VmUse:
    name: str
    host: Host
    running: bool
    is_indirect: bool = False
    ways: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Users:
    """`hidden`: VMs that the person may not see. `twins`: rows of the same bytes that the person sees."""

    vms: list[VmUse]
    more: int
    hidden: int
    twins: list[Volume]
    hidden_twins: int

    @property
    def is_none(self) -> bool:
        return not (self.vms or self.hidden)


def users_of(user: Actor, look: Look) -> Users:
    volume = look.volume
    overlays = DiskUse.objects.filter(among("volume_id", look.descendants)).exclude(kind="backing")
    shown = ("host", "volume__name", "domain_name", "domain_uuid", "running", "target")
    overlays = overlays.select_related("volume").only(*shown).prefetch_related("host")
    direct, hidden = _seen(user, look.uses)
    indirect, hidden_too = _seen(user, overlays)
    vms = _grouped(direct, indirect)
    others = [twin.pk for twin in look.twins if twin.pk != volume.pk]
    rows = Volume.objects.visible_to(user).filter(pk__in=others) if others else Volume.objects.none()
    seen = list(rows.select_related("pool__host").order_by("pool__host__name", "pool__name"))
    return Users(
        vms[:VMS_SHOWN], max(0, len(vms) - VMS_SHOWN), len(hidden | hidden_too), seen, len(others) - len(seen)
    )


def _seen(user: Actor, uses: Iterable[DiskUse]) -> tuple[list[DiskUse], set[tuple[int, Any]]]:
    """The uses that the person sees, and the VMs of the others."""
    uses = sorted(uses, key=lambda use: (use.domain_name, use.target, use.pk))
    if not uses or scope(user, "pool.view").everything:
        return uses, set()
    rows = DiskUse.objects.visible_to(user).filter(pk__in=[use.pk for use in uses])
    pks = set(rows.order_by().values_list("pk", flat=True))
    visible = [use for use in uses if use.pk in pks]
    seen = {(use.host_id, use.domain_uuid) for use in visible}
    return visible, {(use.host_id, use.domain_uuid) for use in uses} - seen


def _grouped(direct: Iterable[DiskUse], indirect: Iterable[DiskUse]) -> list[VmUse]:
    found: dict[tuple[int, object], VmUse] = {}
    for uses, is_indirect in ((direct, False), (indirect, True)):
        for use in uses:
            vm = found.setdefault(
                (use.host_id, use.domain_uuid), VmUse(use.domain_name, use.host, use.running, is_indirect)
            )
            vm.running = vm.running or use.running
            way = f"through its overlay {use.volume}" if is_indirect else way_of(use)
            if way not in vm.ways and not (is_indirect and not vm.is_indirect):
                vm.ways.append(way)
    return sorted(found.values(), key=lambda vm: (vm.is_indirect, not vm.running, vm.name))


def way_of(use: DiskUse) -> str:
    """ "as vda, disk, writable, by its path"."""
    if use.kind != "disk":
        parts = [f"{HOW.get(use.kind, use.kind)} {use.target}".strip()]
    else:
        parts = [f"as {use.target}" if use.target else "as a disk", *filter(None, [use.device])]
        parts.append("read only" if use.readonly else "writable")
    if use.pool_name:
        parts.append(f"through the pool {use.pool_name}")
    elif "://" in use.path:
        parts.append("over the network")
    elif use.path:
        parts.append("by its path")
    return ", ".join(parts)
