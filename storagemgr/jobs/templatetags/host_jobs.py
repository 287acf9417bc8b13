"""For the page of a host, which knows no jobs: `{% host_actions host as buttons %}`."""

from urllib.parse import urlencode

from django import template
from django.urls import reverse

from storagemgr.hosts.models import Host
from storagemgr.jobs.buttons import Button, buttons_of
from storagemgr.jobs.models import Job
from storagemgr.jobs.operations import operations_for

register = template.Library()
HISTORY_SHOWN = 5


@register.simple_tag(takes_context=True)
def host_actions(context: template.Context, host: Host) -> list[Button]:
    own = [operation for operation in operations_for(host) if operation.name == "host.test"]
    return buttons_of(context["request"].user, host, own, "hosts:operate")


@register.simple_tag(takes_context=True)
def host_jobs(context: template.Context, host: Host) -> list[Job]:
    """The last jobs about the host alone that have ended."""
    jobs = Job.objects.visible_to(context["request"].user).in_lane(host.pk, None)
    return list(jobs.exclude(state__in=Job.ACTIVE).order_by("-id")[:HISTORY_SHOWN])


@register.simple_tag
def host_jobs_url(host: Host) -> str:
    return f"{reverse('jobs:list')}?{urlencode({'operation': 'host.test', 'q': host.name})}"
