"""The state of a pool in one word for people, worst news first: what its host is, then the pool itself."""

from dataclasses import replace

from django.db.models import BooleanField, Case, F, IntegerField, Q, Value, When

from pools.capacity import WARN
from pools.models import Pool
from storagemgr.hosts.models import Host
from storagemgr.hosts.states import State
from storagemgr.virt.pool_types import TYPES


def pool_state(pool: Pool) -> State:
    found = state_in_words(pool.host.state, pool.state, is_unreachable=pool.unreachable_since is not None)
    since = pool.unreachable_since or pool.state_since if pool.host.answers else pool.host.state_since
    return replace(found, since=since)


def state_in_words(host_state: str, state: str, *, is_unreachable: bool) -> State:
    """Without since when."""
    if host_state != Host.State.UP:
        return State("", "wifi-off", "Not read yet" if host_state == Host.State.UNKNOWN else "Not answering")
    if is_unreachable:
        return State("bad", "exclamation-octagon", "Unreachable")
    match state:
        case Pool.State.INACTIVE:
            return State("", "dash-circle", "Stopped")
        case Pool.State.BUILDING:
            return State("", "hourglass-split", "Building")
        case Pool.State.DEGRADED:
            return State("warn", "exclamation-triangle", "Degraded")
        case Pool.State.INACCESSIBLE:
            return State("bad", "exclamation-octagon", "Inaccessible")
    return State("ok", "check-circle", "Running")


# Used and free mean what they say: see capacity.Space.is_measured.
MEASURED = Q(
    type__in=[name for name, kind in TYPES.items() if kind.numbers in ("normal", "raw")], capacity__gt=0
)

SILENT = ~Q(host__state=Host.State.UP)
UNREACHABLE = Q(unreachable_since__isnull=False) | Q(state=Pool.State.INACCESSIBLE)
NEARLY_FULL = ~Q(state=Pool.State.INACTIVE) & MEASURED & Q(allocation__gte=F("capacity") / 100 * WARN)
# libvirt only logs it when an automatic start fails.
NOT_STARTED = Q(state=Pool.State.INACTIVE, autostart=True)
ATTENTION = (
    SILENT | UNREACHABLE | Q(state=Pool.State.DEGRADED) | ~Q(refresh_error="") | NEARLY_FULL | NOT_STARTED
)

# Each pool has one of these, and besides may need attention.
SHOWN_AS = Case(
    When(SILENT | UNREACHABLE, then=Value("silent")),
    When(state=Pool.State.INACTIVE, then=Value("stopped")),
    default=Value("running"),
)
NEEDS_ATTENTION = Case(When(ATTENTION, then=Value(True)), default=Value(False), output_field=BooleanField())

# Sorted by state, what needs a person comes first.
URGENCY = Case(
    When(SILENT, then=Value(1)),
    When(UNREACHABLE, then=Value(0)),
    When(state=Pool.State.INACTIVE, then=Value(3)),
    When(state=Pool.State.DEGRADED, then=Value(2)),
    default=Value(4),
    output_field=IntegerField(),
)
