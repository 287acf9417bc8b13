"""A dead mount, a frozen daemon: the rest goes on being read, and what comes back is noticed by itself."""

import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
from daemon import PrivateDaemon
from django.utils import timezone
from hanging_fs import HangingFileSystem
from stack import Stack, wait_for
from sync_tools import MIB, Virsh, close_connections, define_and_start, host_of, names, pool_row, read_host

from pools import sync as pool_sync
from pools.models import Pool
from storagemgr.hosts.models import Host
from storagemgr.virt.connection import connect
from volumes import sync

pytestmark = [pytest.mark.chaos, pytest.mark.django_db(transaction=True)]
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounts a file system")


@dataclass(frozen=True)
class Trouble:
    """A daemon with a pool on a mount that can hang and one on a healthy directory."""

    daemon: PrivateDaemon
    mount: HangingFileSystem
    sick: str
    healthy: str

    @property
    def virsh(self) -> Virsh:
        return Virsh(self.daemon.uri)

    def hang(self) -> None:
        self.mount.hang()

    def is_noticed(self) -> bool:
        return pool_row(self.sick).unreachable_since is not None

    def is_over(self) -> bool:
        return not self.is_noticed() and not Host.objects.get().is_careful


@pytest.fixture
def trouble(own_daemon: PrivateDaemon) -> Iterator[Trouble]:
    with HangingFileSystem(own_daemon.directory / "mount") as mount:
        with connect(own_daemon.uri) as connection:
            sick = define_and_start(connection, mount.directory)
            healthy = define_and_start(connection, own_daemon.directory / "images", "one.img")
        yield Trouble(own_daemon, mount, sick, healthy)
        mount.answer()
        wait_for(lambda: not waiting_calls(), 20, "the calls return")
        close_connections()


@pytest.fixture
def short_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_sync, "LIST_S", 1.0)
    monkeypatch.setattr(pool_sync, "POOL_S", 0.7)
    monkeypatch.setattr(sync, "VOLUMES_S", 1.0)


def waiting_calls() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("libvirt call")]


def workers_children(stack: Stack) -> set[int]:
    pid = stack.processes["sync"].pid
    return set(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


@needs_root
def test_volumes_that_hang_make_their_pool_unreachable_and_no_other(trouble, short_limits, settings):
    host = host_of(trouble.daemon)
    read_host(host)
    assert names(trouble.sick) == {"disk.img"}
    trouble.hang()
    settings.VOLUMES_PERIOD = 0
    read_host(host)
    sick, since = pool_row(trouble.sick), pool_row(trouble.sick).unreachable_since
    assert since
    assert sick.next_try_at - since == timedelta(seconds=10)
    assert sick.host.state == "up"
    calls = waiting_calls()
    trouble.virsh("vol-create-as", trouble.healthy, "made.img", MIB)
    for _ in range(3):
        Pool.objects.filter(pk=sick.pk).update(next_try_at=None)
        began = time.monotonic()
        read_host(host)
        assert time.monotonic() - began < 0.7, "what hangs was asked again"
    assert waiting_calls() == calls
    assert names(trouble.healthy) == {"one.img", "made.img"}
    assert pool_row(trouble.sick).unreachable_since == since
    assert names(trouble.sick) == {"disk.img"}
    trouble.mount.answer()
    wait_for(lambda: not waiting_calls(), 10, "the call returns")
    read_host(host)
    assert pool_row(trouble.sick).unreachable_since is None
    assert read_host(host).is_careful is False


@needs_root
def test_a_listing_that_hangs_is_replaced_by_questions_to_each_pool(trouble, short_limits):
    host = host_of(trouble.daemon)
    read_host(host)
    trouble.hang()
    # Somebody else's call has the sick pool's lock.
    command = ["virsh", "-c", trouble.daemon.uri, "vol-info", "disk.img", "--pool", trouble.sick]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as stuck:
        time.sleep(0.5)
        trouble.virsh("vol-create-as", trouble.healthy, "made.img", MIB)
        careful = read_host(host)
        assert (careful.state, careful.is_careful, careful.list_failures) == ("up", True, 1)
        assert trouble.is_noticed()
        assert names(trouble.healthy) == {"one.img", "made.img"}
        assert len(waiting_calls()) == 2
        trouble.virsh("pool-autostart", trouble.healthy)
        read_host(host)
        assert pool_row(trouble.healthy).autostart
        assert len(waiting_calls()) == 2
        trouble.mount.answer()
        assert stuck.wait(10) == 0
    wait_for(lambda: not waiting_calls(), 10, "the calls return")
    read_host(host)
    assert read_host(host).is_careful is False
    assert trouble.is_over()


@needs_root
def test_a_pool_that_hangs_before_it_was_ever_read(trouble, short_limits):
    host = host_of(trouble.daemon)
    trouble.hang()
    command = ["virsh", "-c", trouble.daemon.uri, "vol-info", "disk.img", "--pool", trouble.sick]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as stuck:
        time.sleep(0.5)
        for _ in range(3):
            Host.objects.filter(pk=host.pk).update(next_list_at=None)
            careful = read_host(host)
        assert (careful.state, careful.is_careful) == ("up", True)
        assert len(waiting_calls()) == 1
        trouble.mount.answer()
        assert stuck.wait(10) == 0
    wait_for(lambda: not waiting_calls(), 10, "the listing returns")
    read_host(host)
    assert names(trouble.sick) == {"disk.img"}


@pytest.fixture
def stack(transactional_db: None) -> Iterator[Stack]:
    stack = Stack()
    stack.start("redis", "sync", "tick")
    yield stack
    print(*(f"{name}: {stack.log(name)}" for name in ("redis", "sync", "tick")), sep="\n")
    stack.stop()


def stays_fresh(fresh: Callable[[], timedelta], seconds: float, limit: timedelta) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert fresh() < limit
        time.sleep(0.2)


@needs_root
def test_the_workers_read_on_beside_a_dead_mount(stack, trouble):
    host_of(trouble.daemon)
    wait_for(lambda: Pool.objects.filter(volumes_read_at__isnull=False).count() == 2, 60)
    children = workers_children(stack)
    trouble.hang()
    command = ["virsh", "-c", trouble.daemon.uri, "vol-info", "disk.img", "--pool", trouble.sick]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as stuck:
        wait_for(trouble.is_noticed, 25, "the sick pool is unreachable")

        def age() -> timedelta:
            return timezone.now() - pool_row(trouble.healthy).seen_at

        wait_for(lambda: age() < timedelta(seconds=3), 15, "the healthy pool is read")
        stays_fresh(age, 12, timedelta(seconds=7))
        trouble.virsh("vol-create-as", trouble.healthy, "made.img", MIB)
        wait_for(lambda: "made.img" in names(trouble.healthy), 10, "a new volume is seen")
        trouble.mount.answer()
        assert stuck.wait(10) == 0
    wait_for(trouble.is_over, 15, "the sick pool is read again")
    assert workers_children(stack) == children
    assert Host.objects.get().state == "up"


def test_the_workers_say_that_a_daemon_is_frozen_and_notice_that_it_is_back(stack, own_daemon):
    def becomes(word: str, seconds: float) -> None:
        wait_for(lambda: Host.objects.get().state == word, seconds, word)

    host_of(own_daemon)
    becomes("up", 60)
    wait_for(lambda: Host.objects.get().reading_since is None, 5)
    children = workers_children(stack)
    own_daemon.freeze()
    becomes("silent", 15)
    time.sleep(22)  # longer than the keepalive, which ends the first call
    becomes("silent", 0.5)
    own_daemon.thaw()
    becomes("up", 10)
    own_daemon.kill()
    becomes("down", 10)
    own_daemon.start()
    becomes("up", 25)
    assert workers_children(stack) == children
