"""The helpdesk's page. It answers questions in words, from rows, and changes nothing."""

from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from pools.fits import Fit, Question, fits
from pools.models import Pool
from pools.places import storages_of
from pools.trend import filling
from storagemgr.helpdesk import overview
from storagemgr.helpdesk.forms import FitForm
from storagemgr.helpdesk.search import search
from storagemgr.helpdesk.words import fit_ticket
from storagemgr.live import live_page
from storagemgr.templatetags.storage import size
from volumes.filters import search_text

TEMPLATE = "helpdesk/helpdesk.html"
PLACES_SHOWN = 4
REFUSED_SHOWN = 3


@dataclass(frozen=True)
class FitAnswer:
    """`asked`: of the one pool that was asked about, None where any would do; `places` the best others."""

    question: Question
    head: str
    level: str
    asked: Fit | None
    places: list[Fit]
    refused: list[Fit]
    more: int
    refused_more: int
    ticket: str

    @property
    def size(self) -> str:
        return size(self.question.size)


@require_safe
def helpdesk(request: HttpRequest) -> HttpResponse:
    form = FitForm(request.GET, Pool.objects.visible_to(request.user))
    text = search_text(request.GET)
    context: dict[str, Any] = {
        "form": form,
        "q": request.GET.get("q", ""),
        "text": text,
    }
    if form.is_bound:
        is_right = form.is_valid()
        context["fit"] = _fit_answer(form) if is_right else None
        return _answer(request, context, 200 if is_right else 422)
    if text:
        context["found"] = search(request.user, text)
        return _answer(request, context, 200)
    storages = storages_of(form.places)
    wrong, full = overview.troubles(request.user, storages), overview.full_or_soon(storages, filling())
    context |= {
        "is_overview": True,
        "sees_nothing": not storages,
        "rest": overview.the_rest(storages, full) if len(storages) <= overview.FEW else [],
        "storage_count": len(storages),
        "wrong": wrong[: overview.SHOWN],
        "wrong_more": max(0, len(wrong) - overview.SHOWN),
        "works": overview.everything_else(storages, bool(wrong)),
        "full": full[: overview.FULL_SHOWN],
        "full_more": max(0, len(full) - overview.FULL_SHOWN),
    }
    return live_page(request, TEMPLATE, context)


def _answer(request: HttpRequest, context: dict[str, Any], status: int) -> HttpResponse:
    response = render(request, TEMPLATE, context, status=status)
    response["Cache-Control"] = "private, no-cache"
    return response


def _fit_answer(form: FitForm) -> FitAnswer:
    question = form.question
    found = fits(question, form.storages, filling())
    wanted = form.asked_for
    asked = next((one for one in found if any(p.pk == wanted for p in one.storage.places)), None)
    others = [one for one in found if one is not asked]
    good = [one for one in others if one.level != "no" and (not asked or one.order < asked.order)]
    bad = [one for one in others if one.level == "no"] if not asked else []
    level = asked.level if asked else (good[0].level if good else "no")
    head = _head(question, level, asked, good)
    return FitAnswer(
        question=question,
        head=head,
        level=level,
        asked=asked,
        places=good[:PLACES_SHOWN],
        refused=bad[:REFUSED_SHOWN],
        more=max(0, len(good) - PLACES_SHOWN),
        refused_more=max(0, len(bad) - REFUSED_SHOWN),
        ticket=fit_ticket(question, form.place, head, asked, good[:PLACES_SHOWN]),
    )


def _head(question: Question, level: str, asked: Fit | None, good: list[Fit]) -> str:
    if asked:
        owner = f"ask team {asked.storage.owner} first" if asked.storage.owner else "ask first"
        return {"yes": "Yes.", "but": f"Yes, but {owner}.", "no": f"No: {asked.why}."}[level]
    if level == "no":
        return f"No. Nothing that you can see has room for {size(question.size)}."
    sure = [one for one in good if one.level == "yes"]
    names = " or ".join(_short(one) for one in (sure or good)[:2])
    return f"Yes: {names}." if sure else f"Yes, but ask first: {names}."


def _short(one: Fit) -> str:
    """What several hosts see has a name of its own."""
    return one.storage.name if len(one.storage.hosts) > 1 else f"{one.storage.name} {one.storage.where}"
