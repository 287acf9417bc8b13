"""Pages of people: the list, a person with what they can do and why, inviting, closing an account."""

from typing import Any

from allauth.mfa.models import Authenticator
from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.models import Group, User
from django.contrib.auth.validators import UnicodeUsernameValidator
from django.core.exceptions import ValidationError
from django.db.models import Exists, OuterRef, Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from storagemgr.access import persons, teams
from storagemgr.access.audit import address_of
from storagemgr.access.granting import UNUSABLE, manages, visible_grants
from storagemgr.access.models import Grant
from storagemgr.access.recent import require_recent
from storagemgr.access.scopes import with_rights
from storagemgr.access.who import words_of
from storagemgr.listing import ID_LIMIT, chips, is_filtered, menu, ordered, page_of, sort_key
from storagemgr.people.guard import changing_page, people_page, require, see
from storagemgr.people.showing import recent, shown
from storagemgr.people.teams import Q_LIMIT, people_like
from storagemgr.templatetags.storage import printable

SORTS = {"name": ["username"], "seen": ["last_login", "username"], "joined": ["date_joined", "username"]}
_INVITED = Q(last_login=None, password__regex=UNUSABLE)
STATES = {
    "": ("Open", Q(is_active=True)),
    persons.INVITED: ("Invited", Q(is_active=True) & _INVITED),
    "idle": ("No role", Q(is_active=True, is_superuser=False, holds=False)),
    persons.CLOSED: ("Closed", Q(is_active=False)),
}
TITLES = {persons.INVITED: "Invited", persons.ACTIVE: "Open", persons.CLOSED: "Closed"}


@require_safe
@people_page
def person_list(request: HttpRequest) -> HttpResponse:
    text = request.GET.get("q", "").strip("\0 ")[:Q_LIMIT]
    held = Grant.objects.in_force().filter(Q(user=OuterRef("pk")) | Q(group__user=OuterRef("pk")))
    rows = people_like(text).annotate(holds=Exists(held))
    if wanted := request.GET.getlist("team")[:50]:
        rows = rows.filter(groups__name__in=wanted).distinct()
    options = chips(
        request, "state", [(s, title, rows.filter(q).count()) for s, (title, q) in STATES.items()]
    )
    chosen = next(chip for chip in options if chip.is_on)
    sort = sort_key(request, SORTS, "name")
    found = ordered(rows.filter(STATES[chosen.value][1]), sort, SORTS).prefetch_related("groups")
    page = page_of(request, found, chosen.count)
    names = Group.objects.order_by("name").values_list("name", flat=True)
    context = {
        "rows": _rows(request, list(page.object_list)),
        "page": page,
        "sort": sort,
        "chips": options,
        "menus": [menu(request, "team", "Team", [(name, printable(name)) for name in names])],
        "q": text,
        "is_filtered": is_filtered(request),
        "may_make": persons.may_make(request.user),
        "titles": TITLES,
    }
    return render(request, "people/people.html", context)


def _rows(request: HttpRequest, people: list[User]) -> list[dict[str, Any]]:
    """With the roles that each holds where the person who looks may see it. Five queries, however many there are."""
    groups = {group.pk for user in people for group in user.groups.all()}
    given = visible_grants(request.user).in_force().filter(Q(user__in=people) | Q(group__in=groups))
    grants = list(given.select_related("user", "group", "host").order_by("pk"))
    told = dict(zip([g.pk for g in grants], shown(grants, request.user), strict=True))
    guarded = set(Authenticator.objects.filter(user__in=people).values_list("user", flat=True))
    found = []
    for user in people:
        mine = {group.pk for group in user.groups.all()}
        roles = [told[g.pk] for g in grants if g.user_id == user.pk or g.group_id in mine]
        found.append(
            {"user": user, "state": persons.state_of(user), "roles": roles, "has_mfa": user.pk in guarded}
        )
    return found


def _person(pk: int) -> User:
    return get_object_or_404(User, pk=min(pk, ID_LIMIT))


@require_safe
@people_page
def person(request: HttpRequest, pk: int) -> HttpResponse:
    return _page(request, _person(pk))


def _page(request: HttpRequest, found: User, link: str = "") -> HttpResponse:
    groups = list(found.groups.order_by("name"))
    given = visible_grants(request.user).filter(Q(user=found) | Q(group__in=groups))
    grants = list(recent(given).order_by("expires_at", "pk"))
    rights = {grant.pk: words_of(grant.rights) for grant in with_rights(grants)}
    context = {
        "person": found,
        "state": (state := persons.state_of(found)),
        "state_title": TITLES[state],
        "groups": groups,
        "other_groups": [group for group in teams.open_to(request.user) if group not in groups],
        "grants": [(row, rights[row.pk]) for row in shown(grants, request.user)],
        "authenticators": list(Authenticator.objects.filter(user=found)),
        "tokens": list(found.tokens.all()),
        "manages": manages(request.user),
        "why_not": persons.why_not(request.user, found) if found.is_active else "",
        "may_make": persons.may_make(request.user),
        "is_self": found.pk == request.user.pk,
        "link": link,
        "link_days": settings.PASSWORD_RESET_TIMEOUT // 86_400,
    }
    return render(request, "people/person.html", context)


class InviteForm(forms.Form):
    username = forms.CharField(
        max_length=150,
        label="Name to sign in with",
        validators=[UnicodeUsernameValidator()],
        widget=forms.TextInput(attrs={"autocomplete": "off", "autofocus": True}),
    )
    full_name = forms.CharField(max_length=150, required=False, label="Full name")
    mail = forms.EmailField(
        required=False, label="Mail address", help_text="For password resets, where mail is set up."
    )
    teams = forms.ModelMultipleChoiceField(
        Group.objects.none(), required=False, label="Teams", widget=forms.CheckboxSelectMultiple
    )

    def __init__(self, *args: Any, user: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        known = [group.pk for group in teams.open_to(user)]
        self.fields["teams"].queryset = Group.objects.filter(pk__in=known).order_by("name")  # type: ignore[attr-defined]

    def clean_username(self) -> str:
        name = str(self.cleaned_data["username"])
        if User.objects.filter(username__iexact=name).exists():
            raise ValidationError("Somebody has this name already.")
        return name


@require_http_methods(["GET", "HEAD", "POST"])
@changing_page("access.invite")
def invite(request: HttpRequest) -> HttpResponse:
    may_not = (
        "" if persons.may_make(request.user) else "Accounts are made by those who grant roles on everything."
    )
    require(request, "access.invite", may_not)
    form = InviteForm(request.POST if request.method == "POST" else None, user=request.user)
    if not form.is_valid():
        page = {"form": form, "errors": [form[name] for name in form.errors]}
        return render(request, "people/invite.html", page, status=422 if form.errors else 200)
    said = form.cleaned_data
    require_recent(request, f"Make an account for {printable(said['username'])}")
    made = User(username=said["username"], first_name=said["full_name"], email=said["mail"])
    path = persons.invite(request.user, made, address_of(request))
    for group in said["teams"]:
        teams.join(request.user, group, made, address_of(request))
    return _page(request, made, request.build_absolute_uri(path))


@require_POST
@changing_page("account.link")
def new_link(request: HttpRequest, pk: int) -> HttpResponse:
    """The link is on this answer and nowhere else."""
    found = _person(pk)
    require(request, "account.link", persons.why_not(request.user, found), found.username)
    require_recent(request, f"Make a link that sets the password of {printable(found)}")
    path = persons.new_link(request.user, found, address_of(request))
    return _page(request, found, request.build_absolute_uri(path))


@require_http_methods(["GET", "HEAD", "POST"])
@changing_page("account.close")
def close(request: HttpRequest, pk: int) -> HttpResponse:
    found = _person(pk)
    if request.method != "POST":
        page = {"person": found, "why_not": _why_not_close(request, found)}
        return render(request, "people/close.html", page)
    require(request, "account.close", _why_not_close(request, found), found.username)
    require_recent(request, f"Close the account of {printable(found)}")
    persons.close(request.user, found, address_of(request))
    messages.success(request, f"The account of {printable(found)} is closed, and they are signed out.")
    return see(reverse("people:person", args=[found.pk]))


def _why_not_close(request: HttpRequest, found: User) -> str:
    if found.pk == request.user.pk:
        return "You cannot close your own account."
    return persons.why_not(request.user, found)


@require_POST
@changing_page("account.open")
def reopen(request: HttpRequest, pk: int) -> HttpResponse:
    found = _person(pk)
    require_recent(request, f"Open the account of {printable(found)} again")
    persons.reopen(request.user, found, address_of(request))
    messages.success(request, f"The account of {printable(found)} is open again.")
    return see(reverse("people:person", args=[found.pk]))


@require_POST
@changing_page("token.revoke")
def revoke_token(request: HttpRequest, pk: int, token: int) -> HttpResponse:
    found = _person(pk)
    require(request, "token.revoke", persons.why_not(request.user, found), found.username)
    persons.revoke_token(
        request.user, get_object_or_404(found.tokens, pk=min(token, ID_LIMIT)), address_of(request)
    )
    messages.success(request, "The token is void.")
    return see(reverse("people:person", args=[found.pk]))
