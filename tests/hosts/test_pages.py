"""What the page of a host says about how it is reached."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from django.utils import timezone

from storagemgr.hosts import sync
from storagemgr.hosts.identity import pki_directory, ssh_identity
from storagemgr.hosts.models import Host
from storagemgr.virt import tls

pytestmark = pytest.mark.django_db

ED25519 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBRQcgkOQpsgyHhGWzZoK3pCxPbPfA1Xf1Xt5AcO4tJg"


@pytest.fixture
def text_at(client) -> Callable[..., str]:
    def text(user, url: str) -> str:
        client.force_login(user)
        return " ".join(client.get(url).content.decode().replace("\xa0", " ").split())

    return text


def test_the_line_for_the_host_is_of_its_mode(text_at, administrator, ssh_host):
    ssh_identity().make_key()
    host = ssh_host(mode="session")
    line = ssh_identity().authorized_key("session").replace('"', "&quot;")
    assert line in text_at(administrator, host.get_absolute_url())


def test_a_viewer_sees_what_is_next_and_who_does_it(text_at, viewer, ssh_host):
    host = ssh_host(shown_key=ED25519, shown_key_at=timezone.now())
    text = text_at(viewer, host.get_absolute_url())
    assert "An administrator does this." in text
    assert "Compare and confirm" not in text
    for action in ("edit", "remove", "key"):
        assert f"/hosts/{host.pk}/{action}/" not in text


def test_why_a_key_cannot_be_had_stands_above(text_at, administrator, ssh_host):
    host = ssh_host(
        state="down", error_code="port_refused", error_text="kvm1.example port 22: Connection refused"
    )
    text = text_at(administrator, host.get_absolute_url())
    assert "nothing listens on this port" in text
    assert "kvm1.example port 22: Connection refused" in text
    assert "The host does not show it yet; the reason stands above." in text


def test_a_host_under_two_names_is_said_on_both(text_at, viewer, make_host, make_user):
    one, two = (make_host(name, hostname="kvm1.example") for name in ("one", "two"))
    make_host("other", hostname="kvm2.example")
    for host, other in ((one, two), (two, one)):
        text = text_at(viewer, host.get_absolute_url())
        assert f'This may be the same machine as <a href="/hosts/{other.pk}/">{other.name}</a>.' in text
    alone = make_user("vic", "viewer", host=one)
    assert "This may be the same machine" not in text_at(alone, one.get_absolute_url())


@pytest.mark.parametrize(
    ("version", "is_too_old"), [("7.6.0", True), ("7.7.0", False), ("12.8.0", False), ("", False)]
)
def test_a_libvirt_that_is_too_old_is_said(text_at, viewer, make_host, version, is_too_old):
    host = make_host("kvm1", libvirt_version=version)
    assert ("is too old" in text_at(viewer, host.get_absolute_url())) is is_too_old


@pytest.fixture
def pki(tmp_path: Path):
    yield pki_directory()
    shutil.rmtree(pki_directory(), ignore_errors=True)


def test_our_certificate_is_shown_to_who_manages_hosts(text_at, administrator, viewer, make_host, pki):
    host = make_host("kvm1", transport="tls", address="kvm1.example")
    assert "missing: cacert.pem, clientcert.pem, clientkey.pem" in text_at(
        administrator, host.get_absolute_url()
    )
    pki.mkdir()
    for name in tls.FILES:
        (pki / name).write_text("x")
    assert "clientcert.pem is not a certificate" in text_at(administrator, host.get_absolute_url())
    assert "clientcert.pem" not in text_at(viewer, host.get_absolute_url())


def test_a_host_with_an_unconfirmed_key_is_not_read_for_the_first_time(text_at, viewer, ssh_host):
    text = text_at(viewer, ssh_host().get_absolute_url())
    assert "is being read for the first time" not in text
    assert "Key not confirmed" in text


@pytest.mark.parametrize(
    ("fields", "seconds"),
    [
        ({"failures": 9, "error_code": "key_refused"}, sync.PAUSE_FOR_PEOPLE_S),
        ({"failures": 9, "error_code": "host_key_changed"}, sync.PAUSE_FOR_PEOPLE_S),
        ({"failures": 9, "error_code": "connect_timeout"}, sync.PAUSE_OF_SILENCE_S),
        ({"failures": 1, "error_code": "connect_timeout"}, 4),
        ({"failures": 9, "error_code": "port_refused"}, sync.LONGEST_PAUSE_S),
    ],
)
def test_how_soon_a_host_is_tried_again(ssh_host, fields, seconds):
    assert sync.pause_s(ssh_host(confirmed_key=ED25519, **fields)) == seconds


def test_a_host_that_showed_its_key_waits_for_a_person(ssh_host):
    assert sync.pause_s(ssh_host(shown_key=ED25519)) == sync.PAUSE_FOR_PEOPLE_S
    assert sync.pause_s(ssh_host(name="kvm2", failures=1)) == 4


def test_what_was_typed_is_escaped(text_at, viewer, ssh_host):
    text = text_at(viewer, ssh_host(note="<img src=x onerror=alert(1)>\u202e\nrack 4").get_absolute_url())
    assert "&lt;img src=x onerror=alert(1)&gt;\\u202e<br>rack 4" in text


def test_every_uri_of_a_row_is_built_of_its_parts():
    host = Host(transport="ssh", address="kvm1?socket=/x", username="storage")
    with pytest.raises(ValueError, match="host name"):
        host.uri  # noqa: B018
