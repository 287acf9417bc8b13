"""A job whose call of libvirt never returns ends within its limit, and others go on."""

import pytest
from daemon import PrivateDaemon
from hanging_fs import HangingFileSystem
from live_tools import in_state
from stack import Stack, wait_for

from pools.models import Pool
from storagemgr.hosts.models import Host
from storagemgr.virt import pools as virt_pools
from storagemgr.virt.connection import connect

pytestmark = [pytest.mark.chaos, pytest.mark.django_db(transaction=True)]


def test_a_refresh_of_dead_storage_is_given_up(ask, transactional_db, tmp_path):
    stack = Stack(JOB_LIMIT="8", JOB_PROCESSES="1")
    mount = HangingFileSystem(tmp_path / "libvirt" / "mount")
    with PrivateDaemon(tmp_path / "libvirt") as daemon, mount:
        Host.objects.create(
            name="kvm1", mode="system" if daemon.system else "session", socket=str(daemon.socket)
        )
        (tmp_path / "healthy").mkdir()
        with connect(daemon.uri) as connection:
            for directory in (mount.directory, tmp_path / "healthy"):
                xml = virt_pools.dir_pool_xml(directory.name, str(directory))
                virt_pools.start(connection, virt_pools.define(connection, xml))
        try:
            stack.start("redis", "jobs", "sync", "tick")
            sick = wait_for(Pool.objects.filter(name="mount").first, 60, stack.log("sync"))
            healthy = wait_for(Pool.objects.filter(name="healthy").first, 60)
            mount.hang()
            job = wait_for(in_state(ask("pool.refresh", sick), "failed", "succeeded"), 40, stack.log("jobs"))
            assert job.error_code == "too_slow", job.error_text
            other = ask("pool.refresh", healthy)
            wait_for(in_state(other, "succeeded"), 30, stack.log("jobs"))
            mount.answer()
            wait_for(lambda: Pool.objects.get(pk=sick.pk).answers, 60, "it answers again")
            wait_for(in_state(ask("pool.refresh", sick), "succeeded"), 30, stack.log("jobs"))
        finally:
            mount.answer()
            stack.stop()
