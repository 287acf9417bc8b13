"""Every test: `python tests/everything.py [pytest's arguments]`.

First those on the lab's hosts and of the whole product, which mostly wait, and beside them the quick ones, on SQLite
and on PostgreSQL, then those that drive a browser. Last those that want the machine for themselves, because they kill
and starve processes.
"""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

NO_FAILURE = (0, 5)  # 5: the arguments select no test of this part
PYTEST = [sys.executable, "-m", "pytest"]
ON_POSTGRESQL = [sys.executable, str(Path(__file__).with_name("on_postgresql.py"))]


def main(arguments: list[str]) -> int:
    failed = False
    apart = [[*PYTEST, f"--part={part}", "-p", "no:cacheprovider"] for part in ("hosts", "product")]
    with ExitStack() as stack:
        others = [stack.enter_context(beside([*each, *arguments])) for each in (*apart, ON_POSTGRESQL)]
        failed |= run([*PYTEST, "--part=quick", *arguments])
        failed |= run([*PYTEST, "--part=browser", *arguments])
        for other in others:
            failed |= other.wait() not in NO_FAILURE
    return int(failed | run([*PYTEST, "--part=chaos", *arguments]))


@contextmanager
def beside(command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """A part that runs meanwhile; what it said is printed when it has ended."""
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT)
        try:
            yield process
        finally:
            process.wait()
            said.seek(0)
            print(said.read().decode(errors="replace"))


def run(command: list[str]) -> bool:
    """Whether it failed."""
    sys.stdout.flush()
    return subprocess.run(command).returncode not in NO_FAILURE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
