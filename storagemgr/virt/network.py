"""Whether a host's name is known and its port is open, asked before libvirt or ssh try it."""

import ipaddress
import socket
from errno import ECONNREFUSED

from storagemgr.virt.addresses import IPAddress, is_near
from storagemgr.virt.errors import VirtError


def resolve(address: str, *, may_be_near: bool) -> list[IPAddress]:
    """The addresses of a host; VirtError name_unresolved, or address_not_allowed for this machine and its link."""
    try:
        answers = socket.getaddrinfo(address, None, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as error:
        raise VirtError("name_unresolved", f"{address}: {getattr(error, 'strerror', error)}") from error
    found = list(
        dict.fromkeys(ipaddress.ip_address(str(answer[4][0]).partition("%")[0]) for answer in answers)
    )
    near = [str(ip) for ip in found if is_near(ip)]
    if near and not may_be_near:
        raise VirtError("address_not_allowed", f"{address} is {', '.join(near)}")
    return found


def knock(address: str, port: int, seconds: float) -> None:
    """Opens and closes a TCP connection; VirtError port_refused, connect_timeout or no_route."""
    try:
        socket.create_connection((address, port), timeout=seconds).close()
    except OSError as error:
        raise refused(error, f"{address} port {port}") from error


def refused(error: OSError, where: str) -> VirtError:
    """What it means that a connection was not made."""
    if isinstance(error, TimeoutError):
        return VirtError("connect_timeout", f"{where}: nothing came back in time")
    code = "port_refused" if error.errno == ECONNREFUSED else "no_route"
    return VirtError(code, f"{where}: {error.strerror or error}")
