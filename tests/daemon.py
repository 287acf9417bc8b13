"""A libvirtd of its own for tests: it shares no file, socket or process with the machine's."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

_HIDDEN = ("/etc/libvirt", "/var/lib/libvirt", "/var/cache/libvirt", "/var/log/libvirt", "/run")

# Each of our directories is bound over the machine's, in a mount namespace that only libvirtd sees.
# "slave": what is mounted outside later, below a shared mount, appears inside; nothing leaks out.
_IN_NAMESPACE = """
set -e
base=$1; shift
for hidden in {hidden}; do mount --bind "$base/root$hidden" "$hidden"; done
exec "$@"
""".format(hidden=" ".join(_HIDDEN))


class PrivateDaemon:
    """libvirtd below `directory`: the system daemon when root, the session daemon otherwise.

    `settings` go to libvirtd.conf. Defined pools survive kill() and restart(), as they do in life.
    `has_emulators`: it finds those installed. Probing them takes it seconds, over and over.
    A FUSE or other mount made outside below `directory`, also after start(), is seen by the daemon.
    """

    def __init__(
        self,
        directory: Path,
        settings: Mapping[str, int | str] | None = None,
        *,
        has_emulators: bool = False,
    ) -> None:
        self.directory = directory.resolve()
        self.has_emulators = has_emulators
        self.settings = dict(settings or {})
        self.system = os.geteuid() == 0
        self._process: subprocess.Popen[bytes] | None = None
        self._mounted = False
        self._sessions: set[int] = set()
        # Held open: the kernel gives the number of one that is gone to the next, another daemon's perhaps.
        self._namespaces: dict[int, int] = {}

    @property
    def socket(self) -> Path:
        below = "sock" if self.system else "run/libvirt"
        return self.directory / below / "libvirt-sock"

    @property
    def uri(self) -> str:
        mode = "system" if self.system else "session"
        return f"qemu+unix:///{mode}?socket={quote(str(self.socket))}"

    @property
    def domain_directory(self) -> Path:
        """Domain XML files here, NAME.xml, are defined at start(); that needs no emulator installed."""
        return self.directory / ("root/etc/libvirt/qemu" if self.system else "config/libvirt/qemu")

    @property
    def log(self) -> Path:
        return self.directory / "libvirtd.log"

    @property
    def pid(self) -> int:
        if self._process is None:
            raise RuntimeError("the daemon is not running")
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def __enter__(self) -> "PrivateDaemon":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        if self.running:
            raise RuntimeError("the daemon runs already")
        self._prepare()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command(),
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._wait_until_it_listens()
        self._sessions.add(self.pid)
        held = os.open(f"/proc/{self.pid}/ns/mnt", os.O_RDONLY)
        self._namespaces[os.fstat(held).st_ino] = held

    def kill(self) -> None:
        """SIGKILL to libvirtd alone: its children (qemu-img) live on, as after a crash."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """SIGTERM, which waits for running copies to end, and start()."""
        self._end(signal.SIGTERM)
        self.start()

    def freeze(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def stop(self) -> None:
        """Ends the daemon and all that it left behind; the files below `directory` stay."""
        if self._process is not None:
            self.kill()
        while left := self.children():
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.02)
        for number in self._namespaces.values():
            os.close(number)
        self._namespaces.clear()
        self._sessions.clear()
        if self._mounted:
            subprocess.run(["umount", "--lazy", self.directory], check=True)
            self._mounted = False

    def children(self) -> list[int]:
        """Live processes that this daemon, or one before it, started."""
        own = self._process.pid if self._process else 0
        pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
        return [pid for pid in pids if pid != own and self._is_ours(pid)]

    def _is_ours(self, pid: int) -> bool:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return False
            if os.getsid(pid) in self._sessions:
                return True
            return self.system and _mount_namespace(pid) in self._namespaces
        except OSError:
            return False

    def _prepare(self) -> None:
        for name in (*(f"root{hidden}" for hidden in _HIDDEN), "sock", "run", "config", "cache", "data"):
            (self.directory / name).mkdir(parents=True, exist_ok=True)
        (self.directory / "run").chmod(0o700)
        lines = {"auth_unix_rw": "none", "auth_unix_ro": "none", **self.settings}
        if self.system:
            lines["unix_sock_dir"] = str(self.directory / "sock")
            if not self._mounted:
                subprocess.run(["mount", "--bind", self.directory, self.directory], check=True)
                subprocess.run(["mount", "--make-shared", self.directory], check=True)
                self._mounted = True
        text = "".join(f"{k} = {v if isinstance(v, int) else _quoted(v)}\n" for k, v in lines.items())
        (self.directory / "libvirtd.conf").write_text(text)

    def _command(self) -> list[str]:
        libvirtd = ["libvirtd", "--config", str(self.directory / "libvirtd.conf")]
        if not self.system:
            return libvirtd
        libvirtd += ["--pid-file", str(self.directory / "libvirtd.pid")]
        unshare = ["unshare", "--mount", "--propagation", "slave", "sh", "-c", _IN_NAMESPACE, "sh"]
        return [*unshare, str(self.directory), *libvirtd]

    def _environment(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if k in ("PATH", "LANG", "LC_ALL", "TMPDIR")}
        kept["PATH"] = f"{kept.get('PATH', '/usr/bin:/bin')}:/usr/sbin:/sbin"
        if not self.has_emulators:
            kept["PATH"] = str(_link_programs(kept["PATH"], self.directory / "bin"))
        kept["HOME"] = str(self.directory)
        for variable, name in (
            ("XDG_RUNTIME_DIR", "run"),
            ("XDG_CONFIG_HOME", "config"),
            ("XDG_CACHE_HOME", "cache"),
            ("XDG_DATA_HOME", "data"),
        ):
            kept[variable] = str(self.directory / name)
        return kept

    def _wait_until_it_listens(self, timeout_s: float = 30.0) -> None:
        deadline = time.monotonic() + timeout_s
        while not _answers(self.socket):
            if not self.running or time.monotonic() > deadline:
                raise RuntimeError(f"libvirtd did not start:\n{self.log.read_text()[-2000:]}")
            time.sleep(0.02)

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(signal.SIGCONT)
        self._process.send_signal(how)
        self._process.wait(timeout=120)
        self._process = None


def _link_programs(path: str, directory: Path) -> Path:
    """All programs of `path` but the emulators, for libvirt finds those by it alone."""
    directory.mkdir(exist_ok=True)
    for below in filter(os.path.isdir, path.split(":")):
        for name in os.listdir(below):
            if not name.startswith("qemu-system-"):
                with suppress(FileExistsError):
                    (directory / name).symlink_to(f"{below}/{name}")
    return directory


def _quoted(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _mount_namespace(pid: int) -> int:
    return os.stat(f"/proc/{pid}/ns/mnt").st_ino


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0
