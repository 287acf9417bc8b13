"""What is old leaves the audit from its beginning, and an event says up to where."""

from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from storagemgr.access import audit
from storagemgr.access.models import AuditEvent
from storagemgr.access.sealing import Head, mark_of
from storagemgr.access.verifying import CUT

BATCH = 2000
AT_ONCE = 50_000
DAY = timedelta(days=1)


def cut_if_due() -> int:
    """Once a day, and again soon while there is more of it than goes at once."""
    said = AuditEvent.objects.filter(action=CUT).order_by("-id").first()
    is_recent = said and said.at > timezone.now() - DAY
    return 0 if said and is_recent and said.details.get("count", 0) < AT_ONCE else cut_old()


def cut_old() -> int:
    """Remove the oldest sealed events that are past AUDIT_KEPT days, AT_ONCE at most. Returns how many."""
    if not settings.AUDIT_KEPT:
        return 0
    limit = timezone.now() - timedelta(days=settings.AUDIT_KEPT)
    sealed = AuditEvent.objects.filter(number__isnull=False).order_by("number")
    first = sealed.first()
    if first is None or first.at >= limit:
        return 0
    last = _last_old(first.number, limit)
    if last is None:
        return 0
    count = AuditEvent.objects.filter(number__lte=last.number).count()
    if _said_already(last):
        count = 0
    else:
        _say(last, count)
    # Said first: when this is broken off, what is left is known to be on its way out.
    rows = AuditEvent._base_manager.filter(number__lte=last.number).order_by("number")
    while pks := list(rows.values_list("pk", flat=True)[:BATCH]):
        with transaction.atomic():
            AuditEvent._base_manager.filter(pk__in=pks).delete()
    return count


def _last_old(first: int, limit: object) -> AuditEvent | None:
    """The last one before the first that is to stay; the head of the chain always stays."""
    sealed = AuditEvent.objects.filter(number__gte=first, number__lte=first + AT_ONCE).order_by("number")
    young = sealed.filter(at__gte=limit).first() or sealed.last()
    return sealed.filter(number__lt=young.number).last() if young else None


def _said_already(last: AuditEvent) -> bool:
    said = AuditEvent.objects.filter(action=CUT).order_by("-id").first()
    return bool(said and said.details.get("number") == last.number)


def _say(last: AuditEvent, count: int) -> None:
    cut = Head(last.number or 0, last.seal)
    audit.record(
        CUT,
        audit.Outcome.DONE,
        actor=None,
        object_text=f"{count:,} events older than {settings.AUDIT_KEPT} days, up to number {cut.number:,}",
        details={"number": cut.number, "seal": cut.seal, "count": count, "mark": mark_of(cut, count)},
    )
