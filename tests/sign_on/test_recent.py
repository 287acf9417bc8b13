"""What destroys data or changes access is asked only of people who proved a moment ago who they are."""

import uuid
from datetime import timedelta

import pytest
import time_machine
from django.urls import reverse
from django.utils import timezone

from storagemgr.access.models import Role, Token
from storagemgr.hosts.models import Host
from storagemgr.jobs.models import Job, JobLock

pytestmark = pytest.mark.django_db
HOST = {
    "transport": "ssh",
    "name": "kvm9",
    "address": "kvm9.example",
    "username": "storage",
    "mode": "system",
}


@pytest.fixture(autouse=True)
def five_minutes(settings):
    settings.REAUTHENTICATE_AFTER = 300


@pytest.fixture
def later():
    with time_machine.travel(timezone.now() + timedelta(minutes=6), tick=False):
        yield


def destroy(client, volume, **data):
    url = reverse("volumes:operate", args=[volume.pk, "delete-now"])
    return client.post(url, {"key": uuid.uuid4(), "typed_name": volume.name} | data)


def prove(client, asked, password="a-fine-long-password"):
    """Types the password into the page that the person was led to."""
    page = client.get(asked.url)
    context = page.context
    return client.post(
        "/accounts/reauthenticate/", {"password": password, "next": context["redirect_field_value"]}
    )


def test_right_after_signing_in_nothing_more_is_asked(ada, volume):
    assert destroy(ada, volume).url.startswith("/jobs/")


def test_later_the_password_is_asked_for_and_what_was_posted_goes_on_once(ada, volume, later):
    asked = destroy(ada, volume)
    assert (asked.status_code, asked.url.partition("?")[0]) == (303, "/accounts/reauthenticate/")
    assert not Job.objects.exists()
    assert "Delete at once: web01.qcow2" in ada.get(asked.url).content.decode()
    assert "Incorrect password" in prove(ada, asked, "wrong").content.decode()
    on = prove(ada, asked)
    done = ada.get(on.url)
    assert (done.status_code, done.url) == (303, f"/jobs/{Job.objects.get().pk}/")
    again = ada.get(on.url)
    assert (again.status_code, again.url) == (302, "/")
    assert Job.objects.count() == 1


def test_a_wrong_form_is_told_before_the_password_is_asked_for(ada, volume, later):
    assert destroy(ada, volume, typed_name="other").status_code == 422


def test_what_waits_is_nobody_elses_and_does_not_wait_for_ever(ada, client, volume, later, make_user):
    asked = destroy(ada, volume)
    url = asked.url.partition("next=")[2].replace("%2F", "/")
    assert ada.get(url).url.startswith("/accounts/reauthenticate/")
    with time_machine.travel(timezone.now() + timedelta(minutes=6), tick=False):
        ada.get(prove(ada, asked).url)
    client.logout()
    client.force_login(make_user("eve", "administrator"))
    assert client.get(url).url == "/"
    assert not Job.objects.exists()


def test_what_waited_is_looked_at_anew(ada, volume, later):
    """The right was taken away, or the volume is gone, while the password was typed."""
    asked = destroy(ada, volume)
    on = prove(ada, asked)
    volume.delete()
    assert ada.get(on.url).status_code == 404


def test_many_at_once(ada, make_volume, later):
    rows = [make_volume(name).pk for name in ("a.img", "b.img")]
    asked = ada.post(
        reverse("volumes:selected", args=["delete-now"]),
        {"volume": rows, "typed_name": "delete 2 volumes", "key": uuid.uuid4()},
    )
    assert asked.url.startswith("/accounts/reauthenticate/")
    ada.get(prove(ada, asked).url)
    assert Job.objects.count() == 2


def test_how_a_host_is_reached(ada, later):
    asked = ada.post("/hosts/new/", HOST)
    assert not Host.objects.exists()
    assert ada.get(prove(ada, asked).url).status_code == 303
    host = Host.objects.get(name="kvm9")
    for page, data in (("edit", HOST | {"note": "n"}), ("remove", {"typed_name": "kvm9"})):
        ada.get(f"/hosts/{host.pk}/{page}/")
        with time_machine.travel(timezone.now() + timedelta(minutes=9), tick=False):
            answer = ada.post(f"/hosts/{host.pk}/{page}/", data)
            assert answer.url.startswith("/accounts/reauthenticate/"), page


def test_a_page_that_answers_can_be_filled_in_again(ada, volume, later):
    """It has the address where the request went on."""
    asked = destroy(ada, volume)
    on = prove(ada, asked)
    Job.objects.create(operation="volume.clone", title="Clone", host=volume.pool.host, state="running")
    lock = {"host_id": volume.pool.host_id, "pool_uuid": volume.pool.uuid, "volume_name": volume.name}
    JobLock.objects.create(job=Job.objects.get(), is_write=True, **lock)
    page = ada.get(on.url)
    assert page.status_code == 409
    again = ada.post(on.url, {"typed_name": volume.name})
    wanted = reverse("volumes:operate", args=[volume.pk, "delete-now"])
    assert (again.status_code, again.url) == (307, wanted)
    assert ada.post("/accounts/go-on/other/").url == "/"


def test_a_token_for_programs(ada, later):
    asked = ada.post("/accounts/tokens/", {"name": "backup", "days": 30})
    assert not Token.objects.exists()
    assert 'id="secret"' in ada.get(prove(ada, asked).url).content.decode()
    assert ada.post("/accounts/tokens/", {"name": "other", "days": 30}).status_code == 200


def test_one_click_buttons_and_reading_ask_nothing(ada, pool, later):
    refresh = reverse("pools:operate", args=[pool.pk, "refresh"])
    assert ada.post(refresh, {"key": uuid.uuid4()}).url.startswith("/jobs/")
    assert ada.get("/hosts/new/").status_code == 200


def test_a_button_of_a_live_page_leads_the_whole_page(ada, volume, later):
    url = reverse("volumes:operate", args=[volume.pk, "delete-now"])
    data = {"key": uuid.uuid4(), "typed_name": volume.name}
    answer = ada.post(url, data, headers={"HX-Request": "true"})
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer["HX-Redirect"].startswith("/accounts/reauthenticate/")


def test_who_has_nothing_to_prove_it_with_signs_in_anew(client, administrator, volume):
    client.force_login(administrator)
    answer = destroy(client, volume)
    assert answer.status_code == 403
    assert "Sign out, sign in again" in answer.content.decode()


def test_what_waits_is_not_done_in_a_preview_nor_without_the_factor_that_a_role_asks_for(ada, volume, later):
    """What stands before every other request stands before this one."""
    asked = destroy(ada, volume)
    on = prove(ada, asked)
    ada.post("/accounts/preview/", {"role": "administrator"})
    answer = ada.get(on.url)
    assert answer.status_code == 403
    assert "end that at the top" in answer.content.decode()
    ada.post("/accounts/preview/")
    with time_machine.travel(timezone.now() + timedelta(minutes=6), tick=False):
        on = prove(ada, destroy(ada, volume))
        Role.objects.create(name="administrator", title="Administrator", needs_mfa=True)
        assert ada.get(on.url).url == "/accounts/security/"
    assert not Job.objects.exists()
