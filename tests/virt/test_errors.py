import errno
import pickle

import libvirt
import pytest

from storagemgr.virt.connection import translated
from storagemgr.virt.errors import CODES, DETAIL_LIMIT, VirtError, classify, command_words, printable


@pytest.mark.parametrize(
    ("number", "domain", "errno_", "text", "code"),
    [
        (1, 18, -1, "internal error: pool 'p' has asynchronous jobs running.", "pool_busy"),
        (55, 18, -1, "pool 'p' is starting up", "pool_starting"),
        (1, 7, -1, "internal error: client socket is closed", "connection_lost"),
        (1, 7, -1, "Verbindung geschlossen", "connection_lost"),
        (38, 7, errno.EIO, "End of file while reading data: Input/output error", "connection_lost"),
        (1, 7, -1, "Too many storage_vols '16500' for limit '16384'", "too_many_volumes"),
        (38, 0, errno.ENOENT, "Cannot find 'scrub' in path: No such file or directory", "program_missing"),
        (1, 0, -1, "Child process (pvs) unexpected exit status 127: cannot execute", "program_missing"),
        (1, 0, -1, "Child process (lvs) unexpected exit status 5: no VG", "command_failed"),
        (1, 0, -1, "(qemu-img) unexpected exit status 1: x: No space left on device", "no_space"),
        (38, 18, errno.ENOSPC, "kein Platz", "no_space"),
        (38, 18, errno.EDQUOT, "", "no_space"),
        (38, 18, errno.ENOENT, "nicht da", "not_found_on_host"),
        (38, 18, errno.EACCES, "", "permission_on_host"),
        (38, 18, errno.EROFS, "", "permission_on_host"),
        (38, 18, errno.ENOTEMPTY, "", "not_empty"),
        (38, 18, errno.EIO, "", "io_error"),
        (38, 18, errno.EBUSY, "", "busy_on_host"),
        (38, 18, 9999, "", "unknown"),
        (45, 7, -1, "authentication failed", "auth_failed"),
        (94, 13, -1, "", "auth_failed"),
        (29, 18, -1, "", "denied"),
        (88, 18, -1, "", "denied"),
        (66, 18, -1, "", "secret_missing"),
        (75, 18, -1, "", "needs_build"),
        (76, 18, -1, "", "already_formatted"),
        (84, 18, -1, "", "no_support"),
        (90, 18, -1, "", "volume_exists"),
        (1, 18, -1, "internal error: storage volume name 'x' already in use.", "volume_exists"),
        (1, 18, -1, "internal error: missing backend for pool type 11 (zfs)", "no_support"),
        (9, 18, -1, "not enough space left in storage pool", "no_space"),
        (1, 18, -1, "internal error: no large enough free extent", "no_space"),
        (1, 0, -1, "(lvcreate) unexpected exit status 5: insufficient free space", "no_space"),
        (92, 5, -1, "", "xml_invalid"),
        (None, None, None, "", "unknown"),
        (4711, 18, -1, "", "unknown"),
    ],
)
def test_a_libvirt_error_has_its_code(number, domain, errno_, text, code):
    assert classify(number, domain, errno_, text) == code


def test_a_code_of_ours_is_a_known_one():
    with pytest.raises(ValueError, match="not an error code"):
        VirtError("oops")
    for code in CODES:
        assert VirtError(code).code == code


def test_the_errno_comes_over_the_wire(c, pool):
    """libvirtError.get_int1() carries it, whatever the language of the daemon."""
    with pytest.raises(libvirt.libvirtError) as caught:
        c.raw.storagePoolCreateXML(
            "<pool type='dir'><name>no</name><target><path>/nonexistent</path></target></pool>", 0
        )
    assert caught.value.get_int1() == errno.ENOENT


def test_a_missing_secret_is_named(c, pool):
    xml = (
        "<volume><name>v</name><capacity>1048576</capacity><target><format type='raw'/>"
        "<encryption format='luks'><secret type='passphrase' uuid='00000000-0000-0000-0000-000000000009'/>"
        "</encryption></target></volume>"
    )
    with pytest.raises(VirtError) as caught, translated():
        c.raw.storagePoolLookupByUUIDString(pool.uuid).createXML(xml, 0)
    assert (caught.value.code, caught.value.number) == ("secret_missing", 66)


def test_the_telling_line_of_a_command_comes_first():
    text = (
        "internal error: Child process (/bin/mount nas:/x /t) unexpected exit status 32: "
        "mount: /t: bad option.\ndmesg(1) may have more information after failed mount system call.\n"
    )
    assert command_words(text).splitlines()[0] == "mount: /t: bad option."
    assert text in command_words(text)
    assert command_words("nothing of a command") == "nothing of a command"


def test_control_characters_are_shown_and_long_text_is_cut():
    assert printable("a\x1b[31m\x00b\r\u202ec\nd ü") == "a\\x1b[31m\\x00b\\r\\u202ec\nd ü"
    assert len(VirtError("unknown", "x" * 5000).detail) == DETAIL_LIMIT


def test_an_error_survives_being_sent_to_another_process():
    error = VirtError("no_pool", "gone", number=49, domain=18)
    copy = pickle.loads(pickle.dumps(error))
    assert (copy.code, copy.detail, copy.number, copy.domain) == ("no_pool", "gone", 49, 18)
    assert str(copy) == "no_pool: gone"


def test_a_target_that_refuses_the_password_is_told_from_other_commands_that_fail():
    said = (
        "internal error: Child process (/sbin/iscsiadm --mode node --login) unexpected exit status 24: "
        "iscsiadm: initiator reported error (24 - iSCSI login failed due to authorization failure)\n"
    )
    assert classify(1, 0, None, said) == "login_refused"
    assert classify(1, 0, None, said.replace("authorization failure", "x")) == "command_failed"
