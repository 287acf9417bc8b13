"""The real processes and a real libvirtd: what comes is what is stored, whatever dies on the way."""

import hashlib
import os

import pytest
from stack import wait_for
from transfer_tools import MIB, create, offset_of, patch, pieces, real_data

from storagemgr.jobs.models import Job
from volumes.models import Transfer, Volume

pytestmark = [pytest.mark.chaos, pytest.mark.django_db(transaction=True)]


def ended(job_id: int, stack) -> Job:
    def look():
        return Job.objects.filter(pk=job_id, state__in=("succeeded", "failed", "cancelled")).first()

    return wait_for(look, 60, stack.log("jobs"))


def test_what_comes_is_stored_and_found_whole(stack, pool, token, images, tmp_path):
    file = real_data(tmp_path / "disk.img", 100)
    wanted = hashlib.sha256(file.read_bytes()).hexdigest()
    status, headers, text = create(
        stack, token, file.stat().st_size, pool=pool.pk, name="disk.raw", format="raw", sha256=wanted
    )
    assert status == 201, (text, stack.log("transfer"), stack.log("jobs"))
    url = headers["location"]
    assert patch(url, 0, pieces(file, 0, 40 * MIB), 40 * MIB)[0] == 204
    assert offset_of(url) == 40 * MIB
    assert Volume.objects.get(name="disk.raw").notes.quarantined_because
    assert patch(url, 40 * MIB, pieces(file, 40 * MIB), 60 * MIB)[0] == 204
    job = ended(Transfer.objects.get().job_id, stack)
    assert job.state == "succeeded", (job.error_code, job.error_text)
    assert hashlib.sha256((images / "disk.raw").read_bytes()).hexdigest() == wanted
    assert not Volume.objects.get(name="disk.raw").notes.quarantined_because
