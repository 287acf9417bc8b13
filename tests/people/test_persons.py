"""People: the list, what a person can do and why, inviting, links, closing."""

import re
from datetime import timedelta

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from storagemgr.access import tokens
from storagemgr.access.models import AuditEvent, Grant, Role

pytestmark = pytest.mark.django_db
NEW = {"username": "nora", "full_name": "Nora N.", "mail": "nora@example.org"}


@pytest.fixture
def web(make_user):
    team = Group.objects.create(name="Web")
    for name in ("tina", "tom"):
        make_user(name).groups.add(team)
    return team


def link_in(page) -> str:
    return re.search(r'id="the-link">http://testserver(\S+?)</code>', page.content.decode()).group(1)


def test_the_list_finds_sorts_and_filters(client, administrator, web, make_user, pool):
    make_user("olga", "operator", host=pool.host, pool_uuid=pool.uuid)
    User.objects.filter(username="tom").update(is_active=False)
    client.force_login(administrator)

    def names(query=""):
        page = client.get(f"/people/{query}").content.decode()
        return re.findall(r'<a href="/people/\d+/">(\w+)</a>', page)

    assert names() == ["ada", "olga", "tina"]
    assert names("?sort=-name") == ["tina", "olga", "ada"]
    assert names("?state=closed") == ["tom"]
    assert names("?state=idle") == ["tina"]
    assert names("?state=invited") == ["olga", "tina"]
    assert names("?team=Web") == ["tina"]
    assert names("?q=OLG") == ["olga"]
    assert f"{pool.name} on {pool.host.name}" in client.get("/people/?q=olga").content.decode()


def test_a_list_of_many_asks_no_more(client, administrator, make_user, pool, django_assert_max_num_queries):
    for number in range(60):
        make_user(f"p{number:02}", "operator", host=pool.host, pool_uuid=pool.uuid)
    client.force_login(administrator)
    with django_assert_max_num_queries(22):
        client.get("/people/")


def test_a_person_among_many_teams(client, administrator, viewer, pool, django_assert_max_num_queries):
    for number in range(40):
        team = Group.objects.create(name=f"Team {number:02}")
        Grant.objects.create(group=team, role="operator", host=pool.host)
    client.force_login(administrator)
    for url in (f"/people/{viewer.pk}/", "/people/new/"):
        with django_assert_max_num_queries(24):
            assert "Team 00" in client.get(url).content.decode()


def test_what_a_person_can_do_and_why(client, administrator, web, pool):
    Grant.objects.create(group=web, role="operator", host=pool.host, pool_uuid=pool.uuid, made_by="ada")
    tina = User.objects.get(username="tina")
    Grant.objects.create(user=tina, role="viewer")
    client.force_login(administrator)
    page = client.get(f"/people/{tina.pk}/").content.decode()
    assert f"{pool.name} on {pool.host.name}" in page
    assert "Because of" in page
    assert "see the pool and its volumes; refresh" in page
    assert "Given to them alone" in page
    for grant in Grant.objects.exclude(user=administrator):
        # Led to and not posted to: the next page says first what will happen, to the whole team too.
        assert f'href="/people/grants/{grant.pk}/revoke/"' in page
        assert f'action="/people/grants/{grant.pk}/revoke/"' not in page


def test_a_manager_of_one_host_sees_the_grants_of_that_host_alone(client, make_user, make_host, make_pool):
    mine, other = make_host("kvm1"), make_host("kvm2")
    hana = make_user("hana", "administrator", host=mine)
    olga = make_user("olga", "operator", host=mine)
    Grant.objects.create(user=olga, role="manager", host=other)
    client.force_login(hana)
    page = client.get(f"/people/{olga.pk}/").content.decode()
    assert "host kvm1" in page
    assert "kvm2" not in page
    assert client.get("/people/new/").status_code == 403
    for action in ("link", "open", "close"):
        assert client.post(f"/people/{olga.pk}/{action}/").status_code == 403
    assert AuditEvent.objects.filter(outcome="denied", actor=hana).count() == 4


def test_who_grants_nothing_sees_nobody(client, operator, viewer):
    for user in (operator, viewer):
        client.force_login(user)
        for url in ("/people/", f"/people/{user.pk}/", "/people/new/"):
            assert client.get(url).status_code == 404


def test_an_invited_person_sets_a_password_and_is_in_the_teams(client, administrator, web):
    client.force_login(administrator)
    page = client.post("/people/new/", NEW | {"teams": [web.pk]})
    nora = User.objects.get(username="nora")
    assert (nora.first_name, nora.email, list(nora.groups.all())) == ("Nora N.", "nora@example.org", [web])
    assert "no-store" in page["Cache-Control"]
    link = link_in(page)
    assert link not in client.get(f"/people/{nora.pk}/").content.decode()

    hers = Client()
    form = hers.get(link, follow=True)
    words = {"password1": "correct horse battery", "password2": "correct horse battery"}
    hers.post(form.redirect_chain[-1][0], words)
    nora.refresh_from_db()
    assert nora.check_password("correct horse battery")
    assert AuditEvent.objects.filter(action="access.invite", actor=administrator).exists()
    assert AuditEvent.objects.filter(action="team.join", object_text__contains="nora").exists()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"username": "ADA"}, "has this name already"),
        ({"username": "a b"}, "valid username"),
        ({"mail": "nora"}, "email"),
    ],
)
def test_a_wrong_invitation_keeps_what_was_typed(client, administrator, wrong, words):
    client.force_login(administrator)
    page = client.post("/people/new/", NEW | wrong)
    assert page.status_code == 422
    assert words in page.content.decode()
    assert 'value="Nora N."' in page.content.decode()
    assert User.objects.count() == 1


def test_nobody_makes_a_link_for_one_who_holds_more(client, make_user, administrator):
    """It would be a way to become them."""
    Role.objects.create(name="clerk", title="Clerk", rights=["pool.view", "access.manage"])
    clerk = make_user("clara", "clerk")
    client.force_login(clerk)
    for action in ("link", "close"):
        assert client.post(f"/people/{administrator.pk}/{action}/").status_code == 403
    viewer = make_user("vera", "viewer")
    assert client.post(f"/people/{viewer.pk}/link/").status_code == 200
    root = User.objects.create_superuser("root")
    assert client.post(f"/people/{root.pk}/link/").status_code == 403
    client.force_login(administrator)
    assert client.post(f"/people/{root.pk}/link/").status_code == 200


def test_nobody_makes_a_link_for_one_who_holds_it_longer(client, make_user, administrator):
    """It would be a way to stay."""
    soon = make_user("sam", "administrator", expires_at=timezone.now() + timedelta(days=1))
    client.force_login(soon)
    assert client.post(f"/people/{administrator.pk}/link/").status_code == 403
    sooner = make_user("sue", "operator", expires_at=timezone.now() + timedelta(hours=1))
    assert client.post(f"/people/{sooner.pk}/link/").status_code == 200
    root = User.objects.create_superuser("root")
    assert client.post(f"/people/{root.pk}/link/").status_code == 403


def test_a_closed_account_is_signed_out_at_once_and_opens_again(client, administrator, operator):
    _, secret = tokens.make(operator, "backup", 1)
    hers = Client()
    hers.force_login(operator)
    assert hers.get("/").status_code == 200
    client.force_login(administrator)
    assert "signed out everywhere" in client.get(f"/people/{operator.pk}/close/").content.decode()
    assert client.post(f"/people/{operator.pk}/close/").status_code == 303
    assert hers.get("/").status_code == 302
    assert tokens.user_of(f"Bearer {secret}") is None
    assert "Open it again" in client.get(f"/people/{operator.pk}/").content.decode()
    client.post(f"/people/{operator.pk}/open/")
    assert tokens.user_of(f"Bearer {secret}") == User.objects.get(pk=operator.pk)
    assert hers.get("/").status_code == 302  # the old session is gone for good
    actions = AuditEvent.objects.filter(object_text="olga").values_list("action", "details")
    assert dict(actions)["account.close"] == {"before": {"account": "open"}, "after": {"account": "closed"}}


def test_one_cannot_close_oneself_nor_the_last_administrator(client, administrator, make_user):
    User.objects.filter(pk=administrator.pk).update(password="argon2$set")
    client.force_login(User.objects.get(pk=administrator.pk))
    assert client.post(f"/people/{administrator.pk}/close/").status_code == 403
    assert User.objects.get(pk=administrator.pk).is_active


def test_an_administrator_revokes_a_token(client, administrator, operator, viewer):
    token, secret = tokens.make(operator, "backup", 1)
    client.force_login(administrator)
    assert client.post(reverse("people:revoke_token", args=[viewer.pk, token.pk])).status_code == 404
    assert client.post(reverse("people:revoke_token", args=[operator.pk, token.pk])).status_code == 303
    assert tokens.user_of(f"Bearer {secret}") is None


@pytest.mark.parametrize("path", ["", "teams/", "grants/", "roles/", "audit/", "audit/export/"])
def test_a_character_that_no_database_takes_breaks_no_page(client, administrator, path):
    client.force_login(administrator)
    for name in ("q", "person", "team", "role", "volume"):
        assert client.get(f"/people/{path}?{name}=a%00b").status_code == 400, name
