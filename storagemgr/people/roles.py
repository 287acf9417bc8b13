"""Pages of roles: what each may, and making roles of one's own."""

from collections import Counter
from typing import Any, NamedTuple

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_safe

from storagemgr.access import granting, role_making
from storagemgr.access.audit import address_of
from storagemgr.access.granting import visible_grants
from storagemgr.access.recent import require_recent
from storagemgr.access.roles import RoleFacts, all_roles
from storagemgr.people.forms import RoleForm
from storagemgr.people.guard import changing_page, people_page, refuse, require, see
from storagemgr.people.showing import grouped_rights, sentence_of, shown
from storagemgr.templatetags.storage import printable


class RoleRow(NamedTuple):
    role: RoleFacts
    teams: int
    people: int
    words: str


class RightRow(NamedTuple):
    """A right of the matrix: who has it, in the order of the roles."""

    words: str
    held: list[tuple[RoleFacts, bool]]


@require_safe
@people_page
def role_list(request: HttpRequest) -> HttpResponse:
    roles = all_roles()
    held = visible_grants(request.user).in_force().values_list("role", "group_id", "user_id")
    teams = Counter(role for role, group, _ in set(held) if group)
    people = Counter(role for role, _, user in set(held) if user)
    context = {
        "rows": [RoleRow(r, teams[r.name], people[r.name], sentence_of(r, roles)) for r in roles.values()],
        "matrix": [
            (
                title,
                [RightRow(words, [(r, right in r.rights) for r in roles.values()]) for right, words in rows],
            )
            for title, rows in grouped_rights()
        ],
        "roles": list(roles.values()),
        "width": len(roles) + 1,
        "why_not": role_making.why_not(request.user),
        "sees_all": granting.sees_all_grants(request.user),
    }
    return render(request, "people/roles.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@changing_page("role.create")
def new(request: HttpRequest) -> HttpResponse:
    require(request, "role.create", role_making.why_not(request.user))
    source = all_roles().get(request.GET.get("from", ""))
    initial = {"rights": list(source.rights), "needs_mfa": source.needs_mfa} if source else {}
    form = RoleForm(request.POST if request.method == "POST" else None, initial=initial)
    if not _is_good(request, "role.create", form, frozenset()):
        return _form_page(request, form, None, source)
    values = form.cleaned_data
    require_recent(request, f"Making role {printable(values['title'])}")
    role_making.make(
        request.user, values["title"], values["rights"], values["needs_mfa"], address_of(request)
    )
    messages.success(request, f"Role {printable(values['title'])} is made. Grant it to a team or a person.")
    return see(reverse("people:roles"))


@require_http_methods(["GET", "HEAD", "POST"])
@changing_page("role.change")
def edit(request: HttpRequest, name: str) -> HttpResponse:
    role = _role(name)
    require(request, "role.change", role_making.why_not(request.user, role.rights), f"Role {role.title}")
    initial = {"title": role.title, "rights": list(role.rights), "needs_mfa": role.needs_mfa}
    form = RoleForm(request.POST if request.method == "POST" else None, role=role, initial=initial)
    if not _is_good(request, "role.change", form, role.rights):
        return _form_page(request, form, role)
    values: dict[str, Any] = initial | form.cleaned_data
    require_recent(request, f"Changing role {printable(role.title)}")
    role_making.change(
        request.user,
        role,
        values["title"],
        frozenset(values["rights"]),
        values["needs_mfa"],
        address_of(request),
    )
    messages.success(request, f"Role {printable(values['title'])} is changed, for everybody who holds it.")
    return see(reverse("people:roles"))


def _role(name: str) -> RoleFacts:
    if role := all_roles().get(name):
        return role
    raise Http404


def _is_good(request: HttpRequest, action: str, form: RoleForm, before: frozenset[str]) -> bool:
    if not form.is_valid():
        return False
    wanted = form.cleaned_data.get("rights", before)
    if why := role_making.why_not(request.user, wanted ^ before):
        refuse(request, action, f"Role {form.cleaned_data['title']}", why)
        form.add_error("rights", why)
    return not form.errors


def _form_page(
    request: HttpRequest, form: RoleForm, role: RoleFacts | None, source: RoleFacts | None = None
) -> HttpResponse:
    boxes = {box.data["value"]: box for box in form["rights"]} if "rights" in form.fields else {}
    context = {
        "form": form,
        "role": role,
        "source": source,
        "sources": list(all_roles().values()),
        "groups": [(title, [boxes[right] for right, _ in rows]) for title, rows in grouped_rights() if boxes],
        "words": sentence_of(role, all_roles()) if role else "",
        "holders": _holders(request, role) if role else [],
        "errors": [form[name] for name in form.fields if name in form.errors],
    }
    return render(request, "people/role.html", context, status=422 if form.errors else 200)


def _holders(request: HttpRequest, role: RoleFacts) -> list[Any]:
    held = (
        visible_grants(request.user).in_force().filter(role=role.name).select_related("user", "group", "host")
    )
    return shown(held.order_by("pk"), request.user)


@require_http_methods(["GET", "HEAD", "POST"])
@changing_page("role.delete")
def delete(request: HttpRequest, name: str) -> HttpResponse:
    role = _role(name)
    if role.is_built_in:
        raise Http404
    require(request, "role.delete", role_making.why_not(request.user, role.rights), f"Role {role.title}")
    holders = _holders(request, role)
    if request.method != "POST" or holders:
        page = {"role": role, "holders": holders, "words": sentence_of(role, all_roles())}
        return render(
            request, "people/role_delete.html", page, status=409 if request.method == "POST" else 200
        )
    require_recent(request, f"Deleting role {printable(role.title)}")
    role_making.delete(request.user, role, address_of(request))
    messages.success(request, f"Role {printable(role.title)} is gone.")
    return see(reverse("people:roles"))
