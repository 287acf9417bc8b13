"""Which events of the audit the URL asks for. Values that make no sense are ignored."""

from datetime import date, datetime, time, timedelta
from ipaddress import ip_address
from uuid import UUID

from django.contrib.auth.models import User
from django.db.models import Q, QuerySet
from django.http import HttpRequest, QueryDict
from django.utils import timezone
from django.utils.dateparse import parse_date

from storagemgr.access import audit
from storagemgr.access.models import AuditEvent
from storagemgr.access.scopes import Actor
from storagemgr.hosts.models import Host
from storagemgr.listing import Chip, Menu, chips, menu

Q_LIMIT = 200
# By columns with an index: of a million rows a page reads fifty.
SORTS = {"when": ["at"], "action": ["action"]}
DEFAULT_SORT = "-when"
GROUPS = {
    "account": "Accounts and signing in",
    "access": "Grants and invitations",
    "team": "Teams",
    "role": "Roles",
    "token": "Tokens",
    "host": "Hosts",
    "pool": "Pools",
    "volume": "Volumes",
    "job": "Jobs",
    "draft": "Drafts",
    "audit": "The audit",
}


def wanted(query: QueryDict, user: Actor) -> QuerySet[AuditEvent]:
    """Not in an order yet."""
    rows = audit.readable_by(user).filter(_in_text(query) & _by_choice(query) & in_time(query))
    if person := query.get("person", "").strip("\0 ")[:150]:
        known = User.objects.filter(username__iexact=person).values_list("pk", flat=True).first()
        # By the account where there is one: that has an index, the name has none.
        rows = rows.filter(actor_id=known) if known else rows.filter(actor_name__iexact=person)
    return rows


def _in_text(query: QueryDict) -> Q:
    text = query.get("q", "").strip("\0 ")[:Q_LIMIT]
    if not text:
        return Q()
    found = Q()
    for name in ("actor_name", "object_text", "volume_name", "action"):
        found |= Q(**{f"{name}__icontains": text})
    return found | Q(address=text) if _is_address(text) else found


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _by_choice(query: QueryDict) -> Q:
    found = Q()
    if (outcome := query.get("state", "")) in AuditEvent.Outcome.values:
        found &= Q(outcome=outcome)
    if groups := [name for name in query.getlist("about") if name in GROUPS]:
        in_group = Q()
        for name in groups:
            in_group |= Q(action__startswith=f"{name}.")
        found &= in_group
    if hosts := [int(pk) for pk in query.getlist("host") if pk.isascii() and pk.isdigit() and len(pk) < 19]:
        found &= Q(host_id__in=hosts)
    if pool := _uuid(query.get("pool", "")):
        found &= Q(pool_uuid=pool)
    if volume := query.get("volume", "")[:255]:
        found &= Q(volume_name=volume)
    return found


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def in_time(query: QueryDict) -> Q:
    found = Q()
    if first := day_of(query, "from"):
        found &= Q(at__gte=_midnight(first))
    if last := day_of(query, "to"):
        found &= Q(at__lt=_midnight(last + timedelta(days=1)))
    return found


def day_of(query: QueryDict, name: str) -> date | None:
    try:
        day = parse_date(query.get(name, "").strip())
    except ValueError:
        return None
    return day if day and 1970 <= day.year <= 9000 else None


def _midnight(day: date) -> datetime:
    return timezone.make_aware(datetime.combine(day, time()))


def outcome_chips(request: HttpRequest) -> list[Chip]:
    """Without counts: of a million events they are what a page would wait for."""
    return chips(
        request, "state", [("", "All", None), *((v, t, None) for v, t in AuditEvent.Outcome.choices)]
    )


def menus(request: HttpRequest) -> list[Menu]:
    hosts = Host.objects.visible_to(request.user, "audit.read").values_list("pk", "name")
    return [
        menu(request, "about", "About", GROUPS.items()),
        menu(request, "host", "Host", [(str(pk), name) for pk, name in hosts]),
    ]
