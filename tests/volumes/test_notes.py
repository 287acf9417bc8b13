"""Owner, ticket, note, dates and protection of a volume, through the pages that people use."""

import re
import uuid
from datetime import date, timedelta

import pytest
from django.contrib.auth.models import Group
from django.urls import reverse
from django.utils import timezone

from storagemgr.access.models import AuditEvent, Grant
from storagemgr.jobs.models import Job
from storagemgr.jobs.runner import run
from volumes.models import VolumeNotes
from volumes.operations import keeping

pytestmark = pytest.mark.django_db
TOMORROW = timezone.localdate() + timedelta(days=1)


def url(volume, slug):
    return reverse("volumes:operate", args=[volume.pk, slug])


def text(response):
    return " ".join(re.sub(r"<[^>]*>", " ", response.content.decode()).replace("\xa0", " ").split())


@pytest.fixture
def teams(operator):
    web, other = Group.objects.create(name="Web <b>"), Group.objects.create(name="Other")
    operator.groups.add(web)
    return web, other


@pytest.fixture
def post(client, volume):
    """Sends the form of an operation and does its job, as a worker would."""

    def send(person, slug, **fields):
        client.force_login(person)
        response = client.post(url(volume, slug), {"key": str(uuid.uuid4())} | fields)
        if response.status_code == 303:
            run(Job.objects.latest("pk").pk)
            assert Job.objects.latest("pk").state == "succeeded"
            volume.refresh_from_db()
        return response

    return send


def test_notes_are_written_shown_prefilled_and_audited(post, client, volume, operator, teams):
    fields = {
        "owner": teams[0].pk,
        "ticket": "https://tickets/7?a=1&b=<2>",
        "expires_on": TOMORROW.isoformat(),
    }
    assert post(operator, "note", note="one\r\n<script>two", **fields).status_code == 303
    notes = VolumeNotes.objects.get(volume=volume)
    assert (notes.owner, notes.note, notes.expires_on) == (teams[0], "one\n<script>two", TOMORROW)
    page = client.get(volume.get_absolute_url()).content.decode()
    assert "one<br>&lt;script&gt;two" in page
    assert 'href="https://tickets/7?a=1&amp;b=&lt;2&gt;" rel="noreferrer noopener"' in page
    assert "Web &lt;b&gt;" in page
    form = client.get(url(volume, "note")).content.decode()
    assert "&lt;script&gt;two</textarea>" in form
    assert f'value="{TOMORROW.isoformat()}"' in form
    done = AuditEvent.objects.get(action="volume.note", outcome="done")
    assert (done.actor, done.volume_name) == (operator, volume.name)


def test_a_ticket_that_is_no_address_is_no_link(client, volume, viewer):
    keeping.save(volume, {"ticket": "javascript:alert(1)", "expires_on": date(2020, 3, 1)})
    client.force_login(viewer)
    page = client.get(volume.get_absolute_url())
    assert "javascript:" in text(page)
    assert 'href="javascript' not in page.content.decode()
    assert "expired since 1 Mar 2020" in text(page)
    assert url(volume, "note") not in page.content.decode()


@pytest.mark.parametrize(
    ("slug", "field", "value", "said"),
    [
        ("note", "ticket", "x" * 201, "at most 200"),
        ("note", "ticket", "a\u202eb", "in one line"),
        ("note", "ticket", "a\x07b", "in one line"),
        ("note", "note", "x" * 4001, "at most 4000"),
        ("note", "note", "a\x1b[31m", "and line breaks"),
        ("note", "expires_on", "2020-03-01", "1 Mar 2020 is over"),
        ("note", "expires_on", "2200-01-01", "too far away"),
        ("note", "expires_on", "30.06.2027", "Write it as 2027-06-30"),
        ("note", "owner", "999", "999 is not one of"),
        ("note", "owner", "x", "x is not one of"),
        ("protect", "reason", "", "required"),
        ("protect", "reason", "   ", "required"),
        ("protect", "reason", "x" * 401, "at most 400"),
        ("protect", "until", "2020-03-01", "is over"),
        ("keep", "reason", "a\nb", "in one line"),
    ],
)
def test_what_is_refused(post, volume, operator, slug, field, value, said):
    fields = {"reason": "typed before"} | {field: value}
    response = post(operator, slug, **fields)
    assert response.status_code == 422
    assert said in text(response)
    if field != "reason" and slug == "protect":
        assert "typed before" in response.content.decode()
    assert not VolumeNotes.objects.exists()


def test_teams_to_choose_from(post, volume, operator, manager, teams):
    web, other = teams
    assert post(operator, "own", owner=other.pk).status_code == 422
    assert post(manager, "own", owner=other.pk).status_code == 303
    # The present owner can stay, though the person is none of them.
    assert post(operator, "note", owner=other.pk, note="x").status_code == 303
    assert post(operator, "note", owner="").status_code == 303
    assert VolumeNotes.objects.get(volume=volume).owner is None


def test_protection_from_its_beginning_to_its_end(post, client, volume, operator, manager):
    assert post(operator, "protect", reason="golden image", until=TOMORROW.isoformat()).status_code == 303
    notes = VolumeNotes.objects.get(volume=volume)
    assert (notes.protected_by, notes.protected_until) == (operator.username, TOMORROW)
    page = client.get(volume.get_absolute_url())
    assert f"Protected by {operator.username} since" in text(page)
    form = client.get(url(volume, "delete"))
    assert "In the way: It is protected by" in text(form)
    assert "golden image" in text(form)
    assert client.post(url(volume, "delete"), {"key": uuid.uuid4()}).status_code == 409
    # An operator can make it longer, and not shorter.
    assert post(operator, "protect", reason="golden image", until="").status_code == 303
    shorter = post(operator, "protect", reason="golden image", until=TOMORROW.isoformat())
    assert "without an end" in text(shorter)
    assert post(operator, "unprotect").status_code == 403
    assert post(manager, "unprotect").status_code == 303
    assert not VolumeNotes.objects.get(volume=volume).protected_at
    assert "In the way" not in text(client.get(url(volume, "delete")))


def test_a_protection_that_is_over(client, volume, operator):
    yesterday = timezone.localdate() - timedelta(days=1)
    values = {"protected_because": "move", "protected_by": "anna", "protected_at": timezone.now()}
    keeping.save(volume, values | {"protected_until": yesterday})
    client.force_login(operator)
    assert "Protected no more. It was by anna" in text(client.get(volume.get_absolute_url()))
    assert "It is not protected" in text(client.get(url(volume, "delete")))


def test_not_unused_and_back(post, client, volume, operator):
    assert post(operator, "keep", reason="template").status_code == 303
    assert "Not unused, says olga: template" in text(client.get(volume.get_absolute_url()))
    assert post(operator, "keep", reason="again").status_code == 409
    assert post(operator, "unkeep").status_code == 303
    assert not VolumeNotes.objects.get(volume=volume).not_unused_because


def test_many_at_once(client, operator, make_volume, teams):
    chosen = [make_volume(f"v{number}") for number in range(3)]
    client.force_login(operator)
    page = reverse("volumes:selected", args=["protect"])
    fields = {"volume": [volume.pk for volume in chosen], "reason": "audit", "key": str(uuid.uuid4())}
    assert client.post(page, fields | {"until": "2020-01-01"}).status_code == 422
    assert client.post(page, fields).status_code == 303
    for job in Job.objects.order_by("pk"):
        run(job.pk)
    assert {notes.protected_because for notes in VolumeNotes.objects.all()} == {"audit"}
    assert VolumeNotes.objects.count() == 3


def test_a_team_that_was_removed_and_a_right_that_was_taken(client, volume, operator, teams):
    client.force_login(operator)
    for wanted in ("succeeded", "failed"):
        client.post(url(volume, "own"), {"key": str(uuid.uuid4()), "owner": teams[0].pk})
        job = Job.objects.latest("pk")
        if wanted == "succeeded":
            teams[0].delete()
        else:
            Grant.objects.all().delete()
        run(job.pk)
        job.refresh_from_db()
        assert job.state == wanted
        teams = (Group.objects.create(name=f"after {wanted}"), None)
        operator.groups.add(teams[0])
    assert VolumeNotes.objects.get(volume=volume).owner is None
