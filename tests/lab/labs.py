"""The whole lab: two guests on one network, in a directory that holds all that is to know about them."""

import fcntl
import os
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

from lab.guests import Guest
from lab.image import image
from lab.keys import Authority, make_ssh_key
from lab.network import NAMESPACES, Network

PLAIN_TARGET, CHAP_TARGET = "iqn.2026-01.lab:plain", "iqn.2026-01.lab:chap"
CHAP_USER, CHAP_PASSWORD = "labuser", "labsecret1234"
EXPORTS = ("/srv/vm_data", "/srv/iso", "/srv/squashed")
PROGRAMS = ("ip", "mmdebstrap", "linux.uml", "socat", "ssh", "ssh-keygen", "openssl", "nsenter", "mkfs.ext4")

_PREFIX = "storagemgr-lab-"


def what_is_missing() -> str:
    """Why no lab can run here; empty when it can."""
    if os.geteuid() != 0:
        return "only root may make its network and its root file system"
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    missing = [program for program in PROGRAMS if shutil.which(program, path=path) is None]
    if missing:
        return f"not installed: {', '.join(missing)} (scripts/system-packages test)"
    return "" if Path("/dev/net/tun").exists() else "there is no /dev/net/tun"


class Lab:
    """lab.one is `lab1`, server of NFS and iSCSI; lab.two is `lab2`, its client. Each is a host of its own.

    `directory`: ssh_key(.pub), known_hosts, pki/ (a pkipath), pki-stranger/ (a pkipath nobody trusts).
    """

    def __init__(self, directory: Path, network: Network) -> None:
        self.directory = directory
        self.network = network
        self.one = Guest("lab1", directory, network)
        self.two = Guest("lab2", directory, network)
        self._lock = -1

    @property
    def guests(self) -> tuple[Guest, Guest]:
        return self.one, self.two

    @classmethod
    def start(cls, directory: Path | None = None) -> "Lab":
        """Both guests up and clean. Without `directory` a new one is made, and removed by stop()."""
        remove_what_is_dead()
        base = image()
        directory = directory or Path(tempfile.mkdtemp(prefix=_PREFIX))
        lab = cls(directory, Network(f"lab-{os.getpid()}"))
        with ExitStack() as if_it_fails:
            if_it_fails.callback(lab.stop)
            lab._boot(base)
            if_it_fails.pop_all()
        return lab

    @classmethod
    def attach(cls, directory: Path) -> "Lab":
        """A lab that another process started there."""
        return cls(directory, Network((directory / "namespace").read_text()))

    def stop(self) -> None:
        for guest in self.guests:
            guest.stop()
        self.network.remove()
        if self._lock >= 0:
            os.close(self._lock)
        shutil.rmtree(self.directory)

    def _boot(self, base: Path) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        if (self.directory / "namespace").exists():
            _remove(self.directory)
            self.directory.mkdir()
        self.directory.chmod(0o700)
        self._lock = os.open(self.directory / "lock", os.O_CREAT | os.O_RDWR)
        fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        (self.directory / "namespace").write_text(self.network.name)
        self.network.create()
        make_ssh_key(self.directory / "ssh_key")
        authority = Authority(self.directory / "pki", "the lab's authority")
        for signer in (authority, Authority(self.directory / "pki-stranger", "nobody's authority")):
            signer.sign_client("storagemgr")
        shutil.copy(authority.certificate, self.directory / "pki-stranger/cacert.pem")
        for guest in self.guests:
            guest.prepare(authority, base)
            guest.start()
        with ThreadPoolExecutor() as both:
            list(both.map(_wait_and_clean, self.guests))


def _wait_and_clean(guest: Guest) -> None:
    guest.wait_until_up()
    guest.clean()


def remove_what_is_dead() -> None:
    """What labs left whose process was killed."""
    for directory in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with suppress(BlockingIOError):
            _remove(directory)
    for namespace in NAMESPACES.glob("lab-*"):
        owner = namespace.name.removeprefix("lab-")
        if owner.isdigit() and not Path(f"/proc/{owner}").exists():
            Network(namespace.name).remove()


def _remove(directory: Path) -> None:
    """BlockingIOError when its process lives."""
    lock = os.open(directory / "lock", os.O_CREAT | os.O_RDWR)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if (name := directory / "namespace").exists():
            Network(name.read_text()).remove()
        shutil.rmtree(directory)
    finally:
        os.close(lock)
