"""What a browser would send from a page, and what a person would read on it."""

import re
from typing import Any

from django.test import Client
from django.urls import reverse
from lxml import html

from pools.models import Pool


def url(pool: Pool) -> str:
    return reverse("pools:configuration", args=[pool.pk])


def sent_by(response: Any, form: str = "config-form") -> dict[str, str]:
    """The fields of the form as they stand on the page, without its buttons."""
    found = {}
    for control in (
        html.fromstring(response.content.decode()).get_element_by_id(form).iter("input", "textarea", "select")
    ):
        if control.tag == "textarea":
            # The line break right behind the tag is not part of the text; lines end as HTTP has it.
            found[control.name] = (control.text or "").removeprefix("\n").replace("\n", "\r\n")
        elif control.get("type") != "checkbox" or control.checked:
            found[control.name] = control.value or ""
    return found


def typed(client: Client, pool: Pool, to: str, **fields: str) -> Any:
    """Open the page, type, press the button."""
    page = client.get(url(pool))
    assert page.status_code == 200
    return client.post(url(pool), sent_by(page) | fields | {"to": to})


def xml_on(response: Any) -> str:
    return sent_by(response)["xml"].replace("\r\n", "\n")


def text_of(response: Any, element: str = "main") -> str:
    """With one space between words; of the differences line by line."""
    root = html.fromstring(response.content.decode())
    found = root.xpath(f"//*[@id={element!r}]")
    if found and element == "diff":
        return "\n".join("".join(line.itertext()) for line in found[0])
    return re.sub(r"\s+", " ", " ".join(found[0].itertext())).strip() if found else ""


def problem_of(response: Any, field: str) -> str:
    return text_of(response, f"id_{field}_error")
