"""What a page looks like to people who see little, have a phone, or cannot use a mouse: axe-core in both themes."""

from typing import Any

from axe_playwright_python.sync_playwright import Axe
from browsing import breaches
from playwright.sync_api import Page

AXE = Axe().axe_script
WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 380, "height": 900}
# What else axe looks at does not depend on the theme.
COLOURS = ["color-contrast", "link-in-text-block"]
LOOK = """async ([theme, rules, open]) => {
  document.documentElement.dataset.bsTheme = theme;
  if (open) for (const details of document.querySelectorAll("details")) details.open = true;
  const only = rules ? {runOnly: {type: "rule", values: rules}} : {};
  const found = await axe.run(document, {resultTypes: ["violations"], preload: false, ...only});
  const page = document.documentElement;
  const faults = found.violations.map((v) => `${v.id}: ${v.nodes.slice(0, 3).map((n) => n.html.slice(0, 300))}`);
  if (page.scrollWidth > page.clientWidth) faults.push(`scrolls sideways by ${page.scrollWidth - page.clientWidth}`);
  return faults;
}"""

EMPTY = """() => {
  const form = "main form[method=post]";
  const field = document.querySelector(`${form} :is(input:not([type=radio], [type=hidden]), textarea)[required]`);
  if (!field) return false;
  for (const one of field.form.querySelectorAll("input[type=text], input[type=password], textarea")) one.value = "";
  field.form.noValidate = true;
  field.form.classList.add("asked");
  return true;
}"""


# Width, theme, which of axe's rules, whether everything is opened.
LOOKS = [
    (WIDE, "light", None, False),
    (WIDE, "dark", COLOURS, False),
    (NARROW, "dark", COLOURS, False),
    (NARROW, "light", None, True),
]
# For pages that share a template with many others.
CROSSED = [(WIDE, "light", None, False), (NARROW, "dark", None, True)]


def look_at(page: Page, url: str, status: int = 200, looks: list[Any] = LOOKS) -> list[str]:
    """What is wrong with a page in both themes and at both widths."""
    page.set_viewport_size(WIDE)
    response = page.goto(url)
    if not response or response.status != status:
        return [f"{url}: {response and response.status}"]
    return [f"{url}: {fault}" for fault in faults_of(page, looks)]


def faults_after_sending(page: Page) -> list[str]:
    """The same for what comes back when what has to be filled in is not; [] where nothing has to be."""
    if not page.evaluate(EMPTY):
        return []
    with page.expect_navigation():
        page.evaluate("HTMLFormElement.prototype.submit.call(document.querySelector('main form.asked'))")
    if not page.locator("[aria-invalid=true]").count():
        return [f"{page.url}: sent empty, and no field is marked as wrong"]
    return [f"{page.url} sent empty: {fault}" for fault in faults_of(page, CROSSED)]


def faults_of(page: Page, looks: list[Any]) -> list[str]:
    page.evaluate(AXE)
    faults = []
    for size, *look in looks:
        page.set_viewport_size(size)
        found: list[str] = page.evaluate(LOOK, look)
        faults += [f"{look[0]}, {size['width']} px: {fault}" for fault in found]
    return faults + [f"content policy: {breach}" for breach in breaches(page)]
