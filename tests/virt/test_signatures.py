"""What stands at the start and the end of a device.

device_heads.zip holds the first and last 128 KiB of 64 MiB to 512 MiB images, each written by the program that makes
such a thing (Debian 12; what is not needed was zeroed). ZFS, RAID and BlueStore need a kernel or a cluster:
those were laid out by their documented format, and blkid names them as the list here does.
"""

import random
import zipfile
from pathlib import Path

import pytest

from storagemgr.virt.signatures import HEAD, TAIL, Signature, is_blank, recognise

IMAGES = zipfile.ZipFile(Path(__file__).parent / "device_heads.zip")
NAMES = sorted({name.partition("/")[0] for name in IMAGES.namelist()})

TEXTS = {
    "bcache": ("member", "bcache device"),
    "bluestore": ("member", "Ceph BlueStore device (OSD)"),
    "btrfs": ("filesystem", "Btrfs file system pool1"),
    "dos": ("table", "MBR partition table"),
    "exfat": ("filesystem", "exFAT file system"),
    "ext2": ("filesystem", "ext2 file system media"),
    "ext3": ("filesystem", "ext3 file system"),
    "ext4": ("filesystem", "ext4 file system vm data"),
    "fat16": ("filesystem", "FAT file system"),
    "fat32": ("filesystem", "FAT file system"),
    "gpt": ("table", "GPT partition table"),
    "gptend": ("table", "GPT partition table, of which only the copy at the end is left"),
    "iso": ("filesystem", "ISO 9660 image (CD or DVD) DEBIAN12"),
    "luks1": ("encrypted", "LUKS1 encryption"),
    "luks2": ("encrypted", "LUKS2 encryption secrets"),
    "lvm": ("member", "LVM physical volume of group vg_lab"),
    "lvmorphan": ("member", "LVM physical volume"),
    "md0.90": ("member", "Member of a RAID array"),
    "md1.0": ("member", "Member of RAID array kvm1:raid1"),
    "md1.1": ("member", "Member of RAID array kvm1:raid1"),
    "md1.2": ("member", "Member of RAID array kvm1:raid1"),
    "ntfs": ("filesystem", "NTFS file system"),
    "qcow2": ("image", "qcow2 image"),
    "squashfs": ("filesystem", "SquashFS file system"),
    "swap": ("swap", "Swap space swap1"),
    "xfs": ("filesystem", "XFS file system vmstore"),
    "zfs": ("member", "Member of ZFS pool tank"),
}


def image(name: str) -> tuple[bytes, bytes]:
    """Head and tail; a part that is not kept was blank."""
    kept = set(IMAGES.namelist())
    head, tail = (
        IMAGES.read(f"{name}/{part}") if f"{name}/{part}" in kept else bytes(TAIL)
        for part in ("head", "tail")
    )
    return head, tail


def test_every_image_is_listed_here() -> None:
    assert sorted(TEXTS) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_what_is_on_the_device_is_recognised(name: str) -> None:
    found = recognise(*image(name))
    assert [(one.kind, one.text) for one in found] == [TEXTS[name]]


def test_names_labels_and_uuids_are_read() -> None:
    assert recognise(*image("lvm"))[0].label == "vg_lab"
    assert recognise(*image("zfs"))[0].label == "tank"
    assert recognise(*image("ext4"))[0].uuid == "9c6fbb51-8e85-4e71-b3ff-0a8b41482b78"
    assert recognise(*image("luks1"))[0].uuid == "3f319623-4dfa-4359-9b34-2e61ebc14a88"


def test_a_blank_device_has_nothing() -> None:
    assert is_blank(bytes(HEAD))
    assert not is_blank(bytes(HEAD - 1) + b"\1")
    assert recognise(bytes(HEAD), bytes(TAIL)) == []
    assert recognise(b"", b"") == []


def test_two_things_on_one_device_are_both_told() -> None:
    """A file system of old under a new one: which of the two counts is for people to say."""
    ext4, _ = image("ext4")
    luks, _ = image("luks1")
    both = luks[:1024] + ext4[1024:]
    assert {one.name for one in recognise(both)} == {"luks", "ext4"}


def test_a_boot_sector_of_fat_is_no_partition_table() -> None:
    head, _ = image("fat32")
    assert head[510:512] == b"\x55\xaa"
    assert [one.name for one in recognise(head)] == ["fat"]


def test_words_of_the_device_cannot_spoil_a_page_or_a_log() -> None:
    head, _ = image("xfs")
    hostile = head[:108] + b"a\x1b[31m\xff\nb\0x" + head[119:]
    (found,) = recognise(hostile)
    assert found.label.isprintable()
    assert found.label.startswith("a\ufffd[31m")


@pytest.mark.parametrize("name", NAMES)
def test_broken_bytes_break_nothing(name: str) -> None:
    head, tail = image(name)
    chance = random.Random(name)
    for _ in range(60):
        broken = bytearray(head[: chance.choice((HEAD, chance.randrange(HEAD), chance.randrange(4096)))])
        for _ in range(min(len(broken), 40)):
            broken[chance.randrange(min(len(broken), 4096))] = chance.choice((0, 0xFF, chance.randrange(256)))
        found = recognise(bytes(broken), tail[: chance.randrange(TAIL)])
        assert all(isinstance(one, Signature) and one.text.isprintable() for one in found)
