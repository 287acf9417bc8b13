"""A host is named by parts, and no part can become another part of the URI."""

import ipaddress
from urllib.parse import parse_qs, urlsplit

import pytest

from storagemgr.virt import network
from storagemgr.virt.addresses import host_address, is_near, remote_uri, user_name
from storagemgr.virt.errors import VirtError


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("kvm1", "kvm1"),
        ("  KVM1.Example.ORG. ", "kvm1.example.org"),
        ("3com.example", "3com.example"),
        ("10.0.0.5", "10.0.0.5"),
        ("2001:DB8::0:5", "2001:db8::5"),
        ("[2001:db8::5]", "2001:db8::5"),
        ("xn--mnchen-3ya.example", "xn--mnchen-3ya.example"),
    ],
)
def test_addresses_are_kept_in_one_form(typed, kept):
    assert host_address(typed) == kept
    assert host_address(kept) == kept


NOT_ADDRESSES = [
    *("", ".", "-oProxyCommand=x", "-kvm1", "kvm1-", "a b", "a\nb", "a;b", "a\0b", "kvm_1"),
    *("good@evil", "root@kvm1", "kvm1:22", "kvm1/system", "kvm1?socket=/x", "kvm1#x", "kvm1%2fx", "kvm1&x=y"),
    *("[::1%25eth0]", "fe80::1%eth0", "[kvm1]", "[::1", "2001:db8::5]", "::1:22:x"),
    *("127.1", "0", "2130706433", "0x7f000001", "0x7f.1", "10.0.0.0x1", "010.0.0.300"),
    *("kvm１.example", "кvm1", "münchen.example", "a" * 64, ".".join(["a" * 60] * 5)),
    *("kvm1,evil", "$(id)", "`id`", "kvm1|x", "kvm1\\evil", "..", "kvm1..example", "*"),
]


@pytest.mark.parametrize("typed", NOT_ADDRESSES)
def test_what_is_no_address_is_refused(typed):
    with pytest.raises(ValueError, match=r"\.$"):
        host_address(typed)
    with pytest.raises(ValueError, match=r"."):
        remote_uri("ssh", typed)


@pytest.mark.parametrize(
    "typed", ["", "Root", "a b", "-l", "root@kvm1", "a:b", "a/b", "ö", "a" * 33, "a%40b"]
)
def test_what_is_no_user_is_refused(typed):
    with pytest.raises(ValueError, match=r"\.$"):
        user_name(typed)
    if typed:
        with pytest.raises(ValueError, match="not a user|letters"):
            remote_uri("ssh", "kvm1", username=typed)


@pytest.mark.parametrize(
    ("arguments", "uri"),
    [
        (("ssh", "kvm1"), "qemu+ssh://kvm1/system"),
        (("tls", "2001:db8::5"), "qemu+tls://[2001:db8::5]/system"),
        (("tcp", "10.0.0.5"), "qemu+tcp://10.0.0.5/system"),
    ],
)
def test_the_uri_of_another_machine(arguments, uri):
    assert remote_uri(*arguments) == uri


def test_every_part_has_its_place():
    parameters = {"no_tty": "1", "command": "/srv/a b&c=d?e#f%g/ssh"}
    uri = remote_uri("ssh", "kvm1", port=2222, username="svc", mode="session", parameters=parameters)
    parts = urlsplit(uri)
    assert (parts.scheme, parts.username, parts.hostname, parts.port) == ("qemu+ssh", "svc", "kvm1", 2222)
    assert parts.path == "/session"
    assert {name: values for name, values in parse_qs(parts.query).items()} == {
        "no_tty": ["1"],
        "command": ["/srv/a b&c=d?e#f%g/ssh"],
    }


@pytest.mark.parametrize(
    "wrong",
    [
        {"transport": "ext"},
        {"transport": "unix"},
        {"transport": "ssh://x"},
        {"mode": "system?socket=/x"},
        {"mode": ""},
        {"port": 0},
        {"port": 65536},
        {"transport": "tls", "username": "root"},
    ],
)
def test_a_part_that_is_none_of_ours_makes_no_uri(wrong):
    with pytest.raises(ValueError, match="not|mode"):
        remote_uri(**{"transport": "ssh", "address": "kvm1"} | wrong)


@pytest.mark.parametrize(
    ("address", "near"),
    [
        *((a, True) for a in ("127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "0.0.0.0", "::")),
        *((a, True) for a in ("169.254.169.254", "fe80::1", "::ffff:169.254.169.254", "224.0.0.1")),
        *((a, False) for a in ("10.0.0.5", "192.168.1.1", "2001:db8::5", "100.64.0.1")),
    ],
)
def test_which_addresses_are_near(address, near):
    assert is_near(ipaddress.ip_address(address)) is near


def test_a_name_of_this_machine_is_near_too():
    assert network.resolve("localhost", may_be_near=True)
    with pytest.raises(VirtError) as caught:
        network.resolve("localhost", may_be_near=False)
    assert caught.value.code == "address_not_allowed"
    assert "127.0.0.1" in caught.value.detail or "::1" in caught.value.detail


def test_a_name_that_nobody_knows():
    with pytest.raises(VirtError) as caught:
        network.resolve("no-such-host.invalid", may_be_near=True)
    assert caught.value.code == "name_unresolved"
