"""The records of wipes: pages to print, which stay when the volume is gone."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from pools.models import Pool
from storagemgr.access.objects import visible_or_404
from storagemgr.access.scopes import Actor
from storagemgr.jobs.models import Job
from storagemgr.jobs.words import duration
from storagemgr.listing import is_filtered, ordered, page_of, sort_key
from storagemgr.virt.wipe_algorithms import Algorithm, algorithm
from volumes.models import Volume, WipeRecord
from volumes.promises import FREED

SHOWN = 5
Q_LIMIT = 200
SORTS: dict[str, list[str]] = {
    "volume": ["volume_name"],
    "pool": ["pool_name"],
    "algorithm": ["algorithm"],
    "by": ["requested_by"],
    "started": [],
}
DEFAULT_SORT = "-started"
ICONS = {
    "ok": "check-circle",
    "warn": "exclamation-triangle",
    "bad": "exclamation-octagon",
    "info": "arrow-repeat",
}
WORDS = {"ok": "Wiped", "warn": "Freed, not overwritten", "bad": "Not wiped", "info": "Being wiped"}


@dataclass(frozen=True)
class ShownWipe:
    """`job` is None when it is not kept any more."""

    record: WipeRecord
    job: Job | None

    @property
    def algorithm(self) -> Algorithm:
        return algorithm(self.record.algorithm)

    @property
    def is_running(self) -> bool:
        return self.record.ended_at is None and self.job is not None and self.job.is_active

    @property
    def tone(self) -> str:
        if self.record.result.startswith(FREED):
            return "warn"
        return "ok" if self.record.is_done else "info" if self.is_running else "bad"

    @property
    def icon(self) -> str:
        return ICONS[self.tone]

    @property
    def word(self) -> str:
        return WORDS[self.tone]

    @property
    def result(self) -> str:
        if self.record.result or self.is_running:
            return self.record.result
        return "Nobody saw its end, so it cannot be claimed that the volume is wiped."

    @property
    def took(self) -> str:
        ended_at = self.record.ended_at
        return duration(max(timedelta(), ended_at - self.record.started_at)) if ended_at else ""


def shown(records: Sequence[WipeRecord]) -> list[ShownWipe]:
    jobs = Job.objects.in_bulk([record.job_id for record in records])
    return [ShownWipe(record, jobs.get(record.job_id)) for record in records]


def wipes_of(volume: Volume) -> list[ShownWipe]:
    """The latest of this name in this pool: also of a volume that had the name before."""
    here = WipeRecord.objects.filter(host_id=volume.pool.host_id, pool_uuid=volume.pool.uuid)
    return shown(list(here.filter(volume_name=volume.name)[:SHOWN]))


@require_safe
def wipe_records(request: HttpRequest) -> HttpResponse:
    text = request.GET.get("q", "").strip()[:Q_LIMIT]
    chosen = WipeRecord.objects.visible_to(request.user).filter(_matching(text))
    sort = sort_key(request, SORTS, DEFAULT_SORT)
    page = page_of(request, ordered(chosen, sort, SORTS), chosen.count())
    context = {
        "rows": shown(list(page)),
        "page": page,
        "sort": sort,
        "q": request.GET.get("q", ""),
        "is_filtered": is_filtered(request),
    }
    return render(request, "volumes/wipe_records.html", context)


def _matching(text: str) -> Q:
    if not text:
        return Q()
    fields = ("volume_name", "volume_path", "pool_name", "host_name", "requested_by", "reason")
    found = Q()
    for name in fields:
        found |= Q(**{f"{name}__icontains": text})
    return found


@require_safe
def wipe_record(request: HttpRequest, pk: int) -> HttpResponse:
    record = visible_or_404(request, WipeRecord.objects.all(), pk=pk)
    [row] = shown([record])
    context = {"record": record, "row": row, "volume": _volume_of(request.user, record).first()}
    context["pool"] = _pool_of(request.user, record).first()
    return render(request, "volumes/wipe_record.html", context)


def _volume_of(user: Actor, record: WipeRecord) -> QuerySet[Volume]:
    """What has the name now; it may be another volume."""
    here = Volume.objects.visible_to(user).filter(pool__host_id=record.host_id, pool__uuid=record.pool_uuid)
    return here.filter(name=record.volume_name)


def _pool_of(user: Actor, record: WipeRecord) -> QuerySet[Pool]:
    return Pool.objects.visible_to(user).filter(host_id=record.host_id, uuid=record.pool_uuid)
