"""A download that a kill cuts off goes on where it was, and its job says how far it is."""

import hashlib
import http.client
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from stack import wait_for
from transfer_tools import MIB, ask, real_data, ticket

from storagemgr.jobs.models import Job

pytestmark = [pytest.mark.chaos, pytest.mark.django_db(transaction=True)]
SIZE = 192 * MIB


@pytest.fixture
def file(images: Path) -> Path:
    """Before the pool that shows it."""
    return real_data(images / "big.raw", SIZE // MIB)


def answer_from(url: str, at: int) -> http.client.HTTPResponse | None:
    """None while it is refused for now, or nobody listens."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=60)
    try:
        connection.request("GET", parts.path, headers={"Range": f"bytes={at}-"} if at else {})
        answer = connection.getresponse()
    except OSError:
        return None
    assert answer.status in (200, 206, 423, 503), answer.read()
    if answer.status in (423, 503):
        time.sleep(0.3)
        return None
    assert answer.status == (206 if at else 200)
    return answer


def go_on(url: str, at: int) -> http.client.HTTPResponse:
    return wait_for(lambda: answer_from(url, at), 60, url)


def rest_of(answer: http.client.HTTPResponse) -> bytes:
    """All that still comes; what was announced may be more."""
    came = []
    try:
        while data := answer.read(MIB):
            came.append(data)
    except (http.client.IncompleteRead, ConnectionError) as error:
        came.append(getattr(error, "partial", b""))
    return b"".join(came)


def test_kills_of_transfer_and_libvirtd_cut_off_a_download_that_goes_on(
    stack, daemon, images, file, live_pool, token
):
    url, got = ticket(stack, file.name), b""

    def restart_transfer() -> None:
        stack.kill("transfer")
        stack.start("transfer")

    def restart_libvirtd() -> None:
        daemon.kill()
        daemon.start()

    for kill in (restart_transfer, restart_libvirtd):
        answer = go_on(url, len(got))
        got += answer.read(30 * MIB)
        kill()
        got += rest_of(answer)
        assert 30 * MIB <= len(got) < SIZE
        job = Job.objects.get(operation="volume.download")
        assert job.state == "transferring"
        assert 0 < job.done_bytes < SIZE
    got += rest_of(go_on(url, len(got)))
    assert hashlib.sha256(got).digest() == hashlib.sha256(file.read_bytes()).digest()
    wait_for(lambda: Job.objects.get(pk=job.pk).state == "succeeded", 10, stack.log("transfer"))
    assert ask("HEAD", url)[0] == 410
