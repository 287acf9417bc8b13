"""Making accounts, closing them and opening them again, and links that set a password. Each raises NotGrantable.

Who may do that to an account could act as its person, so it takes all that the person holds.
"""

from django.contrib.auth.models import User
from django.contrib.sessions.models import Session

from storagemgr.access import rights
from storagemgr.access.accounts import password_path
from storagemgr.access.granting import NEVER, RIGHT, NotGrantable, attempt, holds, record
from storagemgr.access.models import Token
from storagemgr.access.scopes import Actor, grants_of, scope

INVITED, ACTIVE, CLOSED = "invited", "active", "closed"


def state_of(user: User) -> str:
    if not user.is_active:
        return CLOSED
    return INVITED if user.last_login is None and not user.has_usable_password() else ACTIVE


def may_make(by: Actor) -> bool:
    return scope(by, RIGHT).everything


def why_not(by: Actor, user: User) -> str:
    """Why `by` may not close, open or give a link to this account; "" when they may."""
    if not may_make(by):
        return "You can look at accounts. To change them takes the right to grant roles on everything."
    if user.is_superuser and not holds(by, rights.RIGHTS, None, None, NEVER):
        return "This account is above all grants, and yours is not."
    for one in grants_of(user):
        if not holds(by, one.rights, one.host_id, one.pool_uuid, one.expires_at or NEVER):
            return "This person holds roles that you do not hold, or not so long. Ask somebody who does."
    return ""


def invite(by: Actor, user: User, address: str | None = None) -> str:
    """Saves the new `user` and gives the path of the page where they set their password, once."""
    with attempt(by, "access.invite", user.username, address):
        if not may_make(by):
            raise NotGrantable("Accounts are made by those who grant roles on everything.")
        user.set_unusable_password()
        user.save()
        facts = {"name": user.username, "full name": user.first_name, "mail": user.email}
        record(by, "access.invite", user.username, address, before={}, after=facts)
    return password_path(user)


def new_link(by: Actor, user: User, address: str | None = None) -> str:
    """Like invite(), for an account that is there. Its password holds until the new one is set."""
    with attempt(by, "account.link", user.username, address):
        if why := why_not(by, user) or ("Its account is closed." if not user.is_active else ""):
            raise NotGrantable(why)
        record(by, "account.link", user.username, address)
    return password_path(user)


def close(by: Actor, user: User, address: str | None = None) -> None:
    """They are signed out everywhere; grants, tokens and memberships stay, and hold again once it is opened."""
    _set_active(by, user, "account.close", address, is_active=False)
    for session in Session.objects.iterator():
        if session.get_decoded().get("_auth_user_id") == str(user.pk):
            session.delete()


def reopen(by: Actor, user: User, address: str | None = None) -> None:
    _set_active(by, user, "account.open", address, is_active=True)


def _set_active(by: Actor, user: User, action: str, address: str | None, *, is_active: bool) -> None:
    words = {True: "open", False: "closed"}
    with attempt(by, action, user.username, address):
        user.is_active = True  # what they hold is asked of an open account
        if why := why_not(by, user):
            raise NotGrantable(why)
        if user.pk == getattr(by, "pk", None):
            raise NotGrantable("You cannot close your own account.")
        User.objects.filter(pk=user.pk).update(is_active=is_active)
        user.is_active = is_active
        states = {"before": {"account": words[not is_active]}, "after": {"account": words[is_active]}}
        record(by, action, user.username, address, **states)


def revoke_token(by: Actor, token: Token, address: str | None = None) -> None:
    with attempt(by, "token.revoke", f"Token {token}", address):
        if why := why_not(by, token.user):
            raise NotGrantable(why)
        token.delete()
        record(by, "token.revoke", f"Token {token}", address)
