"""The list of volumes in a browser: its columns and what it filters stay, and become a file. No worker runs."""

import csv
from collections.abc import Iterator
from pathlib import Path

import pytest
from browsing import Browsing, breaches
from playwright.sync_api import Page, expect

from volumes.models import Volume

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
FORMULAS = ('=HYPERLINK("http://evil/","web")', "@web", "\tweb", "-2+3web")


@pytest.fixture
def page(chromium, live_server, viewer) -> Iterator[Page]:
    browsing = Browsing(chromium, live_server.url)
    page = browsing.as_(viewer, accept_downloads=True)
    yield page
    assert not breaches(page)
    browsing.close()


@pytest.fixture
def many(make_volume) -> None:
    for number in range(60):
        make_volume(f"web{number:02}.qcow2", capacity=number * 2**30)
    for name in FORMULAS:
        make_volume(name, format="raw")
    make_volume("other.qcow2")


def headings(page: Page) -> list[str]:
    found = page.get_by_role("columnheader").all_inner_texts()
    return [text.strip() for text in found]


def show_columns(page: Page, wanted: set[str]) -> None:
    page.get_by_text("Columns", exact=True).click()
    for box in page.locator("#menu-cols").get_by_role("checkbox").all():
        box.set_checked(box.evaluate("e => e.parentElement.innerText").strip() in wanted)
    page.locator("#menu-cols").get_by_role("button", name="Show").click()


def test_the_chosen_columns_stay(page, many):
    chosen = ["Name", "Size", "Backing", "Owner"]
    page.goto("/volumes/")
    assert "Owner" not in headings(page)
    show_columns(page, {"Size", "Backing", "Owner"})
    page.wait_for_url("**/volumes/?*cols=owner*")
    assert headings(page) == chosen
    page.get_by_role("link", name="Size").click()
    page.get_by_role("link", name="Next 50").click()
    expect(page.get_by_text("page 2 of 2")).to_be_visible()
    assert headings(page) == chosen
    page.reload()
    expect(page.get_by_text("page 2 of 2")).to_be_visible()
    assert headings(page) == chosen
    search = page.get_by_role("searchbox", name="Filter by name")
    search.fill("web1")
    search.press("Enter")
    expect(page.get_by_text("10 volumes", exact=True)).to_be_visible()
    assert headings(page) == chosen
    # The page that was polled meanwhile shows no others.
    with page.expect_response(lambda response: "rows=" in response.url):
        pass
    assert headings(page) == chosen


def test_the_file_is_what_the_list_shows(page, many, tmp_path: Path):
    page.goto("/volumes/?sort=-name&cols=size&cols=owner")
    search = page.get_by_role("searchbox", name="Filter by name")
    search.fill("web")
    search.press("Enter")
    expect(page.get_by_text("1–50 of 64 volumes")).to_be_visible()
    shown = page.locator("tbody .c-name").all_inner_texts()
    with page.expect_download() as waiting:
        page.get_by_role("link", name="CSV").click()
    waiting.value.save_as(tmp_path / "list.csv")
    assert waiting.value.suggested_filename.endswith(".csv")
    with (tmp_path / "list.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["name", "pool", "host", "capacity_bytes", "owner"]
    assert len(rows) == 64
    names = [row["name"] for row in rows]
    assert [name.removeprefix("'").strip() for name in names[:50]] == [text.strip() for text in shown]
    assert "other.qcow2" not in names
    assert {f"'{name}" for name in FORMULAS[:2]} < set(names)
    assert not [value for row in rows for value in row.values() if value.startswith(("=", "@", "-", "\t"))]
    sizes = dict(Volume.objects.values_list("name", "capacity"))
    plain = [row for row in rows if row["name"] in sizes]
    assert len(plain) == 60
    assert all(int(row["capacity_bytes"]) == sizes[row["name"]] for row in plain)
