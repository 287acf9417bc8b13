"""The pages of what brings a volume into a pool from elsewhere."""

from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from pools.models import Pool
from storagemgr.access.objects import visible_or_404
from storagemgr.jobs.operations import REGISTRY
from storagemgr.jobs.pages import operate
from volumes.transfer.tickets import allow


@require_http_methods(["GET", "HEAD", "POST"])
def upload(request: HttpRequest, pk: int) -> HttpResponse:
    """Its script goes on to send the file, so that it may connect to the transfer process from here on."""
    return allow(request, _into_pool(request, pk, "volume.upload"))


@require_http_methods(["GET", "HEAD", "POST"])
def import_(request: HttpRequest, pk: int) -> HttpResponse:
    return _into_pool(request, pk, "volume.import")


def _into_pool(request: HttpRequest, pk: int, operation: str) -> HttpResponse:
    pool = visible_or_404(request, Pool.objects.select_related("host"), pk=pk)
    return operate(request, REGISTRY[operation], pool, cancel_url=reverse("volumes:of_pool", args=[pk]))
