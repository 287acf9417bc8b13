"""What is old leaves the audit from its beginning, and an event says up to where."""

import logging
from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from storagemgr.access import audit
from storagemgr.access.models import AuditEvent
from storagemgr.access.sealing import Head, fits, mark_of
from storagemgr.access.verifying import CUT, cuts

logger = logging.getLogger(__name__)

BATCH = 2000
AT_ONCE = 50_000
DAY = timedelta(days=1)


def cut_if_due() -> int:
    """Once a day, and again soon while there is more of it than goes at once, or something is left of the last one."""
    said = AuditEvent.objects.filter(action=CUT).order_by("-id").first()
    if said is None or said.at <= timezone.now() - DAY or said.details.get("count", 0) >= AT_ONCE:
        return cut_old()
    is_left = AuditEvent.objects.filter(number__lte=said.details.get("number", 0)).exists()
    return cut_old() if is_left else 0


def cut_old() -> int:
    """Remove the oldest sealed events that are past AUDIT_KEPT days, AT_ONCE at most. Returns how many."""
    if not settings.AUDIT_KEPT:
        return 0
    # Of a cut that was broken off.
    _remove(max((cut.number for cut in cuts()), default=0))
    limit = timezone.now() - timedelta(days=settings.AUDIT_KEPT)
    sealed = AuditEvent.objects.filter(number__isnull=False).order_by("number")
    first = sealed.first()
    if first is None or first.at >= limit:
        return 0
    last = _last_old(first.number, limit)
    if last is None:
        return 0
    if not _is_as_sealed(last):
        logger.error(
            "nothing leaves the audit: number %s is not what was sealed, so its age says nothing", last.number
        )
        return 0
    count = AuditEvent.objects.filter(number__lte=last.number).count()
    # Said first: when this is broken off, what is left is known to be on its way out.
    _say(last, count)
    _remove(last.number)
    return count


def _remove(number: int) -> None:
    """Up to this one."""
    rows = AuditEvent._base_manager.filter(number__lte=number).order_by("number")
    while pks := list(rows.values_list("pk", flat=True)[:BATCH]):
        with transaction.atomic():
            AuditEvent._base_manager.filter(pk__in=pks).delete()


def _is_as_sealed(event: AuditEvent) -> bool:
    """All before it are older than it, whatever time somebody wrote into them since."""
    before = AuditEvent.objects.filter(number=event.number - 1).values_list("seal", flat=True).first()
    known = [cut.seal for cut in cuts() if cut.number == event.number - 1]
    seals = [before] if before else (known or [""])
    return any(fits(event, seal) for seal in seals)


def _last_old(first: int, limit: object) -> AuditEvent | None:
    """The last one before the first that is to stay; the head of the chain always stays."""
    sealed = AuditEvent.objects.filter(number__gte=first, number__lte=first + AT_ONCE).order_by("number")
    young = sealed.filter(at__gte=limit).first() or sealed.last()
    return sealed.filter(number__lt=young.number).last() if young else None


def _say(last: AuditEvent, count: int) -> None:
    cut = Head(last.number or 0, last.seal)
    audit.record(
        CUT,
        audit.Outcome.DONE,
        actor=None,
        object_text=f"{count:,} events older than {settings.AUDIT_KEPT} days, up to number {cut.number:,}",
        details={"number": cut.number, "seal": cut.seal, "count": count, "mark": mark_of(cut, count)},
    )
