"""Passwords on their way from a form to a worker: encrypted with the SECRET_KEY, and nowhere else."""

import base64
import hashlib
import json
from collections.abc import Mapping

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings


def seal(secrets: Mapping[str, str]) -> str:
    """Text that only this installation can read; "" for no secrets."""
    return _box().encrypt(json.dumps(dict(secrets)).encode()).decode() if secrets else ""


def unseal(text: str) -> dict[str, str]:
    """{} for "", and for what was sealed with a SECRET_KEY that is not known any more."""
    if not text:
        return {}
    try:
        secrets: dict[str, str] = json.loads(_box().decrypt(text.encode()))
    except InvalidToken:
        return {}
    return secrets


def _box() -> MultiFernet:
    """New texts with SECRET_KEY, old ones also with SECRET_KEY_FALLBACKS."""
    keys = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    digests = [hashlib.blake2b(key.encode(), person=b"sealed", digest_size=32).digest() for key in keys]
    return MultiFernet([Fernet(base64.urlsafe_b64encode(digest)) for digest in digests])
