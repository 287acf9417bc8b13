"""Pages of teams: the list, a team with its members and roles, deleting one."""

from typing import Any

from django.contrib import messages
from django.contrib.auth.models import Group, User
from django.db.models import Count, Exists, F, OuterRef, Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from pools.models import PoolNotes
from storagemgr.access import granting, teams
from storagemgr.access.audit import address_of
from storagemgr.access.granting import manages, visible_grants
from storagemgr.access.models import Team
from storagemgr.access.recent import require_recent
from storagemgr.access.scopes import Actor, scope
from storagemgr.listing import ID_LIMIT, chips, is_filtered, ordered, page_of, sort_key
from storagemgr.people.finding import people_like
from storagemgr.people.guard import changing_page, people_page, require, see
from storagemgr.people.showing import Shown, recent, shown
from storagemgr.templatetags.storage import printable
from volumes.models import VolumeNotes

SORTS = {"name": ["name"], "members": [F("members"), "name"]}
Q_LIMIT = 200
FOUND_LIMIT = 8
NOTES: dict[str, Any] = {"volumes": VolumeNotes, "pools": PoolNotes}
EMPTY, IDLE = "empty", "idle"


@require_safe
@people_page
def team_list(request: HttpRequest) -> HttpResponse:
    text = request.GET.get("q", "").strip("\0 ")[:Q_LIMIT]
    given = visible_grants(request.user).in_force().filter(group=OuterRef("pk"))
    rows = Group.objects.annotate(members=Count("user", distinct=True), is_granted=Exists(given))
    if text:
        rows = rows.filter(Q(name__icontains=text) | Q(team__note__icontains=text))
    parts = {"": Q(), EMPTY: Q(members=0), IDLE: Q(is_granted=False)}
    titles = {"": "All", EMPTY: "Nobody in it", IDLE: "No role"}
    options = chips(request, "state", [(v, t, rows.filter(parts[v]).count()) for v, t in titles.items()])
    chosen = next(chip for chip in options if chip.is_on)
    sort = sort_key(request, SORTS, "name")
    found = ordered(rows.filter(parts[chosen.value]).select_related("team"), sort, SORTS)
    page = page_of(request, found, chosen.count)
    context = {
        "rows": [(group, team_of(group), held) for group, held in _with_grants(request, page.object_list)],
        "page": page,
        "sort": sort,
        "chips": options,
        "q": text,
        "is_filtered": is_filtered(request),
        "manages": manages(request.user),
        "sees_all": granting.sees_all_grants(request.user),
    }
    return render(request, "people/teams.html", context)


def _with_grants(request: HttpRequest, groups: Any) -> list[tuple[Group, list[Shown]]]:
    groups = list(groups)
    given = visible_grants(request.user).in_force().filter(group__in=groups)
    rows = shown(given.select_related("user", "group", "host").order_by("pk"), request.user)
    return [(group, [row for row in rows if row.holder == f"team {group}"]) for group in groups]


def team_of(group: Group) -> Team:
    return getattr(group, "team", None) or Team(group=group)


@require_safe
@people_page
def team(request: HttpRequest, pk: int) -> HttpResponse:
    group = _group(pk)
    members = group.user_set.order_by("username")
    grants = shown(
        recent(visible_grants(request.user).filter(group=group)).order_by("expires_at", "pk"), request.user
    )
    context = {
        "group": group,
        "team": team_of(group),
        "members": page_of(request, members),
        "grants": grants,
        "sentences": dict.fromkeys((g.role, g.words) for g in grants if not g.is_over),
        "owns": owned(group, request.user),
        "why_not": teams.why_not(request.user, group),
        "why_not_more": teams.why_not(request.user, group, for_more=True),
        "manages": manages(request.user),
        "sees_all": granting.sees_all_grants(request.user),
        **_found(request, group),
    }
    return render(request, "people/team.html", context)


def _group(pk: int) -> Group:
    return get_object_or_404(Group.objects.select_related("team"), pk=min(pk, ID_LIMIT))


def _found(request: HttpRequest, group: Group) -> dict[str, Any]:
    """Whom the search for a new member finds."""
    text = request.GET.get("person", "").strip("\0 ")[:Q_LIMIT]
    others = people_like(text).filter(is_active=True).exclude(groups=group)
    found = list(others[: FOUND_LIMIT + 1])
    return {"person": text, "found": found[:FOUND_LIMIT], "is_more": len(found) > FOUND_LIMIT}


def owned(group: Group, user: Actor, right: str = "pool.view") -> dict[str, int]:
    """How much the team owns where the person holds `right`."""
    there = scope(user, right).filter("host_id", "pool_uuid")
    return {name: rows.objects.filter(there, owner=group).count() for name, rows in NOTES.items()}


def _why_not_deleted(user: Actor, group: Group) -> str:
    if why := teams.why_not(user, group):
        return why
    of_all = {name: rows.objects.filter(owner=group).count() for name, rows in NOTES.items()}
    if of_all != owned(group, user, granting.RIGHT):
        return "This team owns pools or volumes where you may not grant roles. Ask somebody who may."
    return ""


@require_POST
@changing_page("team.join")
def join(request: HttpRequest, pk: int) -> HttpResponse:
    return _move(request, pk, teams.join, "was added to")


@require_POST
@changing_page("team.leave")
def leave(request: HttpRequest, pk: int) -> HttpResponse:
    return _move(request, pk, teams.leave, "was taken out of")


def _move(request: HttpRequest, pk: int, act: Any, words: str) -> HttpResponse:
    group = _group(pk)
    given = request.POST.get("user", "")
    known = given.isascii() and given.isdigit() and len(given) < 19
    person = User.objects.filter(pk=int(given) if known else 0).first()
    is_in = act is teams.join
    why = teams.why_not(request.user, group, for_more=is_in)
    require(request, "team.join" if is_in else "team.leave", why, f"{person} in team {group}")
    if person is None:
        messages.error(request, "This person is not there any more. Nothing was changed.")
        return see(reverse("people:team", args=[group.pk]))
    require_recent(request, f"Team {printable(group)} and {printable(person)}")
    act(request.user, group, person, address_of(request))
    messages.success(request, f"{printable(person)} {words} team {printable(group)}.")
    return see(reverse("people:team", args=[group.pk]))


@require_http_methods(["GET", "HEAD", "POST"])
@changing_page("team.delete")
def delete(request: HttpRequest, pk: int) -> HttpResponse:
    group = _group(pk)
    require(request, "team.delete", _why_not_deleted(request.user, group), f"Team {group}")
    goes = owned(group, request.user, granting.RIGHT)
    if request.method == "POST":
        require_recent(request, f"Deleting team {printable(group)}")
        teams.delete(request.user, group, address_of(request), owned=goes)
        messages.success(request, f"Team {printable(group)} is gone.")
        return see(reverse("people:teams"))
    context = {
        "group": group,
        "grants": shown(recent(granting.visible_grants(request.user).filter(group=group)), request.user),
        "members": group.user_set.count(),
        "owns": goes,
    }
    return render(request, "people/team_delete.html", context)
