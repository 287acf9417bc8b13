"""Why the bytes of a wiped volume may still be somewhere."""

from volumes.models import Volume

OVERWRITTEN = "libvirt wrote to the end and reported no error."
FREED = "libvirt reported no error, but what it did frees the blocks and overwrites none."
FILE_TYPES = ("dir", "fs", "netfs", "vstorage")
_ELSEWHERE = {
    "netfs": "The server may keep the old bytes in snapshots, backups and caches that the host cannot reach.",
    "vstorage": "The cluster may keep the old bytes in snapshots and on disks that the host cannot reach.",
    "rbd": "Snapshots and clones of the image in Ceph keep the old bytes, and so may the disks of the cluster.",
    "iscsi": "The target may keep the old bytes in snapshots, and a thin LUN may write to other blocks.",
    "iscsi-direct": "The target may keep the old bytes in snapshots, and a thin LUN may write to other blocks.",
    "scsi": "The array may keep the old bytes in snapshots, and a thin LUN may write to other blocks.",
    "mpath": "The array may keep the old bytes in snapshots, and a thin LUN may write to other blocks.",
    "logical": "LVM snapshots of the volume keep the old bytes; a thin one writes to other blocks.",
}


def has_holes(volume: Volume) -> bool:
    """Whether its file takes less than its length. Sizes as libvirt last said them."""
    return volume.type == "file" and volume.allocation < (volume.physical or volume.capacity)


def overwrites(volume: Volume, algorithm: str, *, fills: bool) -> bool:
    """Whether libvirt writes over the blocks that it has. Seen on ext4 below it (tests/virt/test_volume_changes.py)."""
    return algorithm != "trim" and (algorithm != "zero" or fills or not has_holes(volume))


def promises_little(volume: Volume, algorithm: str = "zero", *, fills: bool = False) -> list[str]:
    found = []
    if algorithm == "trim":
        found.append(
            "Nothing is overwritten: the storage only learns that the blocks are not needed any more."
        )
    elif not overwrites(volume, algorithm, fills=fills):
        found.append(
            "The file has holes, and zeros alone only free its blocks: they are not overwritten before something else "
            "takes them. The patterns of scrub overwrite them where they are."
        )
    elif volume.type == "file":
        found.append(
            "On a copy-on-write file system (Btrfs, ZFS) new bytes go to other blocks than the old ones."
        )
    if volume.type in ("file", "block") and volume.pool.type not in ("iscsi", "scsi", "mpath"):
        found.append(
            "A solid-state disk writes to other cells; only its own secure erase reaches the old ones."
        )
    if volume.pool.type in _ELSEWHERE:
        found.append(_ELSEWHERE[volume.pool.type])
    if volume.encrypted:
        found.append(
            "Its key is not touched: delete the libvirt secret, and what may be left cannot be read."
        )
    return [*found, "Copies that were made before, and backups, stay as they are."]
