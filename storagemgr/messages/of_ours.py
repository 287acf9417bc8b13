"""What this program itself refuses, or finds out."""

from storagemgr.messages.base import NOTHING_CHANGED, NOTHING_MADE, Message

OF_OURS = {
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
    "other_format": Message(
        "The file is not of the format that was named.",
        "Ask again and name the format that it has.",
        "What was written was deleted.",
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
