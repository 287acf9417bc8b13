"""What a worker does to a real libvirt, and what it refuses."""

import json
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from config_tools import problem_of, sent_by, text_of, typed, url
from daemon import PrivateDaemon
from django.core import serializers
from django.urls import reverse
from django.utils import timezone
from sync_tools import Virsh, close_connections, define_and_start, forget_pool, host_of, read_host

from pools.configuration import history
from pools.models import Pool, PoolConfiguration
from storagemgr.access.models import AuditEvent
from storagemgr.jobs import runner
from storagemgr.jobs.models import Job, JobLine
from storagemgr.jobs.operations import REGISTRY
from storagemgr.jobs.submit import submit
from storagemgr.jobs.sweep import settle
from storagemgr.virt import pool_xml, secrets
from storagemgr.virt import pools as virt_pools
from storagemgr.virt.connection import Connection, connect
from volumes.models import DiskUse, Volume

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateDaemon]:
    with PrivateDaemon(tmp_path_factory.mktemp("libvirtd")) as running:
        yield running


@pytest.fixture
def virsh(daemon: PrivateDaemon) -> Virsh:
    return Virsh(daemon.uri)


@pytest.fixture
def c(daemon: PrivateDaemon) -> Iterator[Connection]:
    with connect(daemon.uri) as connection:
        yield connection


@pytest.fixture
def host(db: None, daemon: PrivateDaemon) -> Iterator[Any]:
    yield host_of(daemon)
    close_connections()


@pytest.fixture
def images(c: Connection, host: Any, tmp_path: Path) -> Iterator[Pool]:
    """A running pool in `old`, read, and a directory `new` beside it."""
    (tmp_path / "new").mkdir()
    uuid_ = define_and_start(c, tmp_path / "old", "one.img")
    read_host(host)
    yield Pool.objects.get(uuid=uuid_)
    forget_pool(c, uuid_)


@pytest.fixture
def apply(as_manager: Any) -> Callable[..., Job]:
    """Type it, review it, confirm it and let a worker do it; `between` happens before the worker comes."""

    def go(
        pool: Pool, between: Callable[[], Any] = lambda: None, restart: bool = False, **fields: str
    ) -> Job:
        review = typed(as_manager, pool, "review", **fields)
        assert review.status_code == 200, text_of(review)
        sent = sent_by(review, "operation-form") | ({"restart": "on"} if restart else {})
        assert as_manager.post(f"/pools/{pool.pk}/configure/", sent).status_code == 303
        job = Job.objects.latest("pk")
        between()
        runner.run(job.pk)
        job.refresh_from_db()
        return job

    return go


def paths(c: Connection, pool: Pool) -> tuple[str, str]:
    """The last parts of the paths that libvirt defines and runs."""
    config = virt_pools.read_config_xml(c, str(pool.uuid))
    return tuple(Path(pool_xml.values_of(xml)["target_path"]).name for xml in config)


def made_by(pool: Pool) -> list[str]:
    return [row.made_by for row in PoolConfiguration.objects.filter(pool_uuid=pool.uuid)]


def test_another_path_of_a_running_pool_waits_for_its_restart(
    c, host, images, apply, virsh, as_manager, tmp_path
):
    job = apply(images, target_path=str(tmp_path / "new"))
    assert (job.state, job.error_code) == ("succeeded", "")
    assert paths(c, images) == ("new", "old")
    assert made_by(images) == ["", "mona"]
    assert PoolConfiguration.objects.last().job_id == job.pk
    page = text_of(as_manager.get(url(images)), "banner-pending")
    assert f"{tmp_path / 'new'} instead of {tmp_path / 'old'}" in page
    virsh("pool-destroy", images.uuid)
    virsh("pool-start", images.uuid)
    read_host(host)
    assert paths(c, images) == ("new", "new")
    assert "banner-pending" not in as_manager.get(url(images)).content.decode()
    assert made_by(images) == ["", "mona"]


def test_it_can_be_stopped_and_started_at_once(c, images, apply, tmp_path):
    job = apply(images, restart=True, target_path=str(tmp_path / "new"))
    assert job.state == "succeeded"
    assert paths(c, images) == ("new", "new")
    lines = list(JobLine.objects.filter(job=job).values_list("text", flat=True))
    assert [line for line in lines if line.endswith("pool") or line == "Define"] == [
        *("Define", "Stop the pool", "Start the pool")
    ]
    images.refresh_from_db()
    assert (images.state, images.running_xml) == ("running", "")


def test_a_pool_that_vms_use_is_not_stopped_for_it(images, as_manager, tmp_path):
    volume = Volume.objects.get(pool=images)
    use = {"domain_name": "web01", "domain_uuid": uuid.uuid4(), "kind": "disk", "running": True}
    DiskUse.objects.create(volume=volume, host=images.host, **use)
    review = typed(as_manager, images, "review", target_path=str(tmp_path / "new"))
    assert "Running VMs have disks here: web01" in text_of(review, "no-restart")
    assert "restart" not in sent_by(review, "operation-form")
    sent = sent_by(review, "operation-form") | {"restart": "on"}
    as_manager.post(f"/pools/{images.pk}/configure/", sent)
    assert "restart" not in Job.objects.latest("pk").params


def test_a_start_that_fails_leaves_the_new_configuration_and_says_so(c, images, apply, tmp_path):
    job = apply(images, restart=True, target_path=str(tmp_path / "missing"))
    assert (job.state, job.error_code) == ("failed", "not_started_with_change")
    assert paths(c, images) == ("missing", "missing")
    images.refresh_from_db()
    assert images.state == "inactive"
    assert made_by(images) == ["", "mona"]


def test_who_was_faster_with_virsh_wins(c, images, apply, virsh, tmp_path, as_manager):
    (tmp_path / "theirs").mkdir()
    file = tmp_path / "pool.xml"
    file.write_text(
        virt_pools.read_config(c, str(images.uuid)).xml.replace(f"{tmp_path}/old", f"{tmp_path}/theirs")
    )
    job = apply(images, lambda: virsh("pool-define", file), target_path=str(tmp_path / "new"))
    assert (job.state, job.error_code) == ("failed", "changed_since")
    assert "It was changed outside this program" in job.error_text
    assert f"{tmp_path}/theirs instead of {tmp_path}/old" in job.error_text
    assert paths(c, images) == ("theirs", "old")
    assert made_by(images) == ["", ""]
    again = as_manager.get(f"/pools/{images.pk}/configure/?again={job.pk}")
    assert f"{tmp_path}/new instead of {tmp_path}/theirs" in text_of(again, "words")


def test_what_libvirt_refuses_changes_nothing(c, images, apply, tmp_path):
    other = define_and_start(c, tmp_path / "other")
    job = apply(images, target_path=str(tmp_path / "other"))
    assert (job.state, job.error_code) == ("failed", "source_conflict")
    assert paths(c, images) == ("old", "old")
    assert made_by(images) == [""]
    forget_pool(c, other)


def test_an_earlier_one_is_brought_back(c, images, apply, as_manager, tmp_path):
    apply(images, target_path=str(tmp_path / "new"))
    first = PoolConfiguration.objects.filter(pool_uuid=images.uuid).first()
    address = reverse("pools:configuration_at", args=[images.pk, first.pk])
    assert "bring-back" in as_manager.get(address).content.decode()
    review = as_manager.post(address)
    assert f"{tmp_path}/old instead of {tmp_path}/new" in text_of(review, "words")
    as_manager.post(f"/pools/{images.pk}/configure/", sent_by(review, "operation-form"))
    job = Job.objects.latest("pk")
    assert job.title == f"Bring back an earlier configuration of {images.name}"
    runner.run(job.pk)
    assert paths(c, images) == ("old", "old")
    rows = list(PoolConfiguration.objects.filter(pool_uuid=images.uuid))
    assert [row.made_by for row in rows] == ["", "mona", "mona"]
    assert pool_xml.same(rows[0].xml, rows[2].xml)


@pytest.fixture
def interrupted(images: Pool, as_manager: Any, c: Connection, tmp_path: Path) -> Job:
    """The job of a worker that died: `c` may have got its definition, or not."""
    review = typed(as_manager, images, "review", target_path=str(tmp_path / "new"))
    as_manager.post(f"/pools/{images.pk}/configure/", sent_by(review, "operation-form"))
    job = Job.objects.latest("pk")
    Job.objects.filter(pk=job.pk).update(
        state="interrupted", daemon="1:2:3", started_at=timezone.now(), next_settle_at=timezone.now()
    )
    return Job.objects.get(pk=job.pk)


def test_settling_finds_that_it_was_done(c, images, interrupted):
    virt_pools.define(c, interrupted.params["definition"])
    settle(interrupted.pk)
    interrupted.refresh_from_db()
    assert (interrupted.state, interrupted.is_recovered) == ("succeeded", True)
    assert made_by(images) == ["", "mona"]


def test_settling_finds_that_it_was_not_done(images, interrupted):
    settle(interrupted.pk)
    interrupted.refresh_from_db()
    assert (interrupted.state, interrupted.error_code) == ("failed", "nothing_done")
    assert made_by(images) == [""]


def test_settling_finds_something_else(c, images, interrupted, tmp_path):
    xml = interrupted.params["definition"].replace(f"{tmp_path}/new", f"{tmp_path}/third")
    virt_pools.define(c, xml)
    settle(interrupted.pk)
    interrupted.refresh_from_db()
    assert (interrupted.state, interrupted.error_code) == ("failed", "changed_since")
    assert f"{tmp_path}/third" in interrupted.finding


def test_settling_finds_no_pool(c, images, interrupted):
    forget_pool(c, str(images.uuid))
    settle(interrupted.pk)
    interrupted.refresh_from_db()
    assert (interrupted.state, interrupted.error_code) == ("failed", "target_gone")


ISCSI = """\
<pool type='iscsi'><name>luns</name>
  <source><host name='127.0.0.1'/><device path='iqn.2026-01.com.example:disks'/></source>
  <target><path>/dev/disk/by-path</path></target></pool>"""
PASSWORD = "correct horse battery"


@pytest.fixture
def luns(c: Connection, host: Any) -> Iterator[Pool]:
    uuid_ = virt_pools.define(c, ISCSI)
    read_host(host)
    yield Pool.objects.get(uuid=uuid_)
    forget_pool(c, uuid_)
    secrets.forget_secret(c, pool_xml.own_secret(uuid_))


def everything_stored() -> str:
    models = (Job, JobLine, AuditEvent, PoolConfiguration, Pool)
    return "".join(serializers.serialize("json", model.objects.all()) for model in models)


def test_a_password_becomes_a_private_secret_and_stands_nowhere_else(c, luns, apply, as_manager):
    review = typed(as_manager, luns, "review", auth_user="mona", auth_password=PASSWORD)
    assert "Password: a new one." in text_of(review, "words")
    assert PASSWORD not in review.content.decode()
    job = apply(luns, auth_user="mona", auth_password=PASSWORD)
    assert job.state == "succeeded", job.error_text
    own = pool_xml.own_secret(str(luns.uuid))
    values = pool_xml.values_of(virt_pools.read_config(c, str(luns.uuid)).xml)
    assert (values["auth_user"], values["auth_secret"]) == ("mona", own)
    secret = c.raw.secretLookupByUUIDString(own)
    assert "private='yes'" in secret.XMLDesc(0)
    assert PASSWORD not in everything_stored()
    assert Job.objects.latest("pk").sealed == ""
    page = as_manager.get(url(luns))
    assert "One is kept" in text_of(page)
    assert PASSWORD not in page.content.decode()


def test_a_password_that_was_typed_is_kept_on_the_way_and_only_encrypted(luns, as_manager):
    shown = typed(as_manager, luns, "xml", auth_user="mona", auth_password=PASSWORD)
    sent = sent_by(shown)
    assert PASSWORD not in shown.content.decode()
    assert sent["sealed"]
    assert sent["auth_password"] == ""
    review = as_manager.post(url(luns), sent | {"to": "review"})
    assert "Password: a new one." in text_of(review, "words")
    other = as_manager.post(url(luns), sent | {"to": "review", "sealed": "gAAAAnonsense"})
    assert other.status_code == 422
    assert "needs a password" in problem_of(other, "auth_password")


def test_a_user_without_a_password_is_told(luns, as_manager):
    response = typed(as_manager, luns, "review", auth_user="mona")
    assert response.status_code == 422
    assert "needs a password" in problem_of(response, "auth_password")
    # The XML has a user by now, and its secret is not there.
    again = as_manager.post(url(luns), sent_by(response) | {"to": "review"})
    assert "needs a password" in problem_of(again, "auth_password")


def test_a_secret_that_cannot_be_stored_takes_the_definition_back(c, luns, apply):
    own = pool_xml.own_secret(str(luns.uuid))
    xml = (
        f"<secret private='yes'><uuid>{own}</uuid><usage type='iscsi'><target>other</target></usage></secret>"
    )
    taken = c.raw.secretDefineXML(xml, 0)
    job = apply(luns, auth_user="mona", auth_password=PASSWORD)
    assert job.state == "failed"
    assert "auth" not in virt_pools.read_config(c, str(luns.uuid)).xml
    assert made_by(luns) == [""]
    assert PASSWORD not in json.dumps([job.error_text, job.finding])
    taken.undefine()


def test_a_pool_that_was_stopped_meanwhile_is_not_started_for_it(c, images, apply, virsh, tmp_path):
    job = apply(
        images, lambda: virsh("pool-destroy", images.uuid), restart=True, target_path=str(tmp_path / "new")
    )
    assert job.state == "succeeded"
    images.refresh_from_db()
    assert (images.state, paths(c, images)) == ("inactive", ("new", "new"))


def test_a_vm_that_came_meanwhile_keeps_the_pool_running(c, images, apply, tmp_path):
    def start_vm():
        use = {"domain_name": "web01", "domain_uuid": uuid.uuid4(), "kind": "disk", "running": True}
        DiskUse.objects.create(volume=Volume.objects.get(pool=images), host=images.host, **use)

    job = apply(images, start_vm, restart=True, target_path=str(tmp_path / "new"))
    assert (job.state, job.error_code) == ("failed", "changed_since")
    assert "web01" in job.error_text
    assert paths(c, images) == ("old", "old")


def test_a_password_without_a_user_is_dropped(c, luns, apply, as_manager):
    shown = typed(as_manager, luns, "xml", auth_user="mona", auth_password=PASSWORD)
    gone = as_manager.post(url(luns), sent_by(shown) | {"auth_user": "", "to": "xml"})
    assert sent_by(gone)["sealed"] == ""
    assert "<auth" not in sent_by(gone)["xml"]


def test_the_daemon_checks_it_by_its_own_schema_too(c, images, manager):
    base = PoolConfiguration.objects.get(pool_uuid=images.uuid)
    params = {"version": base.pk, "definition": base.xml.replace("<target>", "<frob/><target>")}
    job = submit(REGISTRY["pool.configure"], images, actor=manager, params=params, key=uuid.uuid4())
    runner.run(job.pk)
    job.refresh_from_db()
    assert (job.state, job.error_code) == ("failed", "xml_invalid")
    assert made_by(images) == [""]


@pytest.fixture
def of_this_pool(make_user, images, client):
    """Manager of one pool, and of nothing else on its host."""
    user = make_user("paul", "manager", host=images.host, pool_uuid=images.uuid)
    client.force_login(user)
    return client


def test_who_manages_one_pool_makes_it_of_nothing_else_of_the_host(c, images, of_this_pool, tmp_path):
    page = typed(of_this_pool, images, "review", target_path=str(tmp_path / "new"))
    assert page.status_code == 422
    assert "That takes the role Manager on the host" in text_of(page)
    sent = sent_by(page, "operation-form")
    assert of_this_pool.post(f"/pools/{images.pk}/configure/", sent).status_code == 303
    job = Job.objects.latest("pk")
    runner.run(job.pk)
    job.refresh_from_db()
    assert (job.state, job.error_code) == ("failed", "other_storage")
    assert paths(c, images) == ("old", "old")


def test_who_manages_one_pool_changes_how_it_is_used(c, images, apply, of_this_pool):
    job = apply(images, mode="0700")
    assert (job.state, job.error_code) == ("succeeded", "")


@pytest.mark.parametrize(
    ("change", "is_elsewhere"),
    [
        (("nas1", "nas2"), True),
        (("/export/vm", "/export/other"), True),
        (("<path>/srv/vm<", "<path>/srv/vm2<"), True),
        (("<path>/srv/vm<", "<path>/srv<!-- -->/other<"), True),
        (("<host name='nas1'/>", "<host name='nas1' port='99'/>"), True),
        (("<path>/srv/vm<", "<path>/srv/vm/<"), False),
        (("noatime", "soft"), False),
        (("<format type='nfs'/>", "<format type='nfs'/><auth type='chap' username='u'/>"), False),
    ],
)
def test_what_is_other_storage(nfs, change, is_elsewhere):
    assert history.is_elsewhere(nfs, nfs.replace(*change)) is is_elsewhere
