"""The configuration of pools on a real storage host: what is typed is what is mounted, once the pool is restarted."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from config_tools import sent_by, text_of, typed, url
from django.contrib.auth.models import User
from django.test import Client
from lab.guests import CommandFailed, Guest
from lab.labs import CHAP_PASSWORD, CHAP_TARGET, CHAP_USER
from sync_tools import close_connections, pool_row, read_host

from pools.models import Pool, PoolConfiguration
from storagemgr.hosts.models import Host
from storagemgr.jobs import runner
from storagemgr.jobs.models import Job
from storagemgr.virt import pool_xml
from storagemgr.virt import pools as virt_pools
from storagemgr.virt.connection import connect

pytestmark = pytest.mark.django_db(transaction=True)  # a lease is renewed by a thread
UUID = "6f1c0b9e-2b57-4d0e-9a44-58c1f2e7a31"


@pytest.fixture
def host(lab1: Guest, lab2: Guest) -> Iterator[Host]:
    yield Host.objects.create(name="lab2", socket=str(lab2.socket))
    close_connections()


@pytest.fixture
def define(host: Host) -> Callable[..., Pool]:
    def make(kind: str, values: dict[str, Any], start: bool) -> Pool:
        with connect(host.uri) as c:
            pool_uuid = virt_pools.define(c, pool_xml.build(kind, "vmstore", f"{UUID}{start:d}", values))
            if start:
                virt_pools.start(c, pool_uuid)
        read_host(host)
        return pool_row(pool_uuid)

    return make


@pytest.fixture
def apply(client: Client, administrator: User) -> Callable[..., Job]:
    """Types it into the form, reviews it and confirms it; returns the job after its end."""
    client.force_login(administrator)

    def go(pool: Pool, restart: bool = False, **fields: str) -> Job:
        review = typed(client, pool, "review", **fields)
        assert review.status_code == 200, text_of(review)
        sent = sent_by(review, "operation-form") | ({"restart": "on"} if restart else {})
        assert client.post(f"/pools/{pool.pk}/configure/", sent).status_code == 303
        job = Job.objects.latest("pk")
        runner.run(job.pk)
        job.refresh_from_db()
        return job

    return go


def mounted_with(guest: Guest) -> list[str]:
    return guest.run("findmnt -n -o OPTIONS /vm_data").strip().split(",")


def test_mount_options_wait_for_the_restart_and_are_mounted_then(lab1, lab2, define, apply, client):
    lab1.run("echo kept > /srv/vm_data/kept")
    values = {"source_host": lab1.address, "source_dir": "/srv/vm_data", "format": "nfs"}
    pool = define("netfs", values | {"target_path": "/vm_data"}, start=True)
    assert "noatime" not in mounted_with(lab2)
    job = apply(pool, mount_options="noatime\r\nsoft")
    assert (job.state, job.error_text) == ("succeeded", "")
    assert "noatime" not in mounted_with(lab2)
    said = text_of(client.get(url(pool)), "banner-pending")
    assert "Mount options: noatime added, soft added." in said
    job = apply(pool, restart=True, mount_options="noatime\r\nsoft\r\nacregmin=7")
    assert (job.state, job.error_text) == ("succeeded", "")
    assert {"noatime", "soft", "acregmin=7"} <= set(mounted_with(lab2))
    assert "banner-pending" not in client.get(url(pool)).content.decode()
    assert lab2.run("cat /vm_data/kept").strip() == "kept"
    rows = PoolConfiguration.objects.filter(pool_uuid=pool.uuid)
    assert [row.made_by for row in rows] == ["", "ada", "ada"]


def test_a_change_by_virsh_in_the_guest_is_seen_as_made_outside(lab1, lab2, define, host):
    values = {"source_host": lab1.address, "source_dir": "/srv/vm_data", "format": "nfs"}
    pool = define("netfs", values | {"target_path": "/vm_data"}, start=True)
    lab2.run(
        "virsh pool-dumpxml --inactive vmstore > /tmp/p.xml"
        " && sed -i 's,/srv/vm_data,/srv/iso,' /tmp/p.xml && virsh pool-define /tmp/p.xml"
    )
    read_host(host)
    rows = list(PoolConfiguration.objects.filter(pool_uuid=pool.uuid))
    assert [row.made_by for row in rows] == ["", ""]
    assert pool_xml.differences(rows[0].xml, rows[1].xml) == ["Export: /srv/iso instead of /srv/vm_data."]


def test_a_password_typed_later_logs_in(lab1, lab2, define, apply, host):
    values = {"source_host": lab1.address, "target_iqn": CHAP_TARGET, "target_path": "/dev/disk/by-path"}
    pool = define("iscsi", values, start=False)
    with connect(host.uri) as c:
        job = apply(pool, auth_user=CHAP_USER, auth_password="not" + CHAP_PASSWORD)
        assert job.state == "succeeded", job.error_text
        with pytest.raises(virt_pools.VirtError):
            virt_pools.start(c, str(pool.uuid))
        job = apply(pool, auth_password=CHAP_PASSWORD)
        assert job.state == "succeeded", job.error_text
        virt_pools.start(c, str(pool.uuid))
        assert CHAP_TARGET in lab2.run("iscsiadm -m session")
        virt_pools.stop(c, str(pool.uuid))
    with pytest.raises(CommandFailed):
        lab2.run("iscsiadm -m session")
    assert CHAP_PASSWORD not in "".join(row.xml for row in PoolConfiguration.objects.all())
