"""Tokens: a program that shows one acts as its person, with that person's rights of the moment.

Only the transfer process takes them. They are random, so a fast hash of them is enough.
"""

import hashlib
import secrets
from datetime import timedelta

from django.contrib.auth.models import User
from django.utils import timezone

from storagemgr.access import second_factor
from storagemgr.access.models import Token

PREFIX = "smgr_"
LONGEST_DAYS = 365
USED_EVERY = timedelta(minutes=1)


def make(user: User, name: str, days: int) -> tuple[Token, str]:
    """The row, and the token itself, which nobody can read again."""
    secret = PREFIX + secrets.token_urlsafe(32)
    expires_at = timezone.now() + timedelta(days=days)
    return Token.objects.create(user=user, name=name, digest=_digest(secret), expires_at=expires_at), secret


def user_of(authorization: str) -> User | None:
    """Whose token this header bears; None for any other text, an old token, an account that was closed,
    and one that lacks the second factor that a role of it asks for.
    """
    scheme, _, secret = authorization.partition(" ")
    if scheme.lower() != "bearer" or not secret.startswith(PREFIX):
        return None
    now = timezone.now()
    token = (
        Token.objects.select_related("user")
        .filter(digest=_digest(secret.strip()), expires_at__gt=now)
        .first()
    )
    if token is None or not token.user.is_active:
        return None
    if second_factor.must_have(token.user) and not second_factor.could_have(token.user):
        return None
    if token.used_at is None or token.used_at < now - USED_EVERY:
        Token.objects.filter(pk=token.pk).update(used_at=now)
    return token.user


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
