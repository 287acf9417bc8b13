"""A supervisor for the processes of one machine: what `manage.py start` runs.

Each service leads a process group of its own, so that Ctrl-C in a terminal reaches the supervisor alone and
whatever a service leaves behind can be ended with it. A service that ends is started again, later each time;
nothing else is stopped for it.
"""

import os
import re
import select
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import IO, TextIO, cast

GRACE_S = 10
LONGEST_PAUSE_S = 30
STEADY_S = 60  # a service that ran this long has no failures to its name
TURN_S = 0.2
READ_BYTES = 65_536
_COLOURS = (36, 32, 35, 34, 33, 96, 92, 95)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def never() -> bool:
    return False


@dataclass
class Service:
    """`unless` holds a start back while it is true: somebody else does this service's work.

    The first start comes `delay_s` after the supervisor's, to leave the processors to what is awaited.
    """

    name: str
    argv: Sequence[str]
    once: bool = False
    delay_s: float = 0
    backs_others: bool = False  # stopped after those that need it
    unless: Callable[[], bool] = never
    env: dict[str, str] = field(default_factory=dict)

    process: subprocess.Popen[bytes] | None = None
    failures: int = 0
    started_at: float = 0.0
    start_at: float | None = None  # None: not to be started (again)
    unfinished_line: bytes = b""

    @property
    def leader(self) -> subprocess.Popen[bytes]:
        if self.process is None:
            raise RuntimeError(f"{self.name} does not run")
        return self.process

    @property
    def pipe(self) -> IO[bytes]:
        return cast(IO[bytes], self.leader.stdout)

    @property
    def has_ended(self) -> bool:
        """Asks without reaping: while the leader is a zombie, its group's number cannot be another's."""
        return os.waitid(os.P_PID, self.leader.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def signal_group(self, number: signal.Signals) -> None:
        os.killpg(self.leader.pid, number)


class Log:
    """Lines as `10:21:07 web     | text`; the part before the text is coloured on a terminal."""

    def __init__(self, names: Sequence[str], output: TextIO = sys.stdout) -> None:
        self.output: TextIO | None = output
        self.width = max(len(name) for name in names)
        self.colours = {name: _COLOURS[place % len(_COLOURS)] for place, name in enumerate(names)}
        self.is_coloured = output.isatty() and "NO_COLOR" not in os.environ
        self.terminal = select.poll()
        if output.isatty():
            self.terminal.register(output, 0)

    @property
    def has_lost_its_terminal(self) -> bool:
        """SIGHUP reaches only the session's leader; when that is make, it goes on waiting for us."""
        return bool(self.terminal.poll(0))

    def write(self, name: str, text: str) -> None:
        prefix = f"{time.strftime('%H:%M:%S')} {name.ljust(self.width)} | "
        if self.is_coloured:
            prefix = f"\033[{self.colours[name]}m{prefix}\033[0m"
        self.write_plain("\n".join(prefix + line for line in text.splitlines()))

    def write_plain(self, text: str) -> None:
        try:
            print(text, file=self.output, flush=True)
        except OSError:
            self.output = open(os.devnull, "w")  # noqa: SIM115


class Supervisor:
    def __init__(self, services: Sequence[Service], own_name: str = "start") -> None:
        self.services = list(services)
        self.own_name = own_name
        self.log = Log([own_name, *(service.name for service in services)])
        self.selector = selectors.DefaultSelector()
        self.stop_signals = 0

    def run(self, is_ready: Callable[[], bool], when_ready: Callable[[], None]) -> None:
        """Returns after a SIGINT, SIGTERM or SIGHUP, or without its terminal, when everything has ended."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            # Under nohup SIGHUP is ignored, and stays so.
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, self._on_signal)
        for service in self.services:
            service.start_at = time.monotonic() + service.delay_s
        waits = True
        while not (self.stop_signals or self.log.has_lost_its_terminal):
            self._start_due()
            self._read_output()
            self._notice_ends()
            if waits and is_ready():
                waits = False
                when_ready()
        self._stop_all()

    def say(self, text: str) -> None:
        self.log.write(self.own_name, text)

    def _on_signal(self, number: int, frame: object) -> None:
        self.stop_signals += 1

    def _start_due(self) -> None:
        now = time.monotonic()
        for service in self.services:
            if service.process or service.start_at is None or service.start_at > now:
                continue
            if service.unless():
                service.start_at = now + 2
            else:
                self._start(service, now)

    def _start(self, service: Service, now: float) -> None:
        # pdeathsig: a supervisor that is killed outright takes its services along.
        service.process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", *service.argv],
            env={**os.environ, "PYTHONUNBUFFERED": "1", **service.env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        service.started_at = now
        os.set_blocking(service.pipe.fileno(), False)
        self.selector.register(service.pipe, selectors.EVENT_READ, service)

    def _read_output(self) -> None:
        for key, _ in self.selector.select(TURN_S):
            self._read_from(key.data)

    def _read_from(self, service: Service) -> bool:
        """False when there is nothing to read, now or for ever."""
        data = service.pipe.read(READ_BYTES)
        if data == b"" and service.pipe in self.selector.get_map():
            self.selector.unregister(service.pipe)
        *lines, rest = (service.unfinished_line + (data or b"")).split(b"\n")
        if len(rest) > READ_BYTES or not data:
            lines, rest = [*lines, rest], b""
        service.unfinished_line = rest
        for line in filter(None, lines):
            self.log.write(service.name, _CONTROL.sub("\ufffd", line.decode("utf-8", "replace").rstrip("\r")))
        return bool(data)

    def _notice_ends(self) -> None:
        for service in self.services:
            if service.process and service.has_ended:
                code = self._bury(service)
                self._plan_restart(service, code)

    def _bury(self, service: Service) -> int:
        """Ends what is left of the service's group, reads its last words, reaps it; its exit code."""
        service.signal_group(signal.SIGKILL)
        code = service.leader.wait()
        while self._read_from(service):
            pass
        # Still registered when a process outside of the group holds the other end.
        if service.pipe in self.selector.get_map():
            self.selector.unregister(service.pipe)
        service.pipe.close()
        service.process = None
        return code

    def _plan_restart(self, service: Service, code: int) -> None:
        how = f"exit code {code}" if code >= 0 else signal.Signals(-code).name
        if service.once:
            service.start_at = None
            if code:
                self.say(f"{service.name} failed ({how})")
            return
        now = time.monotonic()
        service.failures = 1 if now - service.started_at > STEADY_S else service.failures + 1
        pause = min(2 ** (service.failures - 1), LONGEST_PAUSE_S)
        service.start_at = now + pause
        self.say(f"{service.name} ended ({how}); starting it again in {pause} s")

    def _stop_all(self) -> None:
        self.say("stopping (once more to kill what is still busy)")
        for backs_others in (False, True):
            self._stop([s for s in self.services if s.process and s.backs_others == backs_others])
        self.say("stopped")

    def _stop(self, services: Sequence[Service]) -> None:
        """SIGTERM to each leader, which ends its own children; after GRACE_S SIGKILL to its whole group."""
        for service in services:
            service.leader.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + GRACE_S
        while running := [service for service in services if service.process]:
            self._read_output()
            is_over = time.monotonic() > deadline or self.stop_signals > 1
            if is_over:
                self.say("killing " + ", ".join(service.name for service in running))
            for service in running:
                if is_over or service.has_ended:
                    self._bury(service)
