"""What the tests of the reading share."""

import subprocess
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from daemon import PrivateDaemon

from pools.models import Pool
from storagemgr.hosts import sync as host_sync
from storagemgr.hosts.models import Host
from storagemgr.virt import pools as virt_pools
from storagemgr.virt.connection import Connection
from storagemgr.virt.errors import VirtError
from volumes import tasks
from volumes.models import Volume

MIB = 1024**2


@dataclass(frozen=True)
class Virsh:
    """What a person types in a terminal beside us."""

    uri: str

    def __call__(self, *words: object) -> str:
        command = ["virsh", "-q", "-c", self.uri, *map(str, words)]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout


def host_of(daemon: PrivateDaemon, name: str = "kvm1") -> Host:
    mode = "system" if daemon.system else "session"
    return Host.objects.create(name=name, mode=mode, socket=str(daemon.socket))


def close_connections() -> None:
    for connection in host_sync._connections.values():
        connection.close()
    host_sync._connections.clear()


def read_host(host: Host) -> Host:
    """One reading, whenever the next one is due."""
    Host.objects.filter(pk=host.pk).update(next_read_at=None)
    tasks.read_host(host.pk)
    return Host.objects.get(pk=host.pk)


def define_and_start(c: Connection, path: Path, *files: str) -> str:
    """The UUID of a running pool with raw files of 1 MiB."""
    path.mkdir(parents=True, exist_ok=True)
    for name in files:
        with (path / name).open("wb") as file:
            file.truncate(MIB)
    uuid = virt_pools.define(c, virt_pools.dir_pool_xml(f"p{uuid4().hex[:8]}", str(path)))
    virt_pools.start(c, uuid)
    return uuid


def forget_pool(c: Connection, uuid: str) -> None:
    for end in (virt_pools.stop, virt_pools.undefine):
        try:
            end(c, uuid)
        except VirtError as error:
            if error.code not in ("pool_inactive", "no_pool"):
                raise


def pool_row(uuid: str) -> Pool:
    return Pool.objects.select_related("host").get(uuid=uuid)


def names(uuid: str) -> set[str]:
    return set(Volume.objects.filter(pool__uuid=uuid).values_list("name", flat=True))
