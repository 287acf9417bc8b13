"""Connections to libvirt daemons.

The order that works: register the event implementation, run its loop in a thread, and only then open
connections; one that is registered and not run costs the connection after half a minute. Neither a
connection nor the loop survives fork(), so open connections after the fork, in the process that uses
them. One connection carries at most four long calls at once (libvirt's max_client_requests).
"""

import atexit
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import libvirt
from lxml import etree

from storagemgr.virt import daemon_process
from storagemgr.virt.addresses import local_uri as local_uri
from storagemgr.virt.errors import VirtError, classify, command_words
from storagemgr.virt.opening import explained

KEEPALIVE_INTERVAL_S = 5
KEEPALIVE_COUNT = 3


def _quiet(_context: object, _error: object) -> None:
    """libvirt prints each error to stderr when nobody takes it."""


libvirt.registerErrorHandler(_quiet, None)


def translate(error: libvirt.libvirtError) -> VirtError:
    number, domain = error.get_error_code(), error.get_error_domain()
    text = error.get_error_message() or str(error)
    code = classify(number, domain, error.get_int1(), text)
    if code in ("command_failed", "login_refused", "program_missing", "no_space"):
        text = command_words(text)
    return VirtError(code, text, number=number, domain=domain)


@contextmanager
def translated() -> Iterator[None]:
    """libvirtError raised inside comes out as VirtError."""
    try:
        yield
    except libvirt.libvirtError as error:
        raise translate(error) from error


@dataclass(frozen=True)
class HostFacts:
    """`pool_types`: type name -> backend loaded, which does not say that its programs are there."""

    hostname: str
    libvirt_version: str
    driver: str
    hypervisor_version: str
    pool_types: dict[str, bool]


class Connection:
    def __init__(self, raw: libvirt.virConnect, uri: str) -> None:
        self.raw = raw
        self.uri = uri

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes once no object of it is left and no call runs; a lost connection closes silently."""
        try:
            self.raw.close()
        except libvirt.libvirtError as error:
            if translate(error).code != "connection_lost":
                raise translate(error) from error

    @property
    def alive(self) -> bool:
        """virConnectIsAlive: what the client side knows, without asking the daemon."""
        try:
            return bool(self.raw.isAlive())
        except libvirt.libvirtError:
            return False

    def ping(self) -> None:
        """One round trip (virConnectGetLibVersion) that waits for no pool."""
        with translated():
            self.raw.getLibVersion()

    def facts(self) -> HostFacts:
        with translated():
            return HostFacts(
                hostname=self.raw.getHostname(),
                libvirt_version=_version(self.raw.getLibVersion()),
                driver=self.raw.getType(),
                hypervisor_version=_hypervisor_version(self.raw),
                pool_types=_pool_types(self.raw),
            )

    def check_rights(self) -> None:
        """VirtError denied when this connection may only look.

        Asks to find the sources of a type that has none. The right to find sources is looked at first: read-only
        connections are refused with 29 and accounts without connect.detect_storage_pools with 88; all others get
        3, "does not support source discovery" (measured, libvirt 9.0). Nothing is run on the host for it.
        """
        try:
            with translated():
                self.raw.findStoragePoolSources("dir", None)
        except VirtError as error:
            if error.code != "no_support":
                raise

    def daemon_id(self) -> str | None:
        """Names the running process of the daemon that serves storage; another value = it restarted.

        None when that cannot be known: remote hosts, test:///, no daemon at the socket.
        """
        return daemon_process.identity(self.uri)


def connect(uri: str, *, keepalive: bool = True) -> Connection:
    """Opens `uri`. With `keepalive` a daemon that stops answering fails the call after 20 s."""
    if keepalive:
        _loop.ensure()
    try:
        raw = libvirt.open(uri)
    except libvirt.libvirtError as error:
        raise explained(uri, translate(error), error.get_int1()) from error
    connection = Connection(raw, uri)
    try:
        if keepalive:
            raw.setKeepAlive(KEEPALIVE_INTERVAL_S, KEEPALIVE_COUNT)
    except libvirt.libvirtError as error:
        if translate(error).code != "no_support":
            connection.close()
            raise explained(uri, translate(error), error.get_int1()) from error
    return connection


class _EventLoop:
    """libvirt's default event loop, at most one a process, in a daemon thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pid: int | None = None
        self._stopping = False

    def ensure(self) -> None:
        with self._lock:
            if self._pid == os.getpid():
                return
            if self._pid is not None:
                raise RuntimeError("libvirt's event loop was started before the fork; connect after it")
            with translated():
                libvirt.virEventRegisterDefaultImpl()
                # virEventRunDefaultImpl never returns when nothing is registered.
                timer = libvirt.virEventAddTimeout(60_000, _tick, None)
            self._pid = os.getpid()
            thread = threading.Thread(target=self._run, name="libvirt-events", daemon=True)
            thread.start()
            atexit.register(self._stop, timer, thread)

    def _run(self) -> None:
        while not self._stopping:
            with translated():
                libvirt.virEventRunDefaultImpl()

    def _stop(self, timer: int, thread: threading.Thread) -> None:
        if self._pid == os.getpid():
            self._stopping = True
            libvirt.virEventUpdateTimeout(timer, 0)
            thread.join(timeout=2)


def _tick(_timer: int, _opaque: object) -> None:
    """Nothing to do: the timer's firing is what lets the loop look at its flag."""


_loop = _EventLoop()


def _version(number: int) -> str:
    return f"{number // 1_000_000}.{number // 1000 % 1000}.{number % 1000}"


def _hypervisor_version(raw: libvirt.virConnect) -> str:
    """Empty where no hypervisor is installed: storage works without one."""
    try:
        return _version(raw.getVersion())
    except libvirt.libvirtError as error:
        if translate(error).code == "connection_lost":
            raise
        return ""


def _pool_types(raw: libvirt.virConnect) -> dict[str, bool]:
    """{} where the driver has no virConnectGetStoragePoolCapabilities (test driver, before 5.2.0)."""
    try:
        xml = raw.getStoragePoolCapabilities()
    except libvirt.libvirtError as error:
        if translate(error).code == "no_support":
            return {}
        raise
    pools = etree.fromstring(xml.encode()).iterfind("pool")
    return {pool.get("type", ""): pool.get("supported") == "yes" for pool in pools}
