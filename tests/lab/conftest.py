"""The lab for tests: started once per run, clean before each test. Every test in this folder is marked `lab`.

STORAGEMGR_LAB=required fails where no lab can run, instead of leaving these tests out.
STORAGEMGR_LAB_RUN=DIRECTORY uses the lab that `make lab` runs there, and leaves it running.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab.guests import Guest
from lab.labs import Lab, what_is_missing

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
