"""For the page of a host, which knows no jobs: `{% host_actions host as buttons %}`."""

from django import template

from storagemgr.hosts.models import Host
from storagemgr.jobs.buttons import Button, buttons_of
from storagemgr.jobs.operations import operations_for
from storagemgr.jobs.timeline import Entry, Place, newest

register = template.Library()


@register.simple_tag(takes_context=True)
def host_actions(context: template.Context, host: Host) -> list[Button]:
    own = [operation for operation in operations_for(host) if operation.name == "host.test"]
    return buttons_of(context["request"].user, host, own, "hosts:operate")


@register.simple_tag(takes_context=True)
def host_timeline(context: template.Context, host: Host) -> list[Entry]:
    return newest(context["request"].user, Place(host.pk))
