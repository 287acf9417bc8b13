import re

from django import template
from django.utils.html import escape, format_html
from django.utils.safestring import SafeString

from storagemgr.templatetags.storage import printable_lines

register = template.Library()

_TAG = re.compile(r"(</?)([^\s/>]+)([^>]*?)(/?>)|<!--.*?-->", re.S)
_ATTRIBUTE = re.compile(r"""(\s)([\w:.-]+)(=)("[^"]*"|'[^']*')""")


@register.filter
def coloured(xml: str) -> SafeString:
    """XML as text for people, its tags and values in spans. Whatever it holds, it stays text."""
    parts, end = [], 0
    text = printable_lines(xml)
    for match in _TAG.finditer(text):
        parts.append(escape(text[end : match.start()]))
        parts.append(_tag(match))
        end = match.end()
    return SafeString("".join([*parts, escape(text[end:])]))


def _tag(match: re.Match[str]) -> SafeString:
    if match[2] is None:
        return format_html('<span class="x-note">{}</span>', match[0])
    attributes, end = [], 0
    for found in _ATTRIBUTE.finditer(match[3]):
        attributes.append(escape(match[3][end : found.start()]))
        value = format_html(
            '{}<span class="x-att">{}</span>=<span class="x-val">{}</span>', found[1], found[2], found[4]
        )
        attributes.append(value)
        end = found.end()
    attributes.append(escape(match[3][end:]))
    inside = SafeString("".join(attributes))
    return format_html('{}<span class="x-tag">{}</span>{}{}', match[1], match[2], inside, match[4])
