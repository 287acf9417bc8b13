"""The guests' root file system, built once from the machine's own Debian sources and kept outside the repository."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
MODULES = Path("/usr/lib/uml/modules")
SUITE = "bookworm"
SIZE = "6G"

PACKAGES = (
    "systemd-sysv udev dbus kmod iproute2 openssh-server libvirt-daemon-system libvirt-clients qemu-utils scrub"
    " libvirt-daemon-driver-storage-gluster libvirt-daemon-driver-storage-iscsi-direct"
    " libvirt-daemon-driver-storage-rbd libvirt-daemon-driver-storage-zfs"
    " nfs-kernel-server nfs-common tgt open-iscsi glusterfs-server ceph-mon ceph-osd ceph-mgr samba cifs-utils"
    " lvm2 thin-provisioning-tools multipath-tools parted fdisk e2fsprogs xfsprogs dosfstools"
)

_LEFT_OUT = ("/usr/share/man/*", "/usr/share/doc/*", "/usr/share/locale/*", "/usr/share/info/*")


def cache_directory() -> Path:
    return Path(os.environ.get("STORAGEMGR_LAB_CACHE") or Path.home() / ".cache/storagemgr-lab")


def image() -> Path:
    """The image for the recipe as it is now; builds it when it is not there, one run at a time."""
    cache = cache_directory()
    cache.mkdir(parents=True, exist_ok=True)
    finished = cache / _recipe() / "root.img"
    with _alone(cache / "lock"):
        if not finished.exists():
            _build(finished)
        os.utime(finished.parent)
    return finished


def _recipe() -> str:
    digest = hashlib.sha256(f"{SUITE} {SIZE} {PACKAGES}".encode())
    for path in [Path(__file__), HERE / "setup.sh", *sorted((HERE / "guest").rglob("*"))]:
        if path.is_file():
            digest.update(str(path.relative_to(HERE)).encode() + path.read_bytes())
    for modules in sorted(MODULES.iterdir()):
        digest.update(modules.name.encode())
    return digest.hexdigest()[:16]


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


def _build(finished: Path) -> None:
    cache = finished.parent.parent
    work = Path(tempfile.mkdtemp(prefix="building-", dir=cache))
    try:
        root = work / "root"
        _run(["mmdebstrap", *_options(), SUITE, str(root), *_sources()], work)
        shutil.copytree(MODULES, root / "lib/modules", dirs_exist_ok=True)
        shutil.copytree(HERE / "guest", root, dirs_exist_ok=True)
        shutil.copy(HERE / "setup.sh", root / "setup.sh")
        _run(["chroot", str(root), "sh", "/setup.sh"], work)
        (root / "setup.sh").unlink()
        ready = work / "ready"
        ready.mkdir()
        _run(["truncate", "-s", SIZE, str(ready / "root.img")], work)
        _run(["mkfs.ext4", "-q", "-d", str(root), str(ready / "root.img")], work)
        ready.rename(finished.parent)
        _forget_old(cache)
    finally:
        shutil.rmtree(work)


def _forget_old(cache: Path) -> None:
    """Recipes that nobody has used for a week: a lab that runs may need an older one than this."""
    for old in cache.glob("*/root.img"):
        if time.time() - old.parent.stat().st_mtime > 7 * 24 * 3600:
            shutil.rmtree(old.parent)


def _options() -> list[str]:
    left_out = [f"--dpkgopt=path-exclude={pattern}" for pattern in _LEFT_OUT]
    return [
        "--quiet",
        "--mode=root",
        "--variant=minbase",
        f"--include={PACKAGES.replace(' ', ',')}",
        *left_out,
    ]


def _sources() -> list[str]:
    """The machine's files that name this suite: the guest has the same Debian from the same place."""
    etc = Path("/etc/apt")
    files = [etc / "sources.list", *sorted((etc / "sources.list.d").glob("*"))]
    named = [
        str(path)
        for path in files
        if path.suffix in (".list", ".sources") and path.exists() and SUITE in path.read_text()
    ]
    if not named:
        raise RuntimeError(f"no apt source of this machine names {SUITE}")
    return named


def _run(command: list[str], work: Path) -> None:
    log = work / "log"
    with log.open("ab") as out:
        path = f"{os.environ.get('PATH', '/usr/bin:/bin')}:/usr/sbin:/sbin"
        environment = {"PATH": path, "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
        done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed while the lab's image was built:\n{log.read_text()[-3000:]}")
