"""The quick tests once more, on a PostgreSQL of their own: `python tests/on_postgresql.py [pytest's arguments]`."""

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def programs() -> Path:
    """Debian keeps the server's programs out of everybody's PATH, one folder a version."""
    if found := shutil.which("initdb"):
        return Path(found).parent
    return max(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))


@contextmanager
def private_postgresql() -> Iterator[str]:
    """A server on a unix socket in a directory of its own; yields its DATABASE_URL."""
    with tempfile.TemporaryDirectory(prefix="storagemgr-pg-") as directory:
        as_owner = []
        if os.geteuid() == 0:
            # PostgreSQL refuses to run as root.
            nobody = pwd.getpwnam("nobody")
            os.chown(directory, nobody.pw_uid, nobody.pw_gid)
            as_owner = ["setpriv", "--reuid=nobody", "--regid", str(nobody.pw_gid), "--clear-groups"]

        def run(program: str, *words: str) -> None:
            command = [*as_owner, str(programs() / program), "-D", f"{directory}/data", *words]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=directory)

        run("initdb", "-A", "trust", "-U", "storagemgr", "--no-sync")
        options = f"-k {directory} -c listen_addresses= -c fsync=off"
        run("pg_ctl", "-l", f"{directory}/log", "-w", "-o", options, "start")
        try:
            yield f"postgres://storagemgr@/postgres?host={directory}"
        finally:
            run("pg_ctl", "-m", "immediate", "stop")


# They know no database, or ask it nothing that others do not ask: libvirt alone, the supervisor, the house rules; forms
# and pages of pools and jobs; bytes on their way; signing in; every address tried by somebody with bad intent.
LEFT_OUT = (
    "tests/virt",
    "tests/service",
    "tests/test_house.py",
    "tests/wizard",
    "tests/configuration",
    "tests/jobpages",
    "tests/transfer",
    "tests/sign_on",
    "tests/access/test_attacks.py",
)


def main() -> int:
    with private_postgresql() as url:
        left_out = [f"--ignore={path}" for path in LEFT_OUT]
        words = [sys.executable, "-m", "pytest", "--part=quick", "-p", "no:cacheprovider", *left_out]
        words += sys.argv[1:]
        return subprocess.run(words, env=os.environ | {"DATABASE_URL": url}).returncode


if __name__ == "__main__":
    code = main()
    # pytest's "no test was selected": the arguments named slow tests only.
    sys.exit(0 if code == 5 else code)
