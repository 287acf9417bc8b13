"""The step Source on rows alone: what was found, who sees it, who has it already."""

import re
import uuid

import pytest
from django.utils import timezone
from wizard_tools import words

from pools.making import finding
from pools.models import NewPool
from storagemgr.access.models import AuditEvent
from storagemgr.jobs.models import Job
from storagemgr.virt import pool_xml

pytestmark = pytest.mark.django_db

NFS = {"source_host": "nas1", "source_dir": "/export/vm", "format": "nfs"}


@pytest.fixture
def kvm2(host, make_host):
    return make_host("kvm2")


def finds(new, *sources, type_="netfs"):
    """As a search that ended on this host."""
    asked = {"type": type_, "source_host": "nas1", "source_port": "", "initiator": ""}
    found = {"asked": asked, "sources": list(sources)}
    NewPool.objects.filter(pk=new.pk).update(found=found, found_at=timezone.now())
    Job.objects.create(
        operation="pool.find_sources",
        title="Look",
        host=new.host,
        pool_uuid=new.uuid,
        state="succeeded",
        params=asked,
    )


def export(path, server="nas1"):
    return finding.found(
        {"source_host": server, "source_dir": path, "format": "nfs"}, f"{server}:{path}", "NFS export"
    )


def test_a_password_is_not_hidden_behind_what_was_found(maker, host):
    making = maker(host)
    making.send("type", type="iscsi")
    values = {"source_host": "nas1", "target_iqn": "iqn.2026-01.test:none"}
    finds(making.news[0], finding.found(values, "iqn.2026-01.test:none", "on nas1"), type_="iscsi")
    assert "Set a password, or type it yourself" in words(making.get("source"))
    assert '<details class="sm-more" id="typed">' in making.get("source").content.decode()
    making.send("source", **values, auth_user="labuser", auth_password="Hunter2-and-a-half")
    assert '<details class="sm-more" id="typed" open>' in making.get("source").content.decode()


def test_what_was_found_says_who_sees_it_and_who_has_it(maker, host, kvm2, make_pool, make_user, client):
    making = maker(host, kvm2)
    making.send("type", type="netfs")
    one, two = making.news
    finds(one, export("/export/vm"), export("/export/iso"), export("/export/old"))
    finds(two, export("/export/vm"), export("/export/old"))
    xml = pool_xml.build("netfs", "held", str(uuid.uuid4()), NFS | {"target_path": "/srv/held"})
    make_pool("held", host, type="netfs", xml=xml)
    for where in (host, kvm2):
        make_pool("old", where, type="netfs", xml=xml.replace("/export/vm", "/export/old"))
    page = words(making.get("source"))
    assert "3 found" in page
    assert "all 2 hosts" in page
    assert "1 of 2 hosts" in page
    assert "Seen by kvm1. kvm2 does not see it" in page
    assert "Already the pool held on kvm1." in page
    html = making.get("source").content.decode()
    offered = {source["text"]: source["key"] for source in making.news[0].found["sources"]}
    assert re.search(rf'value="{offered["nas1:/export/old"]}" disabled', html)
    assert not re.search(rf'value="{offered["nas1:/export/vm"]}" disabled', html)
    assert making.post("source", pick=offered["nas1:/export/old"]).status_code == 422
    assert making.send("source", pick=offered["nas1:/export/iso"], format="nfs") == "options"
    assert making.draft.values["source_dir"] == "/export/iso"
    assert 'value="/srv/iso"' in making.get("options").content.decode()


def test_a_pool_that_one_may_not_see_has_no_name(maker, host, make_pool, make_user, client):
    """A manager of the host sees all its pools, so the row is of a host of which they see one pool."""
    from pools.drafts.conflicts import Taken

    xml = pool_xml.build("netfs", "secret-name", str(uuid.uuid4()), NFS | {"target_path": "/srv/held"})
    make_pool("secret-name", host, type="netfs", xml=xml)
    [holder] = Taken(make_user("nobody"), [host]).source("netfs", NFS)
    assert holder.words == "a pool that you may not see"
    [holder] = Taken(make_user("vip", "viewer"), [host]).source("netfs", NFS)
    assert holder.words == "the pool secret-name"


def test_a_source_that_is_taken_everywhere_is_said_beside_it(maker, host, make_pool):
    xml = pool_xml.build("netfs", "held", str(uuid.uuid4()), NFS | {"target_path": "/srv/held"})
    make_pool("held", host, type="netfs", xml=xml)
    making = maker(host)
    making.send("type", type="netfs")
    page = making.post("source", **NFS | {"source_dir": "/export/vm/"})
    assert page.status_code == 422
    assert "On kvm1 the pool held uses this already." in words(page)


def test_a_search_asks_every_host_that_answers(maker, host, kvm2, make_host):
    silent = make_host("kvm3", state="silent")
    making = maker(host, kvm2, silent)
    making.send("type", type="netfs")
    assert making.post("source", find="1", source_host="").status_code == 422
    assert making.post("source", find="1", source_host="nas1; reboot").status_code == 422
    assert not Job.objects.exists()
    making.send("source", find="1", source_host="nas1", source_dir="wrong as yet")
    jobs = Job.objects.filter(operation="pool.find_sources")
    assert set(jobs.values_list("host__name", flat=True)) == {"kvm1", "kvm2"}
    assert AuditEvent.objects.filter(action="pool.find_sources", outcome="asked").count() == 2
    page = words(making.get("source"))
    assert "kvm1 is being asked" in page
    assert "kvm3 does not answer now and is not asked." in page
    making.send("source", find="1", source_host="nas1")
    assert jobs.count() == 2


def test_a_host_that_failed_says_so_beside_those_that_answered(maker, host, kvm2):
    making = maker(host, kvm2)
    making.send("type", type="netfs")
    one, two = making.news
    finds(one, export("/export/vm"))
    finds(two)
    failed = {
        "state": "failed",
        "error_code": "too_slow",
        "error_text": "libvirt did not answer within 20 seconds.",
    }
    Job.objects.filter(pool_uuid=two.uuid).update(**failed)
    NewPool.objects.filter(pk=two.pk).update(found=None)
    page = words(making.get("source"))
    assert "kvm2:" in page
    assert "did not answer within 20 seconds." in page
    assert "/export/vm" in page


def test_what_a_server_names_stays_text(maker, host):
    making = maker(host)
    making.send("type", type="netfs")
    finds(making.news[0], export('/"><img src=x onerror=alert(1)>\u202e'))
    html = making.get("source").content.decode()
    assert "<img src=x" not in html
    assert "\u202e" not in html


def test_iscsi_direct_is_not_searched_and_says_why(maker, host):
    making = maker(host)
    making.send("type", type="iscsi-direct")
    page = words(making.get("source"))
    assert "damages the memory of its daemon" in page
    assert "Ask for its targets" not in page
    making.post("source", find="1", source_host="nas1")
    assert not Job.objects.exists()


def test_a_disk_that_a_pool_has_by_another_name_is_not_free(maker, host, make_pool):
    vg = pool_xml.build("logical", "vg0", str(uuid.uuid4()), {"source_name": "vg0"})
    files = pool_xml.build(
        "fs", "files", str(uuid.uuid4()), {"device": "/dev/sdc1", "target_path": "/srv/files"}
    )
    make_pool("vg0", type="logical", xml=vg)
    make_pool("files", type="fs", xml=files)
    making = maker(host)
    making.send("type", type="disk")
    by_path = "/dev/disk/by-path/pci-0000:00:1f.2-ata-"
    rows = [
        finding.found({"device": f"{by_path}1"}, "/dev/sdb", "", names=["/dev/sdb"], groups=["vg0"]),
        finding.found(
            {"device": f"{by_path}2"}, "/dev/sdc", "", names=["/dev/sdc", f"{by_path}2"], groups=[]
        ),
        finding.found({"device": f"{by_path}3"}, "/dev/sdd", "", names=["/dev/sdd"], groups=["vg1"]),
    ]
    finds(making.news[0], *rows, type_="disk")
    said = words(making.get("source"))
    assert "Already the pool vg0" in said
    assert "Already the pool files" in said
    assert said.count("Already the pool") == 2
