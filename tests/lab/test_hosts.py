"""Hosts over a unix socket, ssh, TLS and TCP, and each way in which that fails, provoked for real.

What the test of the connection says and what a reading writes into the host's row are the same.
"""

import re
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import libvirt
import pytest
from django.conf import settings
from django.contrib.auth.models import User
from lab.certificates import signed
from lab.guests import Guest
from lab.host_faults import another_key, fine_grained_access, shown, stopped
from lab.keys import Authority
from lab.labs import Lab
from ports import free_port
from stack import wait_for
from sync_tools import close_connections, read_host

from storagemgr.hosts import reaching
from storagemgr.hosts import sync as host_sync
from storagemgr.hosts.identity import pki_directory, ssh_identity
from storagemgr.hosts.models import Host
from storagemgr.jobs import runner
from storagemgr.jobs.models import Job
from storagemgr.jobs.operations import REGISTRY
from storagemgr.jobs.submit import submit
from storagemgr.virt import pools
from storagemgr.virt.ssh import host_key

pytestmark = pytest.mark.django_db(transaction=True)

KEYS = "/etc/ssh/authorized_keys"
WAYS = ("socket", "ssh", "tls", "tcp")


@pytest.fixture(scope="module")
def guest(lab: Lab) -> Guest:
    lab.two.reset()
    return lab.two


@pytest.fixture(autouse=True)
def ours(lab: Lab, guest: Guest, settings) -> Iterator[None]:
    """Our key is let in as two accounts, and our certificate is one that the host trusts."""
    settings.ALLOW_NEAR_ADDRESSES = settings.ALLOW_TCP = True
    ssh_identity().make_key()
    shutil.copytree(lab.directory / "pki", pki_directory(), dirs_exist_ok=True)
    given = {user: guest.run(f"cat {KEYS}/{user}") for user in ("storage", "plain")}
    for user, keys in given.items():
        let_in(guest, user, keys, ssh_identity().authorized_key("system"))
    yield
    close_connections()
    for user, keys in given.items():
        guest.put(f"{KEYS}/{user}", keys.encode())
    shutil.rmtree(pki_directory(), ignore_errors=True)


def let_in(guest: Guest, user: str, keys: str, line: str) -> None:
    guest.put(f"{KEYS}/{user}", f"{keys}{line}\n".encode())


@pytest.fixture
def row(guest: Guest) -> Callable[..., Host]:
    def make(way: str, **fields) -> Host:
        ways = {
            "socket": {"transport": "local", "socket": str(guest.socket)},
            "ssh": {"port": guest.ssh_port, "username": "storage", "confirmed_key": guest.host_key},
            "tls": {"port": guest.tls_port},
            "tcp": {"port": guest.tcp_port},
        }
        place = {} if way == "socket" else {"transport": way, "address": "127.0.0.1"}
        return Host.objects.create(**{"name": way} | place | ways[way] | fields)

    return make


def tested(host: Host) -> Job:
    ada, _ = User.objects.get_or_create(username="ada", is_superuser=True)
    job = submit(REGISTRY["host.test"], host, actor=ada, params={}, key=uuid.uuid4())
    runner.run(job.pk)
    job.refresh_from_db()
    return job


def log_of(job: Job) -> str:
    return "\n".join(job.lines.values_list("text", flat=True))


def says(host: Host, code: str, step: str, *, read_as: str | None = None) -> Job:
    """The test ends at `step` with `code`, and a reading says the same."""
    job = tested(host)
    assert (job.state, job.error_code, job.step) == ("failed", code, step), job.error_text
    read = read_host(Host.objects.get(pk=host.pk))
    assert read.error_code == (code if read_as is None else read_as), read.error_text
    assert read.state != "up"
    return job


@pytest.mark.parametrize("way", WAYS)
def test_a_host_is_tested_and_read(row, guest, way):
    host = row(way)
    job = tested(host)
    assert (job.state, job.error_text) == ("succeeded", "")
    log = log_of(job)
    assert "lab2 runs libvirt 9.0.0" in log
    assert "storage can be changed" in log
    assert "Directory" in log
    if way == "ssh":
        assert host_key(guest.host_key).fingerprint in log
        assert "logged in" in log
    read = read_host(host)
    assert (read.state, read.hostname, read.error_code) == ("up", "lab2", "")
    assert read.pool_types["netfs"] is True


def test_the_same_machine_by_another_way_is_said(row):
    read_host(row("ssh"))
    assert "another host calls itself lab2 too; it may be the same machine" in log_of(tested(row("tcp")))


def test_an_ssh_host_is_asked_for_its_key_and_not_connected_to(row, guest):
    host = row("ssh", confirmed_key="")
    read = read_host(host)
    assert (read.state, read.error_code, read.confirmed_key) == ("unknown", "", "")
    assert read.shown_key == guest.host_key
    assert read.hostname == ""
    assert host_sync.pause_s(read) == host_sync.PAUSE_FOR_PEOPLE_S
    job = tested(host)
    assert (job.error_code, job.step) == ("host_key_unknown", "Compare the host's key")
    assert host_key(guest.host_key).fingerprint in job.error_text
    Host.objects.filter(pk=host.pk).update(confirmed_key=guest.host_key)
    assert read_host(Host.objects.get(pk=host.pk)).state == "up"


def test_a_changed_key_is_refused_until_it_is_confirmed(row, guest):
    host = row("ssh", confirmed_by="bob")
    assert read_host(host).state == "up"
    close_connections()
    with another_key(guest) as shown:
        job = says(host, "host_key_changed", "Compare the host's key")
        assert host_key(shown).fingerprint in job.error_text
        assert "bob confirmed" in job.error_text
        read = Host.objects.get(pk=host.pk)
        assert (read.shown_key, read.confirmed_key) == (shown, guest.host_key)
        Host.objects.filter(pk=host.pk).update(confirmed_key=shown)
        assert read_host(Host.objects.get(pk=host.pk)).state == "up"
    close_connections()


@pytest.mark.parametrize("way", ["ssh", "tls", "tcp"])
def test_a_closed_port(row, way):
    port = free_port()
    says(row(way, port=port), "port_refused", f"Reach port {port}")


@pytest.mark.parametrize("way", ["ssh", "tls", "tcp"])
def test_a_name_that_nobody_knows(row, way):
    step = "Find the address of no-such-host.invalid"
    says(row(way, address="no-such-host.invalid"), "name_unresolved", step)


def test_an_address_of_this_machine_is_not_allowed_by_itself(row, settings):
    settings.ALLOW_NEAR_ADDRESSES = False
    says(row("tls", address="localhost"), "address_not_allowed", "Find the address of localhost")


def test_a_tcp_host_that_was_saved_is_not_connected_to(row, settings):
    settings.ALLOW_TCP = False
    says(row("tcp"), "tcp_not_allowed", "Check the address 127.0.0.1")


def test_another_protocol_on_the_port(row, guest):
    says(row("ssh", port=guest.tcp_port), "not_ssh", "Compare the host's key")
    says(row("tls", port=guest.ssh_port), "not_tls", "Check the certificates")


def test_an_account_that_our_key_does_not_open(row):
    says(row("ssh", username="root"), "key_refused", "Log in as root")


def test_an_account_without_rights(row):
    says(row("ssh", username="plain"), "denied", "Open libvirt")


def test_a_libvirt_that_is_stopped(row, guest):
    ssh, tls = row("ssh"), row("tls")
    with stopped(guest):
        says(ssh, "daemon_stopped", "Open libvirt")
        # The door that the lab gives to the port accepts, and hangs up.
        assert tested(tls).state == "failed"
    assert read_host(Host.objects.get(pk=ssh.pk)).state == "up"


def test_a_host_without_libvirts_helper(row, guest):
    helper = "/usr/bin/virt-ssh-helper"
    guest.run(f"mv {helper} {helper}.away")
    try:
        says(row("ssh"), "helper_missing", "Open libvirt")
    finally:
        guest.run(f"mv {helper}.away {helper}")


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("virt-ssh-helper qemu:///session", "wrong_mode"),
        ("echo hello", "helper_failed"),
        ("true", "helper_failed"),
    ],
)
def test_a_forced_command_that_is_another_one(row, guest, command, code):
    keys = guest.run(f"cat {KEYS}/root")
    let_in(guest, "storage", keys, f'restrict,command="{command}" {ssh_identity().public_key}')
    says(row("ssh"), code, "Open libvirt")


def test_an_account_that_may_only_look_until_the_rule_of_the_docs_is_there(row, guest):
    docs = (settings.BASE_DIR / "docs/hosts.md").read_text()
    [rule] = re.findall(r"    polkit\.addRule\([^;]*\n        var ours.*?\n    \}\);\n", docs, re.S)
    file = "/etc/polkit-1/rules.d/50-storagemgr.rules"
    try:
        with fine_grained_access(guest):
            host = row("ssh")
            job = tested(host)
            assert (job.error_code, job.step) == ("denied", "Check what we may do"), job.error_text
            guest.put(file, rule.replace('"storagemgr"', '"storage"').encode())
            # polkit notices the file by itself, a moment later.
            wait_for(lambda: tested(host).state == "succeeded", 20)
            with reaching.open_in_time(host) as connection:
                uuid_ = pools.define(connection, pools.dir_pool_xml("web", "/vm_data"))
                pools.start(connection, uuid_)
                pools.stop(connection, uuid_)
                with pytest.raises(libvirt.libvirtError, match="access denied"):
                    connection.raw.suspendForDuration(libvirt.VIR_NODE_SUSPEND_TARGET_MEM, 60)
            assert read_host(host).error_code == ""
    finally:
        guest.run(f"rm {file}; virsh pool-undefine web", check=False)


def ours_is(certificate: bytes, key: bytes) -> None:
    (pki_directory() / "clientcert.pem").write_bytes(certificate)
    (pki_directory() / "clientkey.pem").write_bytes(key)


@pytest.fixture
def stranger(tmp_path: Path) -> Path:
    """An authority that nobody trusts, with a client's certificate."""
    Authority(tmp_path / "stranger", "a stranger").sign_client("storagemgr")
    return tmp_path / "stranger"


def no_certificate(lab: Lab, stranger: Path) -> None:
    (pki_directory() / "clientcert.pem").unlink()


def expired_certificate(lab: Lab, stranger: Path) -> None:
    ours_is(*signed(lab.directory / "pki", ["storagemgr"], days=-1))


def certificate_of_a_stranger(lab: Lab, stranger: Path) -> None:
    ours_is(*signed(stranger, ["storagemgr"]))


def another_authority(lab: Lab, stranger: Path) -> None:
    shutil.copytree(stranger, pki_directory(), dirs_exist_ok=True)


def certificate_that_only_we_trust(lab: Lab, stranger: Path) -> None:
    certificate_of_a_stranger(lab, stranger)
    both = [(directory / "cacert.pem").read_text() for directory in (lab.directory / "pki", stranger)]
    (pki_directory() / "cacert.pem").write_text("".join(both))


@pytest.mark.parametrize(
    ("break_it", "code", "step"),
    [
        (no_certificate, "cert_missing", "Check the certificates"),
        (expired_certificate, "own_cert_invalid", "Check the certificates"),
        (certificate_of_a_stranger, "own_cert_invalid", "Open libvirt"),
        (another_authority, "cert_untrusted", "Check the certificates"),
        (certificate_that_only_we_trust, "cert_refused", "Open libvirt"),
    ],
)
def test_our_certificate(row, lab, stranger, break_it, code, step):
    break_it(lab, stranger)
    says(row("tls"), code, step)


@pytest.mark.parametrize(
    ("is_known", "name", "days", "code"),
    [
        (True, "127.0.0.1", -1, "cert_expired"),
        (True, "other.example", 30, "cert_name"),
        (False, "127.0.0.1", 30, "cert_untrusted"),
    ],
)
def test_the_certificate_of_the_host(row, lab, stranger, guest, is_known, name, days, code):
    authority = lab.directory / "pki" if is_known else stranger
    with shown(guest, *signed(authority, [name], days=days, is_server=True)):
        says(row("tls"), code, "Check the certificates")
    assert read_host(row("tls", name="again")).state == "up"


@pytest.mark.parametrize("way", ["ssh", "tls", "tcp"])
def test_a_host_that_swallows_everything_holds_nobody(row, guest, way, monkeypatch):
    monkeypatch.setattr(reaching, "OPEN_S", 6.0)
    monkeypatch.setattr(host_sync, "LOGIN_S", 6.0)
    host = row(way)
    guest.freeze()
    try:
        began = time.monotonic()
        read = read_host(host)
        assert time.monotonic() - began < 10
        assert (read.state, read.error_code) in (("down", "connect_timeout"), ("silent", "not_answering"))
        began = time.monotonic()
        job = tested(host)
        assert time.monotonic() - began < 20
        # The door of the lab took the connection that the knock asks for.
        assert (job.state, job.error_code) in (("failed", "connect_timeout"), ("failed", "not_ssh")), (
            job.error_text
        )
    finally:
        guest.thaw()
    wait_for(lambda: read_host(Host.objects.get(pk=host.pk)).state == "up", 30, f"{way} is read again")


@pytest.mark.parametrize("way", ["socket", "ssh"])
def test_a_network_that_is_cut_while_it_is_read(row, guest, way):
    host = row(way)
    assert read_host(host).state == "up"
    guest.cut()
    try:
        began = time.monotonic()
        read = read_host(Host.objects.get(pk=host.pk))
        assert time.monotonic() - began < host_sync.ANSWER_S + 2
        assert (read.state, read.error_code) == ("silent", "not_answering")
    finally:
        guest.mend()
    wait_for(lambda: read_host(Host.objects.get(pk=host.pk)).state == "up", 60, f"{way} is read again")
