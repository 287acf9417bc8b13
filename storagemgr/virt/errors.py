"""What can go wrong, as codes of our own. Imports no libvirt, so that web can use it."""

import errno

CODES = frozenset(
    {
        "host_unreachable",
        "name_unresolved",
        "address_not_allowed",
        "tcp_not_allowed",
        "no_route",
        "port_refused",
        "connect_timeout",
        "ssh_missing",
        "not_ssh",
        "host_key_unknown",
        "host_key_changed",
        "key_refused",
        "helper_missing",
        "helper_failed",
        "not_tls",
        "cert_missing",
        "own_cert_invalid",
        "cert_untrusted",
        "cert_expired",
        "cert_name",
        "cert_refused",
        "daemon_stopped",
        "wrong_mode",
        "libvirt_too_old",
        "connection_lost",
        "auth_failed",
        "denied",
        "no_pool",
        "no_volume",
        "no_domain",
        "volume_exists",
        "name_taken",
        "bad_name",
        "source_conflict",
        "pool_inactive",
        "pool_active",
        "pool_busy",
        "pool_starting",
        "volume_busy",
        "volume_in_use",
        "no_space",
        "not_found_on_host",
        "permission_on_host",
        "not_empty",
        "busy_on_host",
        "exists_on_host",
        "io_error",
        "program_missing",
        "command_failed",
        "no_support",
        "invalid",
        "xml_invalid",
        "already_formatted",
        "needs_build",
        "secret_missing",
        "secret_taken",
        "named_otherwise",
        "login_refused",
        "too_many_volumes",
        "unknown",
    }
)

DETAIL_LIMIT = 2000

# virErrorNumber: the ones whose number alone tells the code.
_BY_NUMBER = {
    3: "no_support",
    4: "host_unreachable",
    5: "host_unreachable",
    6: "connection_lost",
    8: "invalid",
    27: "xml_invalid",
    29: "denied",
    35: "xml_invalid",
    42: "no_domain",
    45: "auth_failed",
    46: "no_pool",
    47: "no_volume",
    49: "no_pool",
    50: "no_volume",
    55: "invalid",
    65: "secret_missing",
    66: "secret_missing",
    67: "invalid",
    74: "no_support",
    75: "needs_build",
    76: "already_formatted",
    79: "auth_failed",
    84: "no_support",
    88: "denied",
    90: "volume_exists",
    92: "xml_invalid",
    94: "auth_failed",
}

_BY_ERRNO = {
    errno.ENOSPC: "no_space",
    errno.EDQUOT: "no_space",
    errno.EFBIG: "no_space",
    errno.ENOENT: "not_found_on_host",
    errno.ENOTDIR: "not_found_on_host",
    errno.ENXIO: "not_found_on_host",
    errno.ENODEV: "not_found_on_host",
    errno.EACCES: "permission_on_host",
    errno.EPERM: "permission_on_host",
    errno.EROFS: "permission_on_host",
    errno.ENOTEMPTY: "not_empty",
    errno.EEXIST: "exists_on_host",
    errno.EBUSY: "busy_on_host",
    errno.ETXTBSY: "busy_on_host",
    errno.EIO: "io_error",
    errno.ESTALE: "io_error",
    errno.ETIMEDOUT: "io_error",
    errno.EREMOTEIO: "io_error",
    errno.ENAMETOOLONG: "bad_name",
    errno.EOPNOTSUPP: "no_support",
}

# Last resort, for what libvirt tells in words only: (numbers, words, code), the first that fits.
# The words are in the daemon's language, so callers that can ask libvirt instead do that.
_BY_TEXT = (
    ((1,), ("asynchronous jobs running",), "pool_busy"),
    ((55,), ("is starting up",), "pool_starting"),
    ((1, 39), ("16384",), "too_many_volumes"),
    ((1,), ("name", "already in use"), "volume_exists"),
    ((1, 38), ("Cannot find", "in path"), "program_missing"),
    ((1,), ("exit status 127",), "program_missing"),
    # iscsiadm: the target did not take the user or the password.
    ((1,), ("authorization failure",), "login_refused"),
    ((1,), ("mkfs: failed to execute",), "program_missing"),
    ((1,), ("No space left on device",), "no_space"),
    ((1,), ("insufficient free space",), "no_space"),
    ((1,), ("no large enough free extent",), "no_space"),
    ((1,), ("unexpected exit status",), "command_failed"),
    ((1,), ("unexpected fatal signal",), "command_failed"),
    ((8, 27, 55), ("name", "cannot contain"), "bad_name"),
    ((1,), ("missing backend for pool type",), "no_support"),
    ((9,), ("source conflict",), "source_conflict"),
    ((9,), ("already exists with uuid",), "name_taken"),
    ((9,), ("already defined with uuid",), "name_taken"),
    ((9,), ("not enough space",), "no_space"),
    ((55,), ("is not active",), "pool_inactive"),
    ((55,), ("already active",), "pool_active"),
    ((55,), ("still active",), "pool_active"),
    ((55,), ("is active",), "pool_active"),
    ((55,), ("still being allocated",), "volume_busy"),
    ((55,), ("still in use",), "volume_busy"),
    ((55,), ("already exists",), "exists_on_host"),
)

_RPC, _REMOTE, _SSH, _LIBSSH = 7, 13, 50, 64


class VirtError(Exception):
    """A refusal or failure of libvirt.

    `code` is one of CODES; `detail` is libvirt's own text, made printable; `number` and `domain` are
    libvirt's virErrorNumber and virErrorDomain when libvirt raised it.
    """

    def __init__(
        self, code: str, detail: str = "", *, number: int | None = None, domain: int | None = None
    ) -> None:
        if code not in CODES:
            raise ValueError(f"not an error code: {code}")
        self.code = code
        self.detail = printable(detail)
        self.number = number
        self.domain = domain
        super().__init__(code, self.detail)

    def __str__(self) -> str:
        return f"{self.code}: {self.detail}" if self.detail else self.code

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (self.code, self.detail, self.number, self.domain))


def _rebuild(code: str, detail: str, number: int | None, domain: int | None) -> VirtError:
    return VirtError(code, detail, number=number, domain=domain)


def classify(number: int | None, domain: int | None, errno_: int | None, text: str) -> str:
    """The code for a libvirt error. `errno_` is int1 of the error, which carries errno for number 38."""
    if number in (45, 79, 94):
        return "auth_failed"
    for numbers, words, code in _BY_TEXT:
        if number in numbers and all(word in text for word in words):
            return code
    if domain in (_RPC, _REMOTE) and number in (1, 38, 39):
        return "connection_lost"
    if domain in (_SSH, _LIBSSH) or number in (85, 98):
        return "host_unreachable"
    if number == 38 and errno_ in _BY_ERRNO:
        return _BY_ERRNO[errno_]
    return _BY_NUMBER.get(number, "unknown") if number is not None else "unknown"


def command_words(text: str) -> str:
    """What a failed command said last, then the whole text."""
    for mark in ("unexpected exit status ", "unexpected fatal signal "):
        said = text.partition(mark)[2].partition(": ")[2]
        lines = [line.strip() for line in said.splitlines() if line.strip()]
        # mount(8) ends with a hint that says nothing about what went wrong.
        telling = [line for line in lines if not line.startswith("dmesg(1)")]
        if telling:
            return f"{telling[-1]}\n{text}"
    return text


def printable(text: str) -> str:
    """`text` with control characters spelled out and cut at DETAIL_LIMIT; line breaks stay."""
    shown = "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in text.strip())
    return shown if len(shown) <= DETAIL_LIMIT else shown[: DETAIL_LIMIT - 1] + "…"
