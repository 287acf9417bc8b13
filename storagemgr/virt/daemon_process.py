"""Which process of this machine serves a libvirt URI. Imports no libvirt and asks the daemon nothing."""

import os
import socket
import struct
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

_CONNECT_TIMEOUT_S = 1.0


def identity(uri: str) -> str | None:
    """pid, start time and boot of the daemon, or None when it cannot be known."""
    path = storage_socket(uri)
    if path is None:
        return None
    pid = _listener(path)
    if pid == 1:
        # systemd listens for the daemon (socket activation), so the kernel names systemd.
        pid = _pid_from_file(path)
    return _process(pid) if pid else None


def storage_socket(uri: str) -> Path | None:
    """The local socket of the daemon that does storage for `uri`; None for remote and test URIs."""
    parts = urlsplit(uri)
    driver, _, transport = parts.scheme.partition("+")
    if driver == "test" and not transport or transport not in ("", "unix") or parts.netloc:
        return None
    asked = parse_qs(parts.query).get("socket", [""])[0]
    if asked:
        path = Path(asked)
        modular = path.name in ("virtqemud-sock", "virtlxcd-sock")
        return path.with_name("virtstoraged-sock") if modular else path
    directory = _socket_directory(parts.path)
    # libvirt's own order (remote_sockets.c): the modular daemon when its socket is there.
    modular = (directory / f"virt{driver}d-sock").exists() or driver == "storage"
    return directory / ("virtstoraged-sock" if modular else "libvirt-sock")


def _socket_directory(uri_path: str) -> Path:
    if uri_path != "/session":
        return Path("/run/libvirt")
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(runtime or cache) / "libvirt"


def _listener(path: Path) -> int | None:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(_CONNECT_TIMEOUT_S)
        try:
            probe.connect(str(path))
            credentials = probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        except OSError:
            return None
    return int(struct.unpack("3i", credentials)[0]) or None


def _pid_from_file(path: Path) -> int | None:
    name = path.name.removesuffix("-sock").replace("libvirt", "libvirtd") + ".pid"
    directory = path.parent.parent if path.parent == Path("/run/libvirt") else path.parent
    try:
        return int((directory / name).read_text())
    except (OSError, ValueError):
        return None


def _process(pid: int) -> str | None:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None
    # The name in the second field may hold spaces and brackets; starttime is field 22.
    started = stat.rpartition(")")[2].split()[19]
    return f"{pid}:{started}:{boot}"
