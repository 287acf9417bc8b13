"""Whatever can be posted leaves an event in the audit, or stands here with the reason why it does not."""

import pytest
from django.contrib.auth.models import User
from django.urls import get_resolver, reverse
from django.utils import timezone

from pools.models import PoolDraft
from storagemgr.access import tokens
from storagemgr.access.models import AuditEvent, Token
from storagemgr.hosts.models import Host
from storagemgr.jobs.models import Job
from storagemgr.jobs.tasks import run_job
from tests.access.test_urls import ARGUMENTS, TABLE, names, things  # noqa: F401
from volumes.tasks import check_audit

pytestmark = pytest.mark.django_db

# These change nothing but what the person who posts sees.
OWN_VIEW = {"theme", "account_preferences", "jobs:acknowledge"}
# They only lead on: to a step, a review, the page that posts again what waited.
LEADS_ON = {
    "pools:configuration",
    "pools:configuration_at",
    "account_go_on",
    "account_sso_again",
    "account_sso",
}
# allauth's, which need a second factor, a link or a provider; their events are in tests/sign_on.
IN_SIGN_ON = {name for name in TABLE if name.startswith(("mfa_", "openid_", "usersessions_"))} | {
    *("account_forgotten", "account_reset_password_from_key"),
    *("account_reauthenticate", "account_set_password"),
    *("people:sign_in", "people:locks"),
}
# By name: the object, what is posted, the action of its event. A name of `known` stands for its value.
CASES = {
    "account_login": ("", {"login": "ada", "password": "wrong"}, "account.sign-in-failed"),
    "account_logout": ("", {}, "account.sign-out"),
    "account_preview": ("", {"role": "viewer"}, "account.preview"),
    "account_tokens": ("", {"name": "backup", "days": "7"}, "token.make"),
    "account_change_password": (
        "",
        {"oldpassword": "words of ada", "password1": "other words 77", "password2": "other words 77"},
        "account.password",
    ),
    "hosts:new": (
        "",
        {
            "name": "new",
            "transport": "ssh",
            "address": "kvm9.example",
            "username": "storage",
            "mode": "system",
        },
        "host.add",
    ),
    "hosts:edit": (
        "host",
        {"name": "other", "note": "moved", "transport": "local", "mode": "system"},
        "host.edit",
    ),
    "hosts:key": ("ssh host", {"fingerprint": "FINGERPRINT"}, "host.confirm_key"),
    "hosts:remove": ("ssh host", {"typed_name": "far"}, "host.remove"),
    "jobs:cancel": ("job", {}, "job.cancel"),
    "jobs:give_up": ("interrupted", {}, "job.give_up"),
    "jobs:undo_batch": ("batch", {}, "job.cancel"),
    "pools:new": ("", {}, "draft.begin"),
    "pools:drafts": ("", {}, "draft.begin"),
    "pools:draft_step": ("draft", {"type": "dir"}, "draft.change"),
    "pools:draft_discard": ("draft", {}, "draft.discard"),
    "people:audit_check": ("", {}, "audit.check"),
    "people:invite": ("", {"username": "nora"}, "access.invite"),
    "people:link": ("person", {}, "account.link"),
    "people:close": ("person", {}, "account.close"),
    "people:open": ("closed", {}, "account.open"),
    "people:revoke_token": ("person", {}, "token.revoke"),
    "people:new_team": ("", {"name": "New"}, "team.create"),
    "people:edit_team": ("team", {"name": "Renamed"}, "team.change"),
    "people:join": ("team", {"user": "PERSON"}, "team.join"),
    "people:leave": ("team", {"user": "MEMBER"}, "team.leave"),
    "people:delete_team": ("team", {}, "team.delete"),
    "people:new_role": ("", {"title": "Fresh", "rights": ["pool.view"]}, "role.create"),
    "people:role": ("", {"title": "Starter", "rights": ["pool.view", "pool.refresh"]}, "role.change"),
    "people:delete_role": ("", {}, "role.delete"),
    "people:grant": ("", {"holder": "HOLDER", "role": "viewer", "place": "everything"}, "access.grant"),
    "people:revoke": ("grant", {}, "access.revoke"),
}


@pytest.fixture
def known(client, things, make_user, monkeypatch, settings):  # noqa: F811
    """The things of test_urls.py and some more; ada, who may everything, has signed in."""
    monkeypatch.setattr(check_audit, "apply_async", lambda **asked: None)
    monkeypatch.setattr(run_job, "apply_async", lambda **asked: None)
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    ada = User.objects.create_superuser("ada", password="words of ada")
    pool = things["pool"]
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ8Zu5iOqxY6AK0yKVDNmb1BYVUGXvxQAZ3W9ZoXyZfE"
    far = Host.objects.create(name="far", transport="ssh", address="192.0.2.1", shown_key=key)
    place = {"host": pool.host, "pool_uuid": pool.uuid, "operation": "pool.refresh", "title": "Refresh"}
    waiting = Job.objects.create(**place, state="scheduled", batch=things["batch"], due_at=timezone.now())
    member = make_user("member")
    member.groups.add(things["team"])
    PoolDraft.objects.update(owner=ada)
    # Of a number that PostgreSQL does not know of.
    Token.objects.all().delete()
    token, _ = tokens.make(member, "backup", 7)
    client.force_login(ada)
    return things | {
        "ssh host": far,
        "interrupted": Job.objects.create(**place, state="interrupted", started_at=timezone.now()),
        "waiting": waiting,
        "person": member,
        "closed": User.objects.create(username="closed", is_active=False),
        "PERSON": str(User.objects.create_user("someone").pk),
        "MEMBER": str(member.pk),
        "HOLDER": f"user:{member.pk}",
        "TOKEN": token.pk,
        "FINGERPRINT": far.key_shown.fingerprint,
    }


@pytest.mark.parametrize("name", sorted(CASES))
def test_what_is_posted_is_audited(client, known, name):
    thing, data, action = CASES[name]
    arguments = dict(ARGUMENTS.get(name, {})) | ({"pk": known[thing].pk} if thing else {})
    if name == "people:revoke_token":
        arguments["token"] = known["TOKEN"]
    if name == "pools:draft_step":
        arguments["step"] = "type"
    if name == "account_login":
        client.logout()
    before = set(AuditEvent.objects.values_list("pk", flat=True))
    posted = {
        field: known.get(value, value) if isinstance(value, str) else value for field, value in data.items()
    }
    response = client.post(reverse(name, kwargs=arguments), posted)
    events = AuditEvent.objects.exclude(pk__in=before)
    assert action in [event.action for event in events], (response.status_code, [str(e) for e in events])


def test_nothing_that_can_be_posted_is_left_out(client, known):
    """A view that takes no POST answers 405; every other one is named above."""
    said = OWN_VIEW | LEADS_ON | IN_SIGN_ON | CASES.keys() | by_operations()
    left_out = []
    for name in set(names(get_resolver().url_patterns)) - said:
        row = TABLE[name]
        arguments = dict(ARGUMENTS.get(name, {}))
        if isinstance(row, tuple) and row[1]:
            arguments["pk"] = known[row[1]].pk
        if client.post(reverse(name, kwargs=arguments)).status_code != 405:
            left_out.append(name)
    assert left_out == []


def by_operations():
    """One way in for all of them (jobs.pages, jobs.submit): test_urls.py refuses each and sees the event."""
    asked = {name for name, row in TABLE.items() if row[0] == "operation"}
    return asked | {
        "volumes:create",
        "volumes:import",
        "volumes:upload",
        "pools:selected",
        "volumes:selected",
    }
