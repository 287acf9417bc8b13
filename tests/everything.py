"""Every test: `python tests/everything.py [pytest's arguments]`.

First those on the lab's hosts, which mostly wait, and beside them the quick ones, on SQLite and on PostgreSQL, and
those that drive a browser. Then those that want the machine for themselves, because they kill and starve processes.
"""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NO_FAILURE = (0, 5)  # 5: the arguments select no test of this part
PYTEST = [sys.executable, "-m", "pytest"]
ON_POSTGRESQL = [sys.executable, str(Path(__file__).with_name("on_postgresql.py"))]


def main(arguments: list[str]) -> int:
    failed = False
    with beside("hosts", arguments) as hosts, beside("product", arguments) as product:
        failed |= run([*PYTEST, "--part=quick", *arguments])
        failed |= run([*ON_POSTGRESQL, *arguments])
        failed |= run([*PYTEST, "--part=browser", *arguments])
        failed |= hosts.wait() not in NO_FAILURE
        failed |= product.wait() not in NO_FAILURE
    return int(failed | run([*PYTEST, "--part=chaos", *arguments]))


@contextmanager
def beside(part: str, arguments: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """A part that runs meanwhile; what it said is printed when it has ended."""
    with tempfile.TemporaryFile() as said:
        command = [*PYTEST, f"--part={part}", "-p", "no:cacheprovider", *arguments]
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
