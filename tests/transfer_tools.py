"""A small tus client that can be told to do wrong, and looks at the process behind it."""

import base64
import http.client
import os
import shutil
import time
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from django.contrib.auth.models import User
from stack import Stack, wait_for

from storagemgr.jobs.models import Job
from storagemgr.jobs.operations import REGISTRY
from storagemgr.jobs.submit import submit
from volumes.models import Transfer, Volume
from volumes.transfer.tickets import signature

MIB = 1024**2
Answer = tuple[int, dict[str, str], str]


def metadata(**values: Any) -> str:
    return ",".join(
        f"{name} {base64.b64encode(str(value).encode()).decode()}" for name, value in values.items()
    )


def ask(method: str, url: str, body: Any = None, **headers: str) -> Answer:
    """Status, headers and text. `body`: bytes, or pieces of them with a Content-Length among the headers."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=600, blocksize=MIB)
    named = {"Tus-Resumable": "1.0.0"} | {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        connection.request(method, parts.path, body, named)
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read().decode(errors="replace")
    finally:
        connection.close()


def create(stack: Stack, token: str, size: int, **values: Any) -> Answer:
    return ask(
        "POST",
        f"{stack.transfer_url}/transfer/uploads/",
        Authorization=f"Bearer {token}",
        Upload_Length=str(size),
        Upload_Metadata=metadata(**values),
    )


def patch(url: str, offset: int, body: Any, length: int | None = None, **headers: str) -> Answer:
    length = len(body) if length is None else length
    return ask(
        "PATCH",
        url,
        body,
        Content_Type="application/offset+octet-stream",
        Upload_Offset=str(offset),
        Content_Length=str(length),
        **headers,
    )


def offset_of(url: str) -> int:
    status, headers, _ = ask("HEAD", url)
    assert status == 200, status
    return int(headers["upload-offset"])


def pieces(path: Path, start: int, stop: int | None = None, pause: Any = None) -> Iterator[bytes]:
    with path.open("rb") as file:
        file.seek(start)
        left = (path.stat().st_size if stop is None else stop) - start
        while left and (piece := file.read(min(256 * 1024, left))):
            left -= len(piece)
            yield piece
            if pause:
                pause()


def real_data(path: Path, mebibytes: int) -> Path:
    with path.open("wb") as file:
        block = os.urandom(MIB)
        for number in range(mebibytes):
            file.write(number.to_bytes(8, "big") + block[8:])
    return path


def upload_seconds(stack: Stack, token: str, pool_id: int, file: Path, name: str) -> float:
    """Of the bytes alone: the empty volume is there before, as for virsh vol-upload."""
    size = file.stat().st_size
    status, headers, text = create(stack, token, size, pool=pool_id, name=name, format="raw")
    assert status == 201, text
    began = time.perf_counter()
    with file.open("rb") as body:
        assert patch(headers["location"], 0, body, size)[0] == 204
    return time.perf_counter() - began


def ticket(stack: Stack, name: str) -> str:
    """Asks for a download of the volume, as olga; its address."""
    volume = Volume.objects.select_related("pool__host").get(name=name)
    actor = User.objects.get(username="olga")
    job = submit(REGISTRY["volume.download"], volume, actor=actor, params={}, key=uuid.uuid4())
    wait_for(lambda: Job.objects.filter(pk=job.pk, state="transferring").exists(), 30, stack.log("jobs"))
    transfer = Transfer.objects.get(job=job)
    return f"{stack.transfer_url}/transfer/downloads/{transfer.pk}/{signature(transfer)}/{name}"


def download_seconds(url: str, target: Path) -> float:
    """`url`: of tickets.download_url."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=600)
    began = time.perf_counter()
    connection.request("GET", parts.path)
    answer = connection.getresponse()
    assert answer.status == 200, answer.read()
    with target.open("wb") as file:
        shutil.copyfileobj(answer, file, MIB)
    connection.close()
    return time.perf_counter() - began


def memory_of(pids: Iterable[int]) -> int:
    """Bytes that these processes have for themselves."""
    total = 0
    for pid in pids:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) * 1024
    return total
