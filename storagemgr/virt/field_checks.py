"""What may be typed into one field of a pool: each check takes the text and says what is wrong, "" for nothing."""

import re
from base64 import b64decode
from collections.abc import Mapping
from ipaddress import IPv6Address
from types import MappingProxyType
from typing import Any

from storagemgr.virt import path_policy


def _matches(pattern: str, what: str) -> Any:
    compiled = re.compile(pattern, re.ASCII)
    return lambda value: "" if compiled.fullmatch(value) else f"“{value}” is not {what}."


# As libvirt's schema has it: no _, though some networks have such names.
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_host = _matches(rf"{_LABEL}(?:\.{_LABEL}){{0,20}}\.?", "the name or address of a host")
_PART = r"[A-Za-z0-9_.:-]*"
_port = _matches(r"[1-9][0-9]{0,4}", "a port, which is a number from 1 to 65535")


def _check_host(value: str) -> str:
    if ":" not in value:
        return str(_host(value))
    try:
        return "A zone (%) is not possible here." if IPv6Address(value).scope_id else ""
    except ValueError:
        return f"“{value}” is not an IPv6 address; such an address stands here without [ ] and port."


def _check_port(value: str) -> str:
    return str(_port(value)) or ("" if int(value) < 65536 else f"“{value}” is not a port; they end at 65535.")


def _check_monitor(value: str) -> str:
    """ "ceph1", "ceph1:6789", "fd00::1", "[fd00::1]", "[fd00::1]:6789"."""
    bracketed = re.fullmatch(r"\[([^\]]*)\](?::(.*))?", value)
    if bracketed:
        host, port = bracketed.groups()
        wrong = "" if ":" in host else f"“{value}” has [ ] around what is no IPv6 address."
    else:
        host, port = value.split(":") if value.count(":") == 1 else (value, None)
        wrong = ""
    return wrong or _check_host(host) or ("" if port is None else _check_port(port))


def _check_place(value: str) -> str:
    return path_policy.why_not_here(value)


def _check_device(value: str) -> str:
    plain = value.startswith("/dev/") and not value.endswith("/") and not path_policy.why_not_a_path(value)
    return "" if plain else f"“{value}” is not the path of a device; such a path begins with /dev/."


_option = _matches(r"[A-Za-z0-9][A-Za-z0-9_.:/=+@-]{0,255}", "one option, such as ro or vers=3.0")
# libvirt mounts with nodev, nosuid and noexec, which these would undo; or they do something else than to mount.
_UNSAFE_OPTIONS = frozenset(
    ["suid", "dev", "exec", "bind", "rbind", "move", "remount", "user", "users", "owner"]
)
_HELPERS = ("helper=", "uhelper=", "x-mount.")


def _check_option(value: str) -> str:
    if value in _UNSAFE_OPTIONS or value.lower().startswith(_HELPERS):
        return f"“{value}” is not possible here: it would make the mount do more than hold disk images."
    return str(_option(value))


_setting = _matches(
    r"[A-Za-z0-9_]{1,64}=[^\x00-\x1f\x7f]{1,255}", "a setting, such as client_mount_timeout=30"
)
# librados runs in libvirt's daemon as root: it would write its log to this file, load a plugin from that directory.
_OF_FILES = re.compile(r"(.*_)?(files?|path|dir|chdir|socket|plugins?|keyring|keyfile)(_.*)?", re.IGNORECASE)


def _check_setting(value: str) -> str:
    name = value.partition("=")[0]
    if _OF_FILES.fullmatch(name):
        return f"“{name}” is not possible here: it names a file or directory of the host."
    return str(_setting(value))


def cephx_key(value: str) -> bytes | None:
    """The key that this base64 text stands for; None when it is none."""
    try:
        return b64decode(value, validate=True) or None
    except ValueError:
        return None


def _check_cephx_key(value: str) -> str:
    """Without the value: it is a secret."""
    return (
        ""
        if cephx_key(value)
        else "This is not a key of Ceph, which is base64 text and mostly ends with “==”."
    )


CHECKS: Mapping[str, Any] = MappingProxyType(
    {
        "name": _matches(
            r"[A-Za-z0-9_][A-Za-z0-9_.:+@-]{0,127}", "a name: letters, digits and . _ : + @ - only"
        ),
        "dataset": _matches(
            rf"(?=.{{1,255}}$)[A-Za-z]{_PART}(?:/[A-Za-z0-9_]{_PART})*",
            "the name of a ZFS pool or of a dataset in one",
        ),
        "host": _check_host,
        "port": _check_port,
        "monitor": _check_monitor,
        "path": _check_place,
        "device_dir": path_policy.why_not_of_devices,
        "device": _check_device,
        "export": _matches(r"/[^\x00-\x1f\x7f]{0,1023}", "a path on the server; such a path begins with /"),
        "share": _matches(r"/?[^\x00-\x1f\x7f]{1,1023}", "the name of a share or volume"),
        "version": _matches(r"[2-4](?:\.[0-2])?", "a version of NFS, such as 3 or 4.2"),
        "option": _check_option,
        "setting": _check_setting,
        "iqn": _matches(
            r"(?=.{1,223}$)iqn\.[0-9]{4}-(?:0[1-9]|1[0-2])\.[A-Za-z0-9.-]+(?::[A-Za-z0-9.:_-]+)?",
            "an iSCSI name, such as iqn.2026-01.com.example:disks",
        ),
        "user": _matches(r"[^\x00-\x1f\x7f]{1,255}", "a user name"),
        "cephx_key": _check_cephx_key,
        "password": lambda value: "" if len(value) <= 1024 and value.isprintable() else (
            "The password has characters that cannot be printed, or more than 1024."
        ),
        "scsi_host": _matches(r"(?:scsi_)?host[0-9]{1,5}", "a SCSI host, such as host2"),
        "pci": _matches(r"(?:0x)?[0-9a-fA-F]{1,4}:[0-9a-fA-F]{1,2}:[0-9a-fA-F]{1,2}\.[0-7]",
                        "a PCI address, such as 0000:00:1f.2"),
        "number": _matches(r"0|[1-9][0-9]{0,8}", "a whole number"),
        "wwn": _matches(r"[0-9A-Fa-f]{16}", "a WWN, which is 16 hexadecimal digits"),
        "mode": _matches(r"0?[0-7]{3}", "a mode, such as 0711"),
    }
)  # fmt: skip
