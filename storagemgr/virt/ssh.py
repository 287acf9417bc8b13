"""The ssh that carries libvirt: our key pair, our configuration, the host keys that people confirmed.

libvirt runs a program for the ssh transport, and its URI may name another one (`command`). Ours is a script of
two lines that gives ssh a configuration of our own, so that nothing of the ~/.ssh of whoever runs us has a say.
libvirt's libssh transport needs no program, yet it has no time limit, no ServerAlive, and tells of a helper that
failed on the host no more than "Remote command terminated with non-zero code: 1". Imports no libvirt.
"""

import base64
import binascii
import hashlib
import os
import shlex
import subprocess
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from storagemgr.virt.errors import VirtError
from storagemgr.virt.opening import code_of

CONNECT_S = 5
ALIVE_S, ALIVE_COUNT = 5, 3
# The best first; a host is known by one key, which a person can compare.
KEY_TYPES = ("ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa")
_FILES = {"ssh-ed25519": "ed25519", "ssh-rsa": "rsa"}

_CONFIG = """\
Host *
  IdentityFile "{directory}/id_ed25519"
  IdentitiesOnly yes
  IdentityAgent none
  PreferredAuthentications publickey
  BatchMode yes
  StrictHostKeyChecking yes
  UserKnownHostsFile "{directory}/known_hosts/%h_%p"
  GlobalKnownHostsFile /dev/null
  UpdateHostKeys no
  VerifyHostKeyDNS no
  CheckHostIP no
  ConnectTimeout {connect}
  ServerAliveInterval {alive}
  ServerAliveCountMax {count}
  ControlPath none
  ClearAllForwardings yes
  ForwardAgent no
  PermitLocalCommand no
  LogLevel ERROR
"""


@dataclass(frozen=True)
class HostKey:
    """`data` in base64, as it stands in known_hosts."""

    type: str
    data: str

    def __post_init__(self) -> None:
        try:
            base64.b64decode(self.data, validate=True)
        except binascii.Error as error:
            raise ValueError("not a key") from error
        if self.type not in KEY_TYPES:
            raise ValueError(f"not a type of key: {self.type!r}")

    def __str__(self) -> str:
        return f"{self.type} {self.data}"

    @property
    def fingerprint(self) -> str:
        digest = hashlib.sha256(base64.b64decode(self.data)).digest()
        return f"SHA256:{base64.b64encode(digest).decode().rstrip('=')}"

    @property
    def file_on_host(self) -> str:
        return f"/etc/ssh/ssh_host_{_FILES.get(self.type, 'ecdsa')}_key.pub"


def host_key(text: str) -> HostKey | None:
    """The key of str(HostKey), None for an empty text."""
    kind, _, data = text.partition(" ")
    return HostKey(kind, data) if data else None


@dataclass(frozen=True)
class Identity:
    """Who we are for ssh: the files below `directory`, which nobody else may read."""

    directory: Path

    @property
    def private_key(self) -> Path:
        return self.directory / "id_ed25519"

    @property
    def command(self) -> Path:
        """The program for libvirt's parameter of that name."""
        return self.directory / "ssh"

    @property
    def public_key(self) -> str:
        """One line, "" before the key is made."""
        try:
            return self.private_key.with_suffix(".pub").read_text().strip()
        except OSError:
            return ""

    def authorized_key(self, mode: str) -> str:
        """The line for ~/.ssh/authorized_keys on a host: it lets our key speak with libvirt and do nothing else."""
        return f'restrict,command="virt-ssh-helper qemu:///{mode}" {self.public_key}'

    def make_key(self) -> None:
        """Once; of two processes that come together one wins."""
        if self.public_key and self.private_key.exists():
            return
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.directory) as scratch:
            new = Path(scratch) / "id_ed25519"
            _keygen("-q", "-t", "ed25519", "-N", "", "-C", "storagemgr", "-f", str(new))
            with suppress(FileExistsError):
                os.link(new, self.private_key)
        public = _keygen("-y", "-f", str(self.private_key))
        _write(self.private_key.with_suffix(".pub"), public, 0o644)

    def prepare(self, address: str, port: int, key: HostKey | None) -> None:
        """Writes what ssh will read for this host. Without a key it will refuse the host."""
        self.make_key()
        script = f'#!/bin/sh\nLC_ALL=C exec ssh -F {shlex.quote(str(self.directory / "config"))} "$@"\n'
        _write(self.directory / "config", self._config(), 0o600)
        _write(self.command, script, 0o700)
        place = f"[{address}]:{port}" if port != 22 else address
        known = self.directory / "known_hosts"
        known.mkdir(mode=0o700, exist_ok=True)
        _write(known / f"{address}_{port}", f"{place} {key}\n" if key else "", 0o600)

    def _config(self) -> str:
        directory = str(self.directory).replace("%", "%%")
        return _CONFIG.format(directory=directory, connect=CONNECT_S, alive=ALIVE_S, count=ALIVE_COUNT)

    def log_in(self, address: str, port: int, username: str, mode: str, seconds: float) -> str:
        """Runs libvirt's helper on the host with nothing to say to it. What ssh or the host said, "" when all is well.

        Raises VirtError when ssh itself failed: no way to the host, another key, or ours was refused.
        """
        helper = ["virt-ssh-helper", f"qemu:///{mode}"]
        command = [str(self.command), "-T", "-p", str(port), "-l", username, "--", address, *helper]
        done = _run(command, seconds)
        said = done.stderr.strip()
        if done.returncode == 255:
            raise VirtError(code_of("ssh", "host_unreachable", None, said), said)
        # It tells in this way that it reached libvirt and that we hung up.
        return said if done.returncode and "EOF on stdin" not in said else ""


def scan(address: str, port: int, seconds: int) -> HostKey:
    """The host key that is shown there now, whoever shows it: nobody has confirmed it yet."""
    command = ["ssh-keyscan", "-T", str(seconds), "-p", str(port), "-t", "ed25519,ecdsa,rsa", "--", address]
    done = _run(command, 3 * seconds)
    keys = []
    for line in done.stdout.splitlines():
        words = line.split()
        if len(words) == 3 and words[1] in KEY_TYPES and not line.startswith("#"):
            keys.append(HostKey(words[1], words[2]))
    if not keys:
        raise VirtError("not_ssh", done.stderr)
    return min(keys, key=lambda key: KEY_TYPES.index(key.type))


def _keygen(*arguments: str) -> str:
    done = _run(["ssh-keygen", *arguments], 30)
    if done.returncode:
        raise VirtError("ssh_missing", done.stderr)
    return done.stdout


def _run(command: list[str], seconds: float) -> "subprocess.CompletedProcess[str]":
    environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}
    try:
        return subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            env=environment,
        )
    except FileNotFoundError as error:
        raise VirtError("ssh_missing", str(error)) from error
    except subprocess.TimeoutExpired as error:
        raise VirtError("connect_timeout", f"{command[0]} had no answer within {seconds:g} s") from error


def _write(path: Path, text: str, mode: int) -> None:
    """Whole or not at all, and only when it is not so already: others may be reading it."""
    try:
        if path.read_text() == text:
            return
    except OSError:
        pass
    number, name = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(number, "w") as file:
        file.write(text)
    os.chmod(name, mode)
    os.replace(name, path)
