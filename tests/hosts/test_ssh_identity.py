import os
import stat
import subprocess
import threading

import pytest

from storagemgr.virt.ssh import HostKey, Identity, host_key

ED25519 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBRQcgkOQpsgyHhGWzZoK3pCxPbPfA1Xf1Xt5AcO4tJg"


@pytest.fixture
def identity(tmp_path):
    """In a directory that a shell, ssh and a URI would each like to read differently."""
    return Identity(tmp_path / "it's 100%h" / "ssh")


def options_of(identity, address, *arguments):
    """What ssh makes of our configuration."""
    command = [str(identity.command), "-G", *arguments, "--", address]
    lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    return dict(line.split(" ", 1) for line in lines if " " in line)


def test_the_key_is_made_once_and_is_ours_alone(identity):
    assert identity.public_key == ""
    identity.make_key()
    first = identity.public_key
    assert first.startswith("ssh-ed25519 AAAA")
    assert first.endswith(" storagemgr")
    identity.make_key()
    assert identity.public_key == first
    assert stat.S_IMODE(identity.private_key.stat().st_mode) == 0o600
    assert stat.S_IMODE(identity.directory.stat().st_mode) == 0o700
    assert sorted(os.listdir(identity.directory)) == ["id_ed25519", "id_ed25519.pub"]


def test_processes_that_come_together_make_one_key(identity):
    threads = [threading.Thread(target=identity.make_key) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    derived = subprocess.run(
        ["ssh-keygen", "-y", "-f", str(identity.private_key)], check=True, capture_output=True, text=True
    )
    assert derived.stdout.strip() == identity.public_key


def test_the_line_for_the_host_forces_the_helper(identity):
    identity.make_key()
    line = identity.authorized_key("session")
    assert line == f'restrict,command="virt-ssh-helper qemu:///session" {identity.public_key}'


def test_ssh_reads_our_files_and_asks_nobody(identity):
    identity.prepare("kvm1", 2222, host_key(ED25519))
    known = identity.directory / "known_hosts" / "kvm1_2222"
    assert known.read_text() == f"[kvm1]:2222 {ED25519}\n"
    # ssh shows what it will expand later.
    directory = str(identity.directory).replace("%", "%%")
    expected = {
        "identityfile": f"{directory}/id_ed25519",
        "globalknownhostsfile": "/dev/null",
        "stricthostkeychecking": "true",
        "batchmode": "yes",
        "identitiesonly": "yes",
        "identityagent": "none",
        "connecttimeout": "5",
        "serveraliveinterval": "5",
    }
    options = options_of(identity, "kvm1", "-p", "2222")
    assert {name: options[name] for name in expected} == expected
    assert "proxycommand" not in options


def test_ssh_finds_the_confirmed_key(identity):
    identity.prepare("kvm1", 22, host_key(ED25519))
    known = identity.directory / "known_hosts" / "kvm1_22"
    found = subprocess.run(["ssh-keygen", "-F", "kvm1", "-f", str(known)], capture_output=True, text=True)
    assert ED25519 in found.stdout
    identity.prepare("kvm1", 22, None)
    assert known.read_text() == ""


def test_files_that_are_right_are_left_alone(identity):
    identity.prepare("kvm1", 22, None)
    before = {path: path.stat().st_ino for path in identity.directory.rglob("*")}
    identity.prepare("kvm1", 22, None)
    assert {path: path.stat().st_ino for path in identity.directory.rglob("*")} == before


def test_the_fingerprint_is_that_of_ssh_keygen(tmp_path):
    file = tmp_path / "key.pub"
    file.write_text(ED25519)
    said = subprocess.run(["ssh-keygen", "-lf", str(file)], check=True, capture_output=True, text=True).stdout
    assert said.split()[1] == host_key(ED25519).fingerprint


@pytest.mark.parametrize(
    "wrong", [("ssh-ed25519", "not base64"), ("ssh-dss", "AAAA"), ("ssh-rsa\n*", "AAAA")]
)
def test_what_is_no_key_is_none(wrong):
    with pytest.raises(ValueError, match="not a"):
        HostKey(*wrong)


def test_no_text_is_no_key():
    assert host_key("") is None
