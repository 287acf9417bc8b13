"""How a page is for people who see little, have a phone, or no mouse: axe-core in both themes, and the Tab key."""

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


def look_at(
    page: Page, url: str, status: int = 200, looks: list[Any] = LOOKS, walks: bool = True
) -> list[str]:
    """What is wrong with a page in both themes and at both widths, and for who has no mouse."""
    page.set_viewport_size(WIDE)
    response = page.goto(url)
    if not response or response.status != status:
        return [f"{url}: {response and response.status}"]
    faults = walk_through(page) if walks else []
    return [f"{url}: {fault}" for fault in faults + faults_of(page, looks)]


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


# What can be reached with the Tab key, in the order of the document; of radio buttons those that stand for their group.
REACHABLE = """() => {
  const asked = "a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex='0']";
  const found = [...document.querySelectorAll(asked)].filter(
    (one) => one.tabIndex >= 0 && !one.disabled && one.checkVisibility({visibilityProperty: true}));
  const groups = new Map();
  for (const one of found.filter((one) => one.type === "radio"))
    if (!groups.has(one.name) || one.checked) groups.set(one.name, one);
  return found.filter((one) => one.type !== "radio" || groups.get(one.name) === one);
}"""
WATCH_FOCUS = f"""() => {{
  const name = (one) => one.outerHTML.slice(0, 160);
  const walk = window.walk = {{expected: ({REACHABLE})(), seen: [], faults: []}};
  // Chromium moves the page before it says who has the focus.
  const isCovered = (one) => {{
    const {{x, y, width, height}} = one.getBoundingClientRect();
    const fixed = ".sm-topbar, .sm-jobs, .sm-bulk, .sm-toasts";
    const over = document.elementFromPoint(x + width / 2, y + Math.min(height / 2, 100))?.closest(fixed);
    return over && !over.contains(one);
  }};
  document.addEventListener("focusin", ({{target}}) => {{
    if (isCovered(target)) walk.faults.push("is covered: " + name(target));
    const style = getComputedStyle(target);
    const scrolls = target.scrollHeight > target.clientHeight || target.scrollWidth > target.clientWidth;
    if (walk.expected.includes(target)) walk.seen.push(target);
    else if (!scrolls) walk.faults.push("comes into the way: " + name(target));
    if (style.outlineStyle === "none" || parseFloat(style.outlineWidth) < 1)
      walk.faults.push("does not show the focus: " + name(target));
  }});
  const off = document.querySelector("button:disabled:not([hidden])");
  if (off) walk.faults.push("out of reach: " + name(off));
  return walk.expected.length;
}}"""
WALKED = """() => {
  const {expected, seen, faults} = window.walk;
  const name = (one) => one ? one.outerHTML.slice(0, 160) : "nothing";
  const wrong = expected.findIndex((one, at) => one !== seen[at]);
  if (wrong >= 0) faults.push(`${wrong}. is not ${name(expected[wrong])} but ${name(seen[wrong])}`);
  if (!expected[0].matches(".sm-skip")) faults.push("begins with " + name(expected[0]));
  return [...new Set(faults)];
}"""
# On a phone all is one column: what comes next is not above, but for the corner of a row.
ORDER = f"""() => {{
  const inMain = ({REACHABLE})().filter((one) => one.closest("main"));
  const places = inMain.map((one) => one.getBoundingClientRect());
  const isOfRow = (one, other) => one.closest("tr") && one.closest("tr") === other.closest("tr");
  const above = inMain.filter((one, at) =>
    at && places[at].bottom <= places[at - 1].top && !isOfRow(one, inMain[at - 1]));
  return above.map((one) => one.outerHTML.slice(0, 160));
}}"""


def walk_through(page: Page) -> list[str]:
    """Goes through a page that was just opened, wide, with the Tab key; what is wrong with the way."""
    page.evaluate(
        "document.body.tabIndex = -1; document.body.focus(); document.body.removeAttribute('tabindex')"
    )
    for _ in range(page.evaluate(WATCH_FOCUS)):
        page.keyboard.press("Tab")
    for _ in range(20):  # Chromium stops at what scrolls, too
        if page.evaluate("walk.seen.length >= walk.expected.length"):
            break
        page.keyboard.press("Tab")
    faults: list[str] = page.evaluate(WALKED)
    page.set_viewport_size(NARROW)
    return faults + [f"above what comes before: {place}" for place in page.evaluate(ORDER)]
