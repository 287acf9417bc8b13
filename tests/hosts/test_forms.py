import pytest

from storagemgr.hosts.forms import HostForm
from storagemgr.hosts.manage import MANAGED

pytestmark = pytest.mark.django_db

SSH = {"transport": "ssh", "name": "kvm1", "address": "kvm1.example", "username": "storage", "mode": "system"}


def form_of(**changes):
    return HostForm(SSH | changes)


def errors_of(**changes):
    return {name: list(texts) for name, texts in form_of(**changes).errors.items()}


def test_what_a_host_needs_by_ssh():
    form = form_of(address=" KVM1.Example ", port="2222", note="rack 4")
    assert form.is_valid(), form.errors
    assert {name: form.cleaned_data[name] for name in MANAGED} == {
        "name": "kvm1",
        "note": "rack 4",
        "transport": "ssh",
        "address": "kvm1.example",
        "port": 2222,
        "username": "storage",
        "mode": "system",
        "socket": "",
    }


@pytest.mark.parametrize(
    ("transport", "kept"),
    [
        (
            "ssh",
            {"address": "kvm1.example", "port": 7, "username": "storage", "mode": "session", "socket": ""},
        ),
        ("tls", {"address": "kvm1.example", "port": 7, "username": "", "mode": "system", "socket": ""}),
        ("tcp", {"address": "kvm1.example", "port": 7, "username": "", "mode": "system", "socket": ""}),
        ("local", {"address": "", "port": None, "username": "", "mode": "session", "socket": "/srv/sock"}),
    ],
)
def test_what_a_transport_does_not_need_is_left_out(settings, transport, kept):
    settings.ALLOW_TCP, settings.LOCAL_SOCKETS = True, ["/srv/sock"]
    form = form_of(transport=transport, port="7", mode="session", socket="/srv/sock")
    assert form.is_valid(), form.errors
    assert {name: form.cleaned_data[name] for name in kept} == kept


@pytest.mark.parametrize("transport", ["tls", "local"])
def test_wrong_input_in_a_field_that_is_not_needed_is_no_error(transport):
    assert errors_of(transport=transport, username="a b", port="x" if transport == "local" else "") == {}


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"transport": "ext"}, "transport", "valid choice"),
        ({"transport": ""}, "transport", "Choose one."),
        ({"name": ""}, "name", "Type a name."),
        ({"name": "a\u202eb"}, "name", "cannot be seen"),
        ({"address": ""}, "address", "Type where the host is."),
        ({"address": "kvm1?socket=/x"}, "address", "without user, path or anything else"),
        ({"address": "root@kvm1"}, "address", "without user"),
        ({"address": "kvm1:22"}, "address", "A port has a field of its own."),
        ({"address": "127.0.0.1"}, "address", "ALLOW_NEAR_ADDRESSES"),
        ({"address": "localhost"}, "address", "ALLOW_NEAR_ADDRESSES"),
        ({"address": "169.254.169.254"}, "address", "ALLOW_NEAR_ADDRESSES"),
        ({"address": "::ffff:127.0.0.1"}, "address", "ALLOW_NEAR_ADDRESSES"),
        ({"username": ""}, "username", "Type the account"),
        ({"username": "-lroot"}, "username", "small letters"),
        ({"port": "0"}, "port", "greater than or equal"),
        ({"port": "65536"}, "port", "less than or equal"),
        ({"port": "22/system"}, "port", "whole number"),
        ({"mode": "system?x=y"}, "mode", "valid choice"),
        ({"transport": "local", "socket": "/etc/passwd"}, "socket", "valid choice"),
        ({"transport": "tcp"}, "transport", "ALLOW_TCP=1"),
    ],
)
def test_wrong_input_is_told_beside_the_field(changes, field, words):
    found = errors_of(**changes)
    assert list(found) == [field]
    assert words in found[field][0]


def test_a_setting_allows_addresses_that_are_near(settings):
    settings.ALLOW_NEAR_ADDRESSES = True
    assert errors_of(address="127.0.0.1") == {}


def test_two_rows_for_one_libvirt_are_refused(make_host, ssh_host):
    first = ssh_host(name="first")
    make_host("here")
    assert errors_of(name="first") == {"name": ["Another host has this name."]}
    assert errors_of() == {"address": ["first is reached there already."]}
    assert errors_of(port="22") == {"address": ["first is reached there already."]}
    assert errors_of(transport="local") == {"socket": ["here is reached there already."]}
    for other in ({"port": "2222"}, {"mode": "session"}, {"transport": "tls"}, {"address": "kvm2.example"}):
        assert errors_of(**other) == {}
    known = {name: getattr(first, name) for name in MANAGED}
    assert HostForm({k: v for k, v in known.items() if v is not None}, host=first).is_valid()


def test_of_this_machine_only_name_and_note_are_changed(make_host):
    host = make_host("here", is_embedded=True)
    form = HostForm({"name": "there", "transport": "ssh", "address": "evil"}, host=host)
    assert form.is_valid()
    assert form.cleaned_data == {"name": "there", "note": ""}
