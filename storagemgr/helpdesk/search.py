"""One search over hosts, pools, VMs and volumes: of each the few that fit best, and only what the person may see."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Case, IntegerField, Q, QuerySet, Value, When

from pools.models import Pool
from pools.places import Storage, places_of, storages_of
from storagemgr.access.scopes import Actor
from storagemgr.helpdesk import answers
from storagemgr.helpdesk.words import Answer
from storagemgr.hosts.models import Host
from volumes.models import DiskUse, Volume

SHOWN = 5
LOOKED_AT = 100  # volumes: the same bytes may be seen by many hosts


@dataclass(frozen=True)
class Found:
    """Of one kind. `is_cut`: there are more than these."""

    title: str
    answers: Sequence[Answer]
    is_cut: bool

    def is_exact(self, text: str) -> bool:
        return any(answer.name.lower() == text.lower() for answer in self.answers)


def search(user: Actor, text: str) -> list[Found]:
    """Kinds with something of exactly this name come first."""
    found = [_hosts(user, text), _pools(user, text), _vms(user, text), _volumes(user, text)]
    found = [one for one in found if one.answers]
    return sorted(found, key=lambda one: not one.is_exact(text))


def _best_first(rows: QuerySet[Any], column: str, text: str) -> QuerySet[Any]:
    rank = Case(
        When(**{f"{column}__iexact": text}, then=Value(0)),
        When(**{f"{column}__istartswith": text}, then=Value(1)),
        default=Value(2),
        output_field=IntegerField(),
    )
    return rows.order_by(rank, column)


def _hosts(user: Actor, text: str) -> Found:
    named = (
        Q(name__icontains=text)
        | Q(hostname__icontains=text)
        | Q(address__icontains=text)
        | Q(note__icontains=text)
    )
    rows = list(_best_first(Host.objects.visible_to(user).filter(named), "name", text)[: SHOWN + 1])
    shown = rows[:SHOWN]
    return Found("Hosts", answers.of_hosts(user, shown), len(rows) > SHOWN)


def _noted(text: str, before: str = "") -> Q:
    """What people wrote."""
    return (
        Q(**{f"{before}notes__note__icontains": text})
        | Q(**{f"{before}notes__ticket__icontains": text})
        | Q(**{f"{before}notes__owner__name__icontains": text})
    )


def _pools(user: Actor, text: str) -> Found:
    named = (
        Q(name__icontains=text) | Q(source__icontains=text) | Q(target_path__icontains=text) | _noted(text)
    )
    visible = Pool.objects.visible_to(user)
    found = storages_of(places_of(visible.filter(named)))
    shown = sorted(found, key=lambda one: (*_rank(one.best.name, text), one.name))[:SHOWN]
    return Found("Pools", answers.of_storages(user, _whole(visible, shown)), len(found) > SHOWN)


def _whole(visible: QuerySet[Pool], found: Sequence[Storage]) -> list[Storage]:
    """With the hosts where the same storage has another name or other notes, too."""
    shared = [one.best for one in found if one.best.is_shared]
    if not shared:
        return list(found)
    same = Q(*(Q(type=place.type, source=place.source) for place in shared), _connector=Q.OR)
    whole = {(one.best.type, one.best.source): one for one in storages_of(places_of(visible.filter(same)))}
    return [whole.get((one.best.type, one.best.source), one) if one.best.is_shared else one for one in found]


def _rank(name: str, text: str) -> tuple[bool, bool]:
    name, text = name.lower(), text.lower()
    return name != text, not name.startswith(text)


def _vms(user: Actor, text: str) -> Found:
    uses = DiskUse.objects.visible_to(user).filter(domain_name__icontains=text)
    rows = _best_first(uses, "domain_name", text).values_list("host_id", "domain_uuid", "domain_name")
    # A VM has a row for each disk; nobody has hundreds of them.
    keys = list(dict.fromkeys((host, uuid) for host, uuid, _ in rows[:LOOKED_AT]))
    return Found("VMs", answers.of_vms(user, keys[:SHOWN]), len(keys) > SHOWN)


def _volumes(user: Actor, text: str) -> Found:
    visible = Volume.objects.visible_to(user)
    columns = ("pk", "identity")
    rows: list[tuple[int, str]] = list(
        visible.filter(name=text).order_by("pk").values_list(*columns)[:LOOKED_AT]
    )
    rows += visible.filter(name__icontains=text).order_by("name").values_list(*columns)[:LOOKED_AT]
    rows += visible.filter(_noted(text)).order_by("name").values_list(*columns)[:LOOKED_AT]
    ids = _each_once(rows)
    return Found("Volumes", answers.of_volumes(user, ids[:SHOWN]), len(ids) > SHOWN)


def _each_once(rows: Iterable[tuple[int, str]]) -> list[int]:
    """Of the same bytes one row."""
    found: dict[object, int] = {}
    for pk, identity in rows:
        found.setdefault(identity or pk, pk)
    return list(found.values())
