import re
from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from storagemgr.access import tokens
from storagemgr.access.models import AuditEvent, Token

pytestmark = pytest.mark.django_db


def test_a_token_is_shown_once_and_acts_as_its_person(client, operator):
    client.force_login(operator)
    url = reverse("account_tokens")
    page = client.post(url, {"name": "backup", "days": 7})
    secret = re.search(r'id="secret">([^<]+)<', page.text)[1]
    assert secret not in client.get(url).text
    assert not Token.objects.filter(digest__contains=secret[5:15]).exists()
    assert tokens.user_of(f"Bearer {secret}") == operator
    assert AuditEvent.objects.get(action="token.make").object_text == "Token backup"
    again = client.post(url, {"name": "backup", "days": 0})
    assert again.status_code == 422
    assert "You have one of this name already" in again.text
    assert Token.objects.count() == 1


def test_only_a_live_token_of_a_live_account_is_anybody(operator):
    token, secret = tokens.make(operator, "t", 1)
    for wrong in ("", secret, f"Basic {secret}", f"Bearer {secret}x", f"Bearer {token.digest}"):
        assert tokens.user_of(wrong) is None
    Token.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert tokens.user_of(f"Bearer {secret}") is None
    Token.objects.update(expires_at=timezone.now() + timedelta(days=1))
    operator.is_active = False
    operator.save()
    assert tokens.user_of(f"Bearer {secret}") is None


def test_one_revokes_ones_own_alone(client, operator, viewer):
    mine, secret = tokens.make(operator, "mine", 1)
    client.force_login(viewer)
    client.post(reverse("account_tokens"), {"revoke": mine.pk})
    assert tokens.user_of(f"Bearer {secret}")
    client.force_login(operator)
    assert client.post(reverse("account_tokens"), {"revoke": mine.pk}).status_code == 303
    assert tokens.user_of(f"Bearer {secret}") is None
