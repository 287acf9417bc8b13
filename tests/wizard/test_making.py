"""From nothing to a running pool, on a real libvirtd."""

import pytest
from django.urls import reverse
from sync_tools import Virsh, host_of, read_host
from wizard_tools import words

from pools.models import Pool
from storagemgr.access.models import AuditEvent
from storagemgr.jobs.models import Job

pytestmark = pytest.mark.django_db


def test_a_directory_pool_from_nothing_to_running(maker, real_host, daemon, place):
    making = maker()
    assert making.to_review("dir", "web", {"target_path": str(place)}) == "review"
    said = words(making.get("review"))
    assert "Make the pool web on 1 host" in said
    assert f"{place} is made if it is missing." in said
    [job] = making.create()
    assert (job.state, job.error_text) == ("succeeded", "")
    pool = Pool.objects.get(name="web")
    assert (pool.state, pool.autostart, pool.persistent, pool.target_path) == ("running", True, True, str(place))
    assert place.is_dir()
    assert "web" in Virsh(daemon.uri)("pool-list", "--autostart")
    assert "Open web" in words(making.get("result"))
    outcomes = AuditEvent.objects.filter(job_id=job.pk).values_list("outcome", flat=True)
    assert set(outcomes) == {"asked", "done"}
