"""The lab itself: what the other tests here stand on."""

import subprocess

import pytest
from lab.guests import CommandFailed, Guest
from lab.labs import CHAP_PASSWORD, CHAP_TARGET, CHAP_USER, PLAIN_TARGET, Lab


def virsh(uri: str, *command: str, seconds: float = 30) -> str:
    done = subprocess.run(["virsh", "-c", uri, *command], capture_output=True, text=True, timeout=seconds)
    return done.stdout + done.stderr


@pytest.mark.parametrize("transport", ["socket", "ssh", "tls", "tcp"])
def test_libvirtd_answers(lab: Lab, transport: str) -> None:
    for guest in lab.guests:
        uri = guest.ssh_uri("storage") if transport == "ssh" else getattr(guest, f"{transport}_uri")
        assert virsh(uri, "hostname").strip() == guest.name


def test_who_is_not_in_the_group_has_no_right(lab: Lab) -> None:
    assert lab.one.run("id -un", user="plain").strip() == "plain"
    assert "no polkit agent available" in virsh(lab.one.ssh_uri("plain"), "hostname")


def test_a_client_that_another_authority_signed_is_refused(lab: Lab) -> None:
    uri = lab.one.tls_uri.replace("/pki", "/pki-stranger")
    assert "lab1\n" not in virsh(uri, "hostname")


def test_exports_and_targets_of_the_one_are_seen_by_the_other(lab1: Guest, lab2: Guest) -> None:
    exports = virsh(lab2.socket_uri, "find-storage-pool-sources-as", "netfs", lab1.address)
    assert "/srv/vm_data" in exports
    assert "/srv/iso" in exports
    targets = virsh(lab2.socket_uri, "find-storage-pool-sources-as", "iscsi", lab1.address)
    assert PLAIN_TARGET in targets
    assert CHAP_TARGET in targets


def test_chap_wants_the_password(lab1: Guest, lab2: Guest) -> None:
    login = f"iscsiadm -m node -T {CHAP_TARGET} -p {lab1.address}"
    lab2.run(f"iscsiadm -m discovery -t st -p {lab1.address}")
    with pytest.raises(CommandFailed, match="authorization failure"):
        lab2.run(f"{login} --login")
    settings = {"authmethod": "CHAP", "username": CHAP_USER, "password": CHAP_PASSWORD}
    for name, value in settings.items():
        lab2.run(f"{login} --op update -n node.session.auth.{name} -v {value}")
    lab2.run(f"{login} --login")
    assert CHAP_TARGET in lab2.run("iscsiadm -m session")


def test_two_paths_to_one_disk_make_a_multipath_map(lab1: Guest) -> None:
    assert virsh(lab1.socket_uri, "pool-create-as", "maps", "mpath", "--target", "/dev/mapper").startswith(
        "Pool"
    )
    assert "dm-" in virsh(lab1.socket_uri, "vol-list", "maps")


def test_reset_takes_everything_away(lab1: Guest, lab2: Guest) -> None:
    uri, disk = lab2.socket_uri, "/dev/ubdb"
    source = ("--source-host", lab1.address, "--source-path", "/srv/vm_data")
    virsh(uri, "pool-create-as", "shared", "netfs", *source, "--target", "/vm_data")
    virsh(uri, "pool-define-as", "vg_new", "logical", "--source-dev", disk, "--target", "/dev/vg_new")
    virsh(uri, "pool-build", "vg_new")
    virsh(uri, "pool-start", "vg_new")
    virsh(uri, "vol-create-as", "vg_new", "volume", "64M")
    lab2.put("/vm_data/file", b"content")
    assert lab1.run("cat /srv/vm_data/file") == "content"
    assert "vg_new" in lab2.run("vgs")
    lab2.reset()
    lab1.reset()
    assert virsh(uri, "pool-list", "--all", "--name").strip() == ""
    assert lab2.run("findmnt /vm_data", check=False) == ""
    assert lab2.run(f"ls -A /vm_data; blkid -p {disk}", check=False) == ""
    assert lab1.run("ls -A /srv/vm_data") == ""
    assert lab2.run("vgs --noheadings -o vg_name").split() == ["vg_thin"]


def test_power_loss_and_orderly_end_keep_what_was_written(lab2: Guest) -> None:
    virsh(lab2.socket_uri, "pool-define-as", "kept", "dir", "--target", "/vm_data")
    virsh(lab2.socket_uri, "pool-autostart", "kept")
    lab2.put("/vm_data/file", b"content")
    lab2.run("sync")
    for end in (lab2.kill, lab2.power_off):
        end()
        assert not lab2.running
        lab2.start()
        lab2.wait_until_up()
        assert lab2.run("cat /vm_data/file") == "content"
        assert virsh(lab2.socket_uri, "pool-list", "--name").strip() == "kept"


@pytest.mark.parametrize(("harm", "repair"), [("freeze", "thaw"), ("cut", "mend")])
def test_a_host_that_hangs_answers_again_afterwards(lab1: Guest, harm: str, repair: str) -> None:
    assert virsh(lab1.socket_uri, "hostname").strip() == "lab1"
    getattr(lab1, harm)()
    with pytest.raises(subprocess.TimeoutExpired):
        virsh(lab1.socket_uri, "hostname", seconds=3)
    getattr(lab1, repair)()
    assert virsh(lab1.socket_uri, "hostname").strip() == "lab1"
    assert lab1.run("hostname").strip() == "lab1"


def test_the_known_hosts_name_each_guest(lab: Lab) -> None:
    for guest in lab.guests:
        scan = ["ssh-keyscan", "-t", "ed25519", "-p", str(guest.ssh_port), "127.0.0.1"]
        scanned = subprocess.run(scan, capture_output=True, text=True, timeout=30).stdout
        assert scanned.strip() == f"[127.0.0.1]:{guest.ssh_port} {guest.host_key}"
        assert scanned.strip() in guest.known_hosts.read_text().splitlines()
