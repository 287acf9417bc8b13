"""Pages of a pool's configuration: as it is, as it could be, as it was. Rows only."""

import uuid
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from django.db.models import OuterRef, Subquery
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_safe

from pools.configuration import draft as config_draft
from pools.configuration import history
from pools.configuration.operation import (
    CONFIGURE,
    Change,
    ConfigureForm,
    changed_since,
    may_make_it_so,
    why_no_change,
)
from pools.models import Pool, PoolConfiguration
from pools.views import heading_of
from storagemgr.access.objects import may, visible_or_404, who_may
from storagemgr.jobs.models import Job
from storagemgr.jobs.pages import require_right
from storagemgr.jobs.pages import review as review_page
from storagemgr.listing import ID_LIMIT, ordered, page_of, sort_key
from storagemgr.messages import message
from storagemgr.virt import pool_xml
from storagemgr.virt.pool_fields import fields_of

VERSIONS_SHOWN = 5
SORTS = {"at": ["pk"], "by": ["made_by"]}
SECRET = {True: "Set, and not shown", False: "None"}


@require_http_methods(["GET", "HEAD", "POST"])
def configuration(request: HttpRequest, pk: int) -> HttpResponse:
    """The fields and the XML, to change for who may. What is posted is `to` be shown again, or reviewed."""
    pool = _pool(request, pk)
    base = history.latest(pool)
    if request.method != "POST":
        return _page(request, pool, config_draft.opened(pool, base) if base else None, 200)
    require_right(request, CONFIGURE, pool)
    started = _version(pool, request.POST.get("version", ""))
    if base is None or started is None or why_no_change(pool):
        return _page(request, pool, config_draft.opened(pool, base) if base else None, 409)
    draft = config_draft.posted(pool, started, request.POST)
    if history.is_change(started.xml, base.xml, is_active=pool.is_active):
        return _page(request, pool, draft, 409, changed=changed_since(pool, started))
    if request.POST.get("to") != "review":
        return _page(request, pool, draft, 200 if draft.is_valid else 422)
    if not draft.is_valid or not draft.is_changed:
        return _page(request, pool, draft, 422)
    return _review(request, pool, draft.xml, draft.base, sealed=draft.sealed)


def _page(
    request: HttpRequest, pool: Pool, draft: config_draft.Draft | None, status: int, changed: str = ""
) -> HttpResponse:
    locked = _locked(request, pool)
    off = locked or why_no_change(pool)
    versions = shown(pool, _with_before(pool).order_by("-pk")[:VERSIONS_SHOWN])
    context = heading_of(request, pool) | {
        "draft": draft,
        "off": off,
        "is_locked": bool(locked),
        "changed": changed,
        "unchanged": status == 422 and draft is not None and draft.is_valid,
        "is_posted": request.method == "POST",
        "xml": draft.base.xml if draft else pool.xml,
        "facts": facts(pool, draft.base.xml if draft else pool.xml),
        "versions": versions,
    }
    response = render(request, "pools/configuration/page.html", context, status=status)
    response["Cache-Control"] = "private, no-store"
    return response


def _review(
    request: HttpRequest, pool: Pool, xml: str, base: PoolConfiguration, **fields: Any
) -> HttpResponse:
    data = {"key": str(uuid.uuid4()), "version": base.pk, "xml": xml} | fields
    form = ConfigureForm(data, target=pool)
    if form.is_valid() and not may_make_it_so(request.user, pool, base.xml, form.cleaned_data["xml"]):
        said = message("other_storage")
        form.refusal = f"{said.title} {said.hint}"
        form.full_clean()
    response = review_page(
        request, CONFIGURE, pool, form, cancel_url=reverse("pools:configuration", args=[pool.pk])
    )
    response["Cache-Control"] = "private, no-store"
    return response


def _locked(request: HttpRequest, pool: Pool) -> str:
    if may(request.user, CONFIGURE.right, pool.host_id, pool.uuid):
        return ""
    return who_may(request.user, CONFIGURE.right, pool.host_id, pool.uuid)


def _pool(request: HttpRequest, pk: int) -> Pool:
    found: Pool = visible_or_404(request, Pool.objects.select_related("host"), pk=pk)
    return found


def _version(pool: Pool, text: str) -> PoolConfiguration | None:
    is_id = text.isascii() and text.isdigit() and int(text[:20]) <= ID_LIMIT
    return history.of(pool).filter(pk=text).first() if is_id else None


def facts(pool: Pool, xml: str) -> list[tuple[str, list[str]]]:
    """The fields that have a value, in words."""
    if not xml:
        return []
    values = pool_xml.values_of(xml)
    found = []
    for field in fields_of(pool.type):
        if field.kind == "secret":
            value: Any = SECRET[bool(values.get("auth_secret"))] if "auth_user" in values else ""
        else:
            value = values.get(field.name)
            value = dict(field.choices).get(value, value) if isinstance(value, str) else value
        if value:
            found.append((field.label, value if isinstance(value, list) else [value]))
    return found


@dataclass
class Version:
    """A configuration in the history, beside the one `before` it."""

    row: PoolConfiguration
    before: PoolConfiguration | None
    job: Job | None
    is_current: bool

    @cached_property
    def words(self) -> list[str]:
        if self.before is None:
            return []
        found = pool_xml.differences(self.before.xml, self.row.xml)
        return found or ["The same but for its layout or what libvirt adds."]

    @property
    def made_by(self) -> str:
        if self.row.made_by:
            return self.row.made_by
        return "outside this program" if self.before else "found by the first reading"


def _with_before(pool: Pool) -> Any:
    earlier = history.of(pool).filter(pk__lt=OuterRef("pk")).order_by("-pk")
    return history.of(pool).annotate(before_id=Subquery(earlier.values("pk")[:1]))


def shown(pool: Pool, rows: Any) -> list[Version]:
    rows = list(rows)
    before = PoolConfiguration.objects.in_bulk([row.before_id for row in rows if row.before_id])
    jobs = Job.objects.in_bulk([row.job_id for row in rows if row.job_id])
    last = history.latest(pool)
    return [
        Version(row, before.get(row.before_id), jobs.get(row.job_id), bool(last and row.pk == last.pk))
        for row in rows
    ]


@require_safe
def configurations(request: HttpRequest, pk: int) -> HttpResponse:
    pool = _pool(request, pk)
    sort = sort_key(request, SORTS, "-at")
    page = page_of(request, ordered(_with_before(pool), sort, SORTS))
    context = heading_of(request, pool) | {"versions": shown(pool, page), "page": page, "sort": sort}
    return render(request, "pools/configuration/history.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
def configuration_at(request: HttpRequest, pk: int, version: int) -> HttpResponse:
    """One of the history, beside the one before it or the one in use; a POST asks to bring it back."""
    pool = _pool(request, pk)
    now = history.latest(pool)
    row = _with_before(pool).filter(pk=version).first() if version <= ID_LIMIT else None
    if row is None or now is None:
        raise Http404
    if request.method == "POST":
        require_right(request, CONFIGURE, pool)
        if row.pk != now.pk and not why_no_change(pool):
            return _review(request, pool, row.xml, now, restores=row.pk)
    [one] = shown(pool, [row])
    other = now if request.GET.get("beside") == "now" else one.before
    context = heading_of(request, pool) | {
        "version": one,
        "beside": "now" if other is now and request.GET.get("beside") == "now" else "before",
        "other": other,
        "change": _change(pool, one, other),
        "off": _locked(request, pool) or why_no_change(pool),
    }
    status = 409 if request.method == "POST" else 200
    return render(request, "pools/configuration/version.html", context, status=status)


def _change(pool: Pool, one: Version, other: PoolConfiguration | None) -> Change | None:
    """From the older to the newer of the two."""
    if other is None or other.pk == one.row.pk:
        return None
    old, new = sorted((one.row, other), key=lambda row: row.pk)
    return Change(pool, old, new.xml)
