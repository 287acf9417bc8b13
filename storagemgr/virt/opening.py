"""Why a connection could not be opened, as far as only the words of ssh, TLS or libvirt tell. Imports no libvirt.

ssh speaks English to us because its wrapper sets LC_ALL; libvirt's client does so because Python leaves the
language of messages alone. A shell on the host may speak another language; then the code is the general one.
"""

import errno
from urllib.parse import parse_qs, urlsplit

from storagemgr.virt import tls
from storagemgr.virt.addresses import PORTS
from storagemgr.virt.errors import VirtError

# (words, code), the first that fits. What the helper on the host says comes before what ssh says: both know
# "Connection refused" and "Permission denied".
_SSH = (
    (("exec: ssh",), "ssh_missing"),
    (("IDENTIFICATION HAS CHANGED",), "host_key_changed"),
    (("Host key verification failed",), "host_key_unknown"),
    (("Could not resolve hostname",), "name_unresolved"),
    (("Permission denied (",), "key_refused"),
    (("Too many authentication failures",), "key_refused"),
    (("account is currently not available",), "helper_failed"),
    (("virt-ssh-helper", "not found"), "helper_missing"),
    (("virt-ssh-helper: No such file",), "helper_missing"),
    (("kex_exchange_identification",), "not_ssh"),
    (("timed out",), "connect_timeout"),
    (("Connection refused",), "port_refused"),
    (("No route to host",), "no_route"),
    (("is unreachable",), "no_route"),
    (("from server too large",), "helper_failed"),
    (("End of file while reading data: :",), "helper_failed"),
)
_TLS = (
    (("Cannot read",), "cert_missing"),
    (("client certificate", "has expired"), "own_cert_invalid"),
    (("client certificate", "not yet active"), "own_cert_invalid"),
    (("CA certificate", "has expired"), "own_cert_invalid"),
    (("Our own certificate",), "own_cert_invalid"),
    (("Unable to set x509",), "own_cert_invalid"),
    (("Unable to read TLS confirmation",), "cert_refused"),
    (("verify peer's certificate",), "cert_untrusted"),
    (("TLS handshake failed",), "not_tls"),
)
# Said by the daemon or by the client about its own socket.
_DAEMON = (
    (("socket to '", "Permission denied"), "denied"),
    (("socket to '", "No such file or directory"), "daemon_stopped"),
    (("socket to '", "Connection refused"), "daemon_stopped"),
    (("unexpected", "URI path"), "wrong_mode"),
    (("polkit",), "denied"),
    (("access denied by policy",), "denied"),
)
_NETWORK = ((("Unable to resolve address",), "name_unresolved"),)
_BY_ERRNO = {
    errno.ECONNREFUSED: "port_refused",
    errno.ETIMEDOUT: "connect_timeout",
    errno.EHOSTUNREACH: "no_route",
    errno.ENETUNREACH: "no_route",
}
_BY_TRANSPORT = {"ssh": _SSH, "tls": (*_NETWORK, *_TLS), "tcp": _NETWORK}
LOOK_S = 3.0


def explained(uri: str, error: VirtError, errno_: int | None) -> VirtError:
    """`error` of opening `uri` with the code that says most. Asks the host for its certificate when TLS refused it."""
    parts = urlsplit(uri)
    transport = parts.scheme.partition("+")[2] or ("tls" if parts.hostname else "unix")
    code = code_of(transport, error.code, errno_, error.detail)
    if code == "cert_untrusted":
        directory = parse_qs(parts.query).get("pkipath", [""])[0]
        code = tls.fault(parts.hostname or "", parts.port or PORTS["tls"], directory, LOOK_S) or code
    return VirtError(code, error.detail.replace("\\r", ""), number=error.number, domain=error.domain)


def code_of(transport: str, code: str, errno_: int | None, text: str) -> str:
    for words, found in (*_DAEMON, *_BY_TRANSPORT.get(transport, ())):
        if all(word in text for word in words):
            return found
    if transport in ("tls", "tcp") and errno_ in _BY_ERRNO:
        return _BY_ERRNO[errno_]
    return code if code in ("auth_failed", "denied") else "host_unreachable"
