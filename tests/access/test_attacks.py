"""What a person with a browser and bad intent tries, at every URL that there is."""

import uuid

import pytest
from access.test_urls import ARGUMENTS, POST_ONLY, TABLE, names, things  # noqa: F401
from django.conf import settings
from django.contrib.auth.models import Group, User
from django.test import Client
from django.urls import get_resolver, reverse

from storagemgr.access.models import AuditEvent, Grant
from storagemgr.hosts.models import Change
from storagemgr.jobs.models import Job
from volumes.models import DiskUse, VolumeNotes

pytestmark = pytest.mark.django_db
SECRET = "finance-payroll"
FRAGMENT = {"HX-Request": "true"}
LOOKS = [("", {}), ("", FRAGMENT), ("?q=finance", {}), ("?q=finance", FRAGMENT)]
LOOKS += [("?pool={0.pk}", {}), ("?host={0.host.name}", {})]


def address_of(name, rows):
    """Of any row of the table: with the object's id where it takes one."""
    row = TABLE[name]
    kind = row[1] if isinstance(row, tuple) else ""
    arguments = {"pk": rows[kind].pk} if kind in rows else {}
    arguments |= ARGUMENTS.get(name, {})
    if name.endswith(":operate"):
        arguments["slug"] = "refresh" if name != "volumes:operate" else "delete"
    if name == "account_reset_password_from_key":
        arguments = {"uidb36": "1", "key": "set-password"}
    return reverse(name, kwargs=arguments)


def every_address(rows):
    return {
        name: address_of(name, rows) for name in sorted(names(get_resolver().url_patterns)) if name in TABLE
    }


@pytest.fixture
def hidden(make_host, make_pool, make_volume):
    """Everything of another team, on a host and in a pool of its own, each named so that it can be looked for."""
    host = make_host(f"{SECRET}-host")
    pool = make_pool(f"{SECRET}-pool", host, target_path=f"/srv/{SECRET}", source=f"nas:/{SECRET}")
    volume = make_volume(f"{SECRET}-volume", pool)
    place = {"host": host, "pool_uuid": pool.uuid, "volume_name": volume.name}
    notes = {"owner": Group.objects.create(name=f"{SECRET}-team"), "note": SECRET, "ticket": SECRET}
    VolumeNotes.objects.create(volume=volume, **place, **notes)
    vm = {"domain_uuid": uuid.uuid4(), "domain_name": f"{SECRET}-vm", "target": "vda", "kind": "disk"}
    DiskUse.objects.create(volume=volume, host=host, running=True, **vm)
    job = {"operation": "volume.clone", "title": f"Clone {SECRET}-job", "state": "running"}
    Job.objects.create(pool_name=pool.name, requester_name=f"{SECRET}-person", **place, **job)
    Change.objects.create(kind="grew", text=f"{SECRET} grew", **place)
    said = {"action": "volume.clone", "outcome": "done", "object_text": volume.name}
    AuditEvent.objects.create(host_id=host.pk, pool_uuid=pool.uuid, actor_name=f"{SECRET}-person", **said)
    return volume


@pytest.fixture
def member(make_user, pool):
    """Of team Wiki, which has one pool."""
    team = Group.objects.create(name="Wiki")
    Grant.objects.create(group=team, role="operator", host=pool.host, pool_uuid=pool.uuid)
    tina = make_user("tina")
    tina.groups.add(team)
    return tina


def test_a_member_reads_nothing_of_what_is_not_theirs_on_any_page(client, member, things, hidden):  # noqa: F811
    """Cases 3 and 11: pages, fragments, searches, counts, files."""
    client.force_login(member)
    session = dict(client.cookies)
    asked = 0
    for name, url in every_address(things).items():
        for query, headers in LOOKS:
            client.cookies.update(session)  # one of the addresses signs out
            answer = client.get(url + query.format(hidden.pool), headers=headers)
            # The name of a host that was asked for may stand in the filter: it was typed.
            said = text_of(answer).replace(f"{SECRET}-host" if "host=" in query else "\0", "")
            assert SECRET not in said, (name, query, said[max(0, said.find(SECRET) - 300) :][:600])
            asked += answer.status_code == 200
    assert asked > 120


def text_of(answer):
    body = b"".join(answer.streaming_content) if answer.streaming else answer.content
    return body.decode(errors="replace")


def test_the_same_page_with_the_rights_would_have_said_it(client, administrator, hidden):
    client.force_login(administrator)
    for url in ("/", "/volumes/", f"/volumes/?q={SECRET}", "/hosts/", "/jobs/"):
        assert SECRET in client.get(url).content.decode(), url


def test_no_form_is_taken_without_a_token_or_from_elsewhere(administrator, things):  # noqa: F811
    """Case 13, for every URL there is."""
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(administrator)
    before = {model: model.objects.count() for model in (Job, Grant, User, Group)}
    for name, url in every_address(things).items():
        for headers in ({}, {"HX-Request": "true"}, {"Origin": "https://evil.example"}):
            answer = strict.post(url, {"key": str(uuid.uuid4())}, headers=headers)
            assert answer.status_code in (403, 404, 405), (name, answer.status_code)
    assert before == {model: model.objects.count() for model in before}


def test_what_changes_something_takes_no_get(client, administrator, things):  # noqa: F811
    client.force_login(administrator)
    for name in sorted(POST_ONLY):
        assert client.get(address_of(name, things)).status_code == 405, name
    client.get(reverse("account_logout"))
    assert client.get("/").status_code == 200  # case 14: still signed in


def test_a_get_changes_no_row_of_ours(client, administrator, things):  # noqa: F811
    client.force_login(administrator)
    before = {
        model: list(model.objects.order_by("pk").values()) for model in (Job, Grant, Group, VolumeNotes)
    }
    for url in every_address(things).values():
        client.get(url)
    assert before == {model: list(model.objects.order_by("pk").values()) for model in before}
    done = AuditEvent.objects.filter(outcome="done", actor=administrator).values_list("action", flat=True)
    assert all(action.endswith(".export") for action in done), set(done)


def test_fields_that_no_form_has_change_nothing(client, operator, things, volume):  # noqa: F811
    """Case 9: mass assignment."""
    client.force_login(operator)
    more = {
        "host": "999",
        "host_id": "999",
        "state": "succeeded",
        "requester_name": "root",
        "is_superuser": "1",
        "is_staff": "1",
        "lane": "",
        "pool_uuid": str(uuid.uuid4()),
    }
    url = reverse("pools:operate", kwargs={"pk": things["pool"].pk, "slug": "refresh"})
    Job.objects.all().delete()
    client.post(url, {"key": str(uuid.uuid4())} | more)
    job = Job.objects.get()
    assert (job.host_id, job.pool_uuid) == (things["host"].pk, things["pool"].uuid)
    assert (job.state, job.requester_name) == ("queued", "olga")
    client.post(reverse("account_preferences"), {"theme": "dark", "user": "1"} | more)
    olga = User.objects.get(pk=operator.pk)
    assert not olga.is_superuser
    assert not olga.is_staff
    assert olga.preferences.theme == "dark"


def test_an_etag_of_one_person_gives_another_nothing(client, operator, outsider, pool):
    """Case 8: the right is asked before the ETag."""
    client.force_login(operator)
    headers = {"HX-Request": "true"}
    etag = client.get(pool.get_absolute_url(), headers=headers)["ETag"]
    assert client.get(pool.get_absolute_url(), headers=headers | {"If-None-Match": etag}).status_code == 304
    Grant.objects.all().delete()
    for user in (User.objects.get(pk=operator.pk), outsider):
        client.force_login(user)
        answer = client.get(pool.get_absolute_url(), headers=headers | {"If-None-Match": etag})
        assert answer.status_code == 404, user
        assert "Cookie" in answer["Vary"]


@pytest.mark.parametrize(
    "target",
    ["//evil.example/", "https://evil.example/", "/\\evil.example", "javascript:alert(1)", "http:///evil"],
)
def test_signing_in_leads_nowhere_else(client, operator, target):
    """Case 19."""
    operator.set_password("correct horse battery")
    operator.save()
    words = {"login": "olga", "password": "correct horse battery", "next": target}
    answer = client.post(f"{reverse('account_login')}?next={target}", words)
    assert answer.status_code == 302
    assert answer["Location"].startswith("/")
    assert not answer["Location"].startswith(("//", "/\\"))


def test_no_page_can_be_framed_or_run_foreign_scripts(client, administrator, things):  # noqa: F811
    """Case 18, the headers; the browser tests look for breaches on every page."""
    client.force_login(administrator)
    for name, url in every_address(things).items():
        answer = client.get(url)
        if answer.status_code == 200 and answer["Content-Type"].startswith("text/html"):
            policy = answer["Content-Security-Policy"]
            assert "frame-ancestors 'none'" in policy, name
            assert "unsafe" not in policy, name
            assert answer["X-Frame-Options"] == "DENY", name
            assert answer["X-Content-Type-Options"] == "nosniff", name


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "[::1]:80@evil.example"])
def test_a_forged_host_makes_no_link(client, administrator, host):
    """Case 22."""
    client.force_login(administrator)
    answer = client.get("/", headers={"Host": host})
    assert answer.status_code == 400
    answer = client.get("/people/", headers={"X-Forwarded-Host": "evil.example"})
    assert "evil.example" not in answer.content.decode()
    assert settings.ALLOWED_HOSTS != ["*"]
