"""A network of the lab's own: a namespace with a bridge. Nothing of it touches the machine's network."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

HOST_ADDRESS = "10.99.0.1"
NAMESPACES = Path("/run/netns")


class Network:
    def __init__(self, name: str) -> None:
        self.name = name

    @property
    def exists(self) -> bool:
        return (NAMESPACES / self.name).exists()

    def create(self) -> None:
        self.remove()
        _run("ip", "netns", "add", self.name)
        self._ip("link", "set", "lo", "up")
        self._ip("link", "add", "br0", "type", "bridge")
        self._ip("address", "add", f"{HOST_ADDRESS}/24", "dev", "br0")
        self._ip("link", "set", "br0", "up")

    def add_tap(self, name: str) -> None:
        self._ip("tuntap", "add", name, "mode", "tap")
        self._ip("link", "set", name, "up")
        self.plug(name)

    def plug(self, name: str) -> None:
        self._ip("link", "set", name, "master", "br0")

    def forget_neighbours(self) -> None:
        """Else a connection right after a silence fails together with the question that nobody answered."""
        self._ip("neighbour", "flush", "dev", "br0")

    def unplug(self, name: str) -> None:
        """The guest notices nothing but silence, as behind a switch that died."""
        self._ip("link", "set", name, "nomaster")

    def inside(self, *command: str) -> list[str]:
        return ["nsenter", f"--net={NAMESPACES / self.name}", *command]

    def remove(self) -> None:
        """Ends what still runs in the namespace (a guest), its doors, and the namespace with its devices."""
        if not self.exists:
            return
        listed = subprocess.run(["ip", "netns", "pids", self.name], capture_output=True, text=True)
        for pid in {*map(int, listed.stdout.split()), *self._doors()}:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        subprocess.run(["ip", "netns", "delete", self.name], capture_output=True)

    def _doors(self) -> Iterator[int]:
        entrance = f"--net={NAMESPACES / self.name} ".encode()
        for command in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(OSError):
                if entrance in command.read_bytes():
                    yield int(command.parent.name)

    def door_on_socket(self, path: Path, address: str, port: int) -> subprocess.Popen[bytes]:
        path.unlink(missing_ok=True)
        door = _start(self.inside("socat", f"UNIX-LISTEN:{path},fork,mode=600", f"TCP:{address}:{port}"))
        _wait_for(path)
        return door

    def door_on_port(self, own: int, address: str, port: int) -> subprocess.Popen[bytes]:
        """A process on 127.0.0.1:`own`. It accepts even when nobody answers inside; then it hangs up."""
        inside = " ".join(self.inside("socat", "STDIO", f"TCP:{address}:{port}"))
        return _start(["socat", f"TCP-LISTEN:{own},bind=127.0.0.1,fork,reuseaddr", f'EXEC:"{inside}"'])

    def _ip(self, *arguments: str) -> None:
        _run(*self.inside("ip", *arguments))


def _start(command: list[str]) -> subprocess.Popen[bytes]:
    quiet = subprocess.DEVNULL
    return subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True)


def _wait_for(path: Path) -> None:
    deadline = time.monotonic() + 10
    while not path.exists():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{path} did not appear")
        time.sleep(0.02)


def _run(*command: str) -> None:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
