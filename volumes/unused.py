"""The review of unused volumes: what nothing refers to that we know of, on any host that sees the bytes.

It calls nothing unused of which it does not know: where a host's VMs were not read lately, it says so.
"""

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import cached_property
from hashlib import blake2b
from typing import Any, NamedTuple

from django.core.cache import cache
from django.core.paginator import Page
from django.db.models import Count, Exists, Max, OuterRef, Q, QuerySet, Sum, prefetch_related_objects
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_safe

from pools.models import Pool, PoolNotes
from storagemgr.access.scopes import Actor, scope
from storagemgr.jobs import bulk
from storagemgr.jobs.models import Job, JobLock
from storagemgr.listing import Chip, chips, kept, ordered, page_of, sort_key, take_pinned
from storagemgr.live import live_page
from storagemgr.templatetags.storage import moment
from volumes.dependents import STALE
from volumes.kinds import base_ids, is_kind
from volumes.models import Volume, VolumeNotes
from volumes.ordering import InOrder
from volumes.rows import VolumeRow, rows_of
from volumes.usage import Usage

COUNTED_FOR = 60  # seconds; to count a hundred thousand takes half a second
REST = timedelta(hours=1)  # what changed later is left alone
SORTS = {"name": ["name"], "allocation": ["allocation"], "modified": ["modified"]}
DEFAULT_SORT = "-allocation"


class Found(NamedTuple):
    count: int
    bytes: int


class Counted(NamedTuple):
    lists: dict[str, Found]
    at: datetime


class Review:
    """The four lists: what is unused, ISO images apart, what people keep, and of what we do not know."""

    def __init__(self, user: Actor) -> None:
        self.user, self.now, self.usage = user, timezone.now(), Usage()
        self.visible = Volume.objects.visible_to(user)
        pools = Pool.objects.only("host", "type", "state", "unreachable_since", "volumes_error").order_by()
        # Not joined: each of a thousand pools would make its host anew.
        self.pools = {pool.pk: pool for pool in pools.prefetch_related("host")}

    @cached_property
    def unknown(self) -> dict[int, str]:
        """Why nothing can be said of the volumes of a pool, by its id."""
        here = {pk: self._why_unknown(pool) for pk, pool in self.pools.items()}
        found = {pk: why for pk, why in here.items() if why}
        for group in self.usage.groups:
            if any(here[pk] for pk in group if pk in here):
                for pk in group:
                    found.setdefault(
                        pk, "Another host sees the same storage, and its VMs were not read lately."
                    )
        return found

    def _why_unknown(self, pool: Pool) -> str:
        host = pool.host
        if not host.answers:
            return f"{host} does not answer since {moment(host.state_since)}; its VMs may use it."
        if host.uses_read_at is None or host.uses_read_at < self.now - STALE:
            return f"What the VMs of {host} use was not read lately."
        if not pool.answers or pool.volumes_error:
            return "Its pool could not be read; what is listed may be old."
        return "" if pool.is_active else "Its pool is stopped; what is listed may be old."

    @cached_property
    def _untouchable(self) -> list[int]:
        """Pools whose volumes libvirt cannot delete, or that are protected, here or where the same is listed."""
        today = timezone.localdate()
        in_force = Q(protected_until=None) | Q(protected_until__gte=today)
        protected = set(
            PoolNotes.objects.filter(in_force, protected_at__isnull=False, pool__isnull=False).values_list(
                "pool", flat=True
            )
        )
        for group in self.usage.groups:
            if protected & set(group):
                protected |= set(group)
        fixed = {pk for pk, pool in self.pools.items() if pool.kind.why_not("volume.delete")}
        return sorted(protected | fixed)

    @cached_property
    def _needed(self) -> Q:
        """What a protection or a job has, by whatever pool it is seen. Few of very many."""
        today = timezone.localdate()
        in_force = Q(protected_until=None) | Q(protected_until__gte=today)
        notes = VolumeNotes.objects.filter(in_force, protected_at__isnull=False, volume__isnull=False)
        rows = list(notes.values_list("volume", "volume__identity"))
        locks = JobLock.objects.filter(job__state__in=Job.HOLDING)
        places = set(locks.values_list("host_id", "pool_uuid", "volume_name"))
        if places:
            near = Volume.objects.filter(name__in={name for *_, name in places}).order_by()
            columns = ("pk", "identity", "pool__host_id", "pool__uuid", "name")
            rows += [
                (pk, identity) for pk, identity, *at in near.values_list(*columns) if tuple(at) in places
            ]
        identities = sorted({identity for _, identity in rows if identity})
        return Q(pk__in=sorted({pk for pk, _ in rows})) | Q(identity__in=identities)

    @cached_property
    def _bases(self) -> list[int]:
        return base_ids()

    def _unneeded(self, in_use: Q) -> QuerySet[Volume]:
        found = self.visible.exclude(pool__in=self._untouchable).exclude(type="dir").filter(is_special=False)
        found = found.filter(Q(modified=None) | Q(modified__lt=self.now - REST))
        found = found.filter(~in_use).exclude(self._needed).exclude(pk__in=self._bases)
        if sharing := self.usage.sharing:
            bases = Volume.objects.filter(pool__in=sharing, pk__in=self._bases).exclude(identity="")
            others = self.visible.filter(
                pool__in=sharing, identity=OuterRef("identity"), pk__lt=OuterRef("pk")
            )
            is_once = ~Exists(others) & ~Q(identity__in=bases.values("identity"))
            found = found.filter(~Q(pool__in=sharing) | Q(identity="") | is_once)
        return found

    @cached_property
    def _lists(self) -> dict[str, Q]:
        keeping = VolumeNotes.objects.exclude(not_unused_because="").filter(volume__isnull=False)
        is_kept = Q(pk__in=list(keeping.values_list("volume", flat=True)))
        known = ~Q(pool__in=list(self.unknown)) if self.unknown else Q()
        return {
            "": known & ~is_kept & ~is_kind("iso", Q()),
            "iso": known & ~is_kept & is_kind("iso", Q()),
            "kept": is_kept,
            "unknown": Q(pool__in=list(self.unknown)) & ~is_kept,
        }

    @cached_property
    def counted(self) -> Counted:
        """Remembered until somebody asks for a job, or for a minute."""
        found: Counted | None = cache.get(self._key)
        if found is None:
            found = Counted(self._count(), self.now)
            cache.set(self._key, found, COUNTED_FOR)
        return found

    @cached_property
    def _key(self) -> str:
        asked = Job.objects.aggregate(last=Max("pk"), waiting=Count("pk", filter=Q(state__in=Job.HOLDING)))
        key = repr((scope(self.user, "pool.view"), sorted(asked.items()), sorted(self.unknown)))
        return f"volumes.unused.{blake2b(key.encode(), digest_size=16).hexdigest()}"

    def _count(self) -> dict[str, Found]:
        counts = {f"count_{name}": Count("pk", filter=which) for name, which in self._lists.items()}
        sums = {f"bytes_{name}": Sum("allocation", filter=which) for name, which in self._lists.items()}
        said = self._unneeded(self.usage.in_use).order_by().aggregate(**counts, **sums)
        return {name: Found(said[f"count_{name}"], said[f"bytes_{name}"] or 0) for name in self._lists}

    def rows(self, name: str, sort: str) -> InOrder:
        which = self._lists[name]

        def in_order() -> QuerySet[Volume]:
            return ordered(self._unneeded(self.usage.is_used).filter(which), sort, SORTS)

        return InOrder([(in_order, self.counted.lists[name].count)])

    def page(self, request: HttpRequest, chip: Chip, sort: str) -> Page[Any]:
        """Its ids are as old as the counts."""
        rows = _Remembered(self.rows(chip.value, sort), f"{self._key}.{chip.value}.{sort}")
        return page_of(request, rows, chip.count)

    def why(self, row: VolumeRow) -> str:
        volume, notes = row.volume, row.notes
        if notes and notes.not_unused_because:
            return f"Kept by {notes.not_unused_by or 'somebody'}: {notes.not_unused_because}"
        if why := self.unknown.get(volume.pool_id):
            return why
        beside = {self.pools[pk].host_id for pk in self._beside(volume.pool_id)} - {volume.pool.host_id}
        where = f"the {len(beside) + 1} hosts that see it" if beside else str(volume.pool.host)
        return f"No VM of {where} refers to it, nothing is built on it, no job has it and nobody protects it."

    def _beside(self, pool: int) -> Iterable[int]:
        return (pk for pk in self._group_of.get(pool, ()) if pk in self.pools)

    @cached_property
    def _group_of(self) -> dict[int, set[int]]:
        found: dict[int, set[int]] = defaultdict(set)
        for group in self.usage.groups:
            for pk in group:
                found[pk] |= set(group)
        return found


class _Remembered:
    def __init__(self, rows: InOrder, key: str) -> None:
        self.rows, self.key = rows, key

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, wanted: slice) -> list[int]:
        key = f"{self.key}.{wanted.start}.{wanted.stop}"
        ids: list[int] | None = cache.get(key)
        if ids is None:
            ids = self.rows[wanted]
            cache.set(key, ids, COUNTED_FOR)
        return ids


class Unused(NamedTuple):
    row: VolumeRow
    why: str
    age: timedelta | None


@require_safe
def unused(request: HttpRequest) -> HttpResponse:
    pinned = take_pinned(request)
    review = Review(request.user)
    offered = _chips(request, review)
    chosen = next(chip for chip in offered if chip.is_on)
    sort = sort_key(request, SORTS, DEFAULT_SORT)
    page = review.page(request, chosen, sort)
    found = Volume.objects.in_bulk(list(page))
    shown = kept([found[pk] for pk in page if pk in found], pinned, review.visible)
    prefetch_related_objects(shown.rows, "pool__host")
    for_many = bulk.offered_to(request.user, "volume")
    context: dict[str, Any] = {
        "rows": [_unused(review, row) for row in rows_of(shown.rows, request.user)],
        "kept": shown,
        "page": page,
        "sort": sort,
        "chips": offered,
        "state": chosen.value,
        "total": review.counted.lists[""],
        "isos": review.counted.lists["iso"],
        "counted_at": review.counted.at,
        "for_many": for_many,
        "is_choosable": bool(for_many),
    }
    return live_page(request, "volumes/unused.html", context)


def _unused(review: Review, row: VolumeRow) -> Unused:
    modified: datetime | None = row.volume.modified
    return Unused(row, review.why(row), review.now - modified if modified else None)


def _chips(request: HttpRequest, review: Review) -> list[Chip]:
    titles = {"": "Unused", "iso": "ISO images", "kept": "Kept", "unknown": "Not known"}
    return chips(
        request, "state", [(name, title, review.counted.lists[name].count) for name, title in titles.items()]
    )
