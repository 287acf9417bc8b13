"""What people read when something went wrong: one table from the code of an error to words.

The codes are those of storagemgr.virt.errors and our own. libvirt's own text is shown beside these words, never
in their place.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Message:
    """`title`: what failed and why. `left`: what is left behind, "" when that cannot be said. `hint`: what next."""

    title: str
    hint: str
    left: str = ""


NOTHING_CHANGED = "Nothing was changed."
NOTHING_MADE = "Nothing was made."

MESSAGES = {
    # The way to the host
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
    # Names
    "no_pool": Message(
        "The pool is not on the host any more.",
        "Somebody removed it outside this program. The list shows what is there now.",
    ),
    "no_volume": Message(
        "The volume is not in the pool any more.",
        "Somebody deleted or renamed it outside this program. The list shows what is there now.",
    ),
    "no_domain": Message(
        "The VM is not on the host any more.", "Somebody removed it. The list shows what is there now."
    ),
    "volume_exists": Message(
        "The pool has a volume of this name already.", "Choose another name.", NOTHING_MADE
    ),
    "name_taken": Message(
        "Another pool of the host has this name or UUID.", "Choose another name.", NOTHING_MADE
    ),
    "bad_name": Message(
        "The host does not take this name.",
        "Use letters, digits and . _ + @ - only, with a letter or digit first.",
        NOTHING_MADE,
    ),
    "source_conflict": Message(
        "Another pool uses this storage already.",
        "Use that pool. Two pools on one storage would show the same data twice.",
        NOTHING_MADE,
    ),
    # States
    "pool_inactive": Message("The pool is stopped.", "Start it, then ask again.", NOTHING_CHANGED),
    "pool_active": Message("The pool is running.", "Stop it, then ask again.", NOTHING_CHANGED),
    "pool_busy": Message(
        "The pool is busy with work that this program did not start.",
        "Somebody copies or writes there, with virsh for example. Ask again when that is done.",
        NOTHING_CHANGED,
    ),
    "pool_starting": Message(
        "libvirt still tries to start the pool.",
        "Its server or device does not answer. The host gives up by itself, for NFS after two minutes; ask again then.",
        NOTHING_CHANGED,
    ),
    "volume_busy": Message(
        "The volume is busy with work that this program did not start.",
        "Somebody copies or writes it, with virsh for example. Ask again when that is done.",
        NOTHING_CHANGED,
    ),
    "volume_in_use": Message(
        "A VM uses the volume.",
        "Shut the VM down or detach the disk there, then ask again.",
        NOTHING_CHANGED,
    ),
    # The storage itself
    "no_space": Message(
        "There is no space left.",
        "Free some or choose another pool, then ask again.",
        "libvirt removes what it had begun to write.",
    ),
    "not_found_on_host": Message(
        "A file, directory or device is missing on the host.",
        "libvirt's own words name it. Check the path, the mount or the cable.",
    ),
    "permission_on_host": Message(
        "The host does not allow access to a file or device.",
        "It may be mounted read-only or belong to somebody else. libvirt's own words name it.",
    ),
    "not_empty": Message(
        "The directory is not empty.",
        "Delete what is in it, also what libvirt does not list, then ask again.",
        NOTHING_CHANGED,
    ),
    "busy_on_host": Message(
        "Something on the host holds the storage.",
        "A mount, a VM or another program uses it. Release it there, then ask again.",
    ),
    "exists_on_host": Message(
        "Something of this name is on the host already.",
        "Choose another name, or remove it there if nobody needs it.",
        "It was not overwritten.",
    ),
    "io_error": Message(
        "The storage failed while it was read or written.",
        "Check the disk, the server or the network behind the pool before you ask again.",
        "Do not trust what was being written.",
    ),
    "program_missing": Message(
        "The host lacks a program that libvirt needs for this.",
        "libvirt's own words name it. Who runs the host can install it.",
        NOTHING_CHANGED,
    ),
    "command_failed": Message(
        "A program that libvirt ran on the host failed.",
        "Its last words stand below; they mostly say what to put right.",
        "Refresh the pool to see what it left.",
    ),
    "already_formatted": Message(
        "There is a file system or a label on the device already.",
        "If that is what the pool should use, start the pool. If it is the right device and its data may go, look at "
        "the device, then build anew (overwrite).",
        "It was not overwritten.",
    ),
    "built_half": Message(
        "libvirt cleared the start and the end of the device, and then could not go on.",
        "Its own words say what failed; often a program is missing on the host (parted, lvm2). Put that right, then "
        "build the pool.",
        "What was on the device is lost.",
    ),
    "needs_build": Message(
        "The storage is not prepared, or it is not what the pool expects.",
        "Build the pool, or correct its source.",
        NOTHING_CHANGED,
    ),
    "secret_missing": Message(
        "The host does not have the password or key of this storage.",
        "Who runs the host can set the libvirt secret that the pool or volume names.",
        NOTHING_CHANGED,
    ),
    "secret_taken": Message(
        "The host keeps a passphrase for a volume of this name already.",
        "Choose another name. If no such volume is left anywhere, virsh secret-undefine removes it.",
        NOTHING_MADE,
    ),
    "secrets_lost": Message(
        "The passphrase cannot be read any more.",
        "The SECRET_KEY was changed while the job waited. Ask again.",
        NOTHING_MADE,
    ),
    "no_reflink": Message(
        "The file system of the pool cannot share blocks between files.",
        "Ask again without sharing blocks; the copy then takes space of its own.",
        NOTHING_MADE,
    ),
    "named_otherwise": Message(
        "The host named the new partition otherwise.",
        "Refresh the pool, then ask again: the next name is worked out from what is there.",
        "If the partition is still there, delete it.",
    ),
    "too_many_volumes": Message(
        "The pool has more volumes than libvirt can list.",
        "libvirt lists at most 16,384. Move some to another pool.",
    ),
    "scrub_missing": Message(
        "The host lacks the program scrub, which overwrites with patterns.",
        "Who runs the host can install it (the package scrub of Debian, Ubuntu and Fedora). Zeros are written by "
        "libvirt itself.",
        NOTHING_CHANGED,
    ),
    "wipe_unseen": Message(
        "It was cut off from libvirt before anybody saw its end.",
        "Wipe it again.",
        "It cannot be claimed that the volume is wiped; a part of its data is overwritten.",
    ),
    # What libvirt thinks of the request
    "no_support": Message(
        "libvirt on this host cannot do this with this type of pool.",
        "Another type of pool, or a newer libvirt, may.",
        NOTHING_CHANGED,
    ),
    "invalid": Message(
        "libvirt did not accept what it was asked.",
        "Its own words say which part. Change that and ask again.",
        NOTHING_CHANGED,
    ),
    "xml_invalid": Message(
        "libvirt did not accept the description that it was given.",
        "Its own words say which part. Change that and ask again.",
        NOTHING_CHANGED,
    ),
    "unknown": Message(
        "libvirt refused, for a reason that this program does not know.",
        "Its own words stand below.",
        "Refresh the pool to see what it left.",
    ),
    # Our own
    "internal": Message(
        "This program made a mistake.",
        "Tell an administrator the number of the job: the log of the workers says more.",
        "libvirt may have done a part; look at the pool before you ask again.",
    ),
    "not_permitted_any_more": Message(
        "The right to do this was taken away while the job waited.",
        "Ask an administrator, or somebody who still may.",
        NOTHING_CHANGED,
    ),
    "other_storage": Message(
        "The pool would be made of other storage of the host.",
        "That takes the role Manager on the host, as a new pool does, and not on this pool alone.",
        NOTHING_CHANGED,
    ),
    "backing_hidden": Message(
        "It is built on a volume that you may not see.",
        "Ask somebody who sees that volume's pool to make the copy.",
        NOTHING_CHANGED,
    ),
    "in_quarantine": Message(
        "The image in it is dangerous to open.",
        "It is in quarantine: nobody copies, downloads or attaches it from here. Delete it, or put a good image in its"
        " place and inspect it again.",
        "The volume is as it was.",
    ),
    "target_gone": Message(
        "It is not there any more.",
        "Somebody removed it while the job waited. The list shows what is there now.",
    ),
    "not_stopped_for_change": Message(
        "The pool has its new configuration, but could not be stopped, so it goes on by the former one.",
        "See to the reason, then stop and start it.",
    ),
    "not_started_with_change": Message(
        "The pool has its new configuration, and did not start with it.",
        "See to the reason and start it, or bring back the former configuration from its history.",
        "The pool is stopped; its data is untouched.",
    ),
    "changed_since": Message(
        "It changed since you looked.", "Look at it again before you go on.", NOTHING_CHANGED
    ),
    "held": Message("Another job has it.", "Wait until that job ends, then ask again.", NOTHING_CHANGED),
    "login_refused": Message(
        "The target refused the user or the password.",
        "Type both once more and try again, or ask who runs the target which initiators and users it lets in.",
    ),
    "creation_cut_short": Message(
        "It was cut off before the pool was made completely.",
        "Undo what was done, or ask for it again: what is done already is not done twice.",
    ),
    "nothing_done": Message("It was not done: it was cut off from libvirt.", "Ask again.", NOTHING_CHANGED),
    "end_unknown": Message(
        "It was cut off from libvirt, and how it ended cannot be known.",
        "Look at the pool before you ask again.",
    ),
    "too_slow": Message(
        "libvirt did not finish this in time, so it was given up.",
        "The storage behind the pool may be gone: look at its server or device. The pool is tried again by itself.",
        "libvirt may still be at it and do it later; the page of the pool shows what became of it.",
    ),
    "copy_vanished": Message(
        "It was cut off from libvirt, and what it was making is not there.",
        "Ask again.",
        "Nothing was left behind.",
    ),
    "unverified": Message(
        "libvirt was restarted in the middle of it.",
        "Open it to accept it or to delete it, then ask again.",
        "It looks whole and may not be, so it is marked as unverified and cannot be used.",
    ),
    "no_room": Message(
        "The pool has not enough room for it.",
        "Free some or choose another pool, then ask again.",
        "What was written by then was deleted.",
    ),
    "copy_broken": Message(
        "It broke off before all bytes were there.",
        "Look at the other end of it, then ask again.",
        "What was written by then was deleted.",
    ),
    "copy_differs": Message(
        "What is stored is not what was sent: the checksums differ.",
        "Ask again. If it happens again, look at the disks and the memory of both hosts.",
        "The copy was deleted.",
    ),
    "image_refused": Message(
        "The image is not safe to use.",
        "Make it again without what is named here, or convert it where it comes from.",
    ),
    "url_not_allowed": Message(
        "This URL is not allowed here.",
        "Use one that begins with what the form shows, or ask an administrator to allow it with IMPORT_URLS.",
        NOTHING_MADE,
    ),
    "source_failed": Message(
        "The web server did not give the file.",
        "Look at the URL with a browser, then ask again.",
        "What was written by then was deleted.",
    ),
    "too_big": Message(
        "The file is too big.", "Use a smaller one, or ask an administrator to raise UPLOAD_LIMIT."
    ),
    "upload_expired": Message(
        "Nothing came for so long that the upload was ended.",
        "Upload the file again.",
        "What had come is deleted.",
    ),
    "checksum_wrong": Message(
        "The SHA-256 is another one than it should be.",
        "Compare it with what the publisher says. If that is right, the file was damaged or changed on the way.",
        "What was written was deleted.",
    ),
}


def message(code: str) -> Message:
    return MESSAGES.get(code) or Message(
        f"It failed with the code “{code}”, which this program has no words for.",
        "Look at the log below, and at the pool before you ask again.",
    )
