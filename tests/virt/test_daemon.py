"""The daemon that the other tests run on: what they take for granted."""

import os
import signal
import subprocess
from pathlib import Path

import pytest
from daemon import PrivateDaemon
from stack import wait_for

from storagemgr.virt import pools, volume_copies, volumes
from storagemgr.virt.connection import connect
from storagemgr.virt.errors import VirtError


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_pools_survive_a_crash_and_a_restart(own_daemon: PrivateDaemon, new_pool, tmp_path):
    with connect(own_daemon.uri) as c:
        pool = new_pool(c, tmp_path / "pool")
    own_daemon.kill()
    assert not own_daemon.running
    own_daemon.start()
    own_daemon.restart()
    with connect(own_daemon.uri) as c:
        assert [status.name for status in pools.list_pools(c)] == [pool.name]


def test_two_daemons_and_the_machine_know_nothing_of_each_other(
    daemon: PrivateDaemon, own_daemon: PrivateDaemon, new_pool, tmp_path
):
    with connect(daemon.uri) as one, connect(own_daemon.uri) as two:
        pool = new_pool(two, tmp_path / "pool")
        assert pool.uuid not in pools.list_uuids(one)
        assert [status.name for status in pools.list_pools(two)] == [pool.name]
    assert not os.path.exists(f"/etc/libvirt/storage/{pool.name}.xml")
    assert not str(own_daemon.socket).startswith("/run")


def test_a_crash_leaves_the_copying_program_and_stop_ends_it(
    tmp_path_factory, new_pool, tmp_path, monkeypatch
):
    monkeypatch.setattr(volume_copies, "_POLL_S", 0.02)
    daemon = PrivateDaemon(tmp_path_factory.mktemp("stopped"))
    daemon.start()
    with connect(daemon.uri) as c, connect(daemon.uri) as watch:
        pool = new_pool(c, tmp_path / "pool")
        raw = pool.write("raw", 256)
        subprocess.run(["qemu-img", "convert", "-O", "qcow2", raw, pool.path / "image"], check=True)
        pools.refresh(c, pool.uuid)
        new = volumes.NewVolume(name="copy", format="qcow2")
        steps = volume_copies.copy(c, watch, pool.uuid, "image", pool.uuid, new)
        next(steps)
        [qemu_img] = wait_for(daemon.children, 10)
        os.kill(qemu_img, signal.SIGSTOP)
        libvirtd = daemon.pid
        daemon.kill()
        with pytest.raises(VirtError, match="connection_lost"):
            list(steps)
    assert not alive(libvirtd)
    assert alive(qemu_img)
    daemon.stop()
    assert not alive(qemu_img)
    assert daemon.children() == []
    assert not os.path.ismount(daemon.directory)
