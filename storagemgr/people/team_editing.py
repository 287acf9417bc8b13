"""The forms of a team: a new one with its members and first role in one go, and changing one."""

from typing import Any

from django.contrib import messages
from django.contrib.auth.models import Group
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from storagemgr.access import granting, teams
from storagemgr.access.audit import address_of
from storagemgr.access.recent import require_recent
from storagemgr.listing import ID_LIMIT
from storagemgr.people import finding
from storagemgr.people.forms import NewTeamForm, TeamForm
from storagemgr.people.grants import given, note_refusal, place_choices
from storagemgr.people.guard import changing_page, require, see
from storagemgr.templatetags.storage import printable


@require_http_methods(["GET", "HEAD", "POST"])
@changing_page("team.create")
def new(request: HttpRequest) -> HttpResponse:
    is_asked = request.method == "POST" and "find" not in request.POST
    form = NewTeamForm(
        request.POST if is_asked else None, initial=_initial(request), by=request.user, is_needed=False
    )
    if not form.is_valid():
        note_refusal(request, "team.create", form)
        return _new_page(request, form)
    name = form.cleaned_data["name"]
    require_recent(request, f"Making team {printable(name)}")
    group = _make(request, form)
    messages.success(request, f"Team {printable(name)} is made.")
    return see(reverse("people:team", args=[group.pk]))


def _make(request: HttpRequest, form: NewTeamForm) -> Group:
    values, by, address = form.cleaned_data, request.user, address_of(request)
    with granting.attempt(by, "team.create", f"Team {values['name']}", address):
        group = teams.make(
            by, values["name"], note=values["note"], outside_name=values["outside_name"], address=address
        )
        for person in values["members"]:
            teams.join(by, group, person, address)
        if values["role"]:
            granting.grant(by, **given(form), group=group, address=address)
    return group


def _initial(request: HttpRequest) -> dict[str, Any]:
    return request.POST.dict() | {"members": request.POST.getlist("members")}


def _new_page(request: HttpRequest, form: NewTeamForm) -> HttpResponse:
    chosen = [finding.person(value) for value in (form["members"].value() or [])[:200]]
    context = {
        "form": form,
        "members": finding.finder(
            form["members"],
            request.POST,
            "checkbox",
            [finding.option_of(user) for user in chosen if user],
            finding.find_people(finding.typed(request.POST, "members")),
        ),
        **place_choices(request, form),
        "errors": [form[name] for name in form.fields if name in form.errors],
    }
    return render(request, "people/team_new.html", context, status=422 if form.errors else 200)


@require_http_methods(["GET", "HEAD", "POST"])
@changing_page("team.change")
def edit(request: HttpRequest, pk: int) -> HttpResponse:
    group = get_object_or_404(Group, pk=min(pk, ID_LIMIT))
    require(request, "team.change", teams.why_not(request.user, group), f"Team {group}")
    form = TeamForm(
        request.POST if request.method == "POST" else None, group=group, initial=teams.facts_of(group)
    )
    if not form.is_valid():
        errors = [form[name] for name in form.fields if name in form.errors]
        page = {"form": form, "group": group, "errors": errors}
        return render(request, "people/team_edit.html", page, status=422 if form.errors else 200)
    require_recent(request, f"Changing team {printable(group)}")
    teams.change(request.user, group, form.cleaned_data, address_of(request))
    return see(reverse("people:team", args=[group.pk]))
