"""Which paths of a host a pool may be on. A directory pool on /etc would hand out the host.

Compared by components, never as text: /srv/vm does not stand for /srv/vm-evil. A symbolic link on the host cannot be
seen from here.
"""

from pathlib import PurePosixPath

# Below these a pool may have a directory of its own.
REFUSED = tuple("/ /home /media /mnt /opt /srv /tmp /var /var/cache /var/lib /var/lib/libvirt".split())  # noqa: SIM905
# Nothing below these either.
REFUSED_TREES = (
    *(
        "/bin",
        "/boot",
        "/dev",
        "/etc",
        "/lib",
        "/lib32",
        "/lib64",
        "/libx32",
        "/proc",
        "/root",
        "/run",
        "/sbin",
        "/sys",
    ),
    *("/usr", "/var/run", "/var/log", "/var/spool", "/var/lib/libvirt/secrets", "/var/lib/libvirt/qemu"),
    *("/var/lib/dpkg", "/var/lib/rpm", "/var/lib/systemd", "/var/lib/sudo", "/var/lib/cloud"),
)
# Directories of an account that let whoever writes there log in or run programs as that account.
REFUSED_PARTS = (".ssh", ".gnupg", ".config", ".kube", ".aws", ".docker")
DEVICE_TREES = ("/dev/disk", "/dev/mapper", "/dev/zvol")


def why_not_a_path(path: str) -> str:
    """Why this text is not an absolute, plain path, as a sentence; "" when it is."""
    if not path.startswith("/") or path.startswith("//"):
        return f"“{path}” is not a whole path; such a path begins with one /."
    if any(not c.isprintable() for c in path) or len(path.encode()) > 1024:
        return "The path has characters that cannot be printed, or is too long."
    if any(part in ("", ".", "..") for part in path[1:].removesuffix("/").split("/")) and path != "/":
        return "The path may not have “.”, “..” or an empty part in it."
    if any(part != part.strip() for part in path.split("/")):
        return "No part of the path may begin or end with a space."
    return ""


def why_not_here(path: str, allowed: tuple[str, ...] = ()) -> str:
    """Why no pool may be in this directory; with `allowed`, only those directories and what is below them."""
    if wrong := why_not_a_path(path):
        return wrong
    here = PurePosixPath(path)
    if here in map(PurePosixPath, REFUSED) or any(here.is_relative_to(tree) for tree in REFUSED_TREES):
        return f"{path} belongs to the host's system. A pool needs a directory of its own, such as /srv/vm."
    if part := next((part for part in here.parts if part in REFUSED_PARTS), ""):
        return f"{part} holds keys and settings of an account. A pool needs a directory of its own, such as /srv/vm."
    if allowed and not any(here.is_relative_to(base) for base in allowed):
        return f"{path} is not below {', '.join(allowed)}. An administrator has set where pools may be."
    return ""


def why_not_of_devices(path: str) -> str:
    """The same for the directory under which libvirt looks for devices."""
    if wrong := why_not_a_path(path):
        return wrong
    here = PurePosixPath(path)
    if here == PurePosixPath("/dev") or any(here.is_relative_to(tree) for tree in DEVICE_TREES):
        return ""
    return f"{path} has no devices; they are found in /dev, or below /dev/disk or /dev/mapper."
