import base64
import hashlib
import re
from pathlib import Path

import pytest

VENDOR = Path(__file__).resolve().parents[2] / "static" / "vendor"
NOTED = dict(re.findall(r"^\| `([\w.]+)` .*`([\w+/=]{64})` \|$", (VENDOR / "README.md").read_text(), re.M))


def test_every_vendored_file_is_noted():
    assert set(NOTED) == {path.name for path in VENDOR.iterdir()} - {"README.md"}


@pytest.mark.parametrize("name", NOTED)
def test_a_vendored_file_is_the_one_that_was_noted(name):
    digest = hashlib.sha384((VENDOR / name).read_bytes()).digest()
    assert base64.b64encode(digest).decode() == NOTED[name]


def test_every_icon_that_is_named_exists():
    root = VENDOR.parents[1]
    symbols = set(re.findall(r'<symbol id="i-([\w-]+)"', (root / "static" / "icons.svg").read_text()))
    templates = "".join(path.read_text() for path in (root / "templates").rglob("*.html"))
    code = "".join(
        path.read_text()
        for area in ("pools", "volumes", "storagemgr")
        for path in (root / area).rglob("*.py")
    )
    named = set(re.findall(r'{% icon "([\w-]+)"', templates)) | set(re.findall(r'icon="([\w-]+)"', code))
    assert named
    assert named - symbols == set()
