"""Nobody gives or takes what they do not hold; somebody who can do everything is always left."""

import uuid
from datetime import timedelta

import pytest
from django.contrib.auth.models import Group, User
from django.core.management import CommandError, call_command
from django.utils import timezone

from storagemgr.access import granting, role_making, teams
from storagemgr.access.granting import NotGrantable, grant, revoke
from storagemgr.access.models import AuditEvent, Grant, Role
from storagemgr.access.roles import all_roles
from storagemgr.access.scopes import scope

pytestmark = pytest.mark.django_db
A_WEEK = timedelta(days=7)


@pytest.fixture
def chief(administrator):
    """The only administrator of everything, who has signed in."""
    administrator.set_password("a long word")
    administrator.save()
    return administrator


@pytest.fixture
def keeper(make_user, host):
    """Administrator of one host."""
    return make_user("hana", "administrator", host=host)


def refused(words, act, *args, **kwargs):
    """Nothing changed but for one more refusal in the audit."""
    grants, denied = set(Grant.objects.values_list()), AuditEvent.objects.filter(outcome="denied").count()
    with pytest.raises(NotGrantable, match=words):
        act(*args, **kwargs)
    assert set(Grant.objects.values_list()) == grants
    assert AuditEvent.objects.filter(outcome="denied").count() == denied + 1


def test_the_administrator_of_a_host_grants_there_and_nowhere_else(
    keeper, outsider, host, pool, make_host, make_pool
):
    foreign = make_host("kvm2")
    grant(keeper, user=outsider, role="manager", host=host)
    grant(keeper, user=outsider, role="manager", host=host, pool_uuid=pool.uuid)
    for place in (
        {},
        {"host": foreign},
        {"host": foreign, "pool_uuid": make_pool("web", foreign).uuid},
        # On every host that has it: also on those that are not the keeper's.
        {"pool_uuid": pool.uuid},
    ):
        refused("may not grant roles there", grant, keeper, user=outsider, role="viewer", **place)
    assert Grant.objects.filter(user=outsider).count() == 2


def test_nobody_gives_or_takes_more_than_they_hold(make_user, outsider, host):
    Role.objects.create(name="doorkeeper", title="Doorkeeper", rights=["access.manage", "pool.view"])
    doorkeeper = make_user("dora", "doorkeeper", host=host)
    grant(doorkeeper, user=outsider, role="viewer", host=host)
    refused("Operator can do more there", grant, doorkeeper, user=outsider, role="operator", host=host)
    refused("Administrator can do more", grant, doorkeeper, user=doorkeeper, role="administrator", host=host)
    other = Grant.objects.create(user=outsider, role="manager", host=host)
    refused("Manager can do more there", revoke, doorkeeper, other)
    event = AuditEvent.objects.filter(outcome="denied").latest("id")
    assert (event.action, event.host_id) == ("access.revoke", host.pk)
    assert event.object_text == "Manager for otto on kvm1"


def test_nobody_gives_a_role_for_longer_than_they_hold_it(chief, make_user, outsider, host, make_host):
    end = timezone.now() + A_WEEK
    guest = make_user("gast", "administrator", host=host, expires_at=end)
    same, other = uuid.uuid4(), make_host("kvm2")
    Grant.objects.create(user=guest, role="administrator", host=other, pool_uuid=same)
    refused("only until", grant, guest, user=guest, role="administrator", host=host)
    refused("only until", grant, guest, user=outsider, role="viewer", host=host, expires_at=end + A_WEEK)
    grant(guest, user=outsider, role="viewer", host=host, expires_at=end)
    refused("only until", grant, guest, user=outsider, role="viewer", host=host, pool_uuid=same)
    crew = teams.make(chief, "Crew")
    grant(chief, group=crew, role="viewer", host=host)
    refused("for longer", teams.join, guest, crew, guest)
    Grant.objects.filter(user=guest).update(expires_at=timezone.now())
    del guest._grants
    refused("may not grant", grant, guest, user=outsider, role="viewer", host=host)


def test_a_grant_that_is_there_takes_the_new_end(chief, outsider, host):
    end = timezone.now() + A_WEEK
    first = grant(chief, user=outsider, role="viewer", host=host)
    again = grant(chief, user=outsider, role="viewer", host=host, expires_at=end)
    assert (again.pk, Grant.objects.get(pk=first.pk).expires_at) == (first.pk, end)
    details = AuditEvent.objects.latest("id").details
    assert (details["before"]["until"], details["after"]["until"]) == ("", end.isoformat())
    refused("lies in the past", grant, chief, user=outsider, role="viewer", expires_at=timezone.now())
    refused("no such role", grant, chief, user=outsider, role="king")


def test_the_last_administrator_stays(chief, make_user):
    mine = Grant.objects.get(user=chief)
    invited = make_user("ines", "administrator")
    refused("Nobody would be left", revoke, chief, mine)
    refused("Nobody", grant, chief, user=chief, role="administrator", expires_at=timezone.now() + A_WEEK)
    with pytest.raises(NotGrantable), granting.keeping_an_administrator():
        type(chief).objects.filter(pk=chief.pk).update(is_active=False)
    chief.refresh_from_db()
    assert chief.is_active
    invited.set_password("a long word")
    invited.save()
    revoke(chief, mine)
    assert list(granting.administrators()) == [invited]


def test_the_last_administrator_stays_in_the_team_that_makes_them_one(chief, outsider):
    crew = teams.make(chief, "Crew")
    grant(chief, group=crew, role="administrator")
    teams.join(chief, crew, chief)
    revoke(chief, Grant.objects.get(user=chief))
    del chief._grants
    refused("Nobody would be left", teams.leave, chief, crew, chief)
    refused("Nobody would be left", teams.delete, chief, crew)
    refused("Nobody would be left", revoke, chief, Grant.objects.get(group=crew))
    outsider.set_password("a long word")
    outsider.save()
    teams.join(chief, crew, outsider)
    teams.leave(chief, crew, chief)
    assert not scope(type(chief).objects.get(pk=chief.pk), "pool.view").everything


def test_who_joins_a_team_gets_no_more_than_the_one_who_lets_them_in_holds(chief, keeper, outsider):
    crew = teams.make(keeper, "Crew", note="Nights")
    teams.join(keeper, crew, keeper)
    grant(chief, group=crew, role="viewer")
    refused("may not grant", teams.join, keeper, crew, outsider)
    refused("may not grant", teams.leave, keeper, crew, keeper)
    refused("may not grant", teams.delete, keeper, crew)
    refused("may not grant", teams.change, keeper, crew, {"outside_name": "everybody"})
    refused("may not make", teams.make, outsider, "Own")
    teams.change(chief, crew, {"name": "Night crew", "outside_name": "nights"})
    details = AuditEvent.objects.latest("id").details
    assert (details["before"]["name"], details["after"]["name"]) == ("Crew", "Night crew")
    teams.delete(chief, crew)
    assert not Group.objects.filter(pk=crew.pk).exists()
    assert AuditEvent.objects.latest("id").details["before"]["members"] == ["hana"]


def test_a_role_takes_only_rights_that_its_maker_holds_everywhere(chief, keeper, outsider, host):
    refused("on everything", role_making.make, keeper, "Mine", frozenset({"pool.view"}), False)
    Role.objects.create(name="doorkeeper", title="Doorkeeper", rights=["access.manage", "pool.view"])
    grant(chief, user=outsider, role="viewer")
    Grant.objects.filter(user=outsider).update(role="doorkeeper")
    wider = frozenset({"access.manage", "pool.view", "volume.delete"})
    refused("do not hold this", role_making.change, outsider, all_roles()["doorkeeper"], "Door", wider, False)
    # What guards administrators is not for who is none.
    strict = all_roles()["administrator"]
    refused("do not hold this", role_making.change, outsider, strict, "", frozenset(), True)
    made = role_making.make(chief, "Starter", frozenset({"pool.view", "pool.start"}), True)
    assert (made.name, made.rights, made.needs_mfa) == ("starter", ["pool.view", "pool.start"], True)
    one = grant(chief, user=outsider, role="starter", host=host)
    refused("hold this role", role_making.delete, chief, all_roles()["starter"])
    revoke(chief, one)
    role_making.delete(chief, all_roles()["starter"])
    refused("stay", role_making.delete, chief, all_roles()["viewer"])
    role_making.change(chief, all_roles()["viewer"], "X", frozenset(), True)
    assert all_roles()["viewer"] == ("viewer", "Viewer", frozenset({"pool.view"}), True, True)


def test_a_role_keeps_what_makes_the_last_administrator(chief):
    role = role_making.make(chief, "Chief", all_roles()["administrator"].rights, False)
    grant(chief, user=chief, role=role.name)
    revoke(chief, Grant.objects.get(user=chief, role="administrator"))
    less = all_roles()["chief"].rights - {"volume.wipe"}
    refused("do everything", role_making.change, chief, all_roles()["chief"], "Chief", less, False)


def test_the_command_grants_own_roles_until_a_day(chief, outsider, pool):
    Role.objects.create(name="starter", title="Starter", rights=["pool.start"])
    call_command("grant", "starter", "--user", "otto", "--pool", str(pool.uuid), "--until", "2099-12-31")
    given = Grant.objects.get(user=outsider)
    assert f"{timezone.localtime(given.expires_at):%Y-%m-%d %H:%M}" == "2099-12-31 23:59"
    for wrong, words in (
        (["king", "--user", "otto"], "no such role"),
        (["viewer", "--user", "otto", "--until", "2001-01-01"], "past"),
        (["viewer", "--user", "otto", "--until", "soon"], "2026-12-31"),
        (["administrator", "--user", "ada", "--revoke"], "Nobody would be left"),
        (["viewer", "--user", "otto", "--pool", str(uuid.uuid4()), "--revoke"], "no such grant"),
    ):
        with pytest.raises(CommandError, match=words):
            call_command("grant", *wrong)
    call_command("grant", "starter", "--user", "otto", "--pool", str(pool.uuid), "--revoke")
    assert not Grant.objects.filter(user=outsider).exists()


@pytest.mark.parametrize("above_all", [False, True])
def test_who_lost_the_right_while_the_request_was_on_its_way_changes_nothing(chief, outsider, above_all):
    other = User.objects.create_user("oda", password="a long word", is_superuser=above_all)
    held = Grant.objects.create(user=other, role="administrator")
    assert granting.manages(other)
    revoke(chief, held)
    User.objects.filter(pk=other.pk).update(is_superuser=False)
    refused("may not grant", grant, other, user=outsider, role="administrator")
    refused("may not grant", revoke, other, Grant.objects.get(user=chief))
