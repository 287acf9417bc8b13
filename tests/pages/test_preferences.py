"""What a person chose holds on every page, and for nobody else."""

from datetime import UTC, datetime

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext

from storagemgr.access.models import Preferences
from storagemgr.access.preferences import units
from storagemgr.templatetags.storage import NBSP, size

pytestmark = pytest.mark.django_db
CHOSEN = {"time_zone": "Asia/Tokyo", "units": "decimal", "density": "compact", "theme": "dark"}


def test_they_are_kept_and_hold_on_every_page(client, viewer, operator, pool):
    pool.state_since = pool.refreshed_at = datetime(2026, 1, 31, 22, 30, tzinfo=UTC)
    pool.save()
    client.force_login(viewer)
    assert client.post("/accounts/preferences/", CHOSEN).status_code == 303
    page = client.get(pool.get_absolute_url()).content.decode()
    assert 'data-bs-theme="dark" data-theme="dark" data-density="compact"' in page
    assert f"107{NBSP}GB" in page
    assert "1\N{NO-BREAK SPACE}Feb 07:30" in page or "1\N{NO-BREAK SPACE}Feb 2026 07:30" in page

    client.force_login(operator)
    page = client.get(pool.get_absolute_url()).content.decode()
    assert f"100{NBSP}GiB" in page
    assert "22:30" in page
    assert "data-density" not in page


def test_they_cost_no_query(client, viewer, django_assert_num_queries):
    client.force_login(viewer)
    with CaptureQueriesContext(connection) as without:
        client.get("/hosts/")
    Preferences.objects.create(user=viewer, **CHOSEN)
    with django_assert_num_queries(len(without)):
        assert 'data-density="compact"' in client.get("/hosts/").content.decode()


@pytest.mark.parametrize("field", CHOSEN)
def test_what_cannot_be_chosen_is_refused_with_the_rest_kept(client, viewer, field):
    client.force_login(viewer)
    page = client.post("/accounts/preferences/", CHOSEN | {field: "Mars/Olympus"})
    assert page.status_code == 422
    assert not Preferences.objects.exists()
    text = page.content.decode()
    kept = {"time_zone": '<option value="Asia/Tokyo" selected', "units": 'value="decimal" checked'}
    for name, mark in kept.items():
        assert (mark in text) == (name != field)


def test_a_zone_that_is_not_known_any_more_is_the_servers(client, viewer):
    Preferences.objects.create(user=viewer, time_zone="Atlantis/Poseidonis")
    client.force_login(viewer)
    assert client.get("/").status_code == 200


def test_the_theme_of_the_menu_is_the_same_thing(client, viewer):
    client.force_login(viewer)
    client.post("/accounts/preferences/", CHOSEN)
    client.post("/theme/", {"theme": "light"})
    assert Preferences.objects.get(user=viewer).theme == "light"
    client.post("/accounts/preferences/", CHOSEN | {"theme": ""})
    assert 'data-theme="system"' in client.get("/").content.decode()


def test_a_person_that_was_closed_is_signed_out(client, viewer):
    client.force_login(viewer)
    User.objects.update(is_active=False)
    assert client.get("/").status_code == 302


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (999, "999 bytes"),
        (1000, "1 kB"),
        (999_999, "1 MB"),
        (1024**4, "1.1 TB"),
    ],
)
def test_decimal_units(value, text):
    token = units.set("decimal")
    assert size(value) == text.replace(" ", NBSP)
    units.reset(token)
