"""libvirt URIs, built from parts: a URI that a person types can run programs or open any socket."""

import ipaddress
import re
from typing import Literal
from urllib.parse import quote, urlencode

Mode = Literal["system", "session"]
IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

PORTS = {"ssh": 22, "tls": 16514, "tcp": 16509}
NAME_LIMIT = 253
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
# The C library reads such a last part as the number of an IPv4 address: 127.1, 2130706433, 0x7f000001.
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_USER = re.compile(r"[a-z_][a-z0-9_.-]{0,31}")


def host_address(text: str) -> str:
    """A host name or an IP address as it is kept; ValueError with a sentence for people."""
    address = text.strip().lower().removesuffix(".")
    bare = address[1:-1] if address.startswith("[") and address.endswith("]") else address
    if literal := ip_literal(bare):
        return str(literal)
    if ":" in address or "%" in address:
        raise ValueError("This is not an IP address. A port has a field of its own.")
    if not address.isascii():
        raise ValueError("Type the name in its ASCII form, which begins with xn--.")
    labels = address.split(".")
    if len(address) > NAME_LIMIT or not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError("Type a host name or an IP address, without user, path or anything else.")
    if _NUMBER.fullmatch(labels[-1]):
        raise ValueError("This is neither a host name nor a whole IP address.")
    return address


def ip_literal(text: str) -> IPAddress | None:
    if "%" in text:
        return None
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def is_near(address: IPAddress) -> bool:
    """This machine itself, its link (where clouds keep their metadata), or nobody in particular."""
    mapped = getattr(address, "ipv4_mapped", None) or address
    return any((mapped.is_loopback, mapped.is_link_local, mapped.is_unspecified, mapped.is_multicast))


def user_name(text: str) -> str:
    """A unix account's name; ValueError with a sentence for people."""
    name = text.strip()
    if not _USER.fullmatch(name):
        raise ValueError("Use small letters, digits and . _ - only, with a letter or _ first.")
    return name


def local_uri(mode: str, socket: str = "") -> str:
    """The QEMU driver of this machine; `socket` is the path of another daemon's unix socket."""
    _check_mode(mode)
    if not socket:
        return f"qemu:///{mode}"
    return f"qemu+unix:///{mode}?socket={quote(socket)}"


def remote_uri(
    transport: str,
    address: str,
    *,
    port: int | None = None,
    username: str = "",
    mode: str = "system",
    parameters: dict[str, str] | None = None,
) -> str:
    """The QEMU driver of another machine. `parameters` are libvirt's own and never what somebody typed.

    ValueError when a part is not in the form that host_address() and user_name() give.
    """
    _check_mode(mode)
    if transport not in PORTS:
        raise ValueError(f"transport is one of {', '.join(PORTS)}, not {transport!r}")
    if address != host_address(address):
        raise ValueError(f"not an address: {address!r}")
    if username and (transport != "ssh" or username != user_name(username)):
        raise ValueError(f"not a user for {transport}: {username!r}")
    if port is not None and not 0 < port < 65536:
        raise ValueError(f"not a port: {port!r}")
    place = f"[{address}]" if ":" in address else address
    user, number = f"{username}@" if username else "", f":{port}" if port else ""
    query = f"?{urlencode(parameters, quote_via=quote, safe='/')}" if parameters else ""
    return f"qemu+{transport}://{user}{place}{number}/{mode}{query}"


def _check_mode(mode: str) -> None:
    if mode not in ("system", "session"):
        raise ValueError(f"mode is system or session, not {mode!r}")
