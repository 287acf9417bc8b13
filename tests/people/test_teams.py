"""Teams, roles and grants on pages."""

import uuid
from datetime import timedelta

import pytest
from allauth.mfa.models import Authenticator
from django.contrib.auth.models import Group
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from pools.models import PoolNotes
from storagemgr.access import granting, teams
from storagemgr.access.models import AuditEvent, Grant, Role
from storagemgr.access.roles import all_roles
from storagemgr.access.scopes import scope

pytestmark = pytest.mark.django_db


@pytest.fixture
def chief(administrator, client):
    client.force_login(administrator)
    return administrator


@pytest.fixture
def keeper(make_user, host):
    """Administrator of one host."""
    return make_user("hana", "administrator", host=host)


@pytest.fixture
def web(chief, operator):
    group = teams.make(chief, "Web", note="The web farm")
    teams.join(chief, group, operator)
    return group


def text_of(client, name, *args, **query):
    response = client.get(reverse(f"people:{name}", args=args), query)
    assert response.status_code == 200
    return " ".join(response.content.decode().split())


def test_a_new_team_is_one_form(client, chief, make_user, make_host, make_pool):
    one = make_pool("archive", make_host("kvm1"))
    make_pool("archive", make_host("kvm2"), uuid=one.uuid)
    vera, olga = make_user("vera"), make_user("olga")
    typed = {
        "name": "Nights",
        "note": "Ask Vera",
        "members": [f"user:{vera.pk}", f"user:{olga.pk}"],
        "members_q": "olg",
        "outside_name": "nights",
        "role": "operator",
        "place": f"shared:{one.pk}",
        "until": "2099-12-31",
    }
    url = reverse("people:new_team")
    assert "archive on every host that has it" in text_of(client, "new_team")
    found = client.post(url, typed | {"find": "place", "place_q": "kvm2", "name": ""})
    assert found.status_code == 200
    page = found.content.decode()
    # What was chosen stays in sight, whatever is looked for.
    for words in ("archive on every host that has it", "archive on kvm2", "Ask Vera"):
        assert words in page
    for value in (f"user:{vera.pk}", f"shared:{one.pk}", "operator"):
        assert f'value="{value}" checked' in page or f'value="{value}" id="id_role_2" checked' in page
    wrong = client.post(url, typed | {"name": "", "place": "pool:999999"})
    assert wrong.status_code == 422
    assert "Type a name." in wrong.content.decode()
    assert "This place is not there any more" in wrong.content.decode()
    assert not Group.objects.exists()
    group_page = client.post(url, typed)
    group = Group.objects.get(name="Nights")
    assert group_page.url == reverse("people:team", args=[group.pk])
    assert {user.username for user in group.user_set.all()} == {"vera", "olga"}
    given = Grant.objects.get(group=group)
    assert (given.role, given.host, given.pool_uuid, given.made_by) == ("operator", None, one.uuid, "ada")
    assert scope(vera, "volume.create").pools == {(None, one.uuid)}
    page = text_of(client, "team", group.pk)
    assert "<b>Operators</b> of team Nights can: see the pool and its volumes; refresh;" in page
    assert [e.action for e in AuditEvent.objects.order_by("id")] == [
        "team.create",
        "team.join",
        "team.join",
        "access.grant",
    ]


def test_what_is_refused_in_a_form_is_in_the_audit(client, chief, make_user, outsider, host):
    Role.objects.create(name="doorkeeper", title="Doorkeeper", rights=["access.manage", "pool.view"])
    end = timezone.now() + timedelta(days=7)
    client.force_login(make_user("dora", "doorkeeper", host=host, expires_at=end))
    # Only a part of the way: what they may grant somewhere is offered, the rest is no choice at all.
    offered = text_of(client, "grant")
    assert 'value="viewer"' in offered
    assert 'value="operator"' not in offered
    typed = {"holder": f"user:{outsider.pk}", "place": f"host:{host.pk}", "role": "viewer"}
    response = client.post(reverse("people:grant"), typed)
    assert response.status_code == 422
    assert "You hold this only until" in response.content.decode()
    event = AuditEvent.objects.latest("id")
    assert (event.action, event.outcome, event.object_text) == (
        "access.grant",
        "denied",
        "Viewer on host kvm1",
    )
    assert "only until" in event.details["why"]
    typed |= {"until": timezone.localdate().isoformat()}
    assert client.post(reverse("people:grant"), typed).status_code == 303


def test_a_team_that_owns_elsewhere_is_not_deleted_by_the_administrator_of_a_host(
    client, chief, keeper, make_host, web
):
    PoolNotes.objects.create(host=make_host("kvm2"), pool_uuid=uuid.uuid4(), owner=web)
    client.force_login(keeper)
    assert "Owns" not in text_of(client, "team", web.pk)
    assert client.post(reverse("people:delete_team", args=[web.pk])).status_code == 403
    assert Group.objects.filter(pk=web.pk).exists()
    client.force_login(chief)
    assert "Owns" in text_of(client, "team", web.pk)


def test_a_team_that_may_not_get_its_role_is_not_made(client, keeper, make_host):
    foreign = make_host("kvm2")
    client.force_login(keeper)
    typed = {"name": "Nights", "role": "viewer", "place": f"host:{foreign.pk}"}
    response = client.post(reverse("people:new_team"), typed)
    assert response.status_code == 422
    assert "This place is not there any more" in response.content.decode()
    assert "kvm2" not in response.content.decode()
    assert not Group.objects.exists()


def test_members_come_and_go_and_the_team_goes_with_what_it_held(client, chief, web, viewer, pool):
    PoolNotes.objects.create(host=pool.host, pool_uuid=pool.uuid, owner=web)
    granting.grant(chief, group=web, role="manager", host=pool.host, pool_uuid=pool.uuid)
    assert "vera" in text_of(client, "team", web.pk, person="ver")
    assert "Nobody else is found" in text_of(client, "team", web.pk, person="olga")
    client.post(reverse("people:join", args=[web.pk]), {"user": viewer.pk})
    assert viewer in web.user_set.all()
    client.post(reverse("people:leave", args=[web.pk]), {"user": viewer.pk})
    assert viewer not in web.user_set.all()
    page = text_of(client, "delete_team", web.pk)
    for words in (
        "1 person will",
        "<b>Manager</b> on default on kvm1",
        "1 pool will have no owner",
    ):
        assert words in page
    client.post(reverse("people:delete_team", args=[web.pk]))
    assert not Group.objects.exists()
    assert not Grant.objects.exclude(group=None).exists()
    assert AuditEvent.objects.latest("id").details["before"]["owned"] == {"volumes": 0, "pools": 1}


def test_a_grant_is_given_and_taken_on_pages(client, chief, web, host, pool):
    url = reverse("people:grant")
    page = text_of(client, "grant", team=web.pk, pool=pool.pk)
    assert f'value="team:{web.pk}" checked' in page
    assert f'value="pool:{pool.pk}" checked' in page
    typed = {"holder": f"team:{web.pk}", "place": f"pool:{pool.pk}", "role": "manager", "until": "2001-01-01"}
    assert "This day is over." in client.post(url, typed).content.decode()
    assert client.post(url, typed | {"until": ""}).status_code == 303
    given = Grant.objects.get(group=web)
    assert (given.role, given.host, given.pool_uuid) == ("manager", host, pool.uuid)
    assert "can no longer: all that Operator can" in text_of(client, "revoke", given.pk)
    client.post(reverse("people:revoke", args=[given.pk]))
    assert not Grant.objects.filter(group=web).exists()
    assert AuditEvent.objects.latest("id").details["before"]["where"] == "default on kvm1"


def test_what_has_ended_is_told_for_a_while(client, chief, web, host):
    now = timezone.now()
    for days in (2, 60):
        role = "viewer" if days == 2 else "manager"
        Grant.objects.create(group=web, role=role, host=host, expires_at=now - timedelta(days=days))
    page = text_of(client, "team", web.pk)
    assert page.count("<b>Ended</b>") == 1
    assert "of team Web can" not in page
    assert text_of(client, "grants", state="over").count("<b>Ended</b>") == 2
    assert "<b>Ended</b>" not in text_of(client, "grants")


def test_the_administrator_of_a_host_sees_the_grants_there(
    client, chief, keeper, web, host, make_host, make_pool
):
    foreign = make_host("kvm2")
    make_pool("secret", foreign)
    hidden = granting.grant(chief, group=web, role="manager", host=foreign)
    granting.grant(chief, group=web, role="viewer", host=host)
    client.force_login(keeper)
    for name, args in (("teams", []), ("team", [web.pk]), ("grants", []), ("grant", [])):
        page = text_of(client, name, *args)
        assert "kvm2" not in page
        assert "secret" not in page
        assert 'value="everything"' not in page
        assert "Viewer" in page
    # Who joins would get what the keeper may not give.
    assert client.post(reverse("people:join", args=[web.pk]), {"user": keeper.pk}).status_code == 403
    assert client.get(reverse("people:revoke", args=[hidden.pk])).status_code == 404
    assert AuditEvent.objects.filter(action="team.join", outcome="denied", actor=keeper).count() == 1


def test_the_last_administrator_is_told_why_not(client, chief):
    mine = Grant.objects.get(user=chief)
    response = client.post(reverse("people:revoke", args=[mine.pk]))
    assert response.status_code == 403
    assert "Nobody would be left" in response.content.decode()
    assert Grant.objects.filter(pk=mine.pk).exists()


def test_who_reads_the_audit_may_look_and_not_change(client, chief, make_user, web):
    Role.objects.create(name="auditor", title="Auditor", rights=["audit.read"])
    auditor = make_user("aude", "auditor")
    client.force_login(auditor)
    for name, args in (("teams", []), ("team", [web.pk]), ("roles", []), ("grants", [])):
        page = text_of(client, name, *args)
        for words in ("New team", "Take out", "Take away", "Grant a role", "New role"):
            assert f"{words}</a>" not in page
            assert f"{words}</button>" not in page
    before = AuditEvent.objects.count()
    assert client.post(reverse("people:new_team"), {"name": "Mine"}).status_code == 403
    assert AuditEvent.objects.count() == before + 1


def test_a_role_is_made_from_a_copy_and_goes_when_nobody_holds_it(client, chief, operator, web):
    # Who holds all that a role gives must have what the role asks for.
    Authenticator.objects.create(user=chief, type=Authenticator.Type.TOTP, data={})
    page = text_of(client, "new_role", **{"from": "operator"})
    assert page.count(" checked") == len(all_roles()["operator"].rights)
    url = reverse("people:new_role")
    wrong = client.post(url, {"title": "Viewer", "rights": ["pool.start"]})
    assert wrong.status_code == 422
    assert "Another role has this name." in wrong.content.decode()
    assert "nobody uses what they do not see" in wrong.content.decode()
    typed = {"title": "Starter", "rights": ["pool.view", "pool.start"], "needs_mfa": "on"}
    assert client.post(url, typed).status_code == 303
    granting.grant(chief, user=operator, role="starter")
    client.post(reverse("people:role", args=["starter"]), typed | {"rights": ["pool.view"]})
    assert Role.objects.get(name="starter").rights == ["pool.view"]
    client.post(reverse("people:role", args=["viewer"]), {"needs_mfa": "on"})
    assert all_roles()["viewer"].needs_mfa
    page = text_of(client, "roles")
    assert page.count("only with a second factor") == 2
    delete = reverse("people:delete_role", args=["starter"])
    assert client.post(delete).status_code == 409
    Grant.objects.filter(role="starter").delete()
    client.post(delete)
    assert "starter" not in all_roles()


def test_lists_sort_filter_and_page_in_few_queries(client, chief, viewer, host, make_pool):
    def queries(name, **query):
        with CaptureQueriesContext(
            connection,
        ) as found:
            text_of(client, name, **query)
        return len(found)

    def make(number):
        for n in range(number):
            group = Group.objects.create(name=f"Team {n} of {number}")
            group.user_set.add(viewer)
            pool = make_pool(f"pool{n}", host)
            Grant.objects.create(group=group, role="viewer", host=host, pool_uuid=pool.uuid)

    make(2)
    few = [queries("teams"), queries("grants"), queries("roles")]
    make(55)
    assert [queries("teams"), queries("grants"), queries("roles")] == few
    assert max(few) <= 16
    assert "page 2 of 2" in text_of(client, "teams", sort="-members", page=2)
    assert "<h2>Nothing matches</h2>" in text_of(client, "teams", state="empty")
    page = text_of(client, "grants", q="pool1", role="viewer", sort="-made")
    assert "pool1 on kvm1" in page
    assert "ada" not in page.partition("<tbody")[2]
