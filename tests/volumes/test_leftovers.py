"""What came of an upload that ended before its last run is deleted, and nothing else. On a real libvirtd."""

import os
import uuid
from datetime import timedelta

import pytest
from django.utils import timezone
from sync_tools import read_host

from storagemgr.access.models import Grant
from storagemgr.jobs.models import Job
from storagemgr.jobs.operations import REGISTRY
from storagemgr.jobs.runner import run
from storagemgr.jobs.submit import submit
from storagemgr.virt import pools
from storagemgr.virt.connection import connect
from volumes.models import Transfer, Volume, VolumeNotes
from volumes.transfer.sweep import sweep

pytestmark = pytest.mark.django_db
SIZE = 1024**2


@pytest.fixture
def given_up(read, images, make_user):
    """All bytes of an upload had come, and then its person lost the right: the pool, and the job."""
    pool, person = read(images), make_user("una", "operator")
    params = {"name": "new.raw", "format": "raw", "size": SIZE, "sha256": "", "file_name": "f.raw"}
    job = submit(REGISTRY["volume.upload"], pool, actor=person, params=params, key=uuid.uuid4())
    run(job.pk)
    Transfer.objects.filter(job=job).update(done=SIZE)
    (images / "new.raw").write_bytes(b"x" * SIZE)
    Grant.objects.filter(user=person).delete()
    Job.objects.filter(pk=job.pk).update(state="queued")
    run(job.pk)
    job.refresh_from_db()
    assert (job.state, job.error_code) == ("failed", "not_permitted_any_more")
    assert (images / "new.raw").exists()
    return pool, job


def deletions():
    return Job.objects.filter(operation="volume.delete_now")


def test_it_is_deleted_once_its_pool_runs(given_up, daemon, images, client, viewer):
    pool, job = given_up
    client.force_login(viewer)
    assert (
        "it is deleted by itself, once its pool runs" in client.get(job.get_absolute_url()).content.decode()
    )
    with connect(daemon.uri) as connection:
        pools.stop(connection, str(pool.uuid))
        read_host(pool.host)
        sweep(timezone.now())
        assert not deletions().exists()
        pools.start(connection, str(pool.uuid))
        read_host(pool.host)
    sweep(timezone.now())
    sweep(timezone.now())
    deletion = deletions().get()
    run(deletion.pk)
    deletion.refresh_from_db()
    assert (deletion.state, deletion.error_text) == ("succeeded", "")
    assert not (images / "new.raw").exists()
    assert not VolumeNotes.objects.filter(volume_name="new.raw").exists()
    assert "deleted by itself" not in client.get(job.get_absolute_url()).content.decode()
    sweep(timezone.now() + timedelta(days=2))
    assert deletions().count() == 1


@pytest.mark.parametrize("other", ["longer", "later", "between", "accepted", "uploaded again"])
def test_what_is_something_else_stays(given_up, images, other):
    pool, job = given_up
    file = images / "new.raw"
    if other == "longer":
        file.write_bytes(b"y" * 2 * SIZE)
    elif other == "later":
        os.utime(file, (file.stat().st_atime, timezone.now().timestamp() + 3600))
    elif other == "accepted":
        VolumeNotes.objects.filter(volume_name="new.raw").update(quarantined_because="")
    elif other == "uploaded again":
        transfer = Transfer.objects.get(job=job)
        Job.objects.filter(pk=job.pk).update(state="transferring", finished_at=None)
        assert transfer.is_ready
    with connect(pool.host.uri) as connection:
        pools.refresh(connection, str(pool.uuid))
    read_host(pool.host)
    assert Volume.objects.filter(name="new.raw").exists()
    sweep(timezone.now())
    assert deletions().exists() == (other == "between")
    if other == "between":
        file.write_bytes(b"y" * 3 * SIZE)
        run(deletions().get().pk)
        assert deletions().get().error_code == "changed_since"
    assert file.exists()
