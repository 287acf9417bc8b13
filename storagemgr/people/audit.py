"""The pages of the audit: the list, one event, the file, and the state of the chain."""

from datetime import timedelta
from functools import wraps
from typing import Any

from django.contrib import messages
from django.contrib.auth.models import User
from django.db.models import Min
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST, require_safe
from kombu.exceptions import OperationalError

from storagemgr.access import audit, checking
from storagemgr.access.models import AuditEvent
from storagemgr.access.scopes import scope
from storagemgr.access.sealing import head_in_database, head_in_file
from storagemgr.listing import is_filtered, ordered, page_of, sort_key
from storagemgr.people import audit_files, audit_words
from storagemgr.people.audit_filters import DEFAULT_SORT, SORTS, day_of, menus, outcome_chips, wanted
from storagemgr.people.guard import View, people_page, require, see
from volumes.tasks import check_audit

COUNTED = 10_000
LATE = timedelta(minutes=1)
NOT_READING = "To read the audit takes a role with that right; an administrator can grant it."
NOT_EVERYWHERE = "To have the whole audit checked takes the right to read it on everything."


def audit_page(view: View) -> View:
    """For those who may read the audit somewhere."""

    @wraps(view)
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        held = scope(request.user, "audit.read")
        require(request, "audit.read", "" if held.everything or held.hosts or held.pools else NOT_READING)
        return view(request, *args, **kwargs)

    return people_page(guarded)


@require_safe
@audit_page
def audit_list(request: HttpRequest) -> HttpResponse:
    sort = sort_key(request, SORTS, DEFAULT_SORT)
    found = wanted(request.GET, request.user)
    counted = found.order_by()[: COUNTED + 1].count()
    page = page_of(request, ordered(found, sort, SORTS), min(counted, COUNTED))
    context = {
        "rows": audit_words.rows_of(page),
        "page": page,
        "has_more": counted > COUNTED,
        "sort": sort,
        "chips": outcome_chips(request),
        "menus": menus(request),
        "q": request.GET.get("q", ""),
        "person": request.GET.get("person", ""),
        "since": day_of(request.GET, "from"),
        "until": day_of(request.GET, "to"),
        "is_filtered": is_filtered(request),
        "chain": chain_of(),
        "may_check": scope(request.user, "audit.read").everything,
        "sees_all": scope(request.user, "audit.read").everything,
    }
    return render(request, "people/audit.html", context)


def chain_of() -> dict[str, Any]:
    """What can be said of the chain without walking it, and what the last walk said."""
    unsealed = AuditEvent.objects.filter(number=None)
    oldest = unsealed.aggregate(at=Min("at"))["at"]
    head, noted, last = head_in_database(), head_in_file(), checking.last_check()
    is_cut = noted.number > head.number
    is_whole = not is_cut and (last is None or last.outcome == AuditEvent.Outcome.DONE)
    return {
        "head": head,
        "waits_since": oldest if oldest and oldest < timezone.now() - LATE else None,
        "is_cut": is_cut,
        "noted": noted,
        "last": last,
        "findings": last.details.get("findings", []) if last else [],
        "is_whole": is_whole,
        "is_asked": checking.is_asked(),
    }


@require_safe
@audit_page
def audit_event(request: HttpRequest, pk: int) -> HttpResponse:
    event = get_object_or_404(audit.readable_by(request.user), pk=pk)
    context = {
        "event": event,
        "row": audit_words.rows_of([event])[0],
        "right": audit_words.right_words(event),
        "links": audit_words.links_of(event, request.user),
        "changes": audit_words.changes_of(event.details),
        "others": audit_words.others_of(event.details),
    }
    return render(request, "people/audit_event.html", context)


@require_safe
@audit_page
def audit_export(request: HttpRequest) -> HttpResponseBase:
    form = "json" if request.GET.get("format") == "json" else "csv"
    rows = wanted(request.GET, request.user)
    asked = request.GET.copy()
    asked.pop("format", None)
    audit.record(
        "audit.export",
        audit.Outcome.DONE,
        actor=request.user,
        right="audit.read",
        object_text=f"The audit as {form.upper()}",
        address=audit.address_of(request),
        details={"query": asked.urlencode()[:2000]},
    )
    response = StreamingHttpResponse(audit_files.text_of(rows, form), content_type=audit_files.TYPES[form])
    name = f"audit-{timezone.localtime():%Y-%m-%d-%H%M%S}.{form}"
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    response["Cache-Control"] = "private, no-store"
    return response


@require_POST
@audit_page
def audit_check(request: HttpRequest) -> HttpResponse:
    require(request, checking.CHECK, "" if scope(request.user, "audit.read").everything else NOT_EVERYWHERE)
    user = User.objects.get(pk=request.user.pk)
    try:
        check_audit.apply_async(args=[user.pk], retry=False)
    except (OperationalError, OSError):
        messages.error(
            request,
            "The check could not be asked for: the broker does not answer. On the server, "
            "manage.py audit verify does the same.",
        )
    else:
        checking.note_asked(user, audit.address_of(request))
        messages.info(request, "The whole chain is being checked. What came of it will stand on this page.")
    return see(reverse("people:audit"))
