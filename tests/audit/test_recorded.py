"""What stood there before is told with what stands there now, and who fetched bytes from where."""

import uuid
from urllib.parse import quote

import pytest
from django.contrib.auth.models import Group
from django.test import RequestFactory
from django.urls import reverse

from pools.models import PoolDraft
from storagemgr.access import audit
from storagemgr.access.models import AuditEvent
from storagemgr.jobs import runner
from storagemgr.jobs.operations import REGISTRY
from storagemgr.jobs.submit import submit
from volumes.models import Transfer
from volumes.transfer.records import note_address

pytestmark = pytest.mark.django_db


def do(actor, name, target, **params):
    job = submit(REGISTRY[name], target, actor=actor, params=params, key=uuid.uuid4())
    runner.run(job.pk)
    return AuditEvent.objects.get(job_id=job.pk, outcome="done").details


def test_notes_and_protection(operator, manager, pool, volume):
    team = Group.objects.create(name="Web")
    note = {"owner": team.pk, "ticket": "T1", "note": "old", "expires_on": "2027-06-30"}
    do(operator, "pool.note", pool, **note)
    told = do(operator, "pool.note", pool, **note | {"note": "new", "owner": None})
    assert told["before"] == {"owner": "Web", "ticket": "T1", "note": "old", "expires_on": "2027-06-30"}
    assert told["after"] == {"owner": "", "ticket": "T1", "note": "new", "expires_on": "2027-06-30"}
    do(operator, "volume.protect", volume, reason="base", until="")
    told = do(manager, "volume.unprotect", volume)
    assert (told["before"]["protected_because"], told["after"]["protected_because"]) == ("base", "")
    told = do(operator, "volume.keep", volume, reason="a template")
    assert told["after"]["not_unused_because"] == "a template"


def test_a_draft_from_its_first_step_to_the_bin(client, manager, host):
    client.force_login(manager)
    client.post(reverse("pools:new"))
    draft = PoolDraft.objects.get()
    client.post(reverse("pools:draft_step", args=[draft.pk, "type"]), {"type": "netfs"})
    client.post(reverse("pools:draft_discard", args=[draft.pk]))
    events = AuditEvent.objects.order_by("id")
    assert [event.action for event in events] == ["draft.begin", "draft.change", "draft.discard"]
    assert (events[1].details["before"]["type"], events[1].details["after"]["type"]) == ("", "netfs")


def test_each_address_that_fetches_is_told_once(operator, pool, volume):
    job = submit(REGISTRY["volume.download"], volume, actor=operator, params={}, key=uuid.uuid4())
    transfer = Transfer.objects.create(job=job, direction="down", file_name="web01.qcow2", size=7)
    for address in ("192.0.2.1", "192.0.2.1", "192.0.2.2"):
        note_address(RequestFactory().get("/", REMOTE_ADDR=address), transfer)
    told = AuditEvent.objects.filter(action="volume.fetch").order_by("id")
    assert [event.address for event in told] == ["192.0.2.1", "192.0.2.2"]
    assert (told[0].actor, told[0].volume_name, told[0].details["bytes"]) == (operator, volume.name, 7)


def test_a_text_of_any_length_is_written_as_far_as_there_is_room(client, administrator):
    client.force_login(administrator)
    client.post("/accounts/preview/", {"role": "viewer"})
    key = f"1-{'x' * 900}\0"
    assert client.post(f"/accounts/password/reset/key/{quote(key)}/").status_code == 403
    event = AuditEvent.objects.latest("id")
    assert (event.outcome, len(event.object_text), "\0" in event.object_text) == ("denied", 600, False)
    assert audit.record("x", "done", actor=None, object_text="a\0b").object_text == "a\ufffdb"
