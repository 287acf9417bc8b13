"""Pages of hosts: rows only, libvirt is never asked here."""

from functools import partial
from typing import Any

from django.db.models import Count, F, Q
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from storagemgr.access.objects import may, visible_or_404
from storagemgr.access.scopes import scope
from storagemgr.access.who import who_can
from storagemgr.hosts.identity import pki_directory, ssh_identity
from storagemgr.hosts.manage import may_manage
from storagemgr.hosts.models import Host
from storagemgr.hosts.states import host_state
from storagemgr.listing import chips, is_filtered, kept, ordered, page_of, sort_key, take_pinned
from storagemgr.live import live_page
from storagemgr.messages import message
from storagemgr.virt import tls
from storagemgr.virt.pool_types import pool_type

# By the state's name: down, silent, unknown, up.
SORTS = {"name": ["name"], "state": ["state", "name"], "pools": [F("pool_count")]}
Q_LIMIT = 200
BY_STATE = {"up": Q(state=Host.State.UP), "silent": ~Q(state=Host.State.UP)}


@require_safe
def host_list(request: HttpRequest) -> HttpResponse:
    pinned = take_pinned(request)
    seen = scope(request.user, "pool.view").filter("id", "pools__uuid")
    visible = Host.objects.visible_to(request.user).annotate(pool_count=Count("pools", filter=seen or None))
    text = request.GET.get("q", "").strip("\0 ")[:Q_LIMIT]
    found = visible.filter(Q(name__icontains=text) | Q(hostname__icontains=text)) if text else visible
    counts = {state: found.filter(is_so).count() for state, is_so in BY_STATE.items()}
    titles = [("", "All"), ("up", "Up"), ("silent", "Not answering")]
    options = chips(
        request, "state", [(v, title, counts.get(v, sum(counts.values()))) for v, title in titles]
    )
    state = next(chip for chip in options if chip.is_on)
    sort = sort_key(request, SORTS, "name")
    matching = ordered(found.filter(BY_STATE.get(state.value, Q())), sort, SORTS)
    page = page_of(request, matching, state.count)
    shown = kept(page, pinned, visible)
    context = {
        "rows": [(host, host_state(host)) for host in shown.rows],
        "kept": shown,
        "page": page,
        "sort": sort,
        "chips": options,
        "q": request.GET.get("q", ""),
        "is_filtered": is_filtered(request),
        "may_manage": may_manage(request.user),
    }
    return live_page(request, "hosts/list.html", context)


@require_safe
def host(request: HttpRequest, pk: int) -> HttpResponse:
    found = visible_or_404(request, Host.objects.all(), pk=pk)
    context = {
        "host": found,
        "state": host_state(found),
        "problem": message(found.error_code) if found.error_code else None,
        "supported": type_titles(found, True),
        "unsupported": type_titles(found, False),
        "may_manage": may_manage(request.user),
        "namesakes": namesakes(request, found),
        # Who has a pool of it alone is not told who has the others.
        "who": partial(who_can, found.pk) if may(request.user, "pool.view", found.pk, None) else None,
        **credentials(found),
    }
    return live_page(request, "hosts/host.html", context)


def credentials(found: Host) -> dict[str, Any]:
    """Who we are for this host: the line for its authorized_keys, or our certificate."""
    if found.transport == Host.Transport.SSH:
        identity = ssh_identity()
        return {"public_key": identity.public_key, "authorized_key": identity.authorized_key(found.mode)}
    if found.transport == Host.Transport.TLS:
        directory = pki_directory()
        return {"cert_missing": tls.missing(directory), "certificate": tls.read(directory / "clientcert.pem")}
    return {}


def namesakes(request: HttpRequest, found: Host) -> list[Host]:
    """Other hosts that call themselves the same, so probably the same machine under another address."""
    if not found.hostname:
        return []
    same = Host.objects.visible_to(request.user).filter(hostname=found.hostname)
    return list(same.exclude(pk=found.pk))


def type_titles(found: Host, is_supported: bool) -> list[str]:
    """The pool types whose backend the host's libvirt has loaded, or has not, in words."""
    return sorted(
        pool_type(name).title for name, loaded in found.pool_types.items() if loaded == is_supported
    )
