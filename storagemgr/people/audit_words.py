"""An event of the audit in words: what it was, what it changed, where to look further."""

import json
from collections.abc import Iterable
from typing import Any, NamedTuple

from django.urls import NoReverseMatch, reverse

from pools.models import Pool
from storagemgr.access.models import AuditEvent
from storagemgr.access.rights import RIGHTS
from storagemgr.access.scopes import Actor
from storagemgr.hosts.models import Host
from storagemgr.jobs.models import Job
from storagemgr.jobs.operations import REGISTRY
from storagemgr.virt.pool_compare import DiffLine, diff
from volumes.models import Volume

TONES = {"asked": "info", "done": "ok", "failed": "bad", "denied": "warn"}
ICONS = {
    "asked": "hourglass-split",
    "done": "check-circle",
    "failed": "exclamation-octagon",
    "denied": "lock",
}


class Row(NamedTuple):
    event: AuditEvent
    action: str
    tone: str
    icon: str
    place: str


class FieldChange(NamedTuple):
    """`lines`: of texts of several lines, what differs; [] of the others."""

    name: str
    before: str
    after: str
    is_same: bool
    lines: list[DiffLine]


class Link(NamedTuple):
    text: str
    url: str


def action_words(action: str) -> str:
    """ "Volume: clone", "Account: sign in failed" """
    noun, _, rest = action.partition(".")
    operation = REGISTRY.get(action)
    verb = operation.title if operation else rest.replace("-", " ").replace("_", " ")
    return f"{noun.capitalize()}: {verb[:1].lower()}{verb[1:]}"


def rows_of(events: Iterable[AuditEvent]) -> list[Row]:
    """Two queries more: the names of hosts and pools that are there still."""
    events = list(events)
    hosts = dict(
        Host.objects.filter(pk__in={e.host_id for e in events if e.host_id}).values_list("pk", "name")
    )
    uuids = {e.pool_uuid for e in events if e.pool_uuid}
    pools = dict(Pool.objects.filter(uuid__in=uuids).values_list("uuid", "name")) if uuids else {}
    return [row_of(event, hosts, pools) for event in events]


def row_of(event: AuditEvent, hosts: dict[int, str], pools: dict[Any, str]) -> Row:
    host = hosts.get(event.host_id, "a host that was removed") if event.host_id else ""
    pool = pools.get(event.pool_uuid, "a pool that is gone") if event.pool_uuid else ""
    place = f"{pool} on {host}" if pool and host else pool or host
    return Row(event, action_words(event.action), TONES[event.outcome], ICONS[event.outcome], place)


def right_words(event: AuditEvent) -> str:
    return RIGHTS.get(event.right, "")


def changes_of(details: dict[str, Any]) -> list[FieldChange]:
    """Of what the event holds as "before" and "after", field by field, those that changed first."""
    before, after = details.get("before"), details.get("after")
    if before is None and after is None:
        return []
    was, becomes = _fields(before), _fields(after)
    found = [_change(name, was.get(name), becomes.get(name)) for name in dict.fromkeys([*was, *becomes])]
    return sorted(found, key=lambda one: one.is_same)


def _fields(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {"value": value}


def _change(name: str, before: Any, after: Any) -> FieldChange:
    was, becomes = (text_of(_in_words(name, value)) for value in (before, after))
    lines = diff(was, becomes) if "\n" in was or "\n" in becomes else []
    return FieldChange(_name_of(name), was, becomes, was == becomes, lines)


def _name_of(name: str) -> str:
    return "second factor needed" if name == "needs_mfa" else name.replace("_", " ")


def _in_words(name: str, value: Any) -> Any:
    if name == "rights" and isinstance(value, list):
        return "; ".join(RIGHTS.get(right, right) for right in value if isinstance(right, str))
    return value


def others_of(details: dict[str, Any]) -> list[tuple[str, str]]:
    """What else the event holds."""
    found = {name: value for name, value in details.items() if name not in ("before", "after", "params")}
    params = details.get("params")
    found |= params if isinstance(params, dict) else {}
    return [(_name_of(name), text_of(_in_words(name, value))) for name, value in found.items()]


def text_of(value: Any) -> str:
    if value is None or value == "":
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return "\n".join(value) if any(len(one) > 40 for one in value) else ", ".join(value)
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else str(value)


def links_of(event: AuditEvent, user: Actor) -> dict[str, Link]:
    """To what is there still and this person may see."""
    found: dict[str, Link] = {}
    hosts, jobs = Host.objects.visible_to(user), Job.objects.visible_to(user)
    if host := hosts.filter(pk=event.host_id).first() if event.host_id else None:
        found["host"] = Link(host.name, host.get_absolute_url())
    pools = Pool.objects.visible_to(user).filter(host_id=event.host_id, uuid=event.pool_uuid)
    if pool := pools.first() if event.pool_uuid else None:
        found["pool"] = Link(pool.name, pool.get_absolute_url())
        if (
            volume := Volume.objects.filter(pool=pool, name=event.volume_name).first()
            if event.volume_name
            else None
        ):
            found["volume"] = Link(volume.name, volume.get_absolute_url())
    if job := jobs.filter(pk=event.job_id).first() if event.job_id else None:
        found["job"] = Link(job.title, job.get_absolute_url())
    if event.actor_id and (url := _person_url(event.actor_id)):
        found["person"] = Link(event.actor_name, url)
    return found


def _person_url(user_id: int) -> str:
    try:
        return reverse("people:person", args=[user_id])
    except NoReverseMatch:
        return ""
