"""Who holds what: the list of all grants, giving a role, taking one away."""

from typing import Any

from django.contrib import messages
from django.contrib.auth.models import Group, User
from django.db.models import DateTimeField, Q, QuerySet, Value
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_safe

from pools.models import Pool
from storagemgr.access import granting
from storagemgr.access.audit import address_of
from storagemgr.access.granting import manages, visible_grants
from storagemgr.access.recent import require_recent
from storagemgr.access.roles import all_roles
from storagemgr.listing import ID_LIMIT, chips, is_filtered, menu, ordered, page_of, sort_key
from storagemgr.people import finding
from storagemgr.people.forms import GrantForm, PlaceForm
from storagemgr.people.guard import changing_page, people_page, refuse, require, see
from storagemgr.people.showing import Shown, holder_url, places_of, sentence_of, shown
from storagemgr.templatetags.storage import printable

SORTS: dict[str, Any] = {
    "holder": [Coalesce("group__name", "user__username")],
    "role": ["role"],
    "ends": [Coalesce("expires_at", Value(granting.NEVER, DateTimeField()))],
    "made": ["created_at"],
}
Q_LIMIT = 200


@require_safe
@people_page
def grant_list(request: HttpRequest) -> HttpResponse:
    text = request.GET.get("q", "").strip("\0 ")[:Q_LIMIT]
    rows = _of_roles(_like(visible_grants(request.user), text), request.GET.getlist("role"))
    now = timezone.now()
    ends, over = Q(expires_at__gt=now), Q(expires_at__lte=now)
    parts = {"": ~over, "ends": ends, "over": over}
    titles = {"": "In force", "ends": "With an end", "over": "Ended"}
    # What has no end is in force too, and NOT (NULL <= now) is not true in SQL.
    parts[""] = Q(expires_at=None) | ends
    options = chips(request, "state", [(v, t, rows.filter(parts[v]).count()) for v, t in titles.items()])
    chosen = next(chip for chip in options if chip.is_on)
    sort = sort_key(request, SORTS, "holder")
    found = ordered(rows.filter(parts[chosen.value]).select_related("user", "group", "host"), sort, SORTS)
    page = page_of(request, found, chosen.count)
    context = {
        "grants": shown(page.object_list, request.user),
        "page": page,
        "sort": sort,
        "chips": options,
        "menus": [menu(request, "role", "Role", [(r.name, r.title) for r in all_roles().values()])],
        "q": text,
        "is_filtered": is_filtered(request),
        "manages": manages(request.user),
    }
    return render(request, "people/grants.html", context)


def _like(rows: QuerySet[Any], text: str) -> QuerySet[Any]:
    if not text:
        return rows
    pools = Pool.objects.filter(name__icontains=text).values("uuid")
    by_holder = Q(user__username__icontains=text) | Q(group__name__icontains=text)
    return rows.filter(by_holder | Q(host__name__icontains=text) | Q(pool_uuid__in=pools))


def _of_roles(rows: QuerySet[Any], names: list[str]) -> QuerySet[Any]:
    return rows.filter(role__in=names[:50]) if names else rows


@require_http_methods(["GET", "HEAD", "POST"])
@changing_page("access.grant")
def new(request: HttpRequest) -> HttpResponse:
    is_asked = request.method == "POST" and "find" not in request.POST
    initial = request.POST.dict() if request.method == "POST" else _initial(request)
    form = GrantForm(request.POST if is_asked else None, initial=initial, by=request.user)
    if not form.is_valid():
        note_refusal(request, "access.grant", form)
        return _form_page(request, form)
    holder, place = form.cleaned_data["holder"], form.cleaned_data["place"]
    require_recent(request, "Granting a role")
    made = granting.grant(request.user, **given(form), **_who(holder), address=address_of(request))
    role = form.roles[made.role].title
    messages.success(request, f"{role} on {place.place.text} was granted to {printable(made.holder)}.")
    return see(holder_url(made))


def note_refusal(request: HttpRequest, action: str, form: PlaceForm) -> None:
    if form.refusal:
        why = [text for name in ("role", "until") for text in form.errors.get(name, [])]
        refuse(request, action, form.refusal, " ".join(why))


def given(form: PlaceForm) -> dict[str, Any]:
    """What granting.grant takes of a valid form."""
    place = form.cleaned_data["place"]
    return {
        "role": form.cleaned_data["role"],
        "host": place.host,
        "pool_uuid": place.pool_uuid,
        "expires_at": form.cleaned_data["until"],
        "where": place.place.text,
    }


def _who(holder: User | Group) -> dict[str, Any]:
    return {"user": holder} if isinstance(holder, User) else {"group": Group.objects.get(pk=holder.pk)}


def _initial(request: HttpRequest) -> dict[str, str]:
    """What ?user= or ?team= and ?host= or ?pool= choose beforehand."""
    found = {}
    for name, field in (("user", "holder"), ("team", "holder"), ("host", "place"), ("pool", "place")):
        if value := request.GET.get(name, ""):
            found[field] = f"{name}:{value}"
    return found


def _form_page(request: HttpRequest, form: GrantForm) -> HttpResponse:
    who = finding.holder(str(form["holder"].value() or ""))
    context = {
        "form": form,
        "holder": finding.finder(
            form["holder"],
            request.POST,
            "radio",
            [finding.option_of(who)] if who else [],
            finding.find_holders(finding.typed(request.POST, "holder")),
        ),
        **place_choices(request, form),
        "errors": [form[name] for name in form.fields if name in form.errors],
        "back": _back(who),
    }
    return render(request, "people/grant.html", context, status=422 if form.errors else 200)


def place_choices(request: HttpRequest, form: PlaceForm) -> dict[str, Any]:
    """For _place_fields.html."""
    value = str(form["place"].value() or "")
    found = finding.find_places(request.user, finding.typed(request.POST, "place"))
    return {
        "place": finding.finder(
            form["place"], request.POST, "radio", finding.place_option(request.user, value), found
        ),
        "roles": [
            (radio, sentence_of(form.roles[name], form.roles) if (name := radio.data["value"]) else "")
            for radio in form["role"]
        ],
    }


def _back(who: Any) -> str:
    if isinstance(who, User):
        return reverse("people:person", args=[who.pk])
    return reverse("people:team", args=[who.pk]) if who else reverse("people:grants")


@require_http_methods(["GET", "HEAD", "POST"])
@changing_page("access.revoke")
def revoke(request: HttpRequest, pk: int) -> HttpResponse:
    rows = visible_grants(request.user).select_related("user", "group", "host")
    taken = get_object_or_404(rows, pk=min(pk, ID_LIMIT))
    row: Shown = shown([taken], request.user)[0]
    require(request, "access.revoke", row.why_not, f"{row.role} for {row.holder} on {row.place.text}")
    back = row.holder_url
    if request.method != "POST":
        return render(request, "people/revoke.html", {"grant": row, "back": back})
    require_recent(request, "Taking a role away")
    granting.revoke(request.user, taken, address_of(request), places_of([taken])[taken.pk].text)
    messages.success(request, f"{row.role} on {row.place.text} was taken from {printable(row.holder)}.")
    return see(back)
