"""The backing chain of a volume as its page shows it: what it is built on, and what is built on it."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from django.db.models import Q

from storagemgr.access.scopes import Actor
from volumes.chain import chain_of
from volumes.dependents import Look
from volumes.identity import hosts_by_paths
from volumes.models import DiskUse, Volume

LEVELS = 3  # of overlays upon overlays
SHOWN = 30


@dataclass
class Node:
    """`volume` None: one that is hidden from the person, or no volume at all; then `path` is what was named.

    `vms`: the VMs of its host that use it directly, by name, and whether each runs.
    """

    volume: Volume | None = None
    path: str = ""
    is_here: bool = False
    is_elsewhere: bool = False
    vms: dict[str, bool] = field(default_factory=dict)
    children: list["Node"] = field(default_factory=list)


@dataclass
class Tree:
    """`top`: the lowest file of the chain; `parent`: the volume just below, where the person sees it.
    `overlays`: all that would be lost with this volume, seen or not."""

    top: Node
    parent: Volume | None
    depth: int
    overlays: int
    shown: int

    @property
    def is_alone(self) -> bool:
        return self.depth == 1 and not self.overlays

    @property
    def more(self) -> int:
        return self.overlays - self.shown


def tree_of(user: Actor, look: Look) -> Tree:
    volume = look.volume
    chain = chain_of(volume)
    seen = _seen(user, chain[1:])
    here = Node(volume, is_here=True)
    known = {volume.pk: here}
    overlays = len(look.descendants)
    if overlays:
        _grow(user, here, look, known)
    top = here
    for part in chain[1:]:
        node = Node(part if part.pk in seen else None, is_elsewhere=part.pool_id != volume.pool_id)
        known[part.pk] = node
        node.children.append(top)
        top = node
    depth = len(chain)
    if (lowest := chain[-1].backing_path) and lowest not in {part.path for part in chain}:
        # Its name is a fact of the volume above it.
        is_told = chain[-1].pk in seen or len(chain) == 1
        top, depth = Node(path=lowest if is_told else "", children=[top]), depth + 1
    _name_vms(known)
    parent = chain[1] if len(chain) > 1 and chain[1].pk in seen else None
    return Tree(top, parent, depth, overlays, _count(here))


def _seen(user: Actor, volumes: Iterable[Volume]) -> set[int]:
    rows = Volume.objects.visible_to(user).filter(pk__in=[volume.pk for volume in volumes])
    return set(rows.order_by().values_list("pk", flat=True))


def _grow(user: Actor, here: Node, look: Look, known: dict[int, Node]) -> None:
    """The overlays that the person sees, level by level, until there are enough."""
    level = {(twin.host_id, twin.path): here for twin in look.twins}
    for number in range(LEVELS):
        rows = _on(level) if number else look.children
        below = {}
        room = SHOWN - len(known) + 1
        ordered = (
            rows.visible_to(user).select_related("pool__host").exclude(pk__in=known).order_by("name", "pk")
        )
        for row in ordered[:room]:
            parent = level.get((row.pool.host_id, row.backing_path), here)
            node = known[row.pk] = Node(row, is_elsewhere=row.pool_id != look.volume.pool_id)
            parent.children.append(node)
            below[row.pool.host_id, row.path] = node
        if not below or len(known) > SHOWN:
            return
        level = below


def _on(level: Iterable[tuple[int, str]]) -> Any:
    paths: dict[int, list[str]] = defaultdict(list)
    for host_id, path in level:
        paths[host_id].append(path)
    built_on = Q(pk__in=[])
    for some, hosts in hosts_by_paths(paths):
        built_on |= Q(pool__host_id__in=hosts, backing_path__in=some)
    return Volume.objects.filter(built_on)


def _name_vms(known: dict[int, Node]) -> None:
    seen = [pk for pk, node in known.items() if node.volume]
    uses = DiskUse.objects.filter(volume_id__in=seen).exclude(kind="backing").order_by("domain_name")
    for pk, name, running in uses.values_list("volume_id", "domain_name", "running"):
        vms = known[pk].vms
        vms[name] = vms.get(name, False) or running


def _count(node: Node) -> int:
    return sum(1 + _count(child) for child in node.children)
