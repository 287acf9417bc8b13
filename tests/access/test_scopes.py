import re
import uuid
from datetime import timedelta

import pytest
from django.contrib.auth.models import Group, User
from django.core.management import call_command
from django.core.management.base import CommandError
from django.utils import timezone

from pools.models import Pool
from storagemgr.access.models import AuditEvent, Grant, Role
from storagemgr.access.objects import may, role_at, who_may
from storagemgr.access.rights import RIGHTS, ROLES
from storagemgr.hosts.models import Host
from volumes.models import Volume

pytestmark = pytest.mark.django_db


def test_each_role_holds_what_the_one_before_it_holds():
    names = list(ROLES)
    assert all(ROLES[a] < ROLES[b] for a, b in zip(names, names[1:], strict=False))
    assert ROLES["administrator"] == set(RIGHTS)


def test_without_a_grant_nothing_exists(outsider, volume):
    assert not Pool.objects.visible_to(outsider)
    assert not Volume.objects.visible_to(outsider)
    assert not Host.objects.visible_to(outsider)


def test_a_grant_on_everything(viewer, volume):
    assert Pool.objects.visible_to(viewer).get() == volume.pool
    assert Volume.objects.visible_to(viewer).get() == volume
    assert not Pool.objects.visible_to(viewer, "pool.stop")


def test_a_grant_on_a_host(make_user, make_host, make_pool):
    mine, other = make_host("kvm1"), make_host("kvm2")
    pool, _ = make_pool("a", mine), make_pool("b", other)
    user = make_user("hana", "operator", host=mine)
    assert list(Pool.objects.visible_to(user)) == [pool]
    assert list(Host.objects.visible_to(user)) == [mine]


def test_a_grant_on_a_pool_is_by_its_uuid(make_user, make_host, make_pool, make_volume):
    host = make_host()
    pool, other = make_pool("a", host), make_pool("b", host)
    volume, _ = make_volume("v", pool), make_volume("v", other)
    user = make_user("petra", "operator", host=host, pool_uuid=pool.uuid)
    assert list(Pool.objects.visible_to(user)) == [pool]
    assert list(Volume.objects.visible_to(user)) == [volume]
    assert list(Host.objects.visible_to(user)) == [host]
    assert may(user, "pool.stop", host.pk, pool.uuid)
    assert not may(user, "pool.stop", host.pk, other.uuid)
    pool.delete()
    made_anew = make_pool("a", host, uuid=uuid.uuid4())
    assert not Pool.objects.visible_to(user).filter(pk=made_anew.pk)


def test_a_grant_to_a_team_reaches_its_members_alone(make_user, outsider, pool):
    team = Group.objects.create(name="web")
    Grant.objects.create(group=team, role="manager")
    member = make_user("tina")
    member.groups.add(team)
    assert role_at(member, pool.host_id, pool.uuid) == "manager"
    assert role_at(outsider, pool.host_id, pool.uuid) == ""


def test_an_inactive_person_holds_nothing(administrator, pool):
    administrator.is_active = False
    assert not may(administrator, "pool.view", pool.host_id, pool.uuid)


def test_who_may_names_those_who_can(viewer, operator, pool):
    text = who_may(viewer, "pool.stop", pool.host_id, pool.uuid)
    assert text == "You are Viewer here. These can: olga (Operator)."
    assert "an administrator can" in who_may(viewer, "pool.build", pool.host_id, pool.uuid)


def test_an_audit_event_is_written_once():
    event = AuditEvent.objects.create(actor_name="x", action="pool.stop", outcome="done")
    with pytest.raises(ValueError, match="written once"):
        event.save()
    with pytest.raises(ValueError, match="never deleted"):
        event.delete()


def test_grant_and_revoke_by_command(outsider, pool, capsys):
    call_command("grant", "operator", user="otto", host=pool.host.name)
    assert Grant.objects.get().where == pool.host.name
    call_command("grant", "operator", user="otto", host=pool.host.name, revoke=True)
    assert not Grant.objects.exists()
    assert [e.action for e in AuditEvent.objects.order_by("id")] == ["access.grant", "access.revoke"]


@pytest.mark.parametrize("words", [{"user": "nobody"}, {"user": "otto", "host": "no-host"}])
def test_a_grant_to_nobody_or_nowhere_is_refused(outsider, words):
    with pytest.raises(CommandError):
        call_command("grant", "viewer", **words)


def test_revoking_what_was_not_granted_says_so(outsider):
    with pytest.raises(CommandError, match="no such grant"):
        call_command("grant", "viewer", user="otto", revoke=True)


def test_an_invitation_makes_a_person_and_a_link_that_works_once(client, db, capsys):
    call_command("grant", "viewer", user="nina", invite=True)
    path = re.search(r"/accounts/\S+", capsys.readouterr().out)[0]
    page = client.get(path, follow=True)
    assert "nina" in page.content.decode()
    new = {"password1": "correct horse 42", "password2": "correct horse 42"}
    client.post(page.redirect_chain[-1][0], new)
    client.logout()
    assert client.login(username="nina", password="correct horse 42")
    assert "used up" in client.get(path, follow=True).content.decode()
    with pytest.raises(CommandError, match="there already"):
        call_command("grant", "viewer", user="nina", invite=True)


def test_a_name_that_cannot_be_is_refused(db):
    with pytest.raises(CommandError):
        call_command("grant", "viewer", user="a b/c", invite=True)
    assert not User.objects.exists()


def test_a_role_of_ones_own_gives_the_rights_it_names(make_user, pool):
    Role.objects.create(name="night-shift", title="Night shift", rights=["pool.view", "pool.start", "gone"])
    nina = make_user("nina", "night-shift")
    assert may(nina, "pool.start", pool.host_id, pool.uuid)
    said = who_may(make_user("otto"), "pool.start", pool.host_id, pool.uuid)
    assert said == "You may not do this here. These can: nina (Night shift)."
    assert not may(nina, "pool.stop", pool.host_id, pool.uuid)
    Role.objects.all().delete()
    assert not may(User.objects.get(pk=nina.pk), "pool.view", pool.host_id, pool.uuid)


def test_a_grant_ends_when_it_expires(make_user, pool):
    now = timezone.now()
    for name, expires_at in (("past", now - timedelta(seconds=1)), ("ahead", now + timedelta(hours=1))):
        user = make_user(name)
        Grant.objects.create(user=user, role="operator", expires_at=expires_at)
        assert may(user, "pool.start", pool.host_id, pool.uuid) == (name == "ahead")
    assert "ahead" in who_may(make_user("otto"), "pool.start", pool.host_id, pool.uuid)
    assert "past" not in who_may(make_user("olaf"), "pool.start", pool.host_id, pool.uuid)


def test_who_previews_a_role_holds_no_more_than_it(administrator, pool):
    administrator.previewed = ROLES["viewer"]
    assert may(administrator, "pool.view", pool.host_id, pool.uuid)
    assert not may(administrator, "pool.start", pool.host_id, pool.uuid)
