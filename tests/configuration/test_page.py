"""The page of a configuration: its form, its XML, and both in step."""

import time
from pathlib import Path

import pytest
from config_tools import problem_of, sent_by, text_of, typed, url, xml_on
from django.test import override_settings

from pools.models import PoolConfiguration
from storagemgr.access.models import AuditEvent
from storagemgr.jobs.models import Job
from storagemgr.virt import pool_xml
from storagemgr.virt.errors import VirtError
from storagemgr.virt.pool_fields import fields_of

pytestmark = pytest.mark.django_db
NEW = {
    "device_dir": "/dev/disk/by-id",
    "setting": "debug=1",
    "pci": "0001:02:03.4",
    "host": "changed.example.com",
}
CORPUS = sorted((Path(__file__).parent.parent / "virt/corpus").glob("*.xml"))


def test_the_corpus_is_there():
    assert len(CORPUS) > 30


@pytest.mark.parametrize("file", CORPUS, ids=lambda file: file.stem)
def test_what_nobody_changed_stays_to_the_last_character(as_manager, make_configured, file):
    xml = file.read_text()
    pool = make_configured(xml)
    for to in ("xml", "form"):
        shown = typed(as_manager, pool, to)
        assert xml_on(shown).strip() == xml.strip()
    assert "Nothing is changed yet." in text_of(typed(as_manager, pool, "review"))


@pytest.mark.parametrize("file", CORPUS, ids=lambda file: file.stem)
def test_an_edit_by_form_leaves_all_else_as_it_was(as_manager, make_configured, file):
    xml = file.read_text()
    pool = make_configured(xml)
    was = pool_xml.values_of(xml)
    for field in fields_of(pool.type):
        if field.kind not in ("text", "lines") or not was[field.name]:
            continue
        new = NEW.get(field.takes, "changed1")
        wanted = [*was[field.name], new] if field.kind == "lines" else new
        sent = "\r\n".join(wanted) if field.kind == "lines" else new
        edited = xml_on(typed(as_manager, pool, "xml", **{field.name: sent}))
        assert pool_xml.values_of(edited)[field.name] == wanted
        others = [name for name in was if name != field.name and name != "target_path"]
        assert [pool_xml.values_of(edited)[name] for name in others] == [was[name] for name in others]
        back = pool_xml.edited(edited, {field.name: was[field.name]})
        assert pool_xml.same(back, xml), pool_xml.differences(back, xml)


def test_form_and_xml_changed_together_become_one(as_manager, make_configured, nfs):
    pool = make_configured(nfs)
    page = as_manager.get(url(pool))
    sent = sent_by(page)
    sent["xml"] = sent["xml"].replace("/export/vm", "/export/more")
    sent |= {"mount_options": "noatime\r\nnordirplus", "to": "form"}
    both = as_manager.post(url(pool), sent)
    assert both.status_code == 200
    values = pool_xml.values_of(xml_on(both))
    assert (values["source_dir"], values["mount_options"]) == ("/export/more", ["noatime", "nordirplus"])
    again = sent_by(both)
    assert (again["source_dir"], again["mount_options"]) == ("/export/more", "noatime\r\nnordirplus")
    # The next step starts from what was shown last.
    gone = as_manager.post(url(pool), again | {"mount_options": "", "to": "xml"})
    assert "mount_opts" not in xml_on(gone)


def test_a_wrong_field_is_told_beside_it_and_what_was_typed_stays(as_manager, make_configured, nfs):
    pool = make_configured(nfs)
    response = typed(as_manager, pool, "review", target_path="/etc", source_dir="/export/new")
    assert response.status_code == 422
    assert "belongs to the host's system" in problem_of(response, "target_path")
    sent = sent_by(response)
    assert (sent["target_path"], sent["source_dir"]) == ("/etc", "/export/new")
    assert "<path>/etc</path>" in xml_on(response)
    assert not Job.objects.exists()


def test_what_libvirt_took_before_may_stay_wrong(as_manager, make_configured, nfs):
    pool = make_configured(nfs.replace("/srv/vm", "/var/lib/libvirt"))
    assert typed(as_manager, pool, "review", mount_options="noatime\r\nro").status_code == 200
    assert typed(as_manager, pool, "review", target_path="/etc").status_code == 422


@override_settings(POOL_PATHS=["/vm_data"])
def test_a_new_path_stays_below_those_that_are_allowed(as_manager, make_configured, nfs):
    pool = make_configured(nfs)
    wrong = typed(as_manager, pool, "review", target_path="/srv/other")
    assert "is not below /vm_data" in problem_of(wrong, "target_path")
    assert typed(as_manager, pool, "review", target_path="/vm_data/x").status_code == 200


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("<name>vmstore</name>", "<name>other</name>", "Line 2: the name stays vmstore."),
        ("6f1c0b9e", "7f1c0b9e", "Line 3: the UUID stays 6f1c0b9e"),
        ("type='netfs'", "type='fs'", "Line 1: the type stays netfs."),
        ("<uuid>6f1c0b9e-2b57-4d0e-9a44-58c1f2e7a310</uuid>", "", "Line 1: the UUID stays"),
        ("</source>", "</sauce>", "Line 8: this is not XML"),
        ("<pool ", "<!DOCTYPE pool SYSTEM 'file:///etc/passwd'><pool ", "a document type is not allowed"),
        ("<source>", "<source><device path='/dev/sda'/>", "Line 4: A pool of type netfs has no <device>."),
        ("<source>", "<source><adapter name='host1'/>", "Line 4: A pool of type netfs has no <adapter>."),
        ("</path>", "</path><permissions><mode>04777</mode></permissions>", "Line 10: Mode 04777"),
        ("<source>", "<source><frob/>", "Line 4: "),
    ],
)
def test_expert_xml_is_checked_and_each_message_has_its_line(
    as_manager, make_configured, nfs, old, new, said
):
    pool = make_configured(nfs)
    assert old in nfs
    wrong = nfs.replace(old, new, 1)
    response = typed(as_manager, pool, "review", xml=wrong)
    assert response.status_code == 422
    assert said in text_of(response, "xml-said")
    assert xml_on(response) == wrong
    assert not Job.objects.exists()


def test_a_secret_of_somebody_else_cannot_be_named(as_manager, make_configured, nfs):
    xml = nfs.replace("type='netfs'", "type='iscsi'").replace("<format type='nfs'/>", "")
    xml = xml.replace("<dir path='/export/vm'/>", "<device path='iqn.2026-01.com.example:disks'/>")
    xml = xml.replace("/srv/vm", "/dev/disk/by-path").partition("  <fs:mount")[0] + "</pool>\n"
    pool = make_configured(xml)
    foreign = "<auth type='chap' username='u'><secret usage='somebody'/></auth></source>"
    response = typed(as_manager, pool, "review", xml=xml.replace("</source>", foreign))
    assert "was not made for this pool" in text_of(response, "xml-said")


def options(count):
    return "</target>\n<fs:mount_opts>" + "<fs:option name='ro'/>\n" * count + "</fs:mount_opts>"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda xml: xml.replace("nas1", "n" * 70_000), "longer than a configuration may be"),
        (lambda xml: xml.replace("</target>", options(30_000)), "longer than a configuration may be"),
        (lambda xml: xml.replace("<source>", "<source>" + "<a>" * 10_000), "nested too deep"),
        (
            lambda xml: "<!DOCTYPE p [<!ENTITY a 'aaaaaaaaaa'><!ENTITY b '&a;&a;&a;&a;&a;&a;'>]>" + xml,
            "a document type is not allowed",
        ),
    ],
)
def test_xml_that_would_take_long_is_refused_at_once(as_manager, make_configured, nfs, wrong, said):
    pool = make_configured(nfs)
    sent = sent_by(as_manager.get(url(pool))) | {"to": "review", "xml": wrong(nfs)}
    began = time.perf_counter()
    response = as_manager.post(url(pool), sent)
    assert time.perf_counter() - began < 1
    assert response.status_code == 422
    assert said in text_of(response, "xml-said")
    assert not Job.objects.exists()


def test_ten_megabytes_are_not_even_read(as_manager, make_configured, nfs):
    pool = make_configured(nfs)
    assert as_manager.post(url(pool), {"to": "review", "xml": "x" * 10_000_000}).status_code == 400


def test_the_longest_text_is_still_compared_quickly(as_manager, make_configured, nfs):
    pool = make_configured(nfs.replace("</target>", options(2_500)).partition("  <fs:mount")[0] + "</pool>")
    began = time.perf_counter()
    response = typed(as_manager, pool, "review", source_dir="/export/new")
    assert response.status_code == 200
    assert time.perf_counter() - began < 5


def test_the_review_says_what_changes_when_and_how_with_virsh(as_manager, make_configured, nfs):
    pool = make_configured(nfs)
    response = typed(as_manager, pool, "review", mount_options="noatime\r\nnordirplus", mode="0750")
    page = text_of(response)
    assert response.status_code == 200
    assert "Mount options: nordirplus added." in text_of(response, "words")
    lines = [line for line in text_of(response, "diff").splitlines() if line[0] in "+-"]
    assert [line.split() for line in lines] == [
        ["+", "<permissions>"],
        ["+", "<mode>0750</mode>"],
        ["+", "</permissions>"],
        ["+", "<fs:option", 'name="nordirplus"/>'],
    ]
    assert "takes effect once the pool is stopped and started" in page
    assert "given to the directory when the pool is built" in page
    assert f"pool-define {pool.uuid}.xml" in text_of(response, "virsh-line")
    assert not Job.objects.exists()
    pool.state = "inactive"
    pool.save()
    assert "when it is started next" in text_of(typed(as_manager, pool, "review", mount_options=""))


def test_the_confirmed_change_is_a_job(as_manager, manager, make_configured, nfs):
    pool = make_configured(nfs)
    review = typed(as_manager, pool, "review", mount_options="")
    sent = sent_by(review, "operation-form")
    action = f"/pools/{pool.pk}/configure/"
    response = as_manager.post(action, sent)
    assert response.status_code == 303
    job = Job.objects.get()
    assert (job.operation, job.requested_by, job.is_exclusive) == ("pool.configure", manager, True)
    assert "mount_opts" not in job.params["definition"]
    assert as_manager.post(action, sent).url == response.url
    assert Job.objects.count() == 1
    asked = text_of(as_manager.get(job.get_absolute_url()))
    assert "Stop and start the pool now, so that it takes effect no" in asked


@pytest.mark.parametrize("xml", ["", "<pool", "<pool type='dir'><name>x</name></pool>"])
def test_a_request_made_by_hand_is_checked_as_well(as_manager, make_configured, nfs, xml):
    pool = make_configured(nfs)
    sent = sent_by(typed(as_manager, pool, "review", mount_options=""), "operation-form")
    response = as_manager.post(f"/pools/{pool.pk}/configure/", sent | {"xml": xml})
    assert response.status_code == 422
    assert text_of(response, "errors")
    assert not Job.objects.exists()
    dangerous = nfs.replace("/srv/vm", "/etc")
    response = as_manager.post(f"/pools/{pool.pk}/configure/", sent | {"xml": dangerous})
    assert (response.status_code, Job.objects.count()) == (422, 0)
    assert "belongs to the host's system" in text_of(response, "errors")


def test_a_stale_page_is_told_who_changed_what(as_manager, make_configured, nfs):
    pool = make_configured(nfs)
    page = sent_by(as_manager.get(url(pool)))
    pool.xml = nfs.replace("noatime", "ro")
    pool.save()
    PoolConfiguration.objects.create(host=pool.host, pool_uuid=pool.uuid, xml=pool.xml, made_by="otto")
    response = as_manager.post(url(pool), page | {"to": "review", "source_dir": "/export/x"})
    assert response.status_code == 409
    assert "changed by otto" in text_of(response, "changed")
    assert "Mount options: ro added, noatime removed." in text_of(response, "changed")
    assert sent_by(response)["source_dir"] == "/export/x"


def test_a_viewer_reads_and_does_not_write(client, viewer, make_configured, nfs):
    pool = make_configured(nfs)
    client.force_login(viewer)
    page = client.get(url(pool))
    assert "You are Viewer here." in text_of(page, "off")
    assert "config-form" not in page.content.decode()
    assert "noatime" in text_of(page)
    assert client.post(url(pool), {"to": "review", "xml": nfs}).status_code == 403
    assert AuditEvent.objects.filter(action="pool.configure", outcome="denied").exists()


@pytest.mark.parametrize(
    ("fields", "host_fields", "said"),
    [
        ({"persistent": False}, {}, "The pool is transient"),
        ({}, {"state": "down"}, "has not answered since"),
    ],
)
def test_what_cannot_be_changed_says_why(as_manager, make_configured, nfs, fields, host_fields, said):
    pool = make_configured(nfs, **fields)
    type(pool.host).objects.update(**host_fields)
    page = as_manager.get(url(pool))
    assert said in text_of(page, "off")
    assert "config-form" not in page.content.decode()
    latest = pool.uuid and as_manager.post(url(pool), {"to": "review", "version": "1", "xml": nfs})
    assert latest.status_code == 409


def test_a_definition_that_was_not_read_yet(as_manager, make_pool):
    page = as_manager.get(url(make_pool()))
    assert "has not been read yet" in text_of(page, "off")


def test_what_waits_for_a_restart_is_said_on_both_pages(as_manager, make_configured, nfs):
    running = nfs.replace("noatime", "ro")
    pool = make_configured(nfs, running_xml=running)
    for address in (url(pool), pool.get_absolute_url()):
        said = text_of(as_manager.get(address), "banner-pending")
        assert "Mount options: noatime added, ro removed." in said
    pool.state = "inactive"
    pool.save()
    assert text_of(as_manager.get(url(pool)), "banner-pending") == ""


def test_xml_stays_text(as_manager, make_configured, nfs):
    evil = nfs.replace("nas1", "&lt;/textarea&gt;&lt;script&gt;alert(1)&lt;/script&gt;")
    page = as_manager.get(url(make_configured(evil))).content.decode()
    assert "<script>alert" not in page
    assert "</textarea><script" not in page


def test_the_page_is_kept_by_no_browser(as_manager, make_configured, nfs):
    assert "no-store" in as_manager.get(url(make_configured(nfs)))["Cache-Control"]


def test_text_that_xml_cannot_have(as_manager, make_configured, nfs):
    pool = make_configured(nfs)
    response = typed(as_manager, pool, "review", source_host="nas\x01")
    assert response.status_code == 422
    with pytest.raises(VirtError):
        pool_xml.edited(nfs, {"source_host": "nas\x01"})
