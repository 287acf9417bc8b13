"""Taking back together what was asked for together and waits for its time."""

from collections.abc import Iterable

from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_POST

from storagemgr.access import audit
from storagemgr.access.objects import may
from storagemgr.access.scopes import Actor
from storagemgr.jobs.cancelling import cancel, cancel_right
from storagemgr.jobs.models import Job
from storagemgr.jobs.pages import for_htmx, see


def undoable(user: Actor, jobs: Iterable[Job]) -> list[Job]:
    """The scheduled ones that are the person's own, or that they have the right to."""
    scheduled = [job for job in jobs if job.state == Job.State.SCHEDULED]
    return [
        job
        for job in scheduled
        if job.requested_by_id == user.pk or may(user, cancel_right(job), job.host_id, job.pool_uuid)
    ]


@require_POST
def undo_batch(request: HttpRequest, pk: int) -> HttpResponse:
    jobs = list(Job.objects.visible_to(request.user).filter(batch_id=pk))
    if not jobs:
        raise Http404
    for job in undoable(request.user, jobs):
        cancel(job, request.user, audit.address_of(request))
    return for_htmx(request, see(reverse("jobs:batch", args=[pk])))
