"""Certificates of the TLS transport: ours, and what a host shows. Imports no libvirt.

libvirt says of every certificate that it does not take the same "Failed to verify peer's certificate", with the
reason in a warning that is only logged. So we look at it ourselves, with the same authority and the same check
of the name.
"""

import socket
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from storagemgr.virt.errors import VirtError
from storagemgr.virt.network import refused

FILES = ("cacert.pem", "clientcert.pem", "clientkey.pem")
# X509_V_ERR_*
_EXPIRED, _NOT_YET = 10, 9
_OTHER_NAME = (62, 64)


@dataclass(frozen=True)
class Certificate:
    subject: str
    issuer: str
    not_before: datetime
    not_after: datetime
    fingerprint: str

    @property
    def is_valid_now(self) -> bool:
        return self.not_before <= datetime.now(UTC) <= self.not_after


def read(path: Path) -> Certificate | None:
    """The first certificate of a PEM file; None when it is missing or unreadable."""
    try:
        return _described(x509.load_pem_x509_certificate(path.read_bytes()))
    except (OSError, ValueError):
        return None


def _described(certificate: x509.Certificate) -> Certificate:
    return Certificate(
        subject=certificate.subject.rfc4514_string(),
        issuer=certificate.issuer.rfc4514_string(),
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        fingerprint=certificate.fingerprint(SHA256()).hex(":").upper(),
    )


def missing(directory: Path) -> list[str]:
    """The files of our identity that are not there."""
    return [name for name in FILES if not (directory / name).is_file()]


def shown_by(address: str, port: int, directory: str, seconds: float) -> Certificate:
    """What the host at this port shows, checked as libvirt checks it; VirtError cert_* when it does not pass."""
    try:
        context = ssl.create_default_context(cafile=f"{directory}/cacert.pem")
        context.load_cert_chain(f"{directory}/clientcert.pem", f"{directory}/clientkey.pem")
    except (OSError, ssl.SSLError) as error:
        is_missing = isinstance(error, FileNotFoundError)
        raise VirtError("cert_missing" if is_missing else "own_cert_invalid", str(error)) from error
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    try:
        with (
            socket.create_connection((address, port), timeout=seconds) as raw,
            context.wrap_socket(raw, server_hostname=address) as wrapped,
        ):
            found = wrapped.getpeercert(binary_form=True)
    except ssl.SSLCertVerificationError as error:
        raise VirtError(_code_of(error), error.verify_message) from error
    except ssl.SSLError as error:
        raise VirtError("not_tls", str(error)) from error
    except ConnectionResetError as error:
        raise VirtError("not_tls", "it hung up when TLS began") from error
    except OSError as error:
        raise refused(error, f"{address} port {port}") from error
    return _described(x509.load_der_x509_certificate(found or b""))


def _code_of(error: ssl.SSLCertVerificationError) -> str:
    if error.verify_code in (_EXPIRED, _NOT_YET):
        return "cert_expired"
    return "cert_name" if error.verify_code in _OTHER_NAME else "cert_untrusted"


def fault(address: str, port: int, directory: str, seconds: float) -> str:
    """The code of what is wrong with the certificate of the host, "" when that cannot be told."""
    try:
        shown_by(address, port, directory, seconds)
    except VirtError as error:
        return error.code if error.code.startswith("cert_") else ""
    return ""
