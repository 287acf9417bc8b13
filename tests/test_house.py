"""The house rules. Each test runs the tool that knows the rule, or reads our files."""

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
OURS = ("storagemgr", "pools", "volumes", "tests", "manage.py")

FILE_LINES = 400
FUNCTION_LINES, TEST_FUNCTION_LINES = 40, 60

# Spelled apart, so that this file passes its own test.
LEFT_OVERS = re.compile(r"\b(TO" r"DO|FIX" r"ME|X" r"XX)\b")
IN_TEMPLATES = {
    "inline script": re.compile(r"<script(?![^>]*\ssrc=)", re.I),
    "style element": re.compile(r"<style\b", re.I),
    "style attribute": re.compile(r"<[^>]*\sstyle\s*=", re.I),
    "event handler attribute": re.compile(r"<[^>]*\son[a-z]+\s*=", re.I),
    "htmx attribute that evaluates code": re.compile(
        r"\bhx-on\b|\b(hx-vals|hx-headers)\s*=\s*[\"']js:", re.I
    ),
    "javascript: address": re.compile(r"javascript:", re.I),
    "file from another host": re.compile(
        r"<(?:script|link|img|iframe)\b[^>]*\b(?:src|href)=[\"'](?:https?:)?//", re.I
    ),
}


def run(*command: str | Path, **env: str) -> None:
    """Fails with what the command printed. Nothing that other tests need in the environment goes along."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("DJANGO_")}
    done = subprocess.run(
        [str(part) for part in command],
        cwd=ROOT,
        env=inherited | env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout


def manage(tmp_path: Path, *arguments: str, **env: str) -> None:
    own = {"DJANGO_SETTINGS_MODULE": "storagemgr.settings", "STORAGEMGR_DATA": str(tmp_path)}
    run(sys.executable, "manage.py", *arguments, **own | env)


def python_files() -> Iterator[Path]:
    for name in OURS:
        path = ROOT / name
        yield from sorted(path.rglob("*.py")) if path.is_dir() else [path]


def written_files() -> list[Path]:
    """Python without the migrations, which Django writes."""
    return [path for path in python_files() if path.parent.name != "migrations"]


def templates() -> list[Path]:
    return sorted((ROOT / "templates").rglob("*.html"))


@pytest.mark.parametrize(
    "command",
    [
        ("ruff", "check", "--no-cache"),
        ("ruff", "format", "--check", "--no-cache"),
        ("mypy",),
        ("lint-imports",),
    ],
    ids=" ".join,
)
def test_tool_has_nothing_to_say(command: tuple[str, ...]) -> None:
    run(BIN / command[0], *command[1:])


def test_template_lint_has_nothing_to_say() -> None:
    run(BIN / "djlint", "--lint", "templates")


def test_models_and_migrations_agree(tmp_path: Path) -> None:
    manage(tmp_path, "makemigrations", "--check", "--dry-run")


def test_production_settings_pass_the_deployment_check(tmp_path: Path) -> None:
    key = "0123456789abcdefghijklmnopqrstuvwxyz-of-a-test-only"
    production = {"SECRET_KEY": key, "USE_HTTPS": "1", "ALLOWED_HOSTS": "storage.example"}
    manage(tmp_path, "check", "--deploy", "--fail-level", "WARNING", **production)


def test_no_file_is_too_long() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in written_files()}
    assert {name: lines for name, lines in lengths.items() if lines > FILE_LINES} == {}


def test_no_function_is_too_long() -> None:
    too_long = {}
    for path in written_files():
        limit = TEST_FUNCTION_LINES if ROOT / "tests" in path.parents else FUNCTION_LINES
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno:
                lines = node.end_lineno - node.lineno + 1
                if lines > limit:
                    too_long[f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"] = lines
    assert too_long == {}


def test_nothing_is_left_for_later() -> None:
    files = [
        *written_files(),
        *templates(),
        *sorted((ROOT / "static").glob("*.*")),
        *sorted(ROOT.glob("*.md")),
    ]
    assert [str(path) for path in files if LEFT_OVERS.search(path.read_text())] == []


@pytest.mark.parametrize("what", IN_TEMPLATES)
def test_templates_keep_to_the_content_security_policy(what: str) -> None:
    found = {
        f"{path.relative_to(ROOT)}: {match.group()[:80]}"
        for path in templates()
        for match in IN_TEMPLATES[what].finditer(path.read_text())
    }
    assert found == set()


def test_only_the_job_runner_catches_every_exception() -> None:
    broad = re.compile(r"except(\s+(Base)?Exception\b|\s*:)|suppress\((Base)?Exception\)")
    found = [path for path in written_files() if broad.search(path.read_text())]
    assert found == [ROOT / "storagemgr/jobs/runner.py"]


@pytest.mark.parametrize("name", ["requirements", "requirements-dev"])
def test_requirements_are_pinned_by_hash(name: str) -> None:
    """Every entry has a version and a hash, every wish of the .in file is met, no other index is named."""
    text = (ROOT / f"{name}.txt").read_text()
    entries = re.split(r"\n(?=\S)", re.sub(r"^\s*#.*\n", "", text, flags=re.M).strip())
    assert [entry for entry in entries if not re.match(r"[\w.-]+==\S+ .*--hash=sha256:", entry, re.S)] == []
    wishes = re.findall(r"^([\w-]+)(?:\[.*\])?==(\S+)$", (ROOT / f"{name}.in").read_text(), re.M)
    assert wishes
    assert [wish for wish in wishes if not re.search(rf"^{wish[0]}=={wish[1]}\b", text, re.M | re.I)] == []
