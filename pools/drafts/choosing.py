"""The first steps of a new pool: on which hosts, of which type."""

from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest, HttpResponse

from pools.drafts.pages import step_page
from pools.drafts.steps import Wizard, definable_hosts, not_begun
from pools.models import NewPool
from storagemgr.hosts.models import Host
from storagemgr.hosts.states import host_state
from storagemgr.jobs.pages import see
from storagemgr.virt.pool_fields import fields_of
from storagemgr.virt.pool_types import TYPES, PoolType

GROUPS = (
    ("Files", "Disk images are files in a directory.", ("dir", "fs", "netfs", "vstorage")),
    (
        "Disks of the host",
        "Disks are parts of what the host has.",
        ("logical", "disk", "zfs", "scsi", "mpath"),
    ),
    (
        "Over the network",
        "Disks come from another machine.",
        ("iscsi", "iscsi-direct", "rbd", "gluster", "sheepdog"),
    ),
)


def hosts(request: HttpRequest, wizard: Wizard) -> HttpResponse:
    offered = definable_hosts(request.user)
    error, chosen = "", {host.pk for host in wizard.hosts}
    if request.method == "POST":
        asked = set(request.POST.getlist("hosts"))
        chosen = {host.pk for host in offered if str(host.pk) in asked}
        if chosen:
            _choose(wizard, chosen)
            return see(wizard.after("hosts"))
        error = "Choose at least one host."
    made_on = {new.host_id for new in wizard.pools if new.done}
    context = {
        "offered": [(host, host_state(host), host.pk in chosen, host.pk in made_on) for host in offered],
        "error": error,
    }
    return step_page(request, wizard, "hosts", context, status=422 if error else 200)


def _choose(wizard: Wizard, chosen: set[int]) -> None:
    """A host where something was made already stays."""
    not_begun(wizard.draft.pools.exclude(host_id__in=chosen)).delete()
    known = set(wizard.draft.pools.values_list("host_id", flat=True))
    for host_id in sorted(chosen - known):
        NewPool.objects.create(draft=wizard.draft, host_id=host_id, name=wizard.draft.name)
    left_out = [pk for pk in wizard.options.get("left_out", []) if pk in chosen]
    wizard.draft.options = wizard.options | {"left_out": left_out}
    wizard.draft.save(update_fields=["options", "updated_at"])


@dataclass(frozen=True)
class Offer:
    kind: PoolType
    off: str


def why_not(kind: PoolType, hosts: list[Host]) -> str:
    """Why not all of these hosts can have such a pool, "" when they can or it is not known."""
    reasons = []
    for host in hosts:
        if not host.pool_types or host.pool_types.get(kind.name):
            continue
        version = f"libvirt {host.libvirt_version}" if host.libvirt_version else "libvirt"
        knows = (
            "is built or installed without it" if kind.name in host.pool_types else "does not know this type"
        )
        reasons.append(f"{version} on {host} {knows}.")
    return " ".join(reasons)


def _groups(hosts: list[Host]) -> list[tuple[str, str, list[Offer]]]:
    """Sheepdog was dropped by libvirt: it is there only where a host says that it is."""
    has_sheepdog = any(host.pool_types.get("sheepdog") for host in hosts)
    return [
        (
            title,
            words,
            [
                Offer(TYPES[name], why_not(TYPES[name], hosts))
                for name in names
                if name != "sheepdog" or has_sheepdog
            ],
        )
        for title, words, names in GROUPS
    ]


def type_(request: HttpRequest, wizard: Wizard) -> HttpResponse:
    groups = _groups(wizard.hosts)
    offers = {offer.kind.name: offer for _, _, found in groups for offer in found}
    error, chosen = "", wizard.draft.type
    if request.method == "POST":
        chosen = request.POST.get("type", "")
        offer = offers.get(chosen)
        error = "Choose a type." if offer is None else offer.off
        if not error:
            _set_type(wizard, chosen)
            return see(wizard.after("type"))
    context: dict[str, Any] = {"groups": groups, "chosen": chosen, "error": error}
    return step_page(request, wizard, "type", context, status=422 if error else 200)


def _set_type(wizard: Wizard, name: str) -> None:
    """Of the other type only the fields stay that this one has too."""
    draft = wizard.draft
    if draft.type == name:
        return
    fields = {field.name: field for field in fields_of(name)}
    draft.type = name
    draft.values = {
        key: value
        for key, value in draft.values.items()
        if key in fields and isinstance(value, list) == (fields[key].kind == "lines")
        and (fields[key].kind != "choice" or value in dict(fields[key].choices))
    }  # fmt: skip
    draft.options = {key: value for key, value in draft.options.items() if key == "left_out"}
    draft.sealed = ""
    draft.save()
    draft.pools.update(found=None, tested=None)
