"""What the guests and the tests need to know one another: ssh keys and a certificate authority, new for each lab."""

import subprocess
from pathlib import Path

_SUBJECT_NAMES = "subjectAltName=IP:127.0.0.1,DNS:localhost,IP:{address},DNS:{name}"


def make_ssh_key(path: Path) -> str:
    """Returns the public key, which also stands beside `path` in a file of that name with .pub."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", path.name, "-f", str(path))
    return path.with_name(path.name + ".pub").read_text()


class Authority:
    """A certificate authority; `directory` is then what libvirt calls a pkipath, once it has a client's key."""

    def __init__(self, directory: Path, name: str) -> None:
        self.directory = directory
        self.certificate = directory / "cacert.pem"
        self._key = directory / "cakey.pem"
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        authority = ("-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=keyCertSign")
        _new_certificate(self._key, self.certificate, name, *authority)

    def sign_client(self, name: str) -> None:
        self._sign(self.directory / "clientkey.pem", self.directory / "clientcert.pem", name, "clientAuth")

    def sign_server(self, key: Path, certificate: Path, name: str, address: str) -> None:
        names = _SUBJECT_NAMES.format(address=address, name=name)
        self._sign(key, certificate, name, "serverAuth", "-addext", names)

    def _sign(self, key: Path, certificate: Path, name: str, purpose: str, *options: str) -> None:
        for path in (key, certificate):
            path.parent.mkdir(parents=True, exist_ok=True)
        signed = (
            "-CA",
            str(self.certificate),
            "-CAkey",
            str(self._key),
            "-addext",
            "basicConstraints=CA:FALSE",
        )
        _new_certificate(key, certificate, name, *signed, "-addext", f"extendedKeyUsage={purpose}", *options)


def _new_certificate(key: Path, certificate: Path, name: str, *options: str) -> None:
    new = ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-sha256")
    _run(
        *new, "-subj", f"/O=storagemgr lab/CN={name}", "-keyout", str(key), "-out", str(certificate), *options
    )
    key.chmod(0o600)


def _run(*command: str) -> None:
    subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=True)
