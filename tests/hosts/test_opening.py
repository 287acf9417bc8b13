"""The words of ssh, TLS and libvirt, as they came from real hosts (OpenSSH 9.2, libvirt 9.0), and their codes."""

import errno

import pytest

from storagemgr.virt.errors import VirtError
from storagemgr.virt.opening import code_of, explained

LOST = ": Connection reset by peer"
CHANGED = (
    "Cannot recv data: @@@@@@@@@@@\n@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\n@@@@@@@@@@@\n"
    "IT IS POSSIBLE THAT SOMEONE IS DOING SOMETHING NASTY!\n"
    "Host key for [127.0.0.1]:2222 has changed and you have requested strict checking.\n"
    "Host key verification failed." + LOST
)
HELPER = "End of file: virt-ssh-helper: cannot connect to '/var/run/libvirt/libvirt-sock': Failed to "
SOCKET = "connect socket to '/var/run/libvirt/libvirt-sock': "
SSH = [
    ("Could not resolve hostname kvm9: Name or service not known", "name_unresolved"),
    ("ssh: connect to host 127.0.0.1 port 2223: Connection refused", "port_refused"),
    ("ssh: connect to host 10.255.255.1 port 22: No route to host", "no_route"),
    ("ssh: connect to host 10.255.255.1 port 22: Network is unreachable", "no_route"),
    ("Connection timed out during banner exchange", "connect_timeout"),
    ("ssh: connect to host 10.255.255.1 port 22: Connection timed out", "connect_timeout"),
    ("kex_exchange_identification: Connection closed by remote host", "not_ssh"),
    ("No ED25519 host key is known for kvm1 and you have requested strict checking.\n"
     "Host key verification failed.", "host_key_unknown"),
    ("nobody@127.0.0.1: Permission denied (publickey,keyboard-interactive).", "key_refused"),
    ("/srv/data/ssh/ssh: 2: exec: ssh: not found", "ssh_missing"),
]  # fmt: skip
HOST = [
    (f"{HELPER}{SOCKET}Permission denied: Input/output error", "denied"),
    (f"{HELPER}{SOCKET}No such file or directory: Input/output error", "daemon_stopped"),
    (f"{HELPER}{SOCKET}Connection refused: Input/output error", "daemon_stopped"),
    ("End of file while reading data: bash: line 1: virt-ssh-helper: command not found", "helper_missing"),
    (
        "End of file while reading data: sh: 1: virt-ssh-helper: not found: Input/output error",
        "helper_missing",
    ),
    ("End of file while reading data: : Input/output error", "helper_failed"),
    ("packet 1751477352 bytes received from server too large, want 33554432", "helper_failed"),
    ("internal error: unexpected qemu URI path '/system', try qemu:///session", "wrong_mode"),
    ("authentication unavailable: no polkit agent available to authenticate action", "denied"),
]
TLS = [
    ("Cannot read CA certificate '/srv/tls/cacert.pem': No such file or directory", "cert_missing"),
    ("The client certificate /srv/tls/clientcert.pem has expired", "own_cert_invalid"),
    ("Our own certificate /srv/tls/clientcert.pem failed validation against /srv/tls/cacert.pem: The certificate"
     " hasn't got a known issuer.", "own_cert_invalid"),
    ("Unable to read TLS confirmation: Input/output error", "cert_refused"),
    ("authentication failed: Failed to verify peer's certificate", "cert_untrusted"),
    ("authentication failed: TLS handshake failed An unexpected TLS packet was received.", "not_tls"),
    ("authentication failed: TLS handshake failed Error in the pull function.", "not_tls"),
    ("Unable to resolve address 'nohost' service '16509': Name or service not known", "name_unresolved"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "code"), [(f"Cannot recv data: {text}{LOST}", code) for text, code in SSH])
def test_what_ssh_says(text, code):
    assert code_of("ssh", "connection_lost", errno.ECONNRESET, text) == code


def test_the_loud_words_about_another_key():
    assert code_of("ssh", "connection_lost", errno.ECONNRESET, CHANGED) == "host_key_changed"


@pytest.mark.parametrize(("text", "code"), HOST)
def test_what_the_host_says_behind_ssh(text, code):
    assert code_of("ssh", "connection_lost", errno.EIO, text) == code


@pytest.mark.parametrize(("text", "code"), TLS)
def test_what_tls_says(text, code):
    assert code_of("tls", "auth_failed", -1, text) == code


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (errno.ECONNREFUSED, "port_refused"),
        (errno.ETIMEDOUT, "connect_timeout"),
        (errno.EHOSTUNREACH, "no_route"),
        (errno.ENETUNREACH, "no_route"),
        (errno.ECONNRESET, "host_unreachable"),
    ],
)
@pytest.mark.parametrize("transport", ["tls", "tcp"])
def test_the_number_tells_where_libvirt_connects_itself(transport, number, code):
    text = "unable to connect to server at '10.0.0.5:16509': in any language"
    assert code_of(transport, "connection_lost", number, text) == code


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("No such file or directory", "daemon_stopped"),
        ("Connection refused", "daemon_stopped"),
        ("Permission denied", "denied"),
    ],
)
def test_a_socket_of_this_machine(text, code):
    said = f"Failed to connect socket to '/run/libvirt/libvirt-sock': {text}"
    assert code_of("unix", "connection_lost", errno.ENOENT, said) == code


def test_what_nobody_knows_stays_what_libvirt_called_it():
    assert code_of("ssh", "unknown", None, "something new") == "host_unreachable"
    assert code_of("tcp", "auth_failed", None, "authentication failed: SASL") == "auth_failed"
    assert code_of("ssh", "denied", None, "operation forbidden") == "denied"


def test_ssh_ends_its_lines_for_a_terminal():
    error = VirtError("connection_lost", "Connection timed out during banner exchange\r\nand more")
    found = explained("qemu+ssh://kvm1/system", error, errno.ECONNRESET)
    assert (found.code, found.detail) == (
        "connect_timeout",
        "Connection timed out during banner exchange\nand more",
    )
