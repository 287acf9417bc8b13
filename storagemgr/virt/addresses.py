"""libvirt URIs, built from parts: a URI that a person types can run programs or open any socket."""

from typing import Literal
from urllib.parse import quote

Mode = Literal["system", "session"]


def local_uri(mode: str, socket: str = "") -> str:
    """The QEMU driver of this machine; `socket` is the path of another daemon's unix socket."""
    if mode not in ("system", "session"):
        raise ValueError(f"mode is system or session, not {mode!r}")
    if not socket:
        return f"qemu:///{mode}"
    return f"qemu+unix:///{mode}?socket={quote(socket)}"
