"""Every test, in two halves: `python tests/everything.py [pytest's arguments]`.

First those that want this machine for themselves: they count, kill and drive browsers. Then those on the lab's
hosts, which mostly wait, and beside them the quick ones once more on PostgreSQL.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

NO_TEST_SELECTED = 5
PYTEST = [sys.executable, "-m", "pytest"]
ON_POSTGRESQL = [sys.executable, str(Path(__file__).with_name("on_postgresql.py"))]


def main(arguments: list[str]) -> int:
    failed = run([*PYTEST, "--lab=without", *arguments])
    with tempfile.TemporaryFile() as said:
        beside = subprocess.Popen([*ON_POSTGRESQL, *arguments], stdout=said, stderr=subprocess.STDOUT)
        try:
            failed |= run([*PYTEST, "--lab=only", *arguments])
        finally:
            failed |= beside.wait() != 0
            said.seek(0)
            sys.stdout.write(f"On PostgreSQL:\n{said.read().decode(errors='replace')}")
    return int(failed)


def run(command: list[str]) -> bool:
    """Whether it failed. Arguments that select no test of this half are no failure."""
    sys.stdout.flush()
    return subprocess.run(command).returncode not in (0, NO_TEST_SELECTED)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
