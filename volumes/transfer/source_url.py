"""A file on a web server, as an import reads it: from allowed beginnings of URLs only, also after a redirect."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self
from urllib.parse import unquote, urljoin, urlsplit

import httpx
from django.conf import settings

from storagemgr.jobs.operations import OperationFailed
from storagemgr.virt import network
from storagemgr.virt.addresses import host_address

PORTS = {"http": 80, "https": 443}
REDIRECTS = 5
PIECE = 256 * 1024
TIMES = httpx.Timeout(30, connect=10)


@dataclass(frozen=True)
class Address:
    """A URL in parts. `rest` is the path with its query, as it is sent."""

    scheme: str
    host: str
    port: int
    path: str
    rest: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """ValueError with a sentence for people."""
        if any(not letter.isprintable() or letter in " \\" for letter in text):
            raise ValueError("A URL has no spaces, backslashes or control characters in it.")
        try:
            parts = urlsplit(text)
            port = parts.port
        except ValueError as error:
            raise ValueError("This is not a URL.") from error
        if parts.scheme not in PORTS or not parts.hostname:
            raise ValueError("It has to begin with http:// or https:// and the name of a server.")
        if parts.username is not None or parts.password is not None:
            raise ValueError("Leave out the user and the password: the URL is kept in the job's record.")
        host = host_address(parts.hostname)
        if any(_leads_up(part) for part in _decoded(parts.path).split("/")):
            raise ValueError("Write the path without “..”.")
        rest = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
        return cls(parts.scheme, host, port or PORTS[parts.scheme], parts.path or "/", rest)

    def begins_with(self, beginning: "Address") -> bool:
        """By whole parts of the path: /iso allows /iso/a and not /iso-evil."""
        place = (self.scheme, self.host, self.port)
        above = beginning.path.rstrip("/")
        is_below = self.path == above or self.path.startswith(f"{above}/")
        return place == (beginning.scheme, beginning.host, beginning.port) and is_below

    @property
    def is_allowed(self) -> bool:
        return any(self.begins_with(Address.parse(allowed)) for allowed in settings.IMPORT_URLS)

    @property
    def place(self) -> str:
        name = f"[{self.host}]" if ":" in self.host else self.host
        return name if self.port == PORTS[self.scheme] else f"{name}:{self.port}"

    @property
    def file_name(self) -> str:
        return unquote(self.path.rpartition("/")[2])

    def __str__(self) -> str:
        return f"{self.scheme}://{self.place}{self.rest}"


def _decoded(path: str) -> str:
    """As a server may read it that decodes more than once."""
    while (decoded := unquote(path)) != path:
        path = decoded
    return path.replace("\\", "/")


def _leads_up(part: str) -> bool:
    """Some servers leave out what follows a ";" and what cannot be printed."""
    return "".join(filter(str.isprintable, part.partition(";")[0])).strip() == ".."


@dataclass(frozen=True)
class Source:
    size: int
    response: httpx.Response

    def __iter__(self) -> Iterator[bytes]:
        """At most `size` bytes; OperationFailed when they do not come."""
        left = self.size
        try:
            for piece in self.response.iter_raw(PIECE):
                left -= len(piece)
                if left < 0:
                    raise OperationFailed("source_failed", "The server sends more than it said.")
                yield piece
        except httpx.HTTPError as error:
            raise OperationFailed("source_failed", f"The connection broke: {error}.") from error


@contextmanager
def opened(text: str) -> Iterator[Source]:
    """The file behind a URL. OperationFailed url_not_allowed, source_failed or too_big; VirtError of the address."""
    with httpx.Client(verify=ssl.create_default_context(), trust_env=False, timeout=TIMES) as client:
        response = _follow(client, text)
        try:
            yield Source(_size_of(response), response)
        finally:
            response.close()


def _follow(client: httpx.Client, text: str) -> httpx.Response:
    for _ in range(REDIRECTS + 1):
        try:
            address = Address.parse(text)
        except ValueError as error:
            raise OperationFailed("url_not_allowed", f"{text}: {error}") from error
        if not address.is_allowed:
            raise OperationFailed("url_not_allowed", f"It leads to {address}.")
        response = _ask(client, address)
        if not response.has_redirect_location:
            return response
        response.close()
        text = urljoin(str(address), response.headers["location"])
    raise OperationFailed("source_failed", f"The server leads on more than {REDIRECTS} times.")


def _ask(client: httpx.Client, address: Address) -> httpx.Response:
    """Connects to the very address that was looked at: a name can be another one a moment later."""
    ip = network.resolve(address.host, may_be_near=settings.ALLOW_NEAR_ADDRESSES)[0]
    url = httpx.URL(str(address)).copy_with(host=str(ip))
    request = client.build_request(
        "GET",
        url,
        headers={"Host": address.place, "Accept-Encoding": "identity"},
        extensions={"sni_hostname": address.host},
    )
    try:
        return client.send(request, stream=True)
    except httpx.HTTPError as error:
        raise OperationFailed("source_failed", f"{address.place}: {error}.") from error


def _size_of(response: httpx.Response) -> int:
    if response.status_code != httpx.codes.OK:
        answer = f"{response.status_code} {response.reason_phrase}".strip()
        raise OperationFailed("source_failed", f"The server answered {answer}.")
    if response.headers.get("content-encoding", "identity") != "identity":
        raise OperationFailed("source_failed", "The server sends it packed, although it was asked not to.")
    length = response.headers.get("content-length", "")
    if not (length.isascii() and length.isdigit()):
        raise OperationFailed("source_failed", "The server does not say how large the file is.")
    if int(length) == 0:
        raise OperationFailed("source_failed", "The file is empty.")
    return int(length)
