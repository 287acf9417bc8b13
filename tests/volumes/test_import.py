"""Importing from a web server on loopback, into a real libvirtd."""

import hashlib
import os
import socket
import subprocess
import threading
import uuid
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from daemon import PrivateDaemon
from django.urls import reverse
from django.utils import timezone
from sync_tools import close_connections, define_and_start, forget_pool, host_of, pool_row, read_host

from pools.models import Pool
from storagemgr.jobs.models import Job
from storagemgr.jobs.operations import REGISTRY
from storagemgr.jobs.runner import run
from storagemgr.jobs.submit import submit
from storagemgr.virt import network
from storagemgr.virt.connection import connect
from volumes.models import Volume
from volumes.operations.importing import ImportForm
from volumes.transfer import arrival
from volumes.transfer.source_url import Address

pytestmark = pytest.mark.django_db
MIB = 1024**2
CONTENT = os.urandom(MIB) + bytes(40 * MIB) + os.urandom(3 * MIB + 7)


class Answers(BaseHTTPRequestHandler):
    """/iso/NAME as `files` says: bytes, or a function that answers."""

    files: dict[str, Any] = {}
    asked: list[tuple[str, str]] = []

    def do_GET(self) -> None:
        self.asked.append((self.headers["Host"], self.path))
        found = self.files.get(self.path)
        if callable(found):
            found(self)
        elif found is None:
            self.send_error(404)
        else:
            self.give(found, len(found))

    def give(self, content: bytes, length: int) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(content)

    def lead(self, to: str) -> None:
        self.send_response(302)
        self.send_header("Location", to)
        self.end_headers()

    def log_message(self, *words: Any) -> None:
        """Not into the test's output."""


@pytest.fixture
def web(settings: Any) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    Answers.files, Answers.asked = {}, []
    url = f"http://localhost:{server.server_port}"
    settings.IMPORT_URLS, settings.ALLOW_NEAR_ADDRESSES = [f"{url}/iso"], True
    yield url
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateDaemon]:
    with PrivateDaemon(tmp_path_factory.mktemp("libvirtd")) as running:
        yield running


@pytest.fixture
def real_pool(db: None, daemon: PrivateDaemon, tmp_path: Path) -> Iterator[Pool]:
    with connect(daemon.uri) as connection:
        made = define_and_start(connection, tmp_path / "images")
    read_host(host_of(daemon))
    yield pool_row(made)
    close_connections()
    with connect(daemon.uri) as connection:
        forget_pool(connection, made)


@pytest.fixture
def bring(operator: Any, real_pool: Pool) -> Callable[..., Job]:
    def bring_in(url: str, format: str = "raw", sha256: str = "") -> Job:
        params = {"url": url, "name": "new.img", "format": format, "sha256": sha256}
        job = submit(REGISTRY["volume.import"], real_pool, actor=operator, params=params, key=uuid.uuid4())
        run(job.pk)
        return Job.objects.get(pk=job.pk)

    return bring_in


def nothing_is_left(pool: Pool) -> bool:
    return not list(Path(pool.target_path).iterdir()) and not Volume.objects.filter(pool=pool).exists()


def test_the_file_arrives_as_it_is(web, bring, real_pool):
    Answers.files = {"/iso/disk.img": CONTENT, "/iso/there": lambda a: a.lead("disk.img")}
    job = bring(f"{web}/iso/there", sha256=hashlib.sha256(CONTENT).hexdigest())
    assert job.state == "succeeded", (job.error_code, job.error_text)
    file = Path(real_pool.target_path) / "new.img"
    assert file.read_bytes() == CONTENT
    assert file.stat().st_blocks * 512 < 8 * MIB
    assert Volume.objects.get(pool=real_pool).capacity == len(CONTENT)
    assert {host for host, _ in Answers.asked} == {web.removeprefix("http://")}


def test_a_qcow2_is_known_as_one(web, bring, real_pool, tmp_path):
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", tmp_path / "q", "1G"], check=True)
    Answers.files = {"/iso/q": (tmp_path / "q").read_bytes()}
    assert bring(f"{web}/iso/q", "qcow2").state == "succeeded"
    row = Volume.objects.get(pool=real_pool)
    assert (row.format, row.capacity) == ("qcow2", 1024**3)


def tricky_image(directory: Path) -> bytes:
    (directory / "secret").write_bytes(b"secret" * 1000)
    words = [
        "qemu-img",
        "create",
        "-q",
        "-f",
        "qcow2",
        "-F",
        "raw",
        "-b",
        directory / "secret",
        directory / "t",
    ]
    subprocess.run(words, check=True)
    return (directory / "t").read_bytes()


REFUSED = {
    "not there": ("/iso/gone", None, "source_failed", "404"),
    "elsewhere": ("/iso/a", lambda a: a.lead("/other/a"), "url_not_allowed", "/other/a"),
    "up": ("/iso/a", lambda a: a.lead("/iso/%2e%2e/other"), "url_not_allowed", "without"),
    "this machine": ("/iso/a", lambda a: a.lead("file:///etc/passwd"), "url_not_allowed", "http://"),
    "for ever": ("/iso/a", lambda a: a.lead("/iso/a"), "source_failed", "more than 5 times"),
    "cut off": ("/iso/a", lambda a: a.give(CONTENT[: 9 * MIB], 30 * MIB), "source_failed", "broke"),
    "no length": ("/iso/a", lambda a: (a.send_response(200), a.end_headers()), "source_failed", "how large"),
    "nothing": ("/iso/a", b"", "source_failed", "empty"),
    "too big": ("/iso/a", CONTENT, "too_big", "is allowed here"),
    "no room": ("/iso/a", lambda a: a.give(b"", 2**50), "no_room", "free in"),
    "another format": ("/iso/a", tricky_image, "image_refused", "content is a qcow2 image"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_refused_leaves_nothing(web, bring, real_pool, settings, tmp_path, what):
    path, answer, code, words = REFUSED[what]
    Answers.files = {path: answer(tmp_path) if answer is tricky_image else answer}
    settings.UPLOAD_LIMIT = 2**60 if what == "no room" else 32 * MIB
    job = bring(web + path)
    assert (job.state, job.error_code) == ("failed", code), job.error_text
    assert words in job.error_text
    assert nothing_is_left(real_pool)


def test_an_image_of_another_format_is_not_called_unsafe(client, operator, web, bring, real_pool):
    Answers.files = {"/iso/disk.qcow2": CONTENT}
    job = bring(f"{web}/iso/disk.qcow2", "qcow2")
    assert (job.error_code, nothing_is_left(real_pool)) == ("other_format", True)
    client.force_login(operator)
    page = client.get(job.get_absolute_url()).content.decode()
    assert "The file is not of the format that was named." in page
    assert "declared as qcow2, and its content is of no known format" in page


@pytest.mark.parametrize(
    ("ending", "chosen", "format"),
    [
        ("a.qcow2", "", "qcow2"),
        ("a.IMG?x=1.iso", "", "raw"),
        ("a.raw", "", "raw"),
        ("a.iso", "", "iso"),
        ("a.iso", "raw", "raw"),
        ("a.xz", "", None),
        ("a", "", None),
    ],
)
def test_the_format_follows_the_ending_of_the_url(settings, make_pool, ending, chosen, format):
    settings.IMPORT_URLS = [BASE]
    typed = {"url": f"{BASE}/{ending}", "name": "", "format": chosen, "sha256": ""}
    form = ImportForm(typed | {"name": "new", "key": str(uuid.uuid4())}, target=make_pool("vms"))
    assert form.is_valid() == (format is not None), form.errors
    if format:
        assert form.params()["format"] == format
    else:
        assert form.errors["format"] == ["The end of the URL names no format; choose one."]


def test_an_image_that_names_a_file_of_the_host_is_refused(web, bring, real_pool, tmp_path):
    Answers.files = {"/iso/t": tricky_image(tmp_path)}
    job = bring(f"{web}/iso/t", "qcow2")
    assert (job.error_code, nothing_is_left(real_pool)) == ("image_refused", True)
    assert "secret" in job.error_text


def test_another_checksum_leaves_nothing(web, bring, real_pool):
    Answers.files = {"/iso/disk.img": CONTENT}
    job = bring(f"{web}/iso/disk.img", sha256="0" * 64)
    assert (job.error_code, nothing_is_left(real_pool)) == ("checksum_wrong", True)
    assert hashlib.sha256(CONTENT).hexdigest() in job.error_text


def test_it_can_be_stopped(web, bring, real_pool, monkeypatch):
    """Asked to while the second piece is on its way."""
    Answers.files = {"/iso/disk.img": CONTENT}
    pour = arrival.pour

    def stop(data: bytes) -> None:
        Job.objects.filter(cancel_asked_at=None).update(cancel_asked_at=timezone.now())

    monkeypatch.setattr(arrival, "TELL_EVERY_S", 0)
    monkeypatch.setattr(arrival, "pour", lambda pieces, *sinks: pour(pieces, *sinks, stop))
    assert bring(f"{web}/iso/disk.img").state == "cancelled"
    assert nothing_is_left(real_pool)


def test_near_addresses_are_refused_unless_they_are_allowed(web, bring, real_pool, settings):
    settings.ALLOW_NEAR_ADDRESSES = False
    Answers.files = {"/iso/disk.img": CONTENT}
    job = bring(f"{web}/iso/disk.img")
    assert (job.state, job.error_code, Answers.asked) == ("failed", "address_not_allowed", [])


def test_the_address_that_was_looked_at_is_the_one_that_is_asked(web, bring, monkeypatch):
    """A server whose name means another machine the second time that somebody asks (DNS rebinding)."""
    Answers.files = {"/iso/disk.img": CONTENT}
    resolve, answers = network.resolve, []

    def once(address: str, *, may_be_near: bool) -> Any:
        answers.append(resolve("127.0.0.1", may_be_near=may_be_near))
        return answers[-1]

    def never(*words: Any) -> Any:
        raise socket.gaierror("asked again")

    monkeypatch.setattr(network, "resolve", once)
    getaddrinfo = socket.getaddrinfo
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda host, *r, **k: never() if host == "localhost" else getaddrinfo(host, *r, **k),
    )
    assert bring(f"{web}/iso/disk.img").state == "succeeded"
    assert len(answers) == 1


BASE = "https://images.example/iso"
ADDRESSES = [
    ("https://images.example/iso/a.qcow2", True),
    ("https://IMAGES.example:443/iso/a?x=1", True),
    ("https://images.example/iso", True),
    ("https://images.example/iso-evil/a", False),
    ("http://images.example/iso/a", False),
    ("https://images.example:8443/iso/a", False),
    ("https://images.example.evil.example/iso/a", False),
    ("https://evil.example/https://images.example/iso/a", False),
    ("https://images.example/ISO/a", False),
]


@pytest.mark.parametrize(("url", "is_allowed"), ADDRESSES)
def test_only_what_begins_as_it_should_is_allowed(settings, url, is_allowed):
    settings.IMPORT_URLS = [BASE]
    assert Address.parse(url).is_allowed is is_allowed


NO_URLS = [
    "file:///etc/passwd",
    "ftp://images.example/iso/a",
    "https://user@images.example/iso/a",
    "https://images.example@evil.example/iso/a",
    "https://images.example\\@evil.example/iso/a",
    "https://images.example/iso/../secret",
    "https://images.example/iso/%2e%2e/secret",
    "https://images.example/iso/%252e%252e%252fsecret",
    "https://images.example/iso/..%5csecret",
    "https://images.example/iso/..;/secret",
    "https://images.example/iso/%2e%2e;a=1/secret",
    "https://images.example/iso/.%00./secret",
    "https://images.example/iso/a b",
    "https://images.example/iso/a\nHost: evil",
    "https://2130706433/iso/a",
    "https://images.example:99999/iso/a",
    "https://",
    "images.example/iso/a",
]


@pytest.mark.parametrize("url", NO_URLS)
def test_what_is_no_url_for_an_import(settings, url):
    settings.IMPORT_URLS = [BASE]
    with pytest.raises(ValueError, match=r"[.]$"):
        Address.parse(url)


def test_the_form_says_what_is_wrong_and_names_the_volume(client, operator, pool, settings):
    client.force_login(operator)
    url = reverse("volumes:import", args=[pool.pk])
    assert "IMPORT_URLS" in client.get(url).content.decode()
    settings.IMPORT_URLS = [BASE]
    for field, typed, words in (
        ("url", "https://evil.example/a", "does not begin with what is allowed"),
        ("url", f"{BASE}/", "is no name for a volume"),
        ("sha256", "xyz", "A SHA-256 has 64 digits"),
    ):
        good = {"url": f"{BASE}/a.iso", "format": "iso", "name": "", "sha256": "", "key": uuid.uuid4()}
        response = client.post(url, good | {field: typed})
        assert response.status_code == 422
        assert words in response.content.decode()
    assert client.post(url, good).status_code == 303
    assert Job.objects.get().params["name"] == "a.iso"
