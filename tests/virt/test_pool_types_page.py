"""docs/pool-types.md says what the program's tables say."""

import runpy
from pathlib import Path

from storagemgr.virt.pool_types import TYPES

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = runpy.run_path(str(ROOT / "scripts/pool-types"))


def test_the_page_is_as_the_script_prints_it():
    assert (ROOT / "docs/pool-types.md").read_text() == SCRIPT["page"](), (
        "scripts/pool-types >docs/pool-types.md"
    )


def test_every_type_says_what_the_host_needs_and_what_was_proved():
    assert SCRIPT["PROGRAMS"].keys() == SCRIPT["PROVED"].keys() == TYPES.keys()
