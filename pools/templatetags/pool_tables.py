"""For templates of areas that know no pools: `{% pools_on host as pools %}`."""

from typing import Any

from django import template

from pools.models import Pool
from pools.rows import LISTED, rows_of
from storagemgr.hosts.models import Host

register = template.Library()
SHOWN = 50


@register.simple_tag(takes_context=True)
def pools_on(context: template.Context, host: Host) -> dict[str, Any]:
    """The first pools of a host by name, and how many there are."""
    user = context["request"].user
    pools = Pool.objects.visible_to(user).filter(host=host)
    shown = list(pools.only(*LISTED).prefetch_related("host").order_by("name")[: SHOWN + 1])
    is_cut = len(shown) > SHOWN
    return {
        "rows": rows_of(user, shown[:SHOWN]),
        "count": pools.count() if is_cut else len(shown),
        "is_cut": is_cut,
    }
