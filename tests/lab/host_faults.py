"""What goes wrong on a host, for as long as the block lasts."""

from collections.abc import Iterator
from contextlib import contextmanager

from lab.guests import Guest

HOST_KEY = "/etc/ssh/ssh_host_ed25519_key"
SOCKETS = "libvirtd.socket libvirtd-ro.socket libvirtd-admin.socket libvirtd-tcp.socket libvirtd-tls.socket"
PKI = "/etc/pki/libvirt"
CONF = "/etc/libvirt/libvirtd.conf"


@contextmanager
def another_key(guest: Guest) -> Iterator[str]:
    new = "/root/new_key"
    guest.run(f"ssh-keygen -q -t ed25519 -N '' -f {new}; cp -a {HOST_KEY} /root/old_key")
    guest.run(f"cat {new} > {HOST_KEY}; systemctl restart ssh")
    try:
        yield guest.run(f"cut -d' ' -f1,2 {new}.pub").strip()
    finally:
        guest.run(f"cat /root/old_key > {HOST_KEY}; systemctl restart ssh; rm {new} {new}.pub /root/old_key")


@contextmanager
def stopped(guest: Guest) -> Iterator[None]:
    guest.run(f"systemctl stop {SOCKETS} libvirtd.service")
    try:
        yield
    finally:
        guest.run(f"systemctl start {SOCKETS}")


@contextmanager
def fine_grained_access(guest: Guest) -> Iterator[None]:
    """Reading is allowed by default, changing is not."""
    guest.run(
        f"cp {CONF} /root/conf; echo 'access_drivers = [ \"polkit\" ]' >> {CONF}; systemctl restart libvirtd"
    )
    try:
        yield
    finally:
        guest.run(f"cat /root/conf > {CONF}; systemctl restart libvirtd")


@contextmanager
def shown(guest: Guest, certificate: bytes, key: bytes) -> Iterator[None]:
    """The host shows this certificate, which libvirtd itself would refuse to start with."""
    old = guest.run(f"cat {PKI}/servercert.pem"), guest.run(f"cat {PKI}/private/serverkey.pem")
    guest.run(f"cp {CONF} /root/conf; echo 'tls_no_sanity_certificate = 1' >> {CONF}")
    try:
        guest.put(f"{PKI}/servercert.pem", certificate)
        guest.put(f"{PKI}/private/serverkey.pem", key)
        guest.run("systemctl restart libvirtd")
        yield
    finally:
        guest.put(f"{PKI}/servercert.pem", old[0].encode())
        guest.put(f"{PKI}/private/serverkey.pem", old[1].encode())
        guest.run(f"cat /root/conf > {CONF}; systemctl restart libvirtd")
