"""What must be there before the first page can be served: key, schema, static files, an administrator."""

import hashlib
import os
import secrets
from pathlib import Path

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.staticfiles.finders import get_finders
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from storagemgr.access import audit
from storagemgr.access.accounts import password_path
from storagemgr.hosts.identity import ssh_identity
from storagemgr.virt.errors import VirtError


def migrate() -> None:
    """`migrate`, when there is something to migrate: asking alone takes a tenth of its time."""
    executor = MigrationExecutor(connection)
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        call_command("migrate", interactive=False, verbosity=0)


def collect_static() -> None:
    """`collectstatic`, when a file has changed since: it hashes and compresses every file each time."""
    stamp = Path(settings.STATIC_ROOT) / ".collected"
    state = _static_state()
    if stamp.exists() and stamp.read_text() == state:
        return
    call_command("collectstatic", interactive=False, verbosity=0, clear=True)
    stamp.write_text(state)


def _static_state() -> str:
    state = hashlib.sha256(str(settings.STORAGES["staticfiles"]).encode())
    for finder in get_finders():
        for name, storage in finder.list([]):
            file = os.stat(storage.path(name))
            state.update(f"{name}:{file.st_mtime_ns}:{file.st_size}\n".encode())
    return state.hexdigest()


def make_ssh_key() -> str:
    """The key with which hosts are reached over SSH. Why there is none, "" when there is one."""
    try:
        ssh_identity().make_key()
    except VirtError as error:
        return f"No SSH key was made, so hosts cannot be reached over SSH: {error.detail}"
    return ""


def first_administrator_path() -> str | None:
    """Path of a one-time page to set the first administrator's password; None once there is one."""
    administrators = get_user_model().objects.filter(is_superuser=True, is_active=True)
    if any(user.has_usable_password() for user in administrators):
        return None
    user = administrators.first() or _new_administrator()
    return password_path(user)


def _new_administrator():
    users = get_user_model().objects
    name = "admin"
    while users.filter(username=name).exists():
        name = f"admin-{secrets.token_hex(2)}"
    audit.record(
        "access.invite", audit.Outcome.DONE, actor=None, object_text=f"{name}, the first administrator"
    )
    return users.create_superuser(username=name, password=None)
