"""What libvirt can do with each type of pool, in words for people. The one table; imports no libvirt.

From libvirt's backend function tables, the same in 9.0 and 11.3 where nothing else is said.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from storagemgr.virt.pool_fields import Field, fields_of
from storagemgr.virt.volume_formats import CREATABLE
from storagemgr.virt.wipe_algorithms import ALGORITHMS, PATTERNS, ZERO, algorithm, is_behind_a_link

POOL_OPERATIONS = ("pool.start", "pool.stop", "pool.refresh", "pool.build", "pool.delete")
VOLUME_OPERATIONS = (
    "volume.create",
    "volume.clone",
    "volume.delete",
    "volume.resize",
    "volume.wipe",
    "volume.upload",
    "volume.download",
)
OPERATIONS = POOL_OPERATIONS + VOLUME_OPERATIONS

Numbers = Literal["normal", "luns", "none", "raw"]
Version = tuple[int, ...]


def version_of(text: str) -> Version:
    """(11, 7, 0) of "11.7.0"; () when it is not known."""
    return tuple(int(part) for part in text.split(".")) if text else ()


@dataclass(frozen=True)
class PoolType:
    """`start` to `delete`: what the operation does on the host, or on the storage behind it.

    `numbers`: what capacity, allocation and available mean. "luns": the sum of fixed LUNs, nothing is
    ever available; "none": no sizes; "raw": before replication. `volume_formats`: those that can be
    created; empty where a volume has no format. `reasons`: operation -> why it does not exist. `since`: the libvirt
    from which on it does all the same. `wipes`: libvirt's names of the algorithms. `only_grows`: volumes never shrink.

    For making one: `words` says what it is for, `finds` what can be discovered, "" for nothing. `overwrites`: build
    takes libvirt's flags that refuse or destroy what is on the devices. `test`: how it can be tried without making it.
    """

    name: str
    title: str
    numbers: Numbers
    start: str
    stop: str
    refresh: str
    build: str
    delete: str
    words: str = ""
    finds: str = ""
    overwrites: bool = False
    test: Literal["", "mount", "connect", "discover", "look"] = ""
    volume_formats: tuple[str, ...] = ()
    reasons: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    since: Mapping[str, Version] = field(default_factory=lambda: MappingProxyType({}))
    wipes: tuple[str, ...] = PATTERNS
    only_grows: bool = False

    @property
    def fields(self) -> tuple[Field, ...]:
        return fields_of(self.name)

    @property
    def builds(self) -> bool:
        """Whether build does something: libvirt answers with success also where there is nothing to do."""
        return "pool.build" not in self.reasons

    @property
    def operations(self) -> frozenset[str]:
        return frozenset(OPERATIONS) - self.reasons.keys()

    def why_not(self, operation: str, libvirt_version: str = "") -> str:
        """The sentence that says why `operation` does not exist here; "" when it does, on this libvirt."""
        if operation not in OPERATIONS:
            raise ValueError(f"not an operation: {operation}")
        since = self.since.get(operation)
        is_new_enough = since is not None and version_of(libvirt_version) >= since
        return "" if is_new_enough else self.reasons.get(operation, "")

    def why_no_wipe(self, name: str, path: str = "") -> str:
        """The sentence that says why the algorithm cannot wipe the volume with this path; "" when it can."""
        if name in self.wipes:
            is_in_vain = algorithm(name).needs_scrub and is_behind_a_link(path)
            return _SCRUB_IN_VAIN if is_in_vain else ""
        if reason := self.reasons.get("volume.wipe"):
            return reason
        if name == "trim":
            return "Only images of Ceph can be trimmed by libvirt."
        if name not in ALGORITHMS:
            return f"No algorithm of libvirt has the name {name}."
        return "The patterns of scrub need a path on the host, which these volumes do not have."


def _reasons(*parts: tuple[str, str]) -> Mapping[str, str]:
    """From ("volume.create volume.clone", sentence) pairs."""
    return MappingProxyType({name: sentence for names, sentence in parts for name in names.split()})


_SCRUB_IN_VAIN = "scrub overwrites nothing behind a link to a device; libvirt reports success all the same."
_FILE_FORMATS = CREATABLE
_RESCAN = "Reads the directory again and finds files that were added, changed or removed outside libvirt."
_REREAD = "Reads the list of volumes again."
_NOTHING_TO_BUILD = "There is nothing to build: libvirt only uses what is there already."
_NOTHING_TO_DELETE = "libvirt cannot delete this storage; it can only forget the pool."
_LUNS_ARE_MADE = "The LUNs are made on the {where}; libvirt cannot {verb} them."


def _lun_reasons(where: str) -> tuple[tuple[str, str], ...]:
    return (
        ("volume.create volume.clone", _LUNS_ARE_MADE.format(where=where, verb="create")),
        ("volume.delete", _LUNS_ARE_MADE.format(where=where, verb="delete")),
        ("volume.resize", _LUNS_ARE_MADE.format(where=where, verb="resize")),
        ("pool.build", _NOTHING_TO_BUILD),
        ("pool.delete", _NOTHING_TO_DELETE),
    )


_ALL = (
    PoolType(
        name="dir",
        title="Directory",
        numbers="normal",
        start="Makes the directory's files available as volumes. The directory has to exist.",
        stop="Takes the volumes off the list. Directory and files stay as they are.",
        refresh=_RESCAN,
        build="Makes the directory if it is missing and sets its owner and mode.",
        delete="Removes the directory, which has to be empty.",
        words="Disk images as files in a directory of the host. The simplest; a good start.",
        volume_formats=_FILE_FORMATS,
    ),
    PoolType(
        name="fs",
        title="File system",
        numbers="normal",
        start="Mounts the file system of the device.",
        stop="Unmounts the file system. The data stays on the device.",
        refresh=_RESCAN,
        build="Makes the mount point, and the file system on the device if nothing is there and the pool says which.",
        delete="Removes the mount point, an empty directory. The data stays on the device.",
        words="Disk images as files on a disk or partition that libvirt mounts, and formats if you ask for that.",
        finds="the disks and partitions of the host",
        overwrites=True,
        test="look",
        volume_formats=_FILE_FORMATS,
    ),
    PoolType(
        name="netfs",
        title="NFS export",
        numbers="normal",
        start="Mounts the export.",
        stop="Unmounts the export. The data stays on the server.",
        refresh=_RESCAN,
        build="Makes the mount point. Nothing changes on the server.",
        delete="Removes the mount point, an empty directory. The data stays on the server.",
        words="Disk images as files on an NFS, SMB or Gluster server. Several hosts can share it.",
        finds="the exports of a server",
        test="mount",
        volume_formats=_FILE_FORMATS,
    ),
    PoolType(
        name="logical",
        title="LVM group",
        numbers="normal",
        start="Activates the logical volumes of the group.",
        stop="Deactivates every logical volume of the group. It fails while one is in use; the data stays.",
        refresh=f"{_REREAD} Thin volumes are not in it: libvirt does not see them.",
        build="Makes a volume group of the devices. The start and end of each device are overwritten.",
        delete="Removes the volume group and its label from the devices. All its volumes are lost.",
        words="Each disk is a logical volume of an LVM group: fast, with snapshots, on disks of the host.",
        finds="the volume groups of the host",
        overwrites=True,
        test="look",
        reasons=_reasons(
            ("volume.resize", "libvirt cannot resize logical volumes; lvextend on the host can."),
        ),
    ),
    PoolType(
        name="disk",
        title="Disk partitions",
        numbers="normal",
        start="Reads the partition table of the disk.",
        stop="Takes the partitions off the list. The disk stays as it is.",
        refresh="Reads the partition table again.",
        build="Writes a new, empty partition table. All partitions of the disk are lost.",
        delete="Overwrites the start and end of the disk. All its partitions are lost.",
        words="Each disk is a partition of one whole disk of the host.",
        finds="the disks of the host",
        overwrites=True,
        test="look",
        reasons=_reasons(
            ("volume.resize", "libvirt cannot resize partitions."),
        ),
    ),
    PoolType(
        name="iscsi",
        title="iSCSI LUNs",
        numbers="luns",
        start="Logs in to the iSCSI target; its LUNs appear as disks of the host.",
        stop="Logs out of the iSCSI target; its disks disappear from the host. The data stays on the target.",
        refresh="Scans the iSCSI session for new LUNs.",
        build=_NOTHING_TO_BUILD,
        delete=_NOTHING_TO_DELETE,
        words="The LUNs of an iSCSI target, which appear as disks of the host. They are made on the target.",
        finds="the targets of a portal",
        test="discover",
        reasons=_reasons(*_lun_reasons("iSCSI target")),
    ),
    PoolType(
        name="iscsi-direct",
        title="iSCSI direct",
        numbers="luns",
        start="Asks the iSCSI target for its LUNs. VMs connect to them by themselves.",
        stop="Takes the LUNs off the list. VMs that use them are not disturbed.",
        refresh="Asks the iSCSI target for its LUNs again.",
        build=_NOTHING_TO_BUILD,
        delete=_NOTHING_TO_DELETE,
        words="The LUNs of an iSCSI target, used by VMs directly: no disk appears on the host.",
        test="connect",
        wipes=ZERO,
        reasons=_reasons(
            *_lun_reasons("iSCSI target"),
            (
                "volume.upload volume.download",
                "The LUNs are not disks of the host, so libvirt cannot transfer their data.",
            ),
        ),
    ),
    PoolType(
        name="scsi",
        title="SCSI LUNs",
        numbers="luns",
        start="Scans the SCSI adapter; a virtual Fibre Channel adapter is made if the pool defines one.",
        stop="Takes the LUNs off the list; a virtual Fibre Channel adapter that libvirt manages is removed.",
        refresh="Scans the SCSI adapter for new LUNs.",
        build=_NOTHING_TO_BUILD,
        delete=_NOTHING_TO_DELETE,
        words="The LUNs behind a SCSI or Fibre Channel adapter of the host.",
        finds="the adapters of the host",
        reasons=_reasons(*_lun_reasons("storage array")),
    ),
    PoolType(
        name="mpath",
        title="Multipath",
        numbers="none",
        start="Lists the multipath devices of the host.",
        stop="Takes the devices off the list. They stay as they are.",
        refresh="Lists the multipath devices again.",
        build=_NOTHING_TO_BUILD,
        delete=_NOTHING_TO_DELETE,
        words="The multipath devices that the host has made. One such pool per host.",
        reasons=_reasons(*_lun_reasons("storage array")),
    ),
    PoolType(
        name="rbd",
        title="Ceph RBD",
        numbers="raw",
        start="Connects to the Ceph cluster.",
        stop="Disconnects from the Ceph cluster. The images stay there.",
        refresh="Reads the images of the Ceph pool again; many images take a while.",
        build=_NOTHING_TO_BUILD,
        delete=_NOTHING_TO_DELETE,
        words="Each disk is an image in a Ceph pool. Several hosts can share it.",
        test="connect",
        volume_formats=("raw",),
        wipes=("zero", "trim"),
        only_grows=True,
        reasons=_reasons(
            ("volume.upload volume.download", "libvirt cannot transfer data of Ceph images; rbd import can."),
            ("pool.build", _NOTHING_TO_BUILD),
            ("pool.delete", "libvirt cannot delete a Ceph pool; it can only forget the pool."),
        ),
    ),
    PoolType(
        name="gluster",
        title="Gluster",
        numbers="normal",
        start="Connects to the Gluster volume.",
        stop="Disconnects from the Gluster volume. The files stay there.",
        refresh="Reads the directory of the Gluster volume again.",
        build=_NOTHING_TO_BUILD,
        delete=_NOTHING_TO_DELETE,
        words="Files on a Gluster volume, without mounting it. libvirt can only list and delete there.",
        finds="the volumes of a server",
        test="connect",
        wipes=(),
        reasons=_reasons(
            (
                "volume.create volume.clone volume.resize volume.wipe volume.upload volume.download",
                "libvirt can list and delete files on Gluster and nothing else; mount the volume and "
                "use a directory pool instead.",
            ),
            ("pool.build", _NOTHING_TO_BUILD),
            ("pool.delete", _NOTHING_TO_DELETE),
        ),
    ),
    PoolType(
        name="zfs",
        title="ZFS",
        numbers="normal",
        start="Lists the volumes of the ZFS pool.",
        stop="Takes the volumes off the list. They stay as they are.",
        refresh=_REREAD,
        build="Makes a ZFS pool of the devices, or a dataset in one. What was on the devices is lost.",
        delete="Destroys the ZFS pool or dataset with everything in it.",
        words="Each disk is a volume of a ZFS pool of the host.",
        wipes=(),
        only_grows=True,
        since=MappingProxyType({"volume.resize": (11, 7, 0)}),
        reasons=_reasons(
            ("volume.clone", "libvirt cannot copy ZFS volumes; zfs send on the host can."),
            ("volume.resize", "libvirt resizes ZFS volumes only from 11.7 on; zfs set volsize can."),
            ("volume.wipe", "libvirt cannot wipe ZFS volumes."),
        ),
    ),
    PoolType(
        name="vstorage",
        title="Virtuozzo storage",
        numbers="normal",
        start="Mounts the Virtuozzo cluster.",
        stop="Unmounts the Virtuozzo cluster. The data stays there.",
        refresh=_RESCAN,
        build="Makes the mount point. Nothing changes in the cluster.",
        delete="Removes the mount point, an empty directory. The data stays in the cluster.",
        words="Disk images as files in a Virtuozzo storage cluster, mounted by libvirt.",
        test="mount",
        volume_formats=_FILE_FORMATS,
    ),
    PoolType(
        name="sheepdog",
        title="Sheepdog",
        numbers="normal",
        start="Connects to the Sheepdog cluster.",
        stop="Disconnects from the Sheepdog cluster. The images stay there.",
        refresh=_REREAD,
        build=_NOTHING_TO_BUILD,
        delete=_NOTHING_TO_DELETE,
        words="Images in a Sheepdog cluster. libvirt dropped it in 8.8; only for older hosts.",
        wipes=(),
        reasons=_reasons(
            (
                " ".join(("pool.build", "pool.delete", *VOLUME_OPERATIONS)),
                "libvirt dropped Sheepdog in 8.8; only start, stop and refresh are offered for older hosts.",
            ),
        ),
    ),
)

TYPES: Mapping[str, PoolType] = MappingProxyType({entry.name: entry for entry in _ALL})


def pool_type(name: str) -> PoolType:
    """The entry for `name`; for a type that is newer than this table one that admits it."""
    return TYPES.get(name) or _unknown(name)


def _unknown(name: str) -> PoolType:
    why = f"Pools of type {name or '(none)'} are newer than this program, which does not know what that does."
    return PoolType(
        name=name,
        title=name or "Unknown type",
        numbers="normal",
        start="Makes the volumes available.",
        stop="Takes the volumes off the list. libvirt promises that the data stays.",
        refresh=_REREAD,
        build=why,
        delete=why,
        reasons=_reasons((" ".join(("pool.build", "pool.delete", *VOLUME_OPERATIONS)), why)),
        wipes=(),
    )
