"""Notes on pools, their protection, and the panel before a pool is stopped, deleted or forgotten."""

import re
import uuid
from datetime import timedelta
from pathlib import Path

import pytest
from django.contrib.auth.models import Group
from django.urls import reverse
from django.utils import timezone

from pools import noting, safety
from pools.models import PoolNotes
from storagemgr.jobs.models import Job
from storagemgr.jobs.operations import REGISTRY
from storagemgr.jobs.runner import run as run_job
from volumes.models import DiskUse
from volumes.operations import keeping

pytestmark = pytest.mark.django_db
PROTECTED = {"protected_because": "all web VMs", "protected_by": "anna"}


def protection():
    return PROTECTED | {"protected_at": timezone.now()}


def url(pool, slug):
    return reverse("pools:operate", args=[pool.pk, slug])


def text(response):
    return " ".join(re.sub(r"<[^>]*>", " ", response.content.decode()).replace("\xa0", " ").split())


def lines(pool, action, user):
    return [(line.is_ok, line.text.replace("\xa0", " ")) for line in safety.checks(pool, action, user)]


def test_notes_on_a_pool(client, pool, make_pool, operator):
    noting.save(make_pool("second"), {"owner": Group.objects.create(name="Other")})
    team = Group.objects.create(name="Web")
    operator.groups.add(team)
    client.force_login(operator)
    fields = {"key": str(uuid.uuid4()), "owner": team.pk, "note": "from 2019", "ticket": "OPS-7"}
    assert client.post(url(pool, "note"), fields).status_code == 303
    run_job(Job.objects.latest("pk").pk)
    page = text(client.get(pool.get_absolute_url()))
    assert "Owner Web Ticket OPS-7" in page
    assert "from 2019" in page
    for query, found in (("owner=Web", True), ("owner=Other", False), ("q=OPS-7", True), ("q=2019", True)):
        assert (f'id="pool-{pool.pk}"' in client.get(f"/?{query}").content.decode()) is found, query


def test_a_protected_pool_keeps_its_storage(client, run, dir_pool, manager):
    path = Path(dir_pool.target_path)
    run("pool.build", dir_pool)
    noting.save(dir_pool, protection())
    job = run("pool.delete", dir_pool)
    assert (job.state, job.error_code) == ("failed", "changed_since")
    assert "all web VMs" in job.error_text
    assert path.is_dir()
    client.force_login(manager)
    page = client.get(url(dir_pool, "delete"))
    assert "In the way: The pool is protected by anna" in text(page)
    assert url(dir_pool, "unprotect") in page.content.decode()
    client.post(url(dir_pool, "unprotect"), {"key": str(uuid.uuid4())})
    run_job(Job.objects.latest("pk").pk)
    assert run("pool.delete", dir_pool).state == "succeeded"
    assert not path.exists()


def test_a_protected_volume_keeps_the_storage_of_its_pool(pool, volume, make_volume, manager):
    pool.state = "inactive"
    keeping.save(volume, protection())
    keeping.save(
        make_volume("old"), protection() | {"protected_until": timezone.localdate() - timedelta(days=1)}
    )
    assert safety.why_not(pool, "delete") == f"Volumes in it are protected: {volume.name}."
    assert (False, "1 volume in it is protected.") in lines(pool, "delete", manager)
    assert REGISTRY["pool.delete"].why_off(pool).startswith("Volumes in it")
    # To forget it loses nothing.
    assert REGISTRY["pool.undefine"].why_off(pool) == ""
    assert (True, "1 volume in it is protected.") in lines(pool, "undefine", manager)


@pytest.mark.parametrize(
    ("pool_type", "action", "is_ok"),
    [("dir", "stop", True), ("netfs", "stop", False), ("dir", "delete", False), ("dir", "undefine", True)],
)
def test_running_vms(pool, volume, manager, pool_type, action, is_ok):
    pool.type = pool_type
    fields = {"host": pool.host, "domain_uuid": uuid.uuid4(), "kind": "disk", "running": True}
    DiskUse.objects.create(volume=volume, domain_name="web01", **fields)
    [found] = [ok for ok, words in lines(pool, action, manager) if "web01" in words]
    assert found is is_ok


def test_jobs_that_run_or_are_to_come(client, pool, volume, make_user, manager):
    place = {"host": pool.host, "pool_uuid": pool.uuid, "operation": "volume.delete"}
    Job.objects.create(title="Clone web01", state="running", **place)
    due = {"due_at": timezone.now() + timedelta(hours=1)}
    Job.objects.create(title="Delete web01", state="scheduled", volume_name=volume.name, **due, **place)
    client.force_login(manager)
    page = text(client.get(url(pool, "stop")))
    assert "1 job of this pool has not ended. Clone web01 . This one waits for them." in page
    assert "1 job of this pool is to start later. Delete web01 . They fail if" in page
    assert client.post(url(pool, "stop"), {"key": str(uuid.uuid4())}).status_code == 303


def test_notes_outlive_the_row_of_their_pool(pool):
    noting.save(pool, protection())
    pool.delete()
    assert PoolNotes.objects.get().pool is None
