"""Each operation has an address of its own beside the wizard's steps; it allows nothing that they do not."""

import uuid

import pytest
from django.urls import reverse
from django.utils import timezone
from wizard_tools import words

from pools.making.plans import fingerprint
from pools.models import NewPool
from storagemgr.jobs.models import Job

pytestmark = pytest.mark.django_db

GIVEN = {"name": "web", "persistent": "yes", "build": "yes", "start": "on"}


def ask(client, making, slug, **data):
    url = reverse(f"pools:{slug}", args=[making.news[0].pk])
    return client.post(url, {"key": str(uuid.uuid4())} | data)


@pytest.mark.parametrize("path", ["/etc/x", "/vm-evil", "/vm/\x07", ""])
def test_a_refused_path_that_the_draft_keeps_makes_no_pool(client, maker, host, settings, path):
    settings.POOL_PATHS = ["/vm"]
    making = maker(host)
    making.send("type", type="dir")
    making.send("options", **GIVEN, target_path="/vm/good")
    assert making.post("options", **GIVEN, target_path=path).status_code == 422
    assert making.get("review").url == making.url("options")
    page = ask(client, making, "create")
    assert page.status_code == 422
    assert "The draft is not complete" in words(page)
    assert client.get(reverse("pools:create", args=[making.news[0].pk])).status_code == 200
    assert not Job.objects.exists()


def test_an_empty_draft_makes_no_pool(client, maker, host):
    making = maker(host)
    for slug in ("create", "test", "find-sources"):
        assert client.get(reverse(f"pools:{slug}", args=[making.news[0].pk])).status_code == 200
        assert ask(client, making, slug).status_code in (409, 422)
    assert not Job.objects.exists()


def test_what_would_be_overwritten_is_looked_at_and_the_word_typed(client, maker, host):
    making = maker(host)
    making.send("type", type="fs")
    making.send("source", device="/dev/sdb", format="ext4")
    making.send("options", **GIVEN | {"build": "overwrite"}, target_path="/srv/vm")
    assert ask(client, making, "create").status_code == 422
    page = ask(client, making, "create", typed_word="overwrite")
    assert page.status_code == 422
    assert "Look first at what is on the device now" in words(page)
    result = {"of": fingerprint(making.draft), "how": "look", "devices": {}}
    NewPool.objects.update(tested=result, tested_at=timezone.now())
    assert ask(client, making, "create", typed_word="web").status_code == 422
    assert not Job.objects.exists()
    assert ask(client, making, "create", typed_word="overwrite").status_code == 303
    assert Job.objects.get().params["build"] == "overwrite"


@pytest.mark.parametrize("server", ["nas1; reboot", "-e", "$(id)", "a b", ""])
def test_a_search_asks_only_what_can_be_a_server(client, maker, host, server):
    making = maker(host)
    making.send("type", type="netfs")
    page = ask(client, making, "find-sources", source_host=server)
    assert page.status_code == 422
    assert "id_source_host_error" in page.content.decode()
    assert not Job.objects.exists()
