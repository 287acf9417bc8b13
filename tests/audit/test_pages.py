"""The pages of the audit: who reads what of it, and how it is found again."""

import csv
import io
import json
import uuid
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.urls import reverse
from django.utils import timezone

from storagemgr.access import audit, checking
from storagemgr.access.models import AuditEvent, Role
from storagemgr.access.sealing import head_in_database, seal_new

pytestmark = pytest.mark.django_db
LIST = "people:audit"


@pytest.fixture(autouse=True)
def own_directory(settings, tmp_path):
    settings.DATA_DIR = tmp_path


@pytest.fixture
def auditor(make_user):
    Role.objects.create(name="auditor", title="Auditor", rights=["audit.read"])
    return make_user("aud", "auditor")


def write(action="pool.start", outcome="done", actor=None, **fields):
    return audit.record(action, audit.Outcome(outcome), actor=actor, **{"object_text": action} | fields)


def shown(client, **query):
    page = client.get(reverse(LIST), query)
    assert page.status_code == 200
    return [row.event.object_text for row in page.context["rows"]]


def test_what_is_read_is_what_the_right_covers(client, make_user, auditor, pool, make_host):
    other = make_host("kvm2")
    write(object_text="mine", host_id=pool.host_id, pool_uuid=pool.uuid)
    foreign = write(object_text="foreign", host_id=other.pk, pool_uuid=uuid.uuid4())
    write("account.sign-in", object_text="of nobody's host")
    client.force_login(make_user("part", "auditor", host=pool.host))
    assert shown(client) == ["mine"]
    assert client.get(reverse("people:audit_event", args=[foreign.pk])).status_code == 404
    assert shown(client, host=other.pk) == []
    exported = b"".join(client.get(reverse("people:audit_export"), {"format": "json"}).streaming_content)
    assert {row["object_text"] for row in json.loads(exported)} == {"mine"}
    assert client.post(reverse("people:audit_check")).status_code == 403
    client.force_login(auditor)
    assert len(shown(client, about="pool")) == 2


def test_who_grants_and_does_not_read_the_audit_is_refused(client, make_user):
    Role.objects.create(name="granter", title="Granter", rights=["access.manage"])
    client.force_login(make_user("g", "granter"))
    assert client.get(reverse(LIST)).status_code == 403
    assert AuditEvent.objects.get(outcome="denied").action == "audit.read"


def test_events_are_found(client, auditor, operator, pool):
    place = {"host_id": pool.host_id, "pool_uuid": pool.uuid}
    write("volume.clone", "asked", operator, object_text="Clone web01", volume_name="web01", **place)
    write("volume.wipe", "denied", operator, object_text="Wipe web01", address="2001:db8::7", **place)
    old = write("account.sign-in", object_text="Signed in", actor=auditor)
    AuditEvent._base_manager.filter(pk=old.pk).update(at=timezone.now() - timedelta(days=40))
    client.force_login(auditor)
    assert shown(client) == ["Wipe web01", "Clone web01", "Signed in"]
    assert shown(client, sort="when") == ["Signed in", "Clone web01", "Wipe web01"]
    assert shown(client, sort="action") == ["Signed in", "Clone web01", "Wipe web01"]
    assert (
        shown(client, q="wipe")
        == shown(client, state="denied")
        == shown(client, q="2001:db8:0::7")
        == ["Wipe web01"]
    )
    assert shown(client, person="OLGA") == ["Wipe web01", "Clone web01"]
    assert shown(client, about="account") == ["Signed in"]
    assert shown(client, pool=pool.uuid, volume="web01") == ["Clone web01"]
    day = timezone.localdate() - timedelta(days=40)
    assert shown(client, to=day) == ["Signed in"]
    assert shown(client, **{"from": day + timedelta(days=1)}) == ["Wipe web01", "Clone web01"]
    nonsense = {
        "from": "x",
        "to": "9999-99-99",
        "pool": "x",
        "host": "x",
        "about": "x",
        "state": "x",
        "page": "x",
    }
    assert len(shown(client, **nonsense)) == 3
    operator.delete()
    assert shown(client, person="olga") == ["Wipe web01", "Clone web01"]


def test_an_event_tells_all_it_knows(client, auditor, operator, pool):
    before = {"note": "old <b>", "xml": "<pool>\n<a/>\n</pool>", "mode": "system"}
    after = {"note": "new", "xml": "<pool>\n<b/>\n</pool>", "mode": "system"}
    details = {"before": before, "after": after, "params": {"reason": "why"}}
    place = {"host_id": pool.host_id, "pool_uuid": pool.uuid, "address": "192.0.2.1"}
    event = write("pool.note", actor=operator, right="pool.note", details=details, **place)
    seal_new()
    client.force_login(auditor)
    page = client.get(reverse("people:audit_event", args=[event.pk])).text
    for told in (
        "<del>old &lt;b&gt;</del>",
        "<ins>new</ins>",
        "<del>- &lt;a/&gt;</del>",
        "<ins>+ &lt;b/&gt;</ins>",
    ):
        assert told in page
    for told in ("why", "192.0.2.1", "number 1", head_in_database().seal, "write notes, owners and dates"):
        assert told in page


def test_files_hold_what_the_list_shows_and_compute_nothing(client, auditor):
    write(object_text='=cmd|"/c calc"', details={"n": 1})
    write(object_text="plain", volume_name="a,b\udc80".encode("utf-8", "backslashreplace").decode())
    client.force_login(auditor)
    response = client.get(reverse("people:audit_export"), {"q": "pool.start", "sort": "action", "page": "3"})
    rows = list(csv.DictReader(io.StringIO(b"".join(response.streaming_content).decode())))
    assert [row["object_text"] for row in rows] == ['\'=cmd|"/c calc"', "plain"]
    assert json.loads(rows[0]["details"]) == {"n": 1}
    assert response["Content-Disposition"].startswith('attachment; filename="audit-')
    assert AuditEvent.objects.get(action="audit.export").details == {
        "query": "q=pool.start&sort=action&page=3"
    }
    empty = client.get(reverse("people:audit_export"), {"q": "nothing like it", "format": "json"})
    assert json.loads(b"".join(empty.streaming_content)) == []


def test_the_page_says_how_the_chain_is(client, auditor, tmp_path):
    client.force_login(auditor)
    assert "Nobody has checked yet" in client.get(reverse(LIST)).text
    for _ in range(4):
        write()
    seal_new()
    assert checking.is_due()
    checking.check()
    assert not checking.is_due()
    page = client.get(reverse(LIST)).text
    assert "Whole when it was checked last" in page
    assert str(head_in_database()) in page
    seal_new()
    AuditEvent._base_manager.filter(number=2).delete()
    checking.check(auditor.pk)
    page = client.get(reverse(LIST)).text
    assert "tampered with" in page
    assert "Missing between 1 and 3: number 2." in page
    assert AuditEvent.objects.filter(action="audit.check", actor=auditor, outcome="failed").exists()
    seal_new()
    AuditEvent._base_manager.filter(number__gte=4).delete()
    assert "The end of the audit is missing" in client.get(reverse(LIST)).text
    late = write()
    AuditEvent._base_manager.filter(pk=late.pk).update(at=timezone.now() - timedelta(minutes=5))
    assert "are not sealed" in client.get(reverse(LIST)).text


def test_a_check_that_no_broker_takes_says_so(client, auditor):
    client.force_login(auditor)
    page = client.post(reverse("people:audit_check"), follow=True)
    assert "manage.py audit verify" in page.text
    assert not AuditEvent.objects.filter(action="audit.check").exists()


def test_by_hand(capsys):
    write(object_text="one")
    write(object_text="two")
    call_command("audit", "verify")
    assert "2 events, numbers 1 to 2: none missing, none changed." in capsys.readouterr().out
    head = head_in_database()
    call_command("audit", "verify", "--head", str(head))
    call_command("audit", "export", "--from", str(timezone.localdate()))
    out = capsys.readouterr().out
    assert [row["object_text"] for row in json.loads(out[out.index("[") :])][:2] == ["one", "two"]
    AuditEvent._base_manager.filter(number=1).update(actor_name="x")
    with pytest.raises(CommandError, match="Changed, or sealed with another key: number 1"):
        call_command("audit", "verify")
    for wrong in (["verify", "--head", "x"], ["export", "--to", "x"]):
        with pytest.raises(CommandError):
            call_command("audit", *wrong)
