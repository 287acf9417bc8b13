"""The lab for tests: started once per run, clean before each test. Every test in this folder is marked `lab`.

STORAGEMGR_LAB=required fails where no lab can run, instead of leaving these tests out.
STORAGEMGR_LAB_RUN=DIRECTORY uses the lab that `make lab` runs there, and leaves it running.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from lab.guests import Guest
from lab.lab_tools import Product
from lab.labs import Lab, what_is_missing
from playwright.sync_api import Browser

_HERE = Path(__file__).resolve().parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _HERE in item.path.parents:
            item.add_marker(pytest.mark.lab)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = [report for report in terminalreporter.getreports("skipped") if "lab" in report.keywords]
    if skipped:
        count = f"{len(skipped)} tests of storage pools on real hosts did not run"
        terminalreporter.write_line(f"LAB SKIPPED: {count}: {what_is_missing()}", red=True, bold=True)


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    if directory := os.environ.get("STORAGEMGR_LAB_RUN"):
        yield Lab.attach(Path(directory))
        return
    if reason := what_is_missing():
        refuse = pytest.fail if os.environ.get("STORAGEMGR_LAB") == "required" else pytest.skip
        refuse(f"the lab cannot run here: {reason}")
    lab = Lab.start()
    try:
        yield lab
    finally:
        lab.stop()


@pytest.fixture
def lab1(lab: Lab) -> Guest:
    lab.one.reset()
    return lab.one


@pytest.fixture
def lab2(lab: Lab) -> Guest:
    lab.two.reset()
    return lab.two


@pytest.fixture(scope="module")
def product(
    lab: Lab, chromium: Browser, request: Any, django_db_setup: None, django_db_blocker: Any
) -> Iterator[Product]:
    """With the environment SERVICES_GET of the test's module. Its tests are marked with no django_db: it is open."""
    for guest in lab.guests:
        guest.reset()
    with django_db_blocker.unblock():
        # pytest-django makes no tables for tests without its mark, which would empty them after each test.
        call_command("migrate", verbosity=0)
        product = Product(lab, chromium, **getattr(request.module, "SERVICES_GET", {}))
        try:
            product.wait_until_read()
            yield product
        finally:
            product.close()
            call_command("flush", interactive=False, verbosity=0)
