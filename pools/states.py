"""The state of a pool in one word for people, worst news first: what its host is, then the pool itself."""

from django.db.models import BooleanField, Case, F, IntegerField, Q, Value, When

from pools.capacity import WARN
from pools.models import Pool
from storagemgr.hosts.models import Host
from storagemgr.hosts.states import State
from storagemgr.virt.pool_types import TYPES


def pool_state(pool: Pool) -> State:
    if not pool.host.answers:
        word = "Not read yet" if pool.host.state == Host.State.UNKNOWN else "Not answering"
        return State("", "wifi-off", word, pool.host.state_since)
    if pool.unreachable_since:
        return State("bad", "exclamation-octagon", "Unreachable", pool.unreachable_since)
    match pool.state:
        case Pool.State.INACTIVE:
            return State("", "dash-circle", "Stopped", pool.state_since)
        case Pool.State.BUILDING:
            return State("", "hourglass-split", "Building", pool.state_since)
        case Pool.State.DEGRADED:
            return State("warn", "exclamation-triangle", "Degraded", pool.state_since)
        case Pool.State.INACCESSIBLE:
            return State("bad", "exclamation-octagon", "Inaccessible", pool.state_since)
    return State("ok", "check-circle", "Running", pool.state_since)


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
