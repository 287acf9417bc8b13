"""Our pages, readings and copies beside virsh and the bare API: `make bench`, or `make bench ARGS="pages sync"`.

Each pair is measured in turn, five times, in one run on a private daemon; what counts is the ratio of the medians.
With BENCH_JSON naming a file, one JSON object a line is written there; `ratio` is ours over theirs and `goal` its
limit (where there is no other side, in seconds: of CPU for the idle tick, else as a person waits).
"""

import http.client
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

REPEATS = 5
PAGES = 5  # a page is over in milliseconds: one alone says little
BIG, POOLS, EACH = 10_000, 200, 50
CLONE_MIB = 2048

directory = tempfile.TemporaryDirectory(prefix="storagemgr-bench-")
base = Path(directory.name)
os.environ |= {
    "STORAGEMGR_DATA": str(base / "data"),
    "SECRET_KEY": "only-for-the-bench-" + "0" * 40,
    "DJANGO_SETTINGS_MODULE": "storagemgr.settings",
}
(base / "data").mkdir()
sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parent.parent)]

import django  # noqa: E402

django.setup()

import bench_volumes  # noqa: E402
from daemon import PrivateDaemon  # noqa: E402
from django.contrib.auth.models import User  # noqa: E402
from django.contrib.sessions.backends.db import SessionStore  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.test.client import Client  # noqa: E402
from django.utils import timezone  # noqa: E402
from live_tools import write_real_data  # noqa: E402
from stack import Stack, wait_for  # noqa: E402

from pools.models import Pool  # noqa: E402
from storagemgr.hosts.models import Host  # noqa: E402
from storagemgr.jobs.models import Job, JobLine  # noqa: E402
from storagemgr.jobs.operations import REGISTRY  # noqa: E402
from storagemgr.jobs.submit import submit  # noqa: E402
from storagemgr.virt import pools as virt_pools  # noqa: E402
from storagemgr.virt.connection import connect  # noqa: E402
from volumes import sync, tasks  # noqa: E402
from volumes.models import Volume  # noqa: E402

results: list[dict[str, Any]] = []


def seconds(work: Callable[[], Any]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def compare(
    name: str, ours: Callable[[], Any], theirs: Callable[[], Any], goal: float, each: int = 1
) -> None:
    """`goal` is the largest ratio that is good enough; `each`: how often ours is done in a turn, for its median."""
    pairs = [(statistics.median(seconds(ours) for _ in range(each)), seconds(theirs)) for _ in range(REPEATS)]
    record(name, statistics.median(a for a, _ in pairs), statistics.median(b for _, b in pairs), goal)


def record(name: str, ours: float, theirs: float | None, goal: float) -> None:
    ratio = ours / theirs if theirs else None
    results.append({"name": name, "ours_s": ours, "theirs_s": theirs, "ratio": ratio, "goal": goal})
    value = ours if ratio is None else ratio
    word = "reached" if value <= goal else "MISSED"
    other = "-" if theirs is None else f"{theirs:10.4f}"
    shown = "-" if ratio is None else (f"1/{1 / ratio:.0f}" if ratio < 0.5 else f"{ratio:.2f}")
    limit = f"1/{1 / goal:.0f}" if goal < 0.13 else f"{goal:.2f}"
    print(f"{name:52} {ours:10.4f} {other:>10} {shown:>8} {limit:>7}  {word}", flush=True)


def make_pools(daemon: PrivateDaemon) -> None:
    with connect(daemon.uri) as connection:
        for name, count in [("big", BIG), *((f"pool{n:03}", EACH) for n in range(POOLS))]:
            path = base / "images" / name
            path.mkdir(parents=True)
            for number in range(count):
                with (path / f"disk{number:05}.img").open("wb") as file:
                    file.truncate(1024**2)
            virt_pools.start(
                connection, virt_pools.define(connection, virt_pools.dir_pool_xml(name, str(path)))
            )


def read_all(host: Host) -> None:
    """Read the host as the sync worker does, until every volume has its row."""
    deadline = time.monotonic() + 300
    while Volume.objects.count() < BIG + POOLS * EACH and time.monotonic() < deadline:
        read_once(host)
    print(f"{Pool.objects.count()} pools, {Volume.objects.count()} volumes\n", flush=True)


def read_once(host: Host) -> None:
    Host.objects.filter(pk=host.pk).update(next_read_at=None)
    tasks.read_host(host.pk)


class Browser:
    """One kept-alive connection with a signed-in session."""

    def __init__(self, stack: Stack) -> None:
        self.client = Client()
        self.user = User.objects.create_superuser("bench")
        self.client.force_login(self.user)
        self.cookie = f"sessionid={self.client.cookies['sessionid'].value}; csrftoken={'c' * 32}"
        assert SessionStore(self.client.cookies["sessionid"].value)
        self.connection = http.client.HTTPConnection("127.0.0.1", stack.port, timeout=60)

    def get(self, path: str) -> None:
        self.connection.request("GET", path, headers={"Cookie": self.cookie})
        response = self.connection.getresponse()
        body = response.read()
        assert response.status == 200, (path, response.status, body[:300])

    def first_byte(self, path: str) -> None:
        self.connection.close()
        self.connection.request("GET", path, headers={"Cookie": self.cookie})
        response = self.connection.getresponse()
        assert response.status == 200, (path, response.status)
        assert response.read(1)
        self.connection.close()

    def post(self, path: str, key: str) -> None:
        # The server closes a connection that was idle for long.
        self.connection.close()
        headers = {
            "Cookie": self.cookie,
            "X-CSRFToken": "c" * 32,
            "Content-Type": "application/x-www-form-urlencoded",
        }
        self.connection.request("POST", path, f"key={key}", headers)
        response = self.connection.getresponse()
        response.read()
        assert response.status in (302, 303), (path, response.status)


def virsh(daemon: PrivateDaemon, *words: str) -> Callable[[], Any]:
    command = ["virsh", "-c", daemon.uri, *words]
    return lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def bench_pages(browser: Browser, daemon: PrivateDaemon, host: Host, stack: Stack) -> None:
    listing = virsh(daemon, "pool-list", "--all", "--details")
    for name, query in [("first page", ""), ("sorted by space", "?sort=-used"), ("filtered", "?q=pool01")]:
        compare(
            f"fleet of {POOLS + 1} pools, {name}", lambda q=query: browser.get(f"/{q}"), listing, 1 / 8, PAGES
        )
    page = f"/pools/{Pool.objects.get(name='big').pk}/volumes/"
    listing = virsh(daemon, "vol-list", "big", "--details")
    for name, query in [
        ("by name", ""),
        ("by allocation", "?sort=-allocation"),
        ("last page", f"?page={BIG // 50}"),
        ("filtered", "?q=disk0777"),
        ("unused", "?state=unused"),
    ]:
        compare(
            f"pool of {BIG} volumes, {name}", lambda q=query: browser.get(page + q), listing, 1 / 300, PAGES
        )


def bench_sync(browser: Browser, daemon: PrivateDaemon, host: Host, stack: Stack) -> None:
    big = Pool.objects.select_related("host").get(name="big")
    with connect(daemon.uri) as connection:
        pool = connection.raw.storagePoolLookupByName("big")

        def bare() -> None:
            for volume in pool.listAllVolumes(0):
                volume.XMLDesc(0)

        def first_time() -> None:
            sync.read_volumes(connection, big)

        pairs = []
        for _ in range(REPEATS):
            big.volumes.all()._raw_delete("default")
            pairs.append((seconds(first_time), seconds(bare)))
        ours, theirs = (statistics.median(side) for side in zip(*pairs, strict=True))
        record(f"full sync of {BIG} volumes, all rows new", ours, theirs, 1.6)
        compare(f"full sync of {BIG} volumes, nothing changed", first_time, bare, 1.6)
    cpu = []
    read_all(host)
    for _ in range(REPEATS):
        before = resource.getrusage(resource.RUSAGE_SELF)
        read_once(host)
        after = resource.getrusage(resource.RUSAGE_SELF)
        cpu.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    record(f"idle reading of {POOLS + 1} pools, CPU", statistics.median(cpu), None, 0.15)


def bench_jobs(browser: Browser, daemon: PrivateDaemon, host: Host, stack: Stack) -> None:
    stack.start("redis", "jobs")
    path = base / "images" / "pool000"
    write_real_data(path / "source.img", CLONE_MIB)
    virsh(daemon, "pool-refresh", "pool000")()
    row = Pool.objects.select_related("host").get(name="pool000")
    with connect(daemon.uri) as connection:
        sync.read_volumes(connection, row)
    source = Volume.objects.select_related("pool__host").get(pool=row, name="source.img")

    def ours() -> None:
        params = {"name": "ours.img", "source": "source.img"}
        job = submit(REGISTRY["volume.clone"], source, actor=browser.user, params=params, key=uuid.uuid4())
        wait_for(Job.objects.exclude(state__in=Job.ACTIVE).filter(pk=job.pk).exists, 300)
        assert Job.objects.get(pk=job.pk).state == "succeeded"

    theirs = virsh(daemon, "vol-clone", "--pool", "pool000", "source.img", "theirs.img")
    times: dict[str, list[float]] = {"ours.img": [], "theirs.img": []}
    for turn in range(REPEATS):
        # By turns the first, and with nothing left to write: the disk remembers what the other one did.
        for name, work in [("ours.img", ours), ("theirs.img", theirs)][:: 1 if turn % 2 else -1]:
            os.sync()
            times[name].append(seconds(work))
            virsh(daemon, "vol-delete", "--pool", "pool000", name)()
            with connect(daemon.uri) as connection:
                sync.read_volumes(connection, row)
    ours_s, theirs_s = (statistics.median(side) for side in times.values())
    record(f"clone of {CLONE_MIB} MiB, asked to done", ours_s, theirs_s, 1.03)
    waits = []
    for _ in range(2 * REPEATS):
        key, began = str(uuid.uuid4()), timezone.now()
        browser.post(f"/pools/{row.pk}/refresh/", key)
        wait_for(Job.objects.exclude(state__in=Job.ACTIVE).filter(key=key).exists, 30)
        line = JobLine.objects.get(job__key=key, text="Refresh the pool")
        waits.append((line.at - began).total_seconds())
    record("click to libvirt call", statistics.median(waits), None, 0.15)


def bench_transfers(browser: Browser, daemon: PrivateDaemon, host: Host, stack: Stack) -> None:
    bench_volumes.bench_transfers(browser, daemon, host, stack, record)


def bench_fleet(browser: Browser, daemon: PrivateDaemon, host: Host, stack: Stack) -> None:
    bench_volumes.bench_fleet(browser, daemon, host, stack, record)


# The last one leaves very many rows.
PARTS = {
    "pages": bench_pages,
    "sync": bench_sync,
    "jobs": bench_jobs,
    "transfers": bench_transfers,
    "fleet": bench_fleet,
}


def main() -> None:
    call_command("migrate", verbosity=0)
    mode = "system" if os.geteuid() == 0 else "session"
    stack = Stack()
    stack.collect_static()
    with PrivateDaemon(base / "libvirt") as daemon:
        make_pools(daemon)
        host = Host.objects.create(name="bench", mode=mode, socket=str(daemon.socket))
        read_all(host)
        print(f"{'':52} {'ours s':>10} {'theirs s':>10} {'ratio':>8} {'goal':>7}")
        try:
            stack.start("web")
            browser = Browser(stack)
            for part in sys.argv[1:] or PARTS:
                PARTS[part](browser, daemon, host, stack)
        finally:
            stack.stop()
    if path := os.environ.get("BENCH_JSON"):
        Path(path).write_text("".join(json.dumps(result) + "\n" for result in results))


if __name__ == "__main__":
    main()
