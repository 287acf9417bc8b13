"""Opening a connection to a host, in the process that will use it: what is allowed, with which key, for how long."""

from collections.abc import Callable
from typing import TypeVar

from django.conf import settings
from django.utils import timezone

from storagemgr.hosts import calls
from storagemgr.hosts.identity import pki_directory, ssh_identity
from storagemgr.hosts.models import Host
from storagemgr.virt import network, ssh, tls
from storagemgr.virt.addresses import local_uri, remote_uri
from storagemgr.virt.connection import Connection, connect
from storagemgr.virt.errors import VirtError

T = TypeVar("T")
Transport = Host.Transport

OPEN_S = 30.0
KNOCK_S = 4


def parameters(host: Host) -> dict[str, str]:
    """libvirt's own parameters, from our settings alone. `native`: the host has libvirt's helper, or no libvirt."""
    if host.transport == Transport.SSH:
        return {"no_tty": "1", "proxy": "native", "command": str(ssh_identity().command)}
    return {"pkipath": str(pki_directory())} if host.transport == Transport.TLS else {}


def full_uri(host: Host) -> str:
    if host.transport == Transport.LOCAL:
        return local_uri(host.mode, host.socket)
    return remote_uri(
        host.transport,
        host.address,
        port=host.port,
        username=host.username,
        mode=host.mode,
        parameters=parameters(host),
    )


def prepare(host: Host) -> None:
    """VirtError when this host is not to be connected to; else writes what ssh needs to know about it."""
    if host.transport == Transport.LOCAL:
        return
    if host.transport == Transport.TCP and not settings.ALLOW_TCP:
        raise VirtError("tcp_not_allowed")
    if host.transport == Transport.TLS and (missing := tls.missing(pki_directory())):
        # libvirt goes without a certificate of ours and is sent away with no reason given.
        raise VirtError("cert_missing", f"Missing: {', '.join(missing)}.")
    network.resolve(host.address, may_be_near=settings.ALLOW_NEAR_ADDRESSES)
    if host.transport == Transport.SSH:
        ssh_identity().prepare(host.address, host.port_number, host.key)


def open_host(host: Host) -> Connection:
    """A connection to the host. It may take long, or for ever: call it through calls.within."""
    if host.needs_key:
        raise VirtError("host_key_unknown")
    prepare(host)
    try:
        return connect(full_uri(host))
    except VirtError as error:
        raise told(host, error) from error


def told(host: Host, error: VirtError) -> VirtError:
    """ssh knows no key of this type, and yet one was confirmed: the host has another one now."""
    if error.code == "host_key_unknown" and host.confirmed_key:
        return VirtError("host_key_changed", error.detail)
    return error


def open_in_time(host: Host) -> Connection:
    """As open_host, and VirtError connect_timeout when that takes too long."""
    return in_time(host, "open", OPEN_S, lambda: open_host(host), when_back=_close)


def _close(connection: Connection | None) -> None:
    if connection is not None:
        connection.close()


def _forget(result: object) -> None:
    """Nobody waits for it any more."""


def in_time(
    host: Host,
    what: str,
    seconds: float,
    function: Callable[[], T],
    when_back: Callable[[T | None], None] = _forget,
) -> T:
    try:
        return calls.within(seconds, (what, host.pk), function, when_back)
    except calls.Overdue as overdue:
        raise VirtError("connect_timeout", f"No answer within {seconds:g} s.") from overdue


def look_at_key(host: Host) -> ssh.HostKey:
    """The SSH key that the host shows now. Takes at most about a quarter of a minute."""
    network.resolve(host.address, may_be_near=settings.ALLOW_NEAR_ADDRESSES)
    network.knock(host.address, host.port_number, KNOCK_S)
    return ssh.scan(host.address, host.port_number, KNOCK_S)


def remember_key(host: Host, key: ssh.HostKey) -> None:
    host.shown_key, host.shown_key_at = str(key), timezone.now()
    # Only of the address that was asked: somebody may have changed it meanwhile.
    rows = Host.objects.filter(pk=host.pk, address=host.address, port=host.port)
    rows.update(shown_key=host.shown_key, shown_key_at=host.shown_key_at)
