"""How values are written on pages. Built into every template by the settings."""

import unicodedata
from collections.abc import Hashable, Sequence
from datetime import date, datetime, timedelta
from functools import cache
from typing import Any, NamedTuple

from django import template
from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from storagemgr import theme
from storagemgr.access.granting import sees_people
from storagemgr.access.preferences import preferences_of, units
from storagemgr.access.roles import title_of
from storagemgr.access.scopes import Actor, grants_of, only_looks, scope

register = template.Library()
register.filter("sees_people", sees_people)

NBSP = "\N{NO-BREAK SPACE}"
FRESH = timedelta(seconds=20)
UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
DECIMAL_UNITS = ("bytes", "kB", "MB", "GB", "TB", "PB", "EB")
# These reorder the text around them or hide: a name could pretend to be another.
DECEIVING = frozenset(
    chr(code)
    for code in (*range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x2070), 0x061C, 0xFEFF)
)


@register.filter("bytes")
def size(value: int | None) -> str:
    """With at most one decimal, in the units that the person wants: "12.4 GiB", "8 TiB", "512 bytes", or "13.3 GB"."""
    if value is None:
        return ""
    step, names = (1000, DECIMAL_UNITS) if units.get() == "decimal" else (1024, UNITS)
    number, unit = float(value), 0
    while abs(number) >= step and unit < len(names) - 1:
        number, unit = number / step, unit + 1
    text = _short(number)
    if text == str(step) and unit < len(names) - 1:
        text, unit = "1", unit + 1
    return f"{text}{NBSP}{'byte' if (text, unit) == ('1', 0) else names[unit]}"


def _short(number: float) -> str:
    if number == int(number) or abs(number) >= 99.95:
        return f"{number:.0f}"
    return f"{number:.1f}"


@register.filter
def percent(value: int | None) -> str:
    return "" if value is None else f"{value}{NBSP}%"


@register.filter
def count(number: int, noun: str) -> str:
    """`3|count:"volume"` is "3 volumes"; "pool,pools" names the plural where it is not an s."""
    one, _, many = noun.partition(",")
    return f"{number:,}{NBSP}{one if number == 1 else many or one + 's'}"


@register.filter
def verb(operation: str) -> str:
    """`volume.clone` is "Clone", `pool.autostart_on` "Autostart on"."""
    return operation.rpartition(".")[2].replace("_", " ").capitalize()


@register.filter
def printable(value: object) -> str:
    """A name from a host with everything escaped that would hide, break the line or turn the text."""
    text = str(value)
    if text.isprintable() and text == text.strip() and not (set(text) & DECEIVING):
        return text
    inner = "".join(_visible(character) for character in text)
    start, end = len(inner) - len(inner.lstrip(" ")), len(inner.rstrip(" "))
    return r"\x20" * start + inner[start:end] + r"\x20" * (len(inner) - max(start, end))


@register.filter
def printable_lines(value: object) -> str:
    """Text of several lines, with the same escapes but for line ends and tabs."""
    return "".join(c if c in "\n\t" else _visible(c) for c in str(value))


def _visible(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:
        # How Python keeps a byte that is not UTF-8.
        return f"\\x{code - 0xDC00:02x}"
    if character in DECEIVING or unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp"):
        return character.encode("unicode_escape", "backslashreplace").decode()
    return character


@register.filter
def moment(value: datetime | None) -> str:
    """A clock time today, else a day: "10:31", "3 Mar", "3 Mar 2025"."""
    if value is None:
        return ""
    local, today = timezone.localtime(value), timezone.localdate()
    if local.date() == today:
        return f"{local:%H:%M}"
    return _day(local, today)


def _day(local: datetime, today: date) -> str:
    year = "" if local.year == today.year else f" {local.year}"
    return f"{local.day}{NBSP}{local:%b}{year}"


@register.filter
def moment_long(value: datetime | None) -> str:
    """Day and time: "today 10:31", "3 Mar 14:05", "3 Mar 2025 14:05"."""
    if value is None:
        return ""
    local, today = timezone.localtime(value), timezone.localdate()
    day = "today" if local.date() == today else _day(local, today)
    return f"{day} {local:%H:%M}"


@register.simple_tag
def when(value: datetime | None, *, long: bool = False) -> str:
    if value is None:
        return ""
    local = timezone.localtime(value)
    text = moment_long(value) if long else moment(value)
    return format_html(
        '<time datetime="{}" title="{}">{}</time>',
        f"{local:%Y-%m-%dT%H:%M:%S%z}",
        f"{local:%d %b %Y %H:%M:%S}",
        text,
    )


@register.filter
def as_of(value: datetime | None) -> str:
    """ "now" while readings come in, else when the last one came. It stays the same between two polls."""
    if value is None:
        return "never"
    return "now" if timezone.now() - value < FRESH else moment(value)


@register.filter
def ago(value: datetime | None) -> str:
    return "" if value is None else span(timezone.now() - value)


@register.filter
def span(value: timedelta | int | None) -> str:
    """A length of time in its largest unit, so that pages seldom change: "11 min", "2 days"."""
    if value is None:
        return ""
    seconds = int(value.total_seconds() if isinstance(value, timedelta) else value)
    if seconds < 60:
        return f"{max(seconds, 0)}{NBSP}s"
    if seconds < 3600:
        return f"{seconds // 60}{NBSP}min"
    if seconds < 2 * 86400:
        return f"{seconds // 3600}{NBSP}h"
    return f"{seconds // 86400}{NBSP}days"


@cache
def _sprite() -> str:
    return static("icons.svg")


@register.simple_tag
@cache
def icon(name: str, classes: str = "") -> SafeString:
    """A symbol of static/icons.svg; decoration only, a word stands beside it."""
    return format_html(
        '<svg class="ico{}{}" aria-hidden="true"><use href="{}#i-{}"/></svg>',
        " " if classes else "",
        classes,
        _sprite(),
        name,
    )


_REMEMBERED: dict[Hashable, SafeString] = {}
REMEMBERED_LIMIT = 5_000


@register.simple_tag(takes_context=True)
def remembered_rows(
    context: template.Context, template_name: str, rows: Sequence[Any], *shown: Hashable
) -> SafeString:
    """The template's text for each `row`, made once for equal `row.shown` and `shown`.

    They are all that the text depends on, besides the day. Rows are what a list costs, and between two polls
    nearly all of them are the same.
    """
    place = (template_name, timezone.localdate(), timezone.get_current_timezone_name(), shown)
    texts = []
    for row in rows:
        key = (place, row.shown)
        text = _REMEMBERED.get(key)
        if text is None:
            text = _render_row(context, template_name, row)
            if len(_REMEMBERED) >= REMEMBERED_LIMIT:
                _REMEMBERED.clear()
            _REMEMBERED[key] = text
        texts.append(text)
    return SafeString("".join(texts))


def _render_row(context: template.Context, template_name: str, row: Any) -> SafeString:
    with context.push(row=row):
        return context.template.engine.get_template(template_name).render(context)


@register.simple_tag(takes_context=True)
def nav_link(context: template.Context, view: str, title: str) -> SafeString:
    url, path = reverse(view), getattr(context.get("request"), "path", "")
    is_here = path.startswith("/pools/") or path == url if url == "/" else path.startswith(url)
    current = SafeString(' aria-current="page"') if is_here else ""
    return format_html('<a href="{}"{}>{}</a>', url, current, title)


@register.filter
def looks_only(user: Actor) -> bool:
    """A person who may see and do nothing else is led to the helpdesk's page."""
    return only_looks(user)


@register.simple_tag(takes_context=True)
def sort_heading(
    context: template.Context, key: str, title: str, classes: str = "", first: str = ""
) -> SafeString:
    """A column head that sorts by `key`; `first="-"` sorts descending at the first click."""
    now = context.get("sort", "")
    is_sorted = now.lstrip("-") == key
    query = context["request"].GET.copy()
    query.pop("page", None)
    query["sort"] = (key if now.startswith("-") else f"-{key}") if is_sorted else f"{first}{key}"
    direction = "descending" if now.startswith("-") else "ascending"
    return format_html(
        '<th role="columnheader" scope="col"{}{}><a href="?{}">{}{}</a></th>',
        format_html(' class="{}"', classes) if classes else "",
        format_html(' aria-sort="{}"', direction) if is_sorted else "",
        query.urlencode(),
        title,
        icon("chevron-down" if now.startswith("-") else "chevron-up") if is_sorted else "",
    )


@register.filter
def message_look(level: str) -> tuple[str, str]:
    """The colour and the icon of a Django message."""
    looks = {"error": ("bad", "exclamation-octagon"), "warning": ("warn", "exclamation-triangle")}
    return {"success": ("ok", "check-circle")}.get(level) or looks.get(level, ("info", "info-circle"))


@register.simple_tag
def theme_of(request: HttpRequest | None) -> str:
    """None where a page is made without a request: for errors of our own."""
    return theme.chosen(request) if request else "system"


@register.simple_tag
def density_of(request: HttpRequest | None) -> str:
    return preferences_of(request.user).density if request and hasattr(request, "user") else ""


class LockedGroup(NamedTuple):
    """Buttons that stand together. `lock`: why none of them may be pressed, "" where that is not for want of a role."""

    lock: str
    key: str
    buttons: list[Any]


@register.filter
def by_lock(buttons: Sequence[Any]) -> list[LockedGroup]:
    """So that the reason that several have is told once above them, those that can be pressed first."""
    found: dict[str, list[Any]] = {"": []}
    for button in buttons:
        found.setdefault(button.off if button.is_locked else "", []).append(button)
    groups = [(lock, group) for lock, group in found.items() if group]
    return [
        LockedGroup(lock, f"why-locked{number or ''}", group) for number, (lock, group) in enumerate(groups)
    ]


class HeldRole(NamedTuple):
    title: str
    sentence: str


def role_of(user: Actor) -> HeldRole:
    """The most powerful role a person holds anywhere, and where."""
    if getattr(user, "is_superuser", False):
        return HeldRole("Administrator", "You are Administrator of everything.")
    held = sorted(grants_of(user), key=lambda grant: len(grant.rights))
    if not held:
        return HeldRole("no role", "Nobody has given you a role yet; ask an administrator.")
    best = held[-1].role
    title = title_of(best)
    grants = [grant for grant in held if grant.role == best]
    if any(grant.host_id is None and grant.pool_uuid is None for grant in grants):
        return HeldRole(title, f"You are {title} of everything.")
    hosts = len({grant.host_id for grant in grants if grant.pool_uuid is None})
    pools = len({grant.pool_uuid for grant in grants if grant.pool_uuid is not None})
    where = " and ".join(count(n, noun) for n, noun in ((hosts, "host"), (pools, "pool")) if n)
    wide = [grant.role for grant in held if grant.host_id is None and grant.pool_uuid is None]
    rest = f", and {title_of(wide[-1])} of everything" if wide else ""
    return HeldRole(title, f"You are {title} on {where}{rest}.")


@register.inclusion_tag("_account_menu.html", takes_context=True)
def account_menu(context: template.Context) -> dict[str, Any]:
    request = context["request"]
    return {
        "user": request.user,
        "role": role_of(request.user),
        "themes": theme.THEMES,
        "theme": theme.chosen(request),
        "here": request.get_full_path(),
        "may_preview": bool(scope(request.user, "access.manage")),
    }
