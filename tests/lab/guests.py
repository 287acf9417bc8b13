"""A storage host of the lab: a User Mode Linux guest with a real libvirtd. How to use it stands in docs/lab.md.

lab1.run("exportfs -v")             what the command printed; CommandFailed unless its status is 0 or check=False
lab1.put("/vm_data/a.raw", b"...")  a file in the guest
lab1.freeze(), lab1.thaw()          the host hangs and keeps its connections open
lab1.cut(), lab1.mend()             its network cable
lab1.kill(), lab1.power_off()       power loss, orderly end; then lab1.start(): same disks
lab1.start_ceph() and the like       services that most tests do not need; they say how to reach them
lab1.reset()                        no pools, blank disks, empty exports: what the fixtures do before a test
"""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from lab.keys import Authority, make_ssh_key
from lab.network import Network
from ports import free_port

BLANK_DISKS = ("/dev/ubdb", "/dev/ubdc", "/dev/ubdd")
DISK_SIZE = 512 * 1024**2
MEMORY = 1024 * 1024**2
USERS = ("root", "storage", "plain")
SERVER_ONLY = ("nfs-server.service", "tgt.service")
ADDRESSES = {"lab1": "10.99.0.2", "lab2": "10.99.0.3"}

_DEFINED = (
    ("list --name", "destroy"),
    ("list --all --name", "undefine --nvram"),
    ("pool-list --uuid", "pool-destroy"),
    ("pool-list --all --uuid", "pool-undefine"),
    ("secret-list", "secret-undefine"),
)
_DOORS = {"ssh": 22, "tls": 16514, "tcp": 16509}


class Ceph(NamedTuple):
    monitor: str
    port: int
    pool: str
    user: str
    key: str


class Gluster(NamedTuple):
    host: str
    volume: str


class Guest:
    """`directory` is the lab's; each of its files that is of this guest bears the guest's name."""

    def __init__(self, name: str, directory: Path, network: Network) -> None:
        self.name, self.directory, self.network = name, directory, network
        self.address = ADDRESSES[name]
        self.tap = f"tap-{name}"
        self.socket = directory / f"{name}.sock"
        self.console = directory / f"{name}.console"
        self._ports_file = directory / f"{name}.ports"
        self._pid_file = directory / f"{name}.pid"
        self._image_file = directory / f"{name}.image"
        self._process: subprocess.Popen[bytes] | None = None
        self._doors: list[subprocess.Popen[bytes]] = []

    @property
    def socket_uri(self) -> str:
        return f"qemu+unix:///system?socket={quote(str(self.socket))}"

    @property
    def tcp_uri(self) -> str:
        return f"qemu+tcp://127.0.0.1:{self.tcp_port}/system"

    @property
    def tls_uri(self) -> str:
        pki = quote(str(self.directory / "pki"))
        return f"qemu+tls://127.0.0.1:{self.tls_port}/system?pkipath={pki}"

    def ssh_uri(self, user: str = "root") -> str:
        """libvirt takes the known hosts from ~/.ssh only; without them the host's key is not checked."""
        key = quote(str(self.key))
        return f"qemu+ssh://{user}@127.0.0.1:{self.ssh_port}/system?keyfile={key}&no_verify=1&no_tty=1"

    @property
    def ssh_port(self) -> int:
        return self._ports()["ssh"]

    @property
    def tls_port(self) -> int:
        return self._ports()["tls"]

    @property
    def tcp_port(self) -> int:
        return self._ports()["tcp"]

    @property
    def key(self) -> Path:
        return self.directory / "ssh_key"

    @property
    def known_hosts(self) -> Path:
        return self.directory / "known_hosts"

    @property
    def host_key(self) -> str:
        """The public key with which the guest's sshd proves itself, as in known_hosts: type and base64."""
        return " ".join((self._given / "etc/ssh/ssh_host_ed25519_key.pub").read_text().split()[:2])

    @property
    def pid(self) -> int:
        return int(self._pid_file.read_text())

    @property
    def running(self) -> bool:
        """Whoever started it: a lab may be attached to by others."""
        if self._process is not None:
            self._process.poll()
        return self._pid_file.exists() and self._is_ours(self.pid)

    def prepare(self, authority: Authority, image: Path) -> None:
        """Once, before the first start(): what the guest is given, its cable, its doors on this machine."""
        self._image_file.write_text(str(image))
        given = self._given
        machine_id = f"{int(self.address.rpartition('.')[2]):032x}"
        network = f"[Match]\nName=vec*\n[Network]\nAddress={self.address}/24\nGateway=10.99.0.1\n"
        hosts = "".join(f"{address} {name}\n" for name, address in ADDRESSES.items())
        _write(given / "etc/hostname", self.name + "\n")
        _write(given / "etc/machine-id", machine_id + "\n")
        _write(given / "etc/hosts", f"127.0.0.1 localhost\n{hosts}")
        _write(given / "etc/systemd/network/lab.network", network)
        _write(given / "etc/iscsi/initiatorname.iscsi", f"InitiatorName=iqn.2026-01.lab:{self.name}\n")
        for user in USERS:
            _write(given / f"etc/ssh/authorized_keys/{user}", self.key.with_suffix(".pub").read_text())
        make_ssh_key(given / "etc/ssh/ssh_host_ed25519_key")
        pki = given / "etc/pki/libvirt"
        authority.sign_server(pki / "private/serverkey.pem", pki / "servercert.pem", self.name, self.address)
        _write(given / "etc/pki/CA/cacert.pem", authority.certificate.read_text())
        self.network.add_tap(self.tap)
        self._make_disks()
        self._open_doors()

    def start(self) -> None:
        """Boots on the disks as they are. Returns at once: see wait_until_up()."""
        if self.running:
            raise RuntimeError(f"{self.name} runs already")
        with self.console.open("ab") as console:
            self._process = subprocess.Popen(
                self._command(),
                env={
                    "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
                    "TMPDIR": str(self._memory_directory()),
                },
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                start_new_session=True,
            )
        self._pid_file.write_text(str(self._process.pid))

    def wait_until_up(self, seconds: float = 240) -> None:
        """Until systemd has started everything and libvirtd answers."""
        deadline = time.monotonic() + seconds
        while self._try("systemctl is-system-running --wait; virsh uri").returncode:
            if not self.running or time.monotonic() > deadline:
                raise RuntimeError(f"{self.name} did not boot:\n{self.console.read_text()[-2000:]}")
            time.sleep(0.2)

    def run(self, command: str, check: bool = True, timeout: float = 60, user: str = "root") -> str:
        """`command` is for the guest's shell. Raises with what it said on stderr, too."""
        done = self._ssh(command, b"", timeout, user)
        output = done.stdout.decode(errors="replace")
        if check and done.returncode:
            said = (output + done.stderr.decode(errors="replace")).strip()
            raise CommandFailed(f"{self.name}: {command}: exit status {done.returncode}: {said}")
        return output

    def put(self, path: str, content: bytes) -> None:
        done = self._ssh(f"cat > '{path}'", content, 60, "root")
        if done.returncode:
            raise CommandFailed(f"{self.name}: {path}: {done.stderr.decode().strip()}")

    def freeze(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def cut(self) -> None:
        self.network.unplug(self.tap)

    def mend(self) -> None:
        self.network.plug(self.tap)
        self.network.forget_neighbours()

    def kill(self) -> None:
        """Power loss: what the guest had not yet written is gone."""
        self._hang_up()
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        _wait_until(lambda: not self.running, 20, f"{self.name} does not end")

    def power_off(self) -> None:
        self._try("systemctl poweroff")
        self._hang_up()
        _wait_until(lambda: not self.running, 90, f"{self.name} does not end")

    def reset(self) -> None:
        """Clean within seconds; a guest too broken for that loses its disks and boots anew."""
        if self.running:
            self.thaw()
            self.mend()
            with suppress(CommandFailed, subprocess.TimeoutExpired):
                self.clean()
                return
            self.kill()
        self._cow.unlink()
        self._make_disks()
        self.start()
        self.wait_until_up()
        self.clean()

    def clean(self) -> None:
        """virsh takes half a second to start inside, so libvirt's part is done from here."""
        self._forget_definitions()
        self.run("lab-reset", timeout=45)

    def start_ceph(self) -> Ceph:
        """A monitor and a store in memory, with one empty pool; both hosts of the lab can reach it."""
        key = self.run("lab-ceph", timeout=240).strip()
        return Ceph(monitor=self.address, port=6789, pool="lab_pool", user="libvirt", key=key)

    def start_gluster(self) -> Gluster:
        """One empty volume; both hosts of the lab can reach it."""
        self.run("lab-gluster", timeout=240)
        return Gluster(host=self.name, volume="lab_volume")

    def start_samba(self) -> None:
        """The share vm_data, which is the export /srv/vm_data, for guests without a password."""
        self.run("systemctl start smbd")

    def stop(self) -> None:
        self._hang_up()
        if self.running:
            self.kill()
        for door in self._doors:
            door.kill()
            door.wait()

    def _forget_definitions(self) -> None:
        """What cannot be stopped stays; lab-reset sees it, and restarts libvirtd without it."""
        commands = []
        for listed, command in _DEFINED:
            names = [line.split()[0] for line in self._virsh(listed).splitlines() if line.strip()]
            commands += [f"{command} {name}" for name in names]
        if commands:
            self._virsh("; ".join(commands))

    def _virsh(self, command: str) -> str:
        virsh = ["virsh", "-q", "-c", self.socket_uri, command]
        return subprocess.run(virsh, capture_output=True, text=True, timeout=30).stdout

    def _make_disks(self) -> None:
        for disk in self._disks():
            with disk.open("wb") as new:
                new.truncate(DISK_SIZE)

    @property
    def _given(self) -> Path:
        return self.directory / f"{self.name}.given"

    @property
    def _cow(self) -> Path:
        return self.directory / f"{self.name}.cow"

    def _disks(self) -> list[Path]:
        return [self.directory / f"{self.name}.{letter}" for letter in "bcde"]

    def _command(self) -> list[str]:
        disks = [f"ubd{number}={path}" for number, path in enumerate(self._disks(), start=1)]
        masked = [f"systemd.mask={unit}" for unit in SERVER_ONLY if self.name != "lab1"]
        kernel = ["linux.uml", f"umid={self.name}", f"uml_dir={self.directory}/uml", f"mem={MEMORY}"]
        return self.network.inside(
            *kernel,
            *(
                f"ubd0={self._cow},{self._image_file.read_text()}",
                *disks,
                "root=/dev/ubda",
                "rw",
                "init=/usr/local/sbin/lab-init",
            ),
            *(f"hostfs={self._given}", f"vec0:transport=tap,ifname={self.tap},depth=128,gro=1"),
            *("con0=null,fd:1", "con=null", "ssl=null", "quiet", "pty.legacy_count=0"),
            *("systemd.show_status=0", *masked),
        )

    @staticmethod
    def _memory_directory() -> Path:
        """Where the guest's memory lies: in the machine's memory, unless that file system is small."""
        shared = Path("/dev/shm")
        with suppress(OSError):
            if shutil.disk_usage(shared).free > 3 * MEMORY:
                return shared
        return Path("/var/tmp")

    def _open_doors(self) -> None:
        ports = {name: free_port() for name in _DOORS}
        self._ports_file.write_text(json.dumps(ports))
        self._doors = [self.network.door_on_socket(self.socket, self.address, _DOORS["tcp"])]
        for name, own in ports.items():
            self._doors.append(self.network.door_on_port(own, self.address, _DOORS[name]))
        with self.known_hosts.open("a") as known:
            known.write(f"[127.0.0.1]:{ports['ssh']} {self.host_key}\n")

    def _ports(self) -> dict[str, int]:
        return json.loads(self._ports_file.read_text())

    def _ssh(
        self, command: str, given: bytes, timeout: float, user: str
    ) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            ["ssh", *self._ssh_options(), f"{user}@127.0.0.1", command],
            input=given,
            capture_output=True,
            timeout=timeout,
        )

    def _ssh_options(self) -> Iterator[str]:
        options = {
            "ControlMaster": "auto",
            "ControlPath": f"{self.directory}/{self.name}.master-%r",
            "ControlPersist": "yes",
            "UserKnownHostsFile": str(self.known_hosts),
            "GlobalKnownHostsFile": "/dev/null",
            "IdentityFile": str(self.key),
            "IdentitiesOnly": "yes",
            "BatchMode": "yes",
            "LogLevel": "ERROR",
            "ConnectTimeout": "5",
        }
        yield from ("-F", "none", "-p", str(self.ssh_port))
        for name, value in options.items():
            yield from ("-o", f"{name}={value}")

    def _try(self, command: str) -> subprocess.CompletedProcess[bytes]:
        try:
            return self._ssh(command, b"", 60, "root")
        except subprocess.TimeoutExpired:
            return subprocess.CompletedProcess([], 255, b"", b"timeout")

    def _hang_up(self) -> None:
        for master in self.directory.glob(f"{self.name}.master-*"):
            user = master.suffix.removeprefix(".master-")
            command = ["ssh", *self._ssh_options(), "-O", "exit", f"{user}@127.0.0.1"]
            subprocess.run(command, capture_output=True, timeout=20)
            _wait_until(lambda path=master: not path.exists(), 10, f"{master} is still there")

    def _is_ours(self, pid: int) -> bool:
        try:
            return str(self._cow).encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            return False


class CommandFailed(Exception):
    """A command in a guest ended with another status than 0."""


def _wait_until(condition: Callable[[], bool], seconds: float, otherwise: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(otherwise)
        time.sleep(0.02)


def _write(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
