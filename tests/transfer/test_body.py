import io
import threading

import pytest

from volumes.transfer import writing
from volumes.transfer.writing import Body, Stalled


class Silent:
    """A client that sends so much and then nothing, without hanging up."""

    def __init__(self, data: bytes) -> None:
        self.data, self.released = io.BytesIO(data), threading.Event()

    def read(self, size: int) -> bytes:
        if found := self.data.read(size):
            return found
        self.released.wait(20)
        return b""


def test_a_client_that_falls_silent_is_left(monkeypatch):
    monkeypatch.setattr(writing, "IDLE_S", 1.5)
    client, came = Silent(b"x" * 1000), []
    body = Body(client, 5000)
    with pytest.raises(Stalled):
        came.extend(body)
    body.leave()
    client.released.set()
    assert b"".join(came) == b"x" * 1000
    assert came[-1] == b""


@pytest.mark.parametrize("sent", [0, 1, writing.READ * 3 + 7])
def test_a_client_that_hangs_up_early_ends_the_body(sent):
    assert len(b"".join(Body(io.BytesIO(b"x" * sent), 10**9))) == sent


def test_no_more_is_read_than_was_announced():
    rest = io.BytesIO(b"x" * 100 + b"GET / HTTP/1.1")
    assert b"".join(Body(rest, 100)) == b"x" * 100
    assert rest.read() == b"GET / HTTP/1.1"
