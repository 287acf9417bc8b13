"""The supervisor over real processes, in a process of its own: it takes over the signals."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.conf import settings
from stack import wait_for

SCRIPT = """
import signal, sys, time
from pathlib import Path
from storagemgr import service
service.GRACE_S = 1
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the test may run under nohup
held = Path(sys.argv[1])
begin = time.monotonic()
services = [service.Service(name, ["bash", "-c", script], once=name == "once", backs_others=name == "base",
                            unless=held.exists if name == "held" else service.never)
            for name, script in zip(sys.argv[2::2], sys.argv[3::2])]
service.Supervisor(services).run(lambda: time.monotonic() - begin > 0.5, lambda: print("ready", flush=True))
"""
DEAF = "trap '' TERM; (trap '' TERM; sleep 600) & echo $$ $! > {}; while :; do sleep 0.1; done"

Supervise = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def supervise(tmp_path: Path) -> Iterator[Supervise]:
    """Starts a supervisor over services given as name=script; `log` in tmp_path has what it prints."""
    started = []

    def start(**services: str) -> subprocess.Popen[str]:
        words = [word for pair in services.items() for word in pair]
        with open(tmp_path / "log", "w") as log:
            process = subprocess.Popen(
                [sys.executable, "-c", SCRIPT, tmp_path / "held", *words],
                cwd=settings.BASE_DIR,
                stdout=log,
                stderr=log,
                text=True,
            )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.wait(20)


def read_words(path: Path) -> list[str]:
    return path.read_text().split() if path.exists() else []


def pids_in(path: Path) -> list[int]:
    return [int(word) for word in wait_for(lambda: read_words(path), 20)]


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_service_that_ends_is_started_again_later_each_time(supervise: Supervise, tmp_path: Path) -> None:
    supervise(flaky=f"date +%s%N >> {tmp_path}/starts; exit 3", steady="sleep 600")
    starts = wait_for(lambda: len(words := read_words(tmp_path / "starts")) == 3 and words, 10)
    first, second, third = (int(word) / 1e9 for word in starts)
    assert 1 <= second - first < 2 <= third - second < 3
    log = (tmp_path / "log").read_text()
    assert "flaky ended (exit code 3); starting it again in 1 s" in log
    assert "steady ended" not in log


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_everything_even_what_does_not_listen(
    supervise: Supervise, tmp_path: Path, number: signal.Signals
) -> None:
    supervisor = supervise(
        deaf=DEAF.format(tmp_path / "deaf"), base=f"echo $$ > {tmp_path}/base; exec sleep 600"
    )
    pids = pids_in(tmp_path / "deaf") + pids_in(tmp_path / "base")
    assert all(is_alive(pid) for pid in pids)
    supervisor.send_signal(number)
    assert supervisor.wait(20) == 0
    assert [pid for pid in pids if is_alive(pid)] == []


def test_what_backs_the_others_ends_last(supervise: Supervise, tmp_path: Path) -> None:
    note = "trap 'echo {0} >> {1}/ended; exit' TERM; touch {1}/{0}; while :; do sleep 0.05; done"
    supervisor = supervise(base=note.format("base", tmp_path), user=note.format("user", tmp_path))
    wait_for(lambda: (tmp_path / "base").exists() and (tmp_path / "user").exists(), 20)
    supervisor.terminate()
    supervisor.wait(20)
    assert (tmp_path / "ended").read_text().split() == ["user", "base"]


def test_a_second_signal_does_not_wait(supervise: Supervise, tmp_path: Path) -> None:
    supervisor = supervise(deaf=DEAF.format(tmp_path / "deaf"))
    pids = pids_in(tmp_path / "deaf")
    supervisor.send_signal(signal.SIGINT)
    wait_for(lambda: "stopping" in (tmp_path / "log").read_text(), 2)
    supervisor.send_signal(signal.SIGINT)
    supervisor.wait(0.9)
    assert [pid for pid in pids if is_alive(pid)] == []


def test_a_killed_supervisor_takes_its_services_along(supervise: Supervise, tmp_path: Path) -> None:
    supervisor = supervise(steady=f"echo $$ > {tmp_path}/pid; exec sleep 600")
    [pid] = pids_in(tmp_path / "pid")
    supervisor.kill()
    supervisor.wait(20)
    wait_for(lambda: not is_alive(pid), 20)


def test_children_of_a_killed_service_do_not_outlive_it(supervise: Supervise, tmp_path: Path) -> None:
    supervise(parent=f"sleep 600 & echo $$ $! > {tmp_path}/pids; wait")
    leader, child = pids_in(tmp_path / "pids")
    os.kill(leader, signal.SIGKILL)
    wait_for(lambda: not is_alive(child), 20)
    wait_for(lambda: "parent ended (SIGKILL)" in (tmp_path / "log").read_text(), 2)


def test_a_task_runs_once_and_a_held_service_starts_when_it_is_needed(
    supervise: Supervise, tmp_path: Path
) -> None:
    (tmp_path / "held").touch()
    supervise(once=f"echo x >> {tmp_path}/once; exit 4", held=f"touch {tmp_path}/started; exec sleep 600")
    wait_for(lambda: "ready" in (tmp_path / "log").read_text(), 20)
    assert not (tmp_path / "started").exists()
    (tmp_path / "held").unlink()
    wait_for((tmp_path / "started").exists, 20)
    assert (tmp_path / "once").read_text() == "x\n"
    assert "once failed (exit code 4)" in (tmp_path / "log").read_text()


def test_output_is_prefixed_and_cannot_write_to_the_terminal(supervise: Supervise, tmp_path: Path) -> None:
    supervise(loud=r"printf 'one\r\n\033]0;title\007\xff two'; exec sleep 0.2")
    log = wait_for(lambda: "two" in (text := (tmp_path / "log").read_text()) and text, 20)
    lines = [line.split(" ", 1)[1] for line in log.splitlines() if line.split()[1] == "loud"]
    assert lines == ["loud  | one", "loud  | \ufffd]0;title\ufffd\ufffd two"]
