"""Deleting with time to undo it, and at once."""

import os
import signal
import uuid
from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone
from stack import wait_for
from sync_tools import Virsh

from storagemgr.jobs.models import Job
from storagemgr.jobs.operations import REGISTRY, operations_for
from storagemgr.jobs.runner import run
from storagemgr.jobs.submit import Held, submit
from storagemgr.jobs.sweep import sweep
from storagemgr.virt import pools as virt_pools
from storagemgr.virt.connection import connect
from volumes.models import Volume, VolumeNotes
from volumes.operations.deleting import scheduled_deletion

pytestmark = pytest.mark.django_db
DOMAIN = """<domain type='qemu'><name>web01</name><uuid>6695eb01-f6a4-8304-79aa-97f2502e1931</uuid><memory>1024</memory>
<os><type arch='x86_64' machine='pc'>hvm</type></os>
<devices><emulator>/bin/true</emulator><disk type='file'><source file='{path}'/><target dev='vda'/></disk></devices>
</domain>"""


def when_its_time_comes(job: Job) -> Job:
    Job.objects.filter(pk=job.pk).update(due_at=timezone.now())
    sweep(timezone.now())
    run(job.pk)
    job.refresh_from_db()
    return job


@pytest.fixture
def disk(read, images):
    (images / "disk").write_bytes(b"kept")
    read(images)
    return Volume.objects.select_related("pool__host").get(name="disk")


def post(client, user, volume, slug, **fields):
    client.force_login(user)
    url = reverse("volumes:operate", args=[volume.pk, slug])
    return client.post(url, {"key": str(uuid.uuid4())} | fields, follow=True)


def test_it_is_deleted_when_its_time_has_come(client, operator, disk, images, settings):
    VolumeNotes.objects.create(
        host=disk.pool.host, pool_uuid=disk.pool.uuid, volume_name="disk", volume=disk, note="x"
    )
    page = post(client, operator, disk, "delete")
    job = scheduled_deletion(disk)
    assert job.due_at - job.created_at == pytest.approx(
        timedelta(seconds=settings.DELETE_DELAY), abs=timedelta(seconds=5)
    )
    assert page.redirect_chain == [(job.get_absolute_url(), 303)]
    text = page.content.decode()
    assert "It will be done on" in text
    assert "Undo" in text
    assert "No job is running" in text, "what is for later is not at work"
    assert "cannot be used until this ends" in text
    assert (images / "disk").exists()
    assert when_its_time_comes(job).state == "succeeded"
    assert not (images / "disk").exists()
    assert not Volume.objects.filter(name="disk").exists()
    assert not VolumeNotes.objects.exists()


def test_until_then_it_is_locked_and_can_be_undone(client, operator, disk, ask, images):
    post(client, operator, disk, "delete")
    job = scheduled_deletion(disk)
    with pytest.raises(Held):
        ask("volume.clone", disk, name="copy", source="disk")
    refused = post(client, operator, disk, "resize", capacity="1 MiB")
    assert refused.status_code == 409
    assert "Undo that there first" in refused.content.decode()
    found = client.get(reverse("jobs:list"), {"state": "scheduled"}).content.decode()
    assert job.get_absolute_url() in found
    page = client.get(disk.get_absolute_url()).content.decode()
    assert "It will be deleted on" in page
    assert f'action="{reverse("jobs:cancel", args=[job.pk])}"' in page
    assert "to be deleted" in client.get(reverse("volumes:all")).content.decode()
    undone = client.post(reverse("jobs:cancel", args=[job.pk]), follow=True).content.decode()
    assert "Undone before its time" in undone
    assert scheduled_deletion(disk) is None
    assert "It will be deleted" not in client.get(disk.get_absolute_url()).content.decode()
    assert (images / "disk").read_bytes() == b"kept"
    assert ask("volume.clone", disk, name="copy", source="disk").state != "scheduled"


def test_what_came_meanwhile_is_seen(client, operator, disk, daemon, images):
    post(client, operator, disk, "delete")
    daemon.domain_directory.mkdir(parents=True, exist_ok=True)
    (daemon.domain_directory / "web01.xml").write_text(DOMAIN.format(path=images / "disk"))
    os.kill(daemon.pid, signal.SIGHUP)
    virsh = Virsh(daemon.uri)
    wait_for(lambda: "web01" in virsh("list", "--all", "--name"), 20)
    try:
        job = when_its_time_comes(scheduled_deletion(disk))
    finally:
        virsh("undefine", "web01")
    assert (job.state, job.error_code) == ("failed", "changed_since")
    assert "web01" in job.error_text
    assert (images / "disk").exists()
    notice = client.get(reverse("volumes:all")).content.decode()
    assert f"notice-{job.pk}" in notice


def test_a_stopped_pool_keeps_its_volume(client, operator, disk, daemon, images):
    post(client, operator, disk, "delete")
    with connect(daemon.uri) as connection:
        virt_pools.stop(connection, str(disk.pool.uuid))
        job = when_its_time_comes(scheduled_deletion(disk))
        virt_pools.start(connection, str(disk.pool.uuid))
    assert job.state == "failed"
    assert job.error_code in ("changed_since", "pool_inactive")
    assert (images / "disk").exists()


def test_at_once_takes_its_own_right_and_the_name(client, operator, manager, disk, ask, images):
    assert post(client, operator, disk, "delete-now", typed_name="disk").status_code == 403
    assert post(client, manager, disk, "delete-now").status_code == 422
    assert (images / "disk").exists()
    assert ask("volume.delete_now", disk, manager).state == "succeeded"
    assert not (images / "disk").exists()


def test_without_a_delay_there_is_only_at_once(volume, settings):
    def names():
        return {operation.name for operation in operations_for(volume)} & {
            "volume.delete",
            "volume.delete_now",
        }

    assert names() == {"volume.delete", "volume.delete_now"}
    settings.DELETE_DELAY = 0
    assert names() == {"volume.delete_now"}


def test_a_worker_that_comes_late_says_nothing_of_the_day_before(client, operator, volume):
    """The job waited for its time, not for a worker."""
    job = submit(REGISTRY["volume.delete"], volume, actor=operator, params={}, key=uuid.uuid4())
    now = timezone.now()
    Job.objects.filter(pk=job.pk).update(created_at=now - timedelta(days=1), due_at=now, state="queued")
    client.force_login(operator)
    page = client.get(job.get_absolute_url()).content.decode()
    assert "Its turn is next" in page


def test_what_was_deleted_together_is_undone_together(client, operator, viewer, make_volume):
    volumes = [make_volume(f"disk{number}") for number in range(3)]
    client.force_login(operator)
    chosen = {"key": str(uuid.uuid4()), "volume": [volume.pk for volume in volumes]}
    page = client.post(reverse("volumes:selected", args=["delete"]), chosen, follow=True)
    batch = Job.objects.first().batch
    assert "3 scheduled." in page.content.decode()
    assert "Undo all 3 of them" in page.content.decode()
    undo = reverse("jobs:undo_batch", args=[batch.pk])
    client.force_login(viewer)
    assert "Undo" not in client.get(batch.get_absolute_url()).content.decode()
    client.post(undo)
    assert batch.jobs.filter(state="scheduled").count() == 3
    client.force_login(operator)
    page = client.post(undo, follow=True).content.decode()
    assert "3 cancelled." in page
    assert "Undo all" not in page
