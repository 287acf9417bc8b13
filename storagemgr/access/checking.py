"""The check of the whole audit: what came of it is an event of the audit itself."""

from datetime import timedelta

from django.contrib.auth.models import User
from django.utils import timezone

from storagemgr.access import audit
from storagemgr.access.models import AuditEvent
from storagemgr.access.verifying import verify

CHECK = "audit.check"
PERIOD = timedelta(days=1)


def last_check() -> AuditEvent | None:
    return AuditEvent.objects.filter(action=CHECK).order_by("-id").first()


def is_due() -> bool:
    last = last_check()
    return last is None or last.at < timezone.now() - PERIOD


def check(user_id: int = 0) -> AuditEvent:
    """`user_id`: of who asked for it, 0 for nobody."""
    found = verify()
    return audit.record(
        CHECK,
        audit.Outcome.DONE if found.is_whole else audit.Outcome.FAILED,
        actor=User.objects.filter(pk=user_id).first(),
        right="audit.read",
        object_text=found.sentences[0],
        details={"checked": found.checked, "head": str(found.head), "findings": found.sentences},
    )
