"""Each type made by libvirt's test driver, which takes all of them: the XML, the steps and what undoing leaves."""

from collections.abc import Iterator

import pytest
from wizard_tools import words

from pools.making import creation, undoing
from pools.making.plans import plan_of, steps_of
from pools.models import NewPool, Pool
from storagemgr.jobs.models import Job
from storagemgr.jobs.operations import Run
from storagemgr.virt import pool_xml
from storagemgr.virt import pools as virt_pools
from storagemgr.virt.connection import Connection, connect
from storagemgr.virt.pool_fields import FIELDS
from storagemgr.virt.pool_types import TYPES

pytestmark = pytest.mark.django_db

PATH = {"target_path": "/srv/pool"}
LUNS = {"target_path": "/dev/disk/by-path"}
# type -> what is typed in the steps Source and Options
TYPED = {
    "dir": ({}, PATH | {"mode": "0750", "owner": "64055", "group": "108", "cow": "no"}),
    "fs": ({"device": "/dev/sdb1", "format": "xfs"}, PATH | {"mount_options": "noatime"}),
    "netfs": (
        {"source_host": "nas1", "source_dir": "/export", "format": "nfs", "protocol_version": "4.2"},
        PATH | {"mount_options": "noatime\nnconnect=4"},
    ),
    "logical": ({"source_name": "vg0", "devices": "/dev/sdb\n/dev/sdc", "format": "lvm2"}, {"build": "keep"}),
    "disk": ({"device": "/dev/sdb", "format": "gpt"}, {"target_path": "/dev", "build": "keep"}),
    "iscsi": (
        {"source_host": "san1", "source_port": "3261", "target_iqn": "iqn.2026-01.com.example:a",
         "initiator": "iqn.2026-01.com.example:kvm1"},
        LUNS,
    ),
    "iscsi-direct": (
        {"source_host": "san1", "target_iqn": "iqn.2026-01.com.example:a",
         "initiator": "iqn.2026-01.com.example:kvm1"},
        {},
    ),
    "scsi": ({"adapter_kind": "scsi_parent", "parent_address": "0000:00:1f.2", "unique_id": "1"}, LUNS),
    "mpath": ({}, {"target_path": "/dev/mapper"}),
    "rbd": ({"monitors": "ceph1\nceph2:6790", "source_name": "libvirt"}, {"settings": "client_mount_timeout=30"}),
    "gluster": ({"source_host": "gl1", "source_name": "vms", "source_dir": "/"}, {}),
    "zfs": ({"source_name": "tank", "devices": "/dev/sdb"}, {"build": "yes"}),
    "vstorage": ({"source_name": "cluster1"}, PATH),
    "sheepdog": ({"source_host": "sheep1", "source_port": "7000", "source_name": "all"}, {}),
}  # fmt: skip


@pytest.fixture
def c() -> Iterator[Connection]:
    with connect("test:///default") as connection:
        yield connection


def reviewed(maker, host, type_):
    host.pool_types = dict.fromkeys(TYPES, True)
    host.save()
    making = maker(host)
    source, options = TYPED[type_]
    assert making.to_review(type_, "made", {"build": "no", "autostart": "on"} | options, **source) == "review"
    return making


def run_of(new, operation, params, c):
    job = Job.objects.create(
        operation=operation,
        title="Make",
        host=new.host,
        pool_uuid=new.uuid,
        pool_name=new.name,
        params=params,
    )
    # The test driver keeps its pools in the process, not in the connection.
    return Run(job=job, target=creation.find(job), connect=lambda: connect("test:///default"))


def test_every_type_has_its_case():
    assert set(TYPED) == set(FIELDS) == set(TYPES)


@pytest.mark.parametrize("type_", TYPED)
def test_a_pool_of_each_type_is_made_and_undone(maker, host, c, type_):
    making = reviewed(maker, host, type_)
    said = words(making.get("review"))
    assert "What libvirt gets" in said
    new = making.news[0]
    plan = plan_of(new)
    assert pool_xml.schema_problems(plan["xml"]) == []
    run = run_of(new, "pool.create", plan, c)
    try:
        assert [step.title for step in creation.CREATE.run(run)][0] == "Define"
        assert virt_pools.read_pool(c, str(new.uuid)).state == "running"
        done = NewPool.objects.get(pk=new.pk).done
        assert [name for name in done if name in steps_of(plan)] == steps_of(plan)
        assert Pool.objects.get(uuid=new.uuid).type == type_
        NewPool.objects.filter(pk=new.pk).update(done=[name for name in done if name != "made"])
        list(undoing.UNDO.run(run_of(new, "pool.undo_creation", {}, c)))
        assert str(new.uuid) not in virt_pools.list_uuids(c)
        assert not Pool.objects.exists()
    finally:
        for connection in run.connections:
            connection.close()


@pytest.mark.parametrize("type_", TYPED)
def test_what_was_typed_stands_in_the_xml(maker, host, type_):
    making = reviewed(maker, host, type_)
    read = pool_xml.values_of(plan_of(making.news[0])["xml"])
    for name, value in {**TYPED[type_][0], **TYPED[type_][1]}.items():
        if name in read:
            assert read[name] == (value.splitlines() if isinstance(read[name], list) else value), name
