"""`manage.py start` as a person runs it, on a data directory of its own, without this machine's libvirt."""

import os
import re
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from http.cookiejar import CookieJar
from pathlib import Path
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, OpenerDirector, build_opener

import pytest
from django.conf import settings
from django.core.management import CommandError
from django.test import override_settings
from ports import free_port
from stack import wait_for

from storagemgr.management.commands import start as command

pytestmark = pytest.mark.chaos


class Start:
    def __init__(self, directory: Path, **variables: str) -> None:
        self.data, self.log = directory / "data", directory / "log"
        self.port = free_port()
        inherited = {
            name: value for name, value in os.environ.items() if name not in ("SECRET_KEY", "REDIS_URL")
        }
        own = {"STORAGEMGR_DATA": str(self.data), "PORT": str(self.port), "EMBEDDED_HOST": "0"}
        self.environment = inherited | {"DJANGO_SETTINGS_MODULE": "storagemgr.settings"} | own | variables
        self.command = [sys.executable, "manage.py", "start"]

    def __enter__(self) -> "Start":
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(
                self.command, cwd=settings.BASE_DIR, env=self.environment, stdout=log, stderr=log
            )
        return self

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGINT)
        self.process.wait(30)

    def output(self) -> str:
        return self.log.read_text()

    def until_ready(self) -> None:
        wait_for(lambda: "is ready" in self.output() or self.process.poll() is not None, 60, "the first page")
        assert "is ready" in self.output(), self.output()

    def link(self) -> str | None:
        found = re.search(r"http://\S+/key/\S+", self.output())
        return found.group() if found else None

    def refusal(self, **variables: str) -> str:
        """What another start says that is refused."""
        done = subprocess.run(
            self.command,
            cwd=settings.BASE_DIR,
            env=self.environment | variables,
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert done.returncode == 1
        return done.stderr

    def processes(self) -> list[int]:
        """Everything that has our data directory in its environment or, as Redis, in its title."""
        mark = str(self.data).encode()
        return [int(entry.name) for entry in Path("/proc").glob("[0-9]*") if mark in words_of(entry)]


def words_of(process: Path) -> bytes:
    try:
        return (process / "environ").read_bytes() + (process / "cmdline").read_bytes()
    except OSError:
        return b""


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    with Start(tmp_path_factory.mktemp("start")) as start:
        start.until_ready()
        yield start


def browser() -> OpenerDirector:
    return build_opener(HTTPCookieProcessor(CookieJar()))


def read(person: OpenerDirector, url: str, form: dict[str, str] | None = None) -> tuple[str, str]:
    """Final address and text of a page."""
    with person.open(url, urlencode(form).encode() if form else None, timeout=20) as page:
        return page.url, page.read().decode()


def set_password(person: OpenerDirector, link: str, password: str) -> tuple[str, str]:
    address, text = read(person, link)
    token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', text)
    assert token, text
    form = {"csrfmiddlewaretoken": token.group(1), "password1": password, "password2": password}
    return read(person, address, form)


def test_the_first_administrator_sets_a_password_with_a_link_that_works_once(started: Start) -> None:
    link = started.link()
    assert link
    address, _ = set_password(browser(), link, "correct horse battery")
    assert address == f"http://127.0.0.1:{started.port}/"
    _, again = read(browser(), link)
    assert "password1" not in again


def test_two_on_one_directory_or_on_one_port_are_refused(started: Start, tmp_path: Path) -> None:
    said = started.refusal(PORT=str(free_port()))
    assert f"Process {started.process.pid} already runs storagemgr on {started.data}." in said
    said = started.refusal(STORAGEMGR_DATA=str(tmp_path / "other"))
    assert f"127.0.0.1:{started.port}: Address already in use" in said
    assert "make run PORT=" in said


def test_what_is_kept_is_for_the_owner_alone(started: Start) -> None:
    assert stat.S_IMODE(started.data.stat().st_mode) == 0o700
    assert stat.S_IMODE((started.data / "secret-key").stat().st_mode) == 0o600
    assert stat.S_IMODE((started.data / "redis.sock").stat().st_mode) == 0o700
    assert len((started.data / "secret-key").read_text()) >= 50


def test_ctrl_c_leaves_no_process_even_when_children_are_stuck(tmp_path: Path) -> None:
    with Start(tmp_path) as start:
        start.until_ready()
        wait_for(lambda: len(start.processes()) >= 17, 30, "start 1, redis 1, web 3, jobs 5, sync 5, tick 2")
        for queue in ("jobs", "sync"):
            os.kill(youngest_of(start, f"{queue}@%h"), signal.SIGSTOP)
        start.process.send_signal(signal.SIGINT)
        assert start.process.wait(25) == 0
        assert start.processes() == []


def youngest_of(start: Start, word: str) -> int:
    return max(pid for pid in start.processes() if word.encode() in Path(f"/proc/{pid}/cmdline").read_bytes())


@pytest.mark.parametrize("port", ["http", "70000", "0", "-1", ""])
def test_a_port_that_is_none_is_named(monkeypatch: pytest.MonkeyPatch, port: str) -> None:
    monkeypatch.setenv("PORT", port)
    with pytest.raises(CommandError, match=f"PORT={port} is not a port number"):
        command.port()


def test_an_address_that_is_none_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIND", "storage.example")
    with pytest.raises(CommandError, match="BIND=storage.example is not an IP address"):
        command.address()


@pytest.mark.parametrize(
    ("bind", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:8000"),
        ("0.0.0.0", "http://127.0.0.1:8000"),
        ("::", "http://[::1]:8000"),
    ],
)
def test_the_address_that_is_printed_can_be_opened(bind: str, url: str) -> None:
    assert command.public_url(bind, 8000) == url
    with override_settings(USE_HTTPS=True, ALLOWED_HOSTS=["storage.example"]):
        assert command.public_url(bind, 8000) == "https://storage.example"


def test_a_directory_too_deep_for_a_socket_is_named() -> None:
    deep = override_settings(DATA_DIR=Path("/tmp") / ("x" * 100))
    with deep, pytest.raises(CommandError, match="too long for a unix socket"):
        command.redis()
