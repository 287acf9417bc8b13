"""Which pools of the chosen hosts stand in the way of a new one: by name, by source, by directory."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import User

from pools.devices import WITH_DEVICES, is_on_device
from pools.models import Pool
from storagemgr.hosts.models import Host
from storagemgr.virt import pool_xml
from storagemgr.virt.errors import VirtError

# The field beside which a conflict of sources is said.
MAIN_FIELD = {
    **dict.fromkeys(("fs", "disk"), "device"),
    **dict.fromkeys(("iscsi", "iscsi-direct"), "target_iqn"),
    **dict.fromkeys(("dir", "mpath"), "target_path"),
    "netfs": "source_dir",
    "scsi": "adapter_kind",
}
HIDDEN = "a pool that you may not see"
Key = tuple[Any, ...]


def source_keys(pool_type: str, values: Mapping[str, Any]) -> set[Key]:
    """Two pools of one host with a key in common are about the same storage."""

    def said(*names: str) -> tuple[str, ...]:
        return tuple(str(values.get(name) or "").rstrip("/").lower() for name in names)

    match pool_type:
        case "fs" | "disk":
            keys: set[Key] = {("device", values.get("device"))}
        case "logical":
            keys = {("group", values.get("source_name"))}
            keys |= {("device", device) for device in values.get("devices") or []}
        case "iscsi" | "iscsi-direct":
            keys = {("target", pool_type, values.get("target_iqn"), values.get("initiator") or "")}
        case "scsi":
            names = ("adapter_name", "parent_address", "unique_id", "wwnn", "wwpn")
            keys = {("adapter", *said(*names))}
        case "mpath":
            keys = {("mpath",)}
        case "rbd":
            keys = {("rbd", monitor, *said("source_name")) for monitor in values.get("monitors") or []}
        case "dir":
            keys = set()
        case _:
            keys = {(pool_type, *said("source_host", "source_dir", "source_name"))}
    return {key for key in keys if any(key[1:]) or key == ("mpath",)}


@dataclass(frozen=True)
class Holder:
    """A pool that is in the way; `pool` is None for a person who may not see it."""

    host: Host
    pool: Pool | None

    @property
    def words(self) -> str:
        return f"the pool {self.pool.name}" if self.pool else HIDDEN


class Taken:
    """What the pools of these hosts use."""

    def __init__(self, user: User, hosts: Iterable[Host], *, but: Iterable[Any] = ()) -> None:
        self.hosts = {host.pk: host for host in hosts}
        rows = Pool.objects.filter(host__in=self.hosts).exclude(uuid__in=list(but))
        self.rows = list(rows.only("host_id", "uuid", "name", "type", "xml", "target_path"))
        seen = Pool.objects.visible_to(user).filter(pk__in=[row.pk for row in self.rows])
        self.visible = set(seen.values_list("pk", flat=True))
        self.keys = {row.pk: source_keys(row.type, _values(row.xml)) for row in self.rows}

    def _holders(self, rows: Iterable[Pool]) -> list[Holder]:
        return [Holder(self.hosts[row.host_id], row if row.pk in self.visible else None) for row in rows]

    def name(self, name: str) -> list[Holder]:
        return self._holders(row for row in self.rows if row.name == name)

    def source(self, pool_type: str, values: Mapping[str, Any]) -> list[Holder]:
        wanted = source_keys(pool_type, values)
        return self._holders(row for row in self.rows if self.keys[row.pk] & wanted)

    def device(self, names: Iterable[str], groups: Iterable[str]) -> list[Holder]:
        """Who has the device of these names, a part of it, or one of these LVM groups, which are on it."""
        known, on_it = set(names), set(groups)
        return self._holders(
            row for row in self.rows if row.type in WITH_DEVICES and is_on_device(row, known, on_it)
        )

    def directory(self, path: str) -> list[Holder]:
        """Pools may share /dev and what is below it: that is where devices are looked for."""
        if not path or path == "/dev" or path.startswith("/dev/"):
            return []
        here = path.rstrip("/")
        return self._holders(row for row in self.rows if row.target_path.rstrip("/") == here)


def _values(xml: str) -> dict[str, Any]:
    try:
        return pool_xml.values_of(xml) if xml else {}
    except VirtError:
        return {}


def sentence(what: str, holders: list[Holder]) -> str:
    """ "On kvm1 the pool images uses it already.", one for each host."""
    return " ".join(f"On {holder.host} {holder.words} {what}." for holder in holders[:3])
