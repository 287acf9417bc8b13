"""The check of the whole audit: what came of it is an event of the audit itself."""

from datetime import timedelta

from django.contrib.auth.models import User
from django.utils import timezone

from storagemgr.access import audit
from storagemgr.access.models import AuditEvent
from storagemgr.access.verifying import verify

CHECK = "audit.check"
PERIOD = timedelta(days=1)
PATIENCE = timedelta(minutes=30)


ENDED = (audit.Outcome.DONE, audit.Outcome.FAILED)


def last_check() -> AuditEvent | None:
    """The last one that came to an end."""
    return AuditEvent.objects.filter(action=CHECK, outcome__in=ENDED).order_by("-id").first()


def note_asked(user: User, address: str | None) -> None:
    text = "Check of the whole audit"
    audit.record(
        CHECK, audit.Outcome.ASKED, actor=user, right="audit.read", object_text=text, address=address
    )


def is_asked() -> bool:
    """One that was asked for a moment ago has not ended yet."""
    latest = AuditEvent.objects.filter(action=CHECK).order_by("-id").first()
    return bool(latest) and latest.outcome == audit.Outcome.ASKED and latest.at > timezone.now() - PATIENCE


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
