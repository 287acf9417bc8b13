"""The pages as another role sees them."""

import pytest
from django.contrib.auth.models import User

from storagemgr.access.models import AuditEvent

pytestmark = pytest.mark.django_db


def test_an_administrator_looks_as_a_viewer_and_changes_nothing(client, administrator, pool, volume):
    client.force_login(administrator)
    assert "Stop" in client.get(pool.get_absolute_url()).content.decode()
    assert client.post("/accounts/preview/", {"role": "viewer"})["Location"] == "/"
    page = client.get(pool.get_absolute_url()).content.decode()
    assert "You look at the pages as Viewer." in page
    assert f'href="{pool.get_absolute_url()}stop/"' not in page
    answer = client.post(f"{pool.get_absolute_url()}refresh/")
    assert answer.status_code == 403
    assert "end that at the top" in answer.content.decode()
    assert AuditEvent.objects.filter(action="account.preview", outcome="denied").count() == 1
    assert client.get("/hosts/new/").status_code in (403, 404)

    client.post("/accounts/preview/")
    page = client.get(pool.get_absolute_url()).content.decode()
    assert "You look at the pages as" not in page
    assert AuditEvent.objects.filter(action="account.preview", outcome="done").count() == 2


def test_a_preview_gives_nothing_that_one_has_not(client, viewer, outsider, pool):
    client.force_login(viewer)
    client.post("/accounts/preview/", {"role": "administrator"})
    assert client.get("/hosts/new/").status_code in (403, 404)
    client.force_login(outsider)
    client.post("/accounts/preview/", {"role": "administrator"})
    assert client.get(pool.get_absolute_url()).status_code == 404


def test_it_ends_with_the_session_and_with_the_role(client, administrator, pool):
    client.force_login(administrator)
    client.post("/accounts/preview/", {"role": "nobody-made-this"})
    assert "You look at the pages as" not in client.get("/").content.decode()
    client.post("/accounts/preview/", {"role": "viewer"})
    assert client.post("/accounts/logout/").status_code == 302
    client.force_login(User.objects.get(pk=administrator.pk))
    assert "You look at the pages as" not in client.get("/").content.decode()
