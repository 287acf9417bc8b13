"""Asks hosts by job, one job a host, and shows what became of each."""

import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.http import HttpRequest
from django.utils import timezone

from pools.drafts.pages import address_of, require_define
from pools.drafts.steps import Wizard
from pools.models import NewPool
from storagemgr.jobs.models import Job
from storagemgr.jobs.operations import Operation
from storagemgr.jobs.submit import submit
from storagemgr.messages import Message, message


@dataclass(frozen=True)
class Asked:
    """What a host said to an operation, or how far it is."""

    new: NewPool
    job: Job | None
    result: Any = None
    at: datetime | None = None

    @property
    def is_working(self) -> bool:
        return self.job is not None and self.job.is_active

    @property
    def error(self) -> Message | None:
        if self.job is None or self.job.state != Job.State.FAILED:
            return None
        return message(self.job.error_code or "unknown")

    @property
    def words(self) -> str:
        """The first line of what libvirt, or we, said when it failed."""
        text = self.job.error_text if self.job else ""
        return text.splitlines()[0][:300] if text else ""


def asked_of(wizard: Wizard, operation: Operation, results: str) -> list[Asked]:
    """`results`: found or tested, the field of NewPool that the job writes."""
    return [
        Asked(new, wizard.job(new, operation.name), getattr(new, results), getattr(new, f"{results}_at"))
        for new in wizard.pools
    ]


def ask(request: HttpRequest, wizard: Wizard, operation: Operation, results: str, **of_all: Any) -> None:
    """A job for each host that answers. `of_all`: what submit() gets for all of them, or a function of the row."""
    require_define(request, operation, wizard)
    for new in wizard.pools:
        if operation.why_off(new):
            continue
        params = of_all["params"](new)
        known = wizard.job(new, operation.name)
        if known and known.is_active and known.params == params:
            continue
        NewPool.objects.filter(pk=new.pk).update(**{results: None, f"{results}_at": None})
        job = submit(
            operation,
            new,
            actor=request.user,
            params=params,
            secrets=of_all.get("secrets"),
            key=uuid.uuid4(),
            address=address_of(request),
        )
        # The draft shows how it ended; a notice on every page would say it twice.
        Job.objects.filter(pk=job.pk).update(acknowledged_at=timezone.now())
