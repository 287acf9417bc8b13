"""Other people's clients, and how fast it is beside virsh."""

import filecmp
import http.client
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest
from stack import wait_for
from transfer_tools import MIB, ask, create, memory_of, patch, pieces, real_data, ticket

from storagemgr.jobs.models import Job
from volumes.models import Transfer

pytestmark = [pytest.mark.chaos, pytest.mark.django_db(transaction=True)]
CLIENT = """
import sys
from tusclient.client import TusClient
url, token, path, pool, name, piece, stop = sys.argv[1:]
client = TusClient(url, headers={"Authorization": f"Bearer {token}"})
metadata = {"pool": pool, "name": name, "format": "raw"}
known = sys.stdin.read().strip() or None
uploader = client.uploader(path, chunk_size=int(piece), metadata=metadata, url=known, retries=3, retry_delay=1,
                           upload_checksum=True)
uploader.upload(stop_at=int(stop) or None)
print(uploader.url)
"""


def tus_py(stack, token, path, pool, stop_at: int = 0, url: str = "") -> str:
    """Runs tus-py-client; the upload's address."""
    words = [f"{stack.transfer_url}/transfer/uploads/", token, path, str(pool.pk), "by-tus.raw", str(4 * MIB)]
    ran = subprocess.run(
        [sys.executable, "-c", CLIENT, *words, str(stop_at)],
        input=url,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.split()[0]


def test_a_public_client_uploads_and_resumes_and_a_download_gives_it_back(
    stack, live_pool, token, images, tmp_path
):
    file = real_data(tmp_path / "disk.img", 24)
    url = tus_py(stack, token, file, live_pool, stop_at=10 * MIB)
    assert Transfer.objects.get().done >= 8 * MIB
    assert Transfer.objects.get().done < 24 * MIB
    assert tus_py(stack, token, file, live_pool, url=url) == url
    job = Job.objects.get(operation="volume.upload")
    wait_for(lambda: Job.objects.filter(pk=job.pk, state="succeeded").exists(), 60, stack.log("jobs"))
    assert filecmp.cmp(file, images / "by-tus.raw", shallow=False)
    _fetch_parts(stack, file)


def _fetch_parts(stack, file) -> None:
    url = ticket(stack, "by-tus.raw")
    job = Job.objects.get(operation="volume.download")
    data, half = file.read_bytes(), 13 * MIB + 5
    for first, last in ((half, len(data) - 1), (100, 200)):
        status, _, got = fetch(url, Range=f"bytes={first}-{last}")
        assert (status, got == data[first : last + 1]) == (206, True)
    assert Job.objects.get(pk=job.pk).state == "transferring"
    status, _, got = fetch(url, Range=f"bytes=0-{half - 1}")
    assert (status, got == data[:half]) == (206, True)
    assert Job.objects.get(pk=job.pk).state == "succeeded"
    assert ask("HEAD", url)[0] == 410


def fetch(url: str, **headers: str):
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=60)
    connection.request("GET", parts.path, headers=headers)
    answer = connection.getresponse()
    return answer.status, dict(answer.getheaders()), answer.read()


def test_half_a_gibibyte_takes_little_memory_and_keeps_its_holes(stack, live_pool, token, images, tmp_path):
    file = real_data(tmp_path / "big.img", 192)
    with file.open("r+b") as end:
        end.seek(448 * MIB)
        end.write(os.urandom(MIB))
        end.truncate(512 * MIB)
    status, headers, text = create(stack, token, 512 * MIB, pool=live_pool.pk, name="big.raw")
    assert status == 201, text
    process = stack.processes["transfer"].pid
    with little_memory(process):
        assert patch(headers["location"], 0, pieces(file, 0), 512 * MIB)[0] == 204
    job = Job.objects.get(operation="volume.upload")
    wait_for(lambda: Job.objects.filter(pk=job.pk, state="succeeded").exists(), 60, stack.log("jobs"))
    assert filecmp.cmp(file, images / "big.raw", shallow=False)
    assert (images / "big.raw").stat().st_blocks * 512 < 260 * MIB
    with little_memory(process):
        _fetch_slowly(stack, file)


def _fetch_slowly(stack, file) -> None:
    """libvirt's library would take in all of the volume meanwhile."""
    parts = urlsplit(ticket(stack, "big.raw"))
    connection = http.client.HTTPConnection(parts.netloc, timeout=60)
    connection.request("GET", parts.path)
    answer = connection.getresponse()
    with file.open("rb") as wanted:
        for _ in range(30):
            assert answer.read(2 * MIB) == wanted.read(2 * MIB)
            time.sleep(0.1)
    connection.close()
    assert Job.objects.get(operation="volume.download").state == "transferring"


@contextmanager
def little_memory(leader: int) -> Iterator[None]:
    """AssertionError when it and its children ever have 64 MiB more than at the start."""
    before, most, gone = _memory(leader), [0], threading.Event()

    def watch() -> None:
        while not gone.wait(0.1):
            most[0] = max(most[0], _memory(leader))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        gone.set()
        watcher.join()
    print(f"{(most[0] - before) / MIB:.0f} MiB more")
    assert most[0] - before < 64 * MIB


def _memory(leader: int) -> int:
    children = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(leader)], capture_output=True, text=True
    ).stdout
    return memory_of([leader, *map(int, children.split())])
