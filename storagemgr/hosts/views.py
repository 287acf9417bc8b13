"""Pages of hosts: rows only, libvirt is never asked here."""

from django.db.models import Count
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from storagemgr.access.objects import visible_or_404
from storagemgr.access.scopes import scope
from storagemgr.hosts.models import Host
from storagemgr.hosts.states import host_state
from storagemgr.live import live_page
from storagemgr.messages import message
from storagemgr.virt.pool_types import pool_type


@require_safe
def host_list(request: HttpRequest) -> HttpResponse:
    seen = scope(request.user, "pool.view").filter("id", "pools__uuid")
    hosts = Host.objects.visible_to(request.user).annotate(pool_count=Count("pools", filter=seen or None))
    return live_page(request, "hosts/list.html", {"rows": [(host, host_state(host)) for host in hosts]})


@require_safe
def host(request: HttpRequest, pk: int) -> HttpResponse:
    found = visible_or_404(request, Host.objects.all(), pk=pk)
    context = {
        "host": found,
        "state": host_state(found),
        "problem": message(found.error_code) if found.error_code else None,
        "supported": type_titles(found, True),
        "unsupported": type_titles(found, False),
    }
    return live_page(request, "hosts/host.html", context)


def type_titles(found: Host, is_supported: bool) -> list[str]:
    """The pool types whose backend the host's libvirt has loaded, or has not, in words."""
    return sorted(
        pool_type(name).title for name, loaded in found.pool_types.items() if loaded == is_supported
    )
