"""The machine that we run on, as the first host: which daemon serves it, and something to look at.

As root that is the system daemon, otherwise the session daemon of the user.
"""

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

from django.conf import settings
from django.utils import timezone

from storagemgr.access import audit
from storagemgr.hosts.models import Host
from storagemgr.virt import daemon_process, pools, volumes
from storagemgr.virt.addresses import Mode, local_uri
from storagemgr.virt.connection import Connection, connect
from storagemgr.virt.errors import VirtError

EXAMPLES = "storagemgr-examples"
MIB = 1024**2
DAEMON_WAIT_S = 20
SYSTEMD_WAIT_S = 30
_LISTENS = "00010000"  # __SO_ACCEPTCON, among the flags in /proc/net/unix


def mode() -> Mode:
    return "system" if os.geteuid() == 0 else "session"


def is_served() -> bool:
    """Whether a daemon listens. Read from the kernel's table: connecting would write to the daemon's log."""
    path = daemon_process.storage_socket(local_uri(mode()))
    if path is None or not path.is_socket():
        return False
    rows = (row.split(maxsplit=7) for row in Path("/proc/net/unix").read_text(errors="replace").splitlines())
    return any(len(row) == 8 and row[3] == _LISTENS and row[7] == str(path) for row in rows)


def daemon_to_run() -> str | None:
    """The program that we must run for this machine's host, or None when others see to it.

    They are systemd, which starts a daemon for its socket, and, where only modular daemons are
    installed, libvirt's own client.
    """
    if mode() == "system" and Path("/run/systemd/system").exists():
        return None if is_served() or start_systemd_socket() else libvirtd()
    return libvirtd()


def libvirtd() -> str | None:
    # Not in the PATH of an ordinary user.
    return shutil.which("libvirtd", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")


def start_systemd_socket() -> bool:
    for units in (["libvirtd.socket"], ["virtqemud.socket", "virtstoraged.socket"]):
        command = ["systemctl", "start", *units]
        if subprocess.run(command, timeout=SYSTEMD_WAIT_S, capture_output=True).returncode == 0:
            print("Started", *units)
            return True
    return False


def register_host() -> Host:
    host = Host.objects.filter(is_embedded=True).first()
    if host is None:
        name = socket.gethostname()
        taken = Host.objects.filter(name=name).exists()
        host = Host(name=f"{name} (this machine)" if taken else name, is_embedded=True)
    host.mode = mode()
    is_new = host.pk is None
    host.save(update_fields=None if is_new else ["mode"])
    if is_new:
        audit.record("host.add", audit.Outcome.DONE, actor=None, object_text=host.name, host_id=host.pk)
    return host


def wait_for_daemon() -> None:
    """The daemon is started beside us, and may not listen yet."""
    deadline = time.monotonic() + DAEMON_WAIT_S
    while libvirtd() and not is_served() and time.monotonic() < deadline:
        time.sleep(0.1)


def make_examples(host: Host) -> list[str]:
    """Something to look at: a pool of small volumes, and in a session, which has none, one for real images.

    The names of those that were made. Once in the life of the host's row: what was removed stays away.
    """
    write_example_files(settings.DATA_DIR / "examples")
    with connect(host.uri) as connection:
        offered = offered_pools(host.mode).items()
        made = [name for name, directory in offered if offer_pool(connection, name, directory)]
    host.examples_made_at = timezone.now()
    host.save(update_fields=["examples_made_at"])
    return made


def offered_pools(mode: str) -> dict[str, Path]:
    examples = {EXAMPLES: settings.DATA_DIR / "examples"}
    return examples | ({"default": settings.DATA_DIR / "images"} if mode == "session" else {})


def write_example_files(directory: Path) -> None:
    """Sparse, grown, layered and full: the ways in which a volume takes less than it promises, or all of it."""
    directory.mkdir(exist_ok=True)
    sparse, disk = directory / "example-sparse.img", directory / "example-disk.qcow2"
    with open(sparse, "wb") as file:
        for start in (0, 24 * MIB, 48 * MIB):
            file.seek(start)
            file.write(b"storagemgr example data\n" * (2 * MIB // 24))
        file.truncate(64 * MIB)
    with open(directory / "example-full.img", "wb") as file:
        os.posix_fallocate(file.fileno(), 0, 16 * MIB)
    qemu_img("convert", "-f", "raw", "-O", "qcow2", str(sparse), str(disk))
    qemu_img("resize", "-f", "qcow2", str(disk), "1G")
    overlay = directory / "example-overlay.qcow2"
    qemu_img("create", "-f", "qcow2", "-F", "qcow2", "-b", str(disk), str(overlay))


def qemu_img(*arguments: str) -> None:
    done = subprocess.run(["qemu-img", *arguments], capture_output=True, text=True)
    if done.returncode:
        raise OSError(f"qemu-img {arguments[0]}: {done.stderr.strip()}")


def offer_pool(connection: Connection, name: str, directory: Path) -> bool:
    """A running dir pool on `directory`; False when another has its name or its directory, and stays as it is.

    Ours of an earlier data directory in the same place is started, or told of its new files.
    """
    directory.mkdir(exist_ok=True)
    for pool in named(connection, name):
        if pools.read_config(connection, pool.uuid).target_path == str(directory):
            (pools.start if pool.state == "inactive" else pools.refresh)(connection, pool.uuid)
            return True
        return False
    try:
        uuid = pools.define(connection, pools.dir_pool_xml(name, str(directory)))
    except VirtError as error:
        if error.code == "source_conflict":
            return False
        raise
    pools.start(connection, uuid)
    pools.set_autostart(connection, uuid, True)
    return True


def named(connection: Connection, name: str) -> list[pools.PoolStatus]:
    """The pool of this name, if there is one."""
    return [pool for pool in pools.list_pools(connection) if pool.name == name]


def remove_examples(connection: Connection) -> None:
    """Deletes the volumes, the directory and the definition of the examples' pool."""
    for pool in named(connection, EXAMPLES):
        if pool.state != "inactive" or has_started(connection, pool.uuid):
            for volume in volumes.list_volumes(connection, pool.uuid).volumes:
                volumes.delete(connection, pool.uuid, volume.name)
            pools.stop(connection, pool.uuid)
            pools.delete(connection, pool.uuid)
        pools.undefine(connection, pool.uuid)


def has_started(connection: Connection, uuid: str) -> bool:
    """False when the directory is gone, and nothing is left to delete."""
    try:
        pools.start(connection, uuid)
    except VirtError as error:
        if error.code == "not_found_on_host":
            return False
        raise
    return True
