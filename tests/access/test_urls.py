"""Every URL and the least role for it. A URL without a row here fails the build."""

import re
import uuid

import pytest
from django.conf import settings
from django.contrib.auth.models import Group, User
from django.urls import URLPattern, URLResolver, get_resolver, reverse
from django.utils import timezone

from pools import noting
from pools.models import NewPool, Pool, PoolConfiguration, PoolDraft
from storagemgr.access import audit
from storagemgr.access.models import AuditEvent, Grant, Role, Token
from storagemgr.access.rights import ROLES, roles_with
from storagemgr.jobs.models import Batch, Job
from storagemgr.jobs.operations import REGISTRY, operations_for
from volumes.models import WipeRecord
from volumes.operations import keeping

pytestmark = pytest.mark.django_db

ANYONE, SIGNED_IN, EVERYWHERE = "anyone", "signed in", "administrator of everything"
MINE = "one's own account"
# Who grants roles or reads the audit anywhere; who does so on everything.
PEOPLE, CHIEF = "people", "chief"
# name -> least role; a tuple names the object whose id the URL takes
TABLE = {
    "account_login": ANYONE,
    "account_reset_password_from_key": ANYONE,
    "account_logout": SIGNED_IN,
    "account_change_password": SIGNED_IN,
    "account_set_password": SIGNED_IN,
    "account_preferences": SIGNED_IN,
    "account_preview": SIGNED_IN,
    "account_tokens": SIGNED_IN,
    "account_reauthenticate": MINE,
    **dict.fromkeys(["account_forgotten", "account_sso", "openid_connect_callback"], ANYONE),
    "account_sso_again": SIGNED_IN,
    "mfa_authenticate": ANYONE,  # between the password and the session
    **dict.fromkeys(["mfa_index", "usersessions_list", "mfa_list_webauthn"], SIGNED_IN),
    **dict.fromkeys(["mfa_reauthenticate", "mfa_reauthenticate_webauthn"], MINE),
    **dict.fromkeys(["mfa_activate_totp", "mfa_deactivate_totp"], MINE),
    **dict.fromkeys(["mfa_add_webauthn", "mfa_edit_webauthn", "mfa_remove_webauthn"], MINE),
    **dict.fromkeys(["mfa_view_recovery_codes", "mfa_generate_recovery_codes"], MINE),
    "mfa_download_recovery_codes": MINE,
    "account_go_on": SIGNED_IN,
    "theme": ANYONE,
    "helpdesk:helpdesk": SIGNED_IN,
    "pools:fleet": SIGNED_IN,
    "pools:selected": SIGNED_IN,
    "pools:new": SIGNED_IN,
    "pools:drafts": SIGNED_IN,
    "volumes:all": SIGNED_IN,
    "volumes:selected": SIGNED_IN,
    "volumes:export": SIGNED_IN,
    "volumes:unused": SIGNED_IN,
    "volumes:wipes": SIGNED_IN,
    "jobs:list": SIGNED_IN,
    "jobs:strip": SIGNED_IN,
    "hosts:list": SIGNED_IN,
    "pools:pool": ("viewer", "pool"),
    "pools:configuration": ("viewer", "pool"),
    "pools:configurations": ("viewer", "pool"),
    "pools:configuration_at": ("viewer", "pool"),
    "volumes:of_pool": ("viewer", "pool"),
    "volumes:export_pool": ("viewer", "pool"),
    "volumes:volume": ("viewer", "volume"),
    "volumes:wipe_record": ("viewer", "wipe"),
    "jobs:job": ("viewer", "job"),
    "jobs:batch": ("viewer", "batch"),
    "jobs:undo_batch": ("viewer", "batch"),  # what may be undone is looked at job by job
    "hosts:host": ("viewer", "host"),
    "hosts:timeline": ("viewer", "host"),
    "pools:timeline": ("viewer", "pool"),
    "volumes:timeline": ("viewer", "volume"),
    "jobs:acknowledge": ("viewer", "job"),
    "jobs:cancel": ("operator", "job"),
    "jobs:give_up": ("operator", "job"),
    "volumes:create": ("operator", "pool"),
    "volumes:import": ("operator", "pool"),
    "volumes:upload": ("operator", "pool"),
    "pools:operate": ("operation", "pool"),
    "volumes:operate": ("operation", "volume"),
    "pools:find-sources": ("operation", "newpool"),
    "pools:test": ("operation", "newpool"),
    "pools:create": ("operation", "newpool"),
    "pools:undo-creation": ("operation", "newpool"),
    "pools:draft": ("owner", "draft"),
    "pools:draft_step": ("owner", "draft"),
    "pools:draft_discard": ("owner", "draft"),
    "hosts:operate": ("operation", "host"),
    "hosts:new": EVERYWHERE,
    "people:people": (PEOPLE, ""),
    "people:person": (PEOPLE, "person"),
    "people:invite": (CHIEF, ""),
    **{f"people:{name}": (CHIEF, "person") for name in ("link", "open", "revoke_token")},
    "people:close": (PEOPLE, "person"),
    "people:sign_in": (PEOPLE, "person"),
    "people:locks": (PEOPLE, ""),
    "people:audit": (PEOPLE, ""),
    "people:audit_export": (PEOPLE, ""),
    "people:audit_check": (CHIEF, ""),
    "people:audit_event": (CHIEF, "event"),
    "people:teams": (PEOPLE, ""),
    "people:roles": (PEOPLE, ""),
    "people:grants": (PEOPLE, ""),
    "people:new_team": (PEOPLE, ""),
    "people:grant": (PEOPLE, ""),
    "people:team": (PEOPLE, "team"),
    "people:join": (CHIEF, "team"),
    "people:leave": (CHIEF, "team"),
    "people:edit_team": (CHIEF, "team"),
    "people:delete_team": (CHIEF, "team"),
    "people:new_role": (CHIEF, ""),
    "people:role": (CHIEF, ""),
    "people:delete_role": (CHIEF, ""),
    "people:revoke": (CHIEF, "grant"),
    "hosts:edit": ("administrator", "host"),
    "hosts:key": ("administrator", "host"),
    "hosts:remove": ("administrator", "host"),
}
# What else the address takes.
ARGUMENTS = {
    "account_go_on": {"key": "nothing"},
    "mfa_edit_webauthn": {"pk": 1},
    "mfa_remove_webauthn": {"pk": 1},
    "people:role": {"name": "starter"},
    "people:revoke_token": {"token": 1},
    "people:delete_role": {"name": "starter"},
    "pools:selected": {"slug": "stop"},
    "volumes:selected": {"slug": "delete"},
    "pools:draft_step": {"step": "hosts"},
    "pools:configuration_at": {"version": 1},
}
POST_ONLY = {"jobs:acknowledge", "jobs:undo_batch", "jobs:cancel", "jobs:give_up", "pools:draft_discard"}
POST_ONLY |= {"people:join", "people:leave", "people:audit_check"}
POST_ONLY |= {"people:link", "people:open", "people:revoke_token"}


def names(patterns, namespace=""):
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            yield from names(
                pattern.url_patterns, f"{pattern.namespace}:" if pattern.namespace else namespace
            )
        elif isinstance(pattern, URLPattern):
            yield f"{namespace}{pattern.name}"


@pytest.fixture
def things(volume, host, pool):
    batch = Batch.objects.create(title="Refresh 1 pool")
    job = Job.objects.create(
        operation="pool.refresh",
        title="Refresh",
        host=host,
        pool_uuid=pool.uuid,
        pool_name=pool.name,
        batch=batch,
    )
    draft = PoolDraft.objects.create(owner=User.objects.create_user("drafter"), type="netfs")
    new = NewPool.objects.create(draft=draft, host=host, name="web")
    xml = f"<pool type='dir'><name>{pool.name}</name><uuid>{pool.uuid}</uuid></pool>"
    PoolConfiguration.objects.create(pk=1, host=host, pool_uuid=pool.uuid, xml=xml)
    team = Group.objects.create(name="Web")
    Token.objects.create(pk=1, user=draft.owner, name="backup", digest="0", expires_at=timezone.now())
    Role.objects.create(name="starter", title="Starter", rights=["pool.view"])
    event = audit.record("pool.start", audit.Outcome.DONE, actor=None, host_id=host.pk, pool_uuid=pool.uuid)
    return {
        "event": event,
        "team": team,
        "person": draft.owner,
        "grant": Grant.objects.create(group=team, role="viewer", host=host),
        "pool": pool,
        "volume": volume,
        "job": job,
        "host": host,
        "batch": batch,
        "draft": draft,
        "newpool": new,
        "wipe": wipe_of(volume),
    }


def wipe_of(volume):
    pool, now = volume.pool, timezone.now()
    place = {"host_id": pool.host_id, "pool_uuid": pool.uuid, "volume_name": volume.name}
    place |= {"host_name": pool.host.name, "pool_name": pool.name}
    return WipeRecord.objects.create(job_id=1, capacity=1, allocation=1, started_at=now, **place)


def everyone():
    """A person per role on everything, one without any, and one with all rights on a foreign host."""
    from storagemgr.hosts.models import Host

    for role in ROLES:
        Grant.objects.create(user=User.objects.create_user(role), role=role)
    User.objects.create_user("nobody")
    foreign = Host.objects.create(name="foreign", state="up")
    Grant.objects.create(user=User.objects.create_user("stranger"), role="administrator", host=foreign)
    return User.objects.exclude(username="drafter")


def ask(client, user, name, url):
    client.force_login(user)
    return client.post(url) if name in POST_ONLY else client.get(url)


def pk_of(row, things):
    return {"pk": things[row[1]].pk} if row[1] else {}


def test_the_table_is_complete():
    assert set(names(get_resolver().url_patterns)) == set(TABLE)


@pytest.mark.parametrize("name", sorted(name for name, row in TABLE.items() if row != ANYONE))
def test_without_signing_in_there_is_only_the_door(client, things, name):
    row = TABLE[name]
    arguments = {} if row in (SIGNED_IN, EVERYWHERE, MINE) else pk_of(row, things)
    arguments |= ARGUMENTS.get(name, {})
    if name.endswith(":operate"):
        arguments["slug"] = "refresh"
    for method in (client.get, client.post):
        response = method(reverse(name, kwargs=arguments))
        assert response.status_code == 302
        assert response.url.startswith(reverse("account_login")) or name == "account_logout"


@pytest.mark.parametrize("name", sorted(name for name, row in TABLE.items() if row == SIGNED_IN))
def test_pages_of_lists_are_for_all_who_are_signed_in(client, things, name):
    for user in everyone():
        assert ask(client, user, name, reverse(name, kwargs=ARGUMENTS.get(name))).status_code in (200, 302)


@pytest.mark.parametrize("name", sorted(name for name, row in TABLE.items() if row == MINE))
def test_pages_of_ones_own_account_answer_for_everybody(client, things, name):
    """These people have neither password nor second factor: what is about those is not there for them."""
    for user in everyone():
        answer = ask(client, user, name, reverse(name, kwargs=ARGUMENTS.get(name)))
        assert answer.status_code in (200, 302, 403, 404), user
        assert not answer.headers.get("Location", "").startswith(reverse("account_login")), user


@pytest.mark.parametrize("name", sorted(name for name, row in TABLE.items() if row == EVERYWHERE))
def test_what_is_about_no_object_takes_the_right_on_everything(client, things, name):
    for user in everyone():
        allowed = user.username == "administrator"
        assert ask(client, user, name, reverse(name)).status_code == (200 if allowed else 403), user
    assert AuditEvent.objects.filter(outcome="denied", right="host.manage").count() == len(ROLES) + 1


@pytest.mark.parametrize("name", sorted(n for n, row in TABLE.items() if row[0] in ROLES))
def test_an_object_by_role(client, things, name):
    least, kind = TABLE[name]
    url = reverse(name, kwargs={"pk": things[kind].pk} | ARGUMENTS.get(name, {}))
    able = list(ROLES)[list(ROLES).index(least) :]
    for user in everyone():
        status = ask(client, user, name, url).status_code
        if user.username in ("nobody", "stranger"):
            assert status == 404, user
        elif user.username in able:
            assert status in (200, 302, 303, 409), user
        else:
            assert status == 403, user


@pytest.mark.parametrize("name", sorted(n for n, row in TABLE.items() if row[0] in (PEOPLE, CHIEF)))
def test_pages_about_people(client, things, name):
    """They are not there for who neither grants roles nor reads the audit; the stranger does, on the foreign host."""
    url = reverse(name, kwargs=pk_of(TABLE[name], things) | ARGUMENTS.get(name, {}))
    for user in everyone():
        status = ask(client, user, name, url).status_code
        if user.username == "administrator" or (user.username == "stranger" and TABLE[name][0] == PEOPLE):
            assert status in (200, 303), user
        elif user.username == "stranger":
            assert status in (403, 404), user
        else:
            assert status == 404, user


@pytest.mark.parametrize("name", sorted(n for n, row in TABLE.items() if row[0] == "owner"))
def test_a_draft_is_there_for_its_owner_alone(client, things, name):
    draft = things["draft"]
    url = reverse(name, kwargs={"pk": draft.pk} | ARGUMENTS.get(name, {}))
    for user in everyone():
        assert ask(client, user, name, url).status_code == 404, user
    assert ask(client, draft.owner, name, url).status_code in (200, 302, 303)


@pytest.mark.parametrize("name", [o.name for o in REGISTRY.values() if o.target is NewPool])
def test_the_pool_of_a_draft_is_there_for_its_owner_alone(client, things, name):
    url = _operation_url(REGISTRY[name], things["newpool"])
    for user in everyone():
        client.force_login(user)
        assert (client.get(url).status_code, client.post(url).status_code) == (404, 404), user


@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_an_operation_by_role(client, things, name):
    operation = REGISTRY[name]
    kind = operation.target._meta.model_name
    row = things[kind]
    if not operation.applies(row):
        row = things[kind] = _row_for(operation, row)
    url = _operation_url(operation, row)
    for user in everyone():
        if kind == "newpool":
            PoolDraft.objects.update(owner=user)
        if kind == "newpool":
            PoolDraft.objects.update(owner=user)
        client.force_login(user)
        get, post = client.get(url), client.post(url, {"key": str(uuid.uuid4())})
        if user.username in ("nobody", "stranger"):
            assert (get.status_code, post.status_code) == (404, 404), user
        elif user.username in roles_with(operation.right):
            assert get.status_code == 200, user
            assert post.status_code in (303, 409, 422), user
        else:
            before = AuditEvent.objects.filter(outcome="denied").count()
            assert (client.get(url).status_code, client.post(url).status_code) == (403, 403), user
            assert AuditEvent.objects.filter(outcome="denied").count() == before + 2


def save_notes(row, values):
    save = noting.save if isinstance(row, Pool) else keeping.save
    save(row, values)
    row.refresh_from_db()


def _operation_url(operation, row):
    if operation.name.startswith("volume.") and operation.target is Pool:
        return reverse(f"volumes:{operation.slug}", kwargs={"pk": row.pk})
    if operation.target is NewPool:
        return reverse(f"pools:{operation.slug}", kwargs={"pk": row.pk})
    page = f"{operation.target._meta.model_name}s:operate"
    return reverse(page, kwargs={"pk": row.pk, "slug": operation.slug})


def _row_for(operation, row):
    """Change the row so that the operation applies to it."""
    if operation.name == "pool.autostart_off":
        row.autostart = True
    elif operation.name in ("pool.look", "pool.build_overwrite"):
        row.type = "disk"
    elif operation.name == "pool.remove_examples":
        row.host.is_embedded, row.name = True, "storagemgr-examples"
        row.target_path = str(settings.DATA_DIR / "examples")
        row.host.save()
    elif operation.name == "volume.accept":
        row.unverified_since = timezone.now()
    elif operation.name in ("pool.unprotect", "volume.unprotect"):
        save_notes(row, {"protected_at": timezone.now()})
    elif operation.name == "volume.unkeep":
        save_notes(row, {"not_unused_because": "A template."})
    row.save()
    assert operation in operations_for(row)
    return row


def test_what_is_hidden_looks_like_what_is_not_there(client, things, outsider):
    client.force_login(outsider)
    for name in ("pools:pool", "volumes:volume", "jobs:job", "hosts:host"):
        hidden = things[TABLE[name][1]].pk
        pages = [client.get(reverse(name, kwargs={"pk": pk})) for pk in (hidden, 999_999)]
        assert [page.status_code for page in pages] == [404, 404]
        one, other = (without_what_always_differs(page.content.decode()) for page in pages)
        assert one.replace(f"/{hidden}/", "/999999/") == other


def without_what_always_differs(page):
    """The CSRF token is masked anew for each page."""
    return re.sub(r'(content|value)="[A-Za-z0-9]{64}"', "", page)
