"""Every test: `python tests/everything.py [pytest's arguments]`.

First those on the lab's hosts, which mostly wait, and beside them the quick ones, on SQLite and on PostgreSQL. Then
those that want the machine for themselves, because they drive browsers and kill processes.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

NO_TEST_SELECTED = 5
PYTEST = [sys.executable, "-m", "pytest"]
ON_POSTGRESQL = [sys.executable, str(Path(__file__).with_name("on_postgresql.py"))]


def main(arguments: list[str]) -> int:
    failed = False
    with tempfile.TemporaryFile() as said:
        command = [*PYTEST, "--part=lab", "-p", "no:cacheprovider", *arguments]
        lab = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT)
        try:
            failed |= run([*PYTEST, "--part=quick", *arguments])
            failed |= run([*ON_POSTGRESQL, *arguments])
        finally:
            failed |= lab.wait() not in (0, NO_TEST_SELECTED)
            said.seek(0)
            print(said.read().decode(errors="replace"))
    return int(failed | run([*PYTEST, "--part=slow", *arguments]))


def run(command: list[str]) -> bool:
    """Whether it failed. Arguments that select no test of this part are no failure."""
    sys.stdout.flush()
    return subprocess.run(command).returncode not in (0, NO_TEST_SELECTED)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
