"""On the way to a host."""

from storagemgr.messages.base import NOTHING_CHANGED, Message

OF_HOSTS = {
    "host_unreachable": Message(
        "The host cannot be reached.",
        "Check that it runs and that libvirt listens there. The host is tried again by itself.",
    ),
    "name_unresolved": Message(
        "The host's name is not known to the resolver.",
        "Check how it is written, and that the machine of the workers finds it: getent hosts NAME. Or use its IP"
        " address.",
    ),
    "address_not_allowed": Message(
        "The address belongs to the machine that this program runs on, or to its link.",
        "Use the address under which other machines know the host. ALLOW_NEAR_ADDRESSES=1 allows it all the same.",
    ),
    "tcp_not_allowed": Message(
        "Plain TCP is not allowed here, so the host is not connected to.",
        "Anybody on the way could read and change what is said. Use SSH or TLS, or set ALLOW_TCP=1.",
    ),
    "no_route": Message(
        "There is no way to the host's network.",
        "Check that it is switched on, the address, and routes and firewalls between the workers and the host.",
    ),
    "port_refused": Message(
        "The host refuses the connection: nothing listens on this port.",
        "Check the port. For SSH the service is sshd; for TLS it is libvirtd-tls.socket or virtproxyd-tls.socket.",
    ),
    "connect_timeout": Message(
        "The host did not answer in time.",
        "Check that it is switched on, its address, and that no firewall drops the port. It is tried again by itself.",
    ),
    "ssh_missing": Message(
        "The machine of the workers cannot run ssh.",
        "Install OpenSSH's client there, and check that the data directory can be written.",
    ),
    "not_ssh": Message(
        "What listens on this port shows no SSH key.",
        "Check the port. A host that hangs up at once may have banned this address; look at its sshd log.",
    ),
    "host_key_unknown": Message(
        "Nobody has confirmed the key of this host.",
        "Compare its fingerprint with what the host itself says, then confirm it on the host's page.",
    ),
    "host_key_changed": Message(
        "The host shows another key than the one that was confirmed.",
        "Find out why before you confirm the new one: the host was installed anew, or another machine answers in its"
        " place. Until then it is not connected to.",
    ),
    "key_refused": Message(
        "The host does not accept this program's SSH key.",
        "Put the line that the host's page shows into ~/.ssh/authorized_keys of the account, and check the account's"
        " name.",
    ),
    "helper_missing": Message(
        "libvirt is not installed on the host, or lacks virt-ssh-helper.",
        "Install libvirt's daemon there. On Debian it is libvirt-daemon-system, on Fedora libvirt-daemon-kvm.",
    ),
    "helper_failed": Message(
        "The login worked, and then no libvirt answered.",
        "The account needs a shell that prints nothing by itself, and the forced command must be virt-ssh-helper.",
    ),
    "not_tls": Message(
        "What listens on this port does not speak TLS.",
        "Check the port. libvirt's own for TLS is 16514; 16509 is plain TCP.",
    ),
    "cert_missing": Message(
        "This program has no certificate of its own.",
        "Put cacert.pem, clientcert.pem and clientkey.pem into the directory tls of the data directory.",
    ),
    "own_cert_invalid": Message(
        "This program's own certificate cannot be used.",
        "It has expired, or cacert.pem is not the authority that signed it. Make a new one and put it into the"
        " directory tls of the data directory.",
    ),
    "cert_untrusted": Message(
        "The host's certificate comes from an authority that we do not know.",
        "Let the authority of our cacert.pem sign the host's certificate, or put the right cacert.pem in place.",
    ),
    "cert_expired": Message(
        "The host's certificate has expired or is not valid yet.",
        "Make a new one on the host and start its libvirt again. Check the clocks of both machines.",
    ),
    "cert_name": Message(
        "The host's certificate is for another name.",
        "Use the name that the certificate bears as the address, or make one that bears this address.",
    ),
    "cert_refused": Message(
        "The host does not accept this program's certificate.",
        "Let the authority that the host trusts sign it, and check tls_allowed_dn_list on the host.",
    ),
    "daemon_stopped": Message(
        "libvirt does not run on the host.",
        "Start it there: systemctl start libvirtd.socket, or virtqemud.socket and virtstoraged.socket.",
    ),
    "wrong_mode": Message(
        "The host leads us to the other libvirt: the system's instead of the account's, or the reverse.",
        "Make the mode here and the forced command in authorized_keys name the same one.",
    ),
    "libvirt_too_old": Message(
        "The host's libvirt is too old.",
        "This program needs 7.7 or newer. Upgrade the host.",
    ),
    "not_answering": Message(
        "libvirt on this host does not answer.",
        "It may hang on a storage that hangs. Its pools show what was last seen.",
    ),
    "connection_lost": Message(
        "The connection to libvirt broke.",
        "Ask again when the host answers.",
        "libvirt may have gone on by itself; look at the pool first.",
    ),
    "auth_failed": Message(
        "The host did not accept who we are.",
        "The key or password of this host has to be set right by an administrator.",
        NOTHING_CHANGED,
    ),
    "denied": Message(
        "libvirt on the host refuses this to our account.",
        "Who runs the host can allow it: the group libvirt, or a polkit rule.",
        NOTHING_CHANGED,
    ),
}
