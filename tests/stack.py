"""The real processes, as `manage.py start` runs them, on the test's database and a directory of its own."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.db import connection
from ports import free_port

from storagemgr.management.commands import start


def wait_for(condition: Callable[[], Any], seconds: float, what: str = "") -> Any:
    """What `condition` returns once it is true; AssertionError when it does not become so in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds} s: {what or condition}")


class Stack:
    """`settings_` are environment variables of the services. Each service leads a process group of its own.

    The data directory, and so the broker's socket, are those of this process too.
    """

    def __init__(self, **settings_: str) -> None:
        self.directory = directory = settings.DATA_DIR
        for left in (*directory.glob("*.log"), directory / "redis.sock"):
            left.unlink(missing_ok=True)
        self.port = free_port()
        self.transfer_port = settings.TRANSFER_PORT = free_port()
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.environment = os.environ | {
            "STORAGEMGR_DATA": str(directory),
            "DATABASE_URL": f"sqlite:///{connection.settings_dict['NAME']}",
            "DJANGO_SETTINGS_MODULE": "storagemgr.settings",
            "SECRET_KEY": settings.SECRET_KEY,
            "PYTHONPATH": str(settings.BASE_DIR),
            "LEASE": "6",
            "TRANSFER_PORT": str(self.transfer_port),
            **settings_,
        }
        redis = shutil.which("redis-server") or "redis-server"
        self.commands = {
            "redis": [
                redis,
                "--port",
                "0",
                "--unixsocket",
                str(directory / "redis.sock"),
                "--save",
                "",
                "--dir",
            ]
            + [str(directory), "--loglevel", "warning"],
            **{service.name: list(service.argv) for service in start.own_services("127.0.0.1", self.port)},
        }

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def transfer_url(self) -> str:
        return f"http://127.0.0.1:{self.transfer_port}"

    def start(self, *names: str) -> None:
        for name in names:
            log = open(self.directory / f"{name}.log", "ab")  # noqa: SIM115
            self.processes[name] = subprocess.Popen(
                self.commands[name],
                env=self.environment,
                cwd=settings.BASE_DIR,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            log.close()
            if name == "redis":
                wait_for((self.directory / "redis.sock").exists, 10, "redis")
        for name, port in (("web", self.port), ("transfer", self.transfer_port)):
            if name in names:
                wait_for(lambda port=port: _answers(port), 30, f"{name}; {self.log(name)}")

    def collect_static(self) -> None:
        if any((self.directory / "static").glob("*")):
            return
        command = [sys.executable, "manage.py", "collectstatic", "--no-input", "-v0"]
        subprocess.run(command, env=self.environment, cwd=settings.BASE_DIR, check=True)

    def kill(self, name: str) -> None:
        """SIGKILL to the whole group of the service: as when the machine's memory ran out."""
        process = self.processes.pop(name)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(20)
        if name == "redis":
            # Nothing was kept: what Redis knew is gone.
            (self.directory / "redis.sock").unlink(missing_ok=True)

    def stop(self) -> None:
        for name in list(self.processes):
            self.kill(name)

    def log(self, name: str) -> str:
        path = self.directory / f"{name}.log"
        return path.read_text(errors="replace")[-3000:] if path.exists() else ""


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
