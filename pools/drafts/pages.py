"""What the pages of all steps share."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from pools.drafts.steps import TITLES, Wizard, kept_until
from storagemgr.access import audit
from storagemgr.access.objects import require
from storagemgr.jobs.operations import Operation
from storagemgr.live import live_page

POLLED = ("source", "test", "result")


def step_page(
    request: HttpRequest, wizard: Wizard, step: str, context: dict[str, Any], *, status: int = 200
) -> HttpResponse:
    """The page; for a poll its fragment."""
    steps = list(wizard.shown_steps(step))
    context = context | {
        "wizard": wizard,
        "step": step,
        "title": TITLES[step],
        "number": next(shown.number for shown in steps if shown.name == step),
        "steps": steps,
        "back": wizard.before(step),
        "kept_until": kept_until(wizard.draft),
    }
    template = f"pools/new/{step}.html"
    if status == 200 and step in POLLED:
        return live_page(request, template, context)
    return render(request, template, context, status=status)


def require_define(request: HttpRequest, operation: Operation, wizard: Wizard) -> None:
    """On every host of it, now and not when the draft was begun."""
    for new in wizard.pools:
        require(
            request,
            operation.right,
            action=operation.name,
            host_id=new.host_id,
            pool_uuid=new.uuid,
            object_text=f"{operation.title} {new.name or 'a new pool'}",
        )


def address_of(request: HttpRequest) -> str | None:
    return audit.address_of(request)
