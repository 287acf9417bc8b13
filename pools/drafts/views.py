"""The wizard that makes a pool: the list of drafts, and the door to each step."""

from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from pools.drafts import choosing, options, review, source, testing
from pools.drafts.steps import (
    TITLES,
    Wizard,
    definable_hosts,
    may_define_somewhere,
    not_begun,
    remove_old_drafts,
    rows_for,
    wizard_of,
)
from pools.making.undoing import UNDO
from pools.models import NewPool, PoolDraft
from storagemgr.access import audit
from storagemgr.access.objects import visible_or_404
from storagemgr.jobs.operations import by_slug
from storagemgr.jobs.pages import operate, see

DRAFTS_LIMIT = 100
STEP_PAGES = {
    "hosts": choosing.hosts,
    "type": choosing.type_,
    "source": source.source,
    "options": options.options,
    "test": testing.test,
    "review": review.review,
    "result": review.result,
}


@require_http_methods(["GET", "HEAD", "POST"])
def drafts(request: HttpRequest) -> HttpResponse:
    remove_old_drafts()
    hosts = definable_hosts(request.user)
    mine = PoolDraft.objects.filter(owner_id=request.user.pk)
    if request.method == "POST":
        if not hosts:
            _refuse(request)
        if mine.count() < DRAFTS_LIMIT:
            return see(_begin(request, hosts))
    found = [Wizard(draft, rows_for(request.user, draft)) for draft in mine]
    context = {
        "drafts": [wizard for wizard in found if not wizard.is_finished],
        "may_begin": bool(hosts),
        "no_host": _no_host(request.user),
        "is_full": mine.count() >= DRAFTS_LIMIT,
        "days": PoolDraft.KEPT.days,
    }
    return render(request, "pools/new/drafts.html", context, status=409 if request.method == "POST" else 200)


NO_HOST = (
    "You may not define pools on any host. It takes the role Manager there; an administrator can grant it."
)


def _refuse(request: HttpRequest) -> None:
    audit.record(
        "pool.create",
        audit.Outcome.DENIED,
        actor=request.user,
        right="pool.define",
        object_text="New pool",
        address=audit.address_of(request),
    )
    raise PermissionDenied(_no_host(request.user))


def _no_host(user: Any) -> str:
    """Who may define pools anywhere has no host yet."""
    return "There is no host yet. It is added on the page Hosts." if may_define_somewhere(user) else NO_HOST


def _begin(request: HttpRequest, hosts: list[Any]) -> str:
    """A new draft, or one in which nothing was chosen yet; there is nothing to choose where there is one host."""
    mine = PoolDraft.objects.filter(owner_id=request.user.pk)
    if blank := mine.filter(type="", pools=None).first():
        return reverse("pools:draft", args=[blank.pk])
    draft = PoolDraft.objects.create(owner_id=request.user.pk)
    _record(request, "draft.begin", f"Draft {draft.pk} of a pool")
    if len(hosts) == 1:
        NewPool.objects.create(draft=draft, host=hosts[0])
    return reverse("pools:draft", args=[draft.pk])


@require_safe
def draft(request: HttpRequest, pk: int) -> HttpResponse:
    """Goes to the step that is open."""
    wizard = wizard_of(request, pk)
    response = see(wizard.url(wizard.open_step))
    response.status_code = 302
    return response


@require_http_methods(["GET", "HEAD", "POST"])
def step(request: HttpRequest, pk: int, step: str) -> HttpResponse:
    wizard = wizard_of(request, pk)
    if step not in TITLES:
        raise Http404
    if not wizard.is_open(step):
        return see(wizard.url(wizard.open_step))
    before = draft_facts(wizard.draft)
    response = STEP_PAGES[step](request, wizard)
    if request.method == "POST":
        _record_step(request, wizard, step, before)
    return response


def draft_facts(draft: PoolDraft) -> dict[str, Any]:
    """What the audit tells of it. Passwords are not among its values."""
    hosts = draft.pools.order_by("host__name").values_list("host__name", flat=True)
    facts = {"name": draft.name, "type": draft.type, "hosts": ", ".join(hosts)}
    return facts | {name: str(value) for name, value in {**draft.values, **draft.options}.items()}


def _record_step(request: HttpRequest, wizard: Wizard, step: str, before: dict[str, Any]) -> None:
    """Of what a step changed in the draft; what it asks of a host is a job with events of its own."""
    draft = PoolDraft.objects.filter(pk=wizard.draft.pk).first()
    after = draft_facts(draft) if draft else {}
    changed = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    was, becomes = ({name: facts.get(name, "") for name in changed} for facts in (before, after))
    if changed:
        text = f"Draft {wizard.draft.pk}: {TITLES[step].lower()}"
        _record(request, "draft.change", text, before=was, after=becomes)


def _record(request: HttpRequest, action: str, text: str, **details: Any) -> None:
    audit.record(
        action,
        audit.Outcome.DONE,
        actor=request.user,
        right="pool.define",
        object_text=text,
        address=audit.address_of(request),
        details=details,
    )


@require_POST
def discard(request: HttpRequest, pk: int) -> HttpResponse:
    """What was begun on a host stays known, so that it can be undone."""
    wizard = wizard_of(request, pk)
    _record(request, "draft.discard", f"Draft {pk}: {wizard.draft}")
    not_begun(wizard.draft.pools).delete()
    wizard.draft.delete()
    return see(reverse("pools:drafts"))


@require_http_methods(["GET", "HEAD", "POST"])
def operate_new(request: HttpRequest, pk: int, slug: str) -> HttpResponse:
    """The page of one operation on one host: to ask again for what failed there, or to undo it.

    A draft is its owner's; what was begun on the host can be undone by others too.
    """
    new = visible_or_404(request, NewPool.objects.select_related("host", "draft"), pk=pk)
    is_mine = new.draft is not None and new.draft.owner_id == request.user.pk
    operation = by_slug("pool", slug)
    # A colleague may clean up, not go on with the owner's values and password.
    if operation is None or not (is_mine or (new.done and operation is UNDO)):
        raise Http404
    back = reverse("pools:draft", args=[new.draft_id]) if is_mine else reverse("pools:fleet")
    return operate(request, operation, new, cancel_url=back)
