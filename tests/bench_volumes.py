"""The parts of the bench about volumes: a large fleet's lists, the bytes in and out, a copy into another pool."""

import os
import statistics
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from daemon import PrivateDaemon
from django.utils import timezone
from fleet_rows import make_fleet
from stack import Stack, wait_for
from transfer_tools import download_seconds, real_data, upload_seconds

from pools.models import Pool
from storagemgr.access import tokens
from storagemgr.hosts.models import Host
from storagemgr.jobs.models import Job
from storagemgr.jobs.operations import REGISTRY
from storagemgr.jobs.submit import submit
from storagemgr.virt.connection import connect
from volumes import sync
from volumes.columns import COLUMNS
from volumes.models import Transfer, Volume
from volumes.transfer.tickets import signature

PAGE_S = 0.06
REPEATS, LOOKS = 5, 9
FILE_MIB = 1024
Record = Callable[[str, float, "float | None", float], None]


def fleet_pages() -> Iterator[tuple[str, str]]:
    yield "first page", "/volumes/"
    yield "last page", "/volumes/?page=99999"
    for column in COLUMNS:
        if column.sort:
            yield f"by {column.sort}", f"/volumes/?sort=-{column.sort}"
    yield "of one host", "/volumes/?host=hv-fra-03"
    yield "of one pool on all hosts", "/volumes/?pool=nfs01"
    yield "base images", "/volumes/?kind=base"
    yield "qcow2", "/volumes/?format=qcow2"
    yield "of one team", "/volumes/?owner=team 03".replace(" ", "%20")
    yield "found by name", "/volumes/?q=disk0077"
    yield "found by VM", "/volumes/?q=vm-0123"
    yield "found by ticket", "/volumes/?q=OPS-99"
    yield "in use", "/volumes/?state=used"
    yield "nothing uses it, by size", "/volumes/?state=unused&sort=-capacity"
    yield "disks that nothing uses", "/volumes/?state=unused&kind=disk"
    yield "qcow2 that nothing uses", "/volumes/?state=unused&format=qcow2"
    yield "nothing uses it, by expiry", "/volumes/?state=unused&sort=-expires"
    yield "protected", "/volumes/?state=protected"
    yield "unused review", "/volumes/unused/"
    base = Volume.objects.filter(name="nfs01-disk0000.img")[0]
    yield "page of a base image that all hosts share", base.get_absolute_url()
    yield "one pool of it", f"/pools/{Pool.objects.filter(name='nfs01')[0].pk}/volumes/"


def bench_fleet(browser: Any, daemon: PrivateDaemon, host: Host, stack: Stack, record: Record) -> None:
    """The first look at each page is left out, the median is of the next ones."""
    make_fleet()
    count = f"{Volume.objects.count():,} volumes"
    for name, path in fleet_pages():
        Host.objects.exclude(pk=host.pk).update(uses_read_at=timezone.now())
        browser.get(path)
        record(f"{count}, {name}", _median(lambda path=path: browser.get(path)), None, PAGE_S)
    record(f"{count}, CSV, first byte", _median(lambda: browser.first_byte("/volumes/export/")), None, PAGE_S)


def _median(work: Callable[[], Any]) -> float:
    times = []
    for _ in range(LOOKS):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


class Both:
    """The same work by us and by virsh, in turns, the first one by turns."""

    def __init__(self, record: Record) -> None:
        self.record = record

    def compare(
        self, name: str, ours: Callable[[int], float], theirs: Callable[[int], float], goal: float
    ) -> None:
        times: tuple[list[float], list[float]] = ([], [])
        for turn in range(REPEATS):
            for side in (0, 1) if turn % 2 else (1, 0):
                os.sync()
                times[side].append((ours, theirs)[side](turn))
        self.record(name, statistics.median(times[0]), statistics.median(times[1]), goal)


def bench_transfers(browser: Any, daemon: PrivateDaemon, host: Host, stack: Stack, record: Record) -> None:
    stack.start("redis", "jobs", "transfer")
    source, target = (Pool.objects.select_related("host").get(name=name) for name in ("pool000", "pool001"))
    file = real_data(Path(source.target_path).parent / "bytes.img", FILE_MIB)
    token = tokens.make(browser.user, "bench", 1)[1]
    work = _Work(browser.user, daemon, stack, source, target, file)
    both = Both(record)
    both.compare(f"upload of {FILE_MIB} MiB", lambda turn: work.upload(token), work.virsh_upload, 1 / 0.7)
    work.upload(token, keep=True)
    both.compare(f"download of {FILE_MIB} MiB", work.download, work.virsh_download, 1 / 0.7)
    both.compare(f"copy of {FILE_MIB} MiB into another pool", work.copy, work.virsh_copy, 1.03)


class _Work:
    def __init__(
        self, user: Any, daemon: PrivateDaemon, stack: Stack, source: Pool, target: Pool, file: Path
    ) -> None:
        self.user, self.daemon, self.stack = user, daemon, stack
        self.source, self.target, self.file = source, target, file

    def upload(self, token: str, *, keep: bool = False) -> float:
        took = upload_seconds(self.stack, token, self.source.pk, self.file, "bytes.raw")
        self.wait(Job.objects.filter(operation="volume.upload").latest("pk"))
        if not keep:
            self.delete(self.source, "bytes.raw")
        return took

    def virsh_upload(self, turn: int) -> float:
        size = str(self.file.stat().st_size)
        self.virsh("vol-create-as", "pool000", "theirs.raw", size, "--allocation", "0")
        took = self.virsh("vol-upload", "--pool", "pool000", "theirs.raw", str(self.file))
        self.delete(self.source, "theirs.raw")
        return took

    def download(self, turn: int) -> float:
        job = self.ask("volume.download", {})
        wait_for(lambda: Job.objects.filter(pk=job.pk, state="transferring").exists(), 30, "transferring")
        one = Transfer.objects.get(job=job)
        path = self.file.with_suffix(".ours")
        url = f"{self.stack.transfer_url}/transfer/downloads/{one.pk}/{signature(one)}/bytes.raw"
        took = download_seconds(url, path)
        path.unlink()
        return took

    def virsh_download(self, turn: int) -> float:
        path = self.file.with_suffix(".theirs")
        took = self.virsh("vol-download", "--pool", "pool000", "bytes.raw", str(path))
        path.unlink()
        return took

    def copy(self, turn: int) -> float:
        params = {"name": "ours.raw", "source": "bytes.raw", "into": str(self.target.uuid)}
        began = time.perf_counter()
        self.wait(self.ask("volume.clone", params))
        took = time.perf_counter() - began
        self.delete(self.target, "ours.raw")
        return took

    def virsh_copy(self, turn: int) -> float:
        size = self.file.stat().st_size
        xml = self.file.with_suffix(".xml")
        sizes = f"<capacity>{size}</capacity><allocation>0</allocation>"
        xml.write_text(
            f"<volume><name>theirs.raw</name>{sizes}<target><format type='raw'/></target></volume>"
        )
        took = self.virsh("vol-create-from", "pool001", str(xml), "bytes.raw", "--inputpool", "pool000")
        self.delete(self.target, "theirs.raw")
        return took

    def ask(self, name: str, params: dict[str, Any]) -> Job:
        volume = Volume.objects.select_related("pool__host").get(pool=self.source, name="bytes.raw")
        return submit(REGISTRY[name], volume, actor=self.user, params=params, key=uuid.uuid4())

    def wait(self, job: Job) -> None:
        wait_for(Job.objects.exclude(state__in=Job.ACTIVE).filter(pk=job.pk).exists, 300, job.title)
        job = Job.objects.get(pk=job.pk)
        assert job.state == "succeeded", (job.title, job.error_text)

    def delete(self, pool: Pool, name: str) -> None:
        self.virsh("vol-delete", "--pool", pool.name, name)
        with connect(self.daemon.uri) as connection:
            sync.read_volumes(connection, pool)

    def virsh(self, *words: str) -> float:
        began = time.perf_counter()
        subprocess.run(["virsh", "-q", "-c", self.daemon.uri, *words], check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - began
