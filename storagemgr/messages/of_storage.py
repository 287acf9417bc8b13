"""What libvirt says of pools and volumes."""

from storagemgr.messages.base import NOTHING_CHANGED, NOTHING_MADE, Message

OF_STORAGE = {
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
    "kept_by_ceph": Message(
        "Ceph does not remove the image: it has snapshots, or something has it open.",
        "Each clone has left a protected snapshot: rbd snap ls POOL/IMAGE lists them, rbd snap unprotect and rbd snap "
        "purge end them (while clones are built on one, rbd flatten those first). rbd status POOL/IMAGE says who has "
        "it open. The reason that libvirt gives is often another one, and wrong.",
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
    "wipe_disproved": Message(
        "libvirt reported success, and bytes that are not zero were read back.",
        "Look whether something else writes into the volume, then wipe it again.",
        "It cannot be claimed that the volume is wiped.",
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
}
