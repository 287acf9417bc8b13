"""What there is to fill in for a pool of each type, and where it stands in libvirt's XML. Imports no libvirt.

The required ones, defaults and formats are those of libvirt's parser (9.0 and 11.3).
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Literal

from storagemgr.virt.field_checks import CHECKS

Kind = Literal["text", "choice", "lines", "secret"]
Group = Literal["source", "place", "options"]
Values = Mapping[str, Any]


@dataclass(frozen=True)
class Field:
    """One thing to fill in: a str, for `lines` a list of str.

    `where`: its place in the XML: "source/host/@name" an attribute, "source/name" a text; a path with "[]" repeats for
    each line. Fields without one are written by a function of pool_xml. `takes`: the name of the check in CHECKS.
    """

    name: str
    label: str
    group: Group
    where: str = ""
    kind: Kind = "text"
    takes: str = "name"
    help: str = ""
    example: str = ""
    initial: str = ""
    required: bool = False
    choices: tuple[tuple[str, str], ...] = ()

    def problem(self, value: Any) -> str:
        """Why `value` cannot be, as a sentence; "" when it can."""
        if not value:
            return f"{self.label} is missing." if self.required else ""
        if self.kind == "choice":
            known = dict(self.choices)
            return "" if value in known else f"“{value}” is none of: {', '.join(filter(None, known))}."
        lines = value if self.kind == "lines" else [value]
        if not all(line.isprintable() for line in lines):
            return f"{self.label}: characters that cannot be printed are in it."
        return next(filter(None, (CHECKS[self.takes](line) for line in lines)), "")


def _choices(*pairs: str) -> tuple[tuple[str, str], ...]:
    """From "value:words" texts; the words are the value where none are given."""
    return tuple(
        (value, words or value or "default") for value, _, words in (p.partition(":") for p in pairs)
    )


HOST = Field(
    "source_host",
    "Server",
    "source",
    "source/host/@name",
    takes="host",
    required=True,
    help="Name or address, as the hosts see it.",
    example="nas1.example.com",
)
PORT = Field(
    "source_port",
    "Port",
    "source",
    "source/host/@port",
    takes="port",
    help="Only when it is not the usual one.",
)
EXPORT = Field(
    "source_dir",
    "Export",
    "source",
    "source/dir/@path",
    takes="export",
    required=True,
    help="The directory that the server offers.",
    example="/export/vm",
)
DEVICE = Field(
    "device",
    "Device",
    "source",
    "source/device/@path",
    takes="device",
    required=True,
    help="A path that stays the same after a reboot is best: one under /dev/disk/by-id.",
    example="/dev/disk/by-id/…",
)
DEVICES = Field(
    "devices",
    "Devices",
    "source",
    "source/device[]/@path",
    "lines",
    takes="device",
    help="One a line. Needed to build; a group that exists is found by its name.",
    example="/dev/sdb",
)
TARGET_IQN = replace(
    DEVICE,
    name="target_iqn",
    label="Target",
    takes="iqn",
    help="The iSCSI name (IQN) of the target.",
    example="iqn.2026-01.com.example:disks",
)
INITIATOR = Field(
    "initiator",
    "Initiator",
    "source",
    "source/initiator/iqn/@name",
    takes="iqn",
    help="The iSCSI name that the host gives itself. Empty: the one of the host.",
)
NAME = Field("source_name", "Name", "source", "source/name", required=True)
FORMAT = Field("format", "Format", "source", "source/format/@type", "choice")
USER = Field("auth_user", "User", "source", takes="user")
PASSWORD = Field(
    "auth_password",
    "Password",
    "source",
    kind="secret",
    takes="password",
    help="It becomes a private secret of libvirt on the host and is not shown again.",
)
OPTIONS = Field(
    "mount_options",
    "Mount options",
    "options",
    kind="lines",
    takes="option",
    help="One a line. libvirt always adds nodev, nosuid and noexec; it does not promise that others work.",
    example="noatime",
)
PATH = Field("target_path", "Path on the host", "place", "target/path", takes="path", required=True)
MOUNT_POINT = replace(
    PATH,
    label="Mount point",
    help="Where the host mounts it. It is made if it is missing.",
    example="/srv/vm",
)
MODE = Field(
    "mode",
    "Mode",
    "options",
    "target/permissions/mode",
    takes="mode",
    help="Of the directory, in octal. Empty: 0711 when libvirt makes it.",
    example="0711",
)
OWNER = Field(
    "owner",
    "Owner",
    "options",
    "target/permissions/owner",
    takes="number",
    help="The number of the user that the directory belongs to.",
)
GROUP = replace(
    OWNER,
    name="group",
    label="Group",
    where="target/permissions/group",
    help="The number of the group that the directory belongs to.",
)
COW = Field("cow", "Copy on write", "options", "features/cow/@state", "choice",
            choices=_choices(":As the file system does", "no:Off (faster for disks on btrfs)", "yes:On"))  # fmt: skip
_PERMISSIONS = (MODE, OWNER, GROUP)

ADAPTER_KIND = Field(
    "adapter_kind",
    "Adapter",
    "source",
    kind="choice",
    required=True,
    initial="scsi_host",
    choices=_choices(
        "scsi_host:A SCSI host, by its name",
        "scsi_parent:A SCSI host, by its PCI address",
        "fc_host:A Fibre Channel host, by its WWNs",
    ),
)
ADAPTER_NAME = Field(
    "adapter_name",
    "SCSI host",
    "source",
    takes="scsi_host",
    example="host2",
    help="The number can change when the host boots; the PCI address does not.",
)
PARENT_ADDRESS = Field("parent_address", "PCI address", "source", takes="pci", example="0000:00:1f.2")
UNIQUE_ID = Field(
    "unique_id",
    "Number of the port",
    "source",
    takes="number",
    help="unique_id: tells the ports of one adapter apart.",
)
WWNN = Field("wwnn", "WWNN", "source", takes="wwn", example="20000000c9831b4b")
WWPN = Field("wwpn", "WWPN", "source", takes="wwn", example="10000000c9831b4b")
PARENT = Field(
    "parent",
    "Parent adapter",
    "source",
    takes="scsi_host",
    example="scsi_host3",
    help="The adapter on which a virtual one (vHBA) is made. Empty: libvirt takes one that can.",
)
MANAGED = Field("managed", "Virtual adapter", "source", kind="choice",
                choices=_choices(":Removed when the pool stops, if the pool made it",
                                 "yes:Removed when the pool stops, also if it was there before",
                                 "no:Kept when the pool stops, if it was there before"))  # fmt: skip

_ADAPTER_NEEDS = {
    "scsi_host": ("adapter_name",),
    "scsi_parent": ("parent_address", "unique_id"),
    "fc_host": ("wwnn", "wwpn"),
}
_NETFS = _choices("auto:Found out by mount", "nfs:NFS", "cifs:SMB (cifs)", "glusterfs:Gluster")
_FS = _choices(
    "auto:Found out by mount",
    "ext4",
    "xfs",
    "ext3",
    "ext2",
    "vfat",
    "iso9660",
    "udf",
    "ufs",
    "gfs",
    "gfs2",
    "hfs+",
    "ocfs2",
    "vmfs",
)
_DISK = _choices(
    "gpt:GPT", "dos:MBR (dos)", "unknown:What is there, else MBR", "dvh", "mac", "bsd", "pc98", "sun", "lvm2"
)

FIELDS: Mapping[str, tuple[Field, ...]] = MappingProxyType(
    {
        "dir": (replace(PATH, label="Directory", help="It is made if it is missing.", example="/srv/vm"),
                *_PERMISSIONS, COW),
        "fs": (DEVICE, replace(FORMAT, label="File system", choices=_FS, initial="auto"), MOUNT_POINT, OPTIONS,
               *_PERMISSIONS, COW),
        "netfs": (
            HOST, replace(EXPORT, takes="share"),
            replace(FORMAT, label="Protocol", choices=_NETFS, initial="nfs"),
            Field("protocol_version", "Version of NFS", "source", "source/protocol/@ver", takes="version",
                  help="Empty: the best that both sides can."),
            MOUNT_POINT, OPTIONS, *_PERMISSIONS,
        ),
        "logical": (replace(NAME, label="Volume group", example="vg0"), DEVICES,
                    replace(FORMAT, choices=_choices("lvm2:LVM2"), initial="lvm2")),
        "disk": (
            replace(DEVICE, help="A path under /dev/disk/by-id stays the same after a reboot. libvirt deletes single "
                                 "partitions only with the kernel's name, such as /dev/sdb."),
            replace(FORMAT, label="Partition table", choices=_DISK, initial="gpt"),
            Field("part_separator", "“p” before the number", "source", "source/device/@part_separator", "choice",
                  choices=_choices(":As the kernel does", "yes:Always (multipath devices)", "no:Never")),
            replace(PATH, label="Directory of the partitions", initial="/dev", takes="device_dir",
                    help="/dev or a directory under /dev/disk."),
        ),
        "iscsi": (
            HOST, PORT, TARGET_IQN, INITIATOR,
            replace(USER, label="CHAP user"), replace(PASSWORD, label="CHAP password"),
            replace(PATH, label="Directory of the LUNs", initial="/dev/disk/by-path", takes="device_dir",
                    help="/dev/disk/by-path keeps the paths of the LUNs the same after a reboot."),
        ),
        "iscsi-direct": (HOST, PORT, TARGET_IQN,
                         replace(INITIATOR, required=True, help="The iSCSI name that libvirt gives itself."),
                         replace(USER, label="CHAP user"), replace(PASSWORD, label="CHAP password")),
        "scsi": (ADAPTER_KIND, ADAPTER_NAME, PARENT_ADDRESS, UNIQUE_ID, WWNN, WWPN, PARENT, MANAGED,
                 replace(PATH, label="Directory of the LUNs", initial="/dev/disk/by-path", takes="device_dir",
                         help="/dev/disk/by-path keeps the paths of the LUNs the same after a reboot.")),
        "mpath": (replace(PATH, label="Directory of the maps", initial="/dev/mapper", takes="device_dir",
                          help="libvirt lists all multipath maps of the host, wherever they are."),),
        "rbd": (
            Field("monitors", "Monitors", "source", kind="lines", takes="monitor", required=True,
                  help="One a line, with a port if it is not the usual one.", example="ceph1.example.com"),
            replace(NAME, label="Ceph pool", example="libvirt"),
            replace(USER, label="Ceph user", example="libvirt", help="Without “client.” before it. Empty: no cephx."),
            replace(PASSWORD, label="Key", takes="cephx_key",
                    help="As “ceph auth get-key” prints it. It becomes a private secret of libvirt on the host and is "
                         "not shown again."),
            Field("settings", "Settings of librados", "options", kind="lines", takes="setting",
                  help="One a line. libvirt does not promise that they work.", example="client_mount_timeout=30"),
            Field("refresh_allocation", "Sizes of the images", "options", "refresh/volume/@allocation", "choice",
                  choices=_choices(":As libvirt does", "default:Counted, slow with many images",
                                   "capacity:Not counted, each taken as full")),
        ),
        "gluster": (HOST, PORT, replace(NAME, label="Gluster volume", example="vms"),
                    replace(EXPORT, label="Directory in it", required=False, initial="/",
                            help="/ is the whole volume.")),
        "zfs": (replace(NAME, label="ZFS pool or dataset", takes="dataset", example="tank/vms"),
                replace(DEVICES, help="One a line. Needed to build a whole ZFS pool only.")),
        "vstorage": (replace(NAME, label="Cluster", example="cluster1"), MOUNT_POINT, *_PERMISSIONS),
        "sheepdog": (HOST, PORT, NAME),
    }
)  # fmt: skip


def fields_of(pool_type: str) -> tuple[Field, ...]:
    """() for a type that is newer than this table."""
    return FIELDS.get(pool_type, ())


def problems(pool_type: str, values: Values) -> dict[str, str]:
    """Field name -> sentence, for each field of `values` that cannot be. {} means libvirt may be asked."""
    found = {f.name: wrong for f in fields_of(pool_type) if (wrong := f.problem(values.get(f.name)))}
    for name, wrong in _together(pool_type, values):
        found.setdefault(name, wrong)
    return found


def _together(pool_type: str, values: Values) -> list[tuple[str, str]]:
    """What is wrong with fields in regard to others."""
    found = []
    has_password = values.get("auth_password") or values.get("auth_secret")
    if has_password and not values.get("auth_user"):
        found.append(("auth_user", "A password needs the name of its user."))
    if values.get("auth_user") and not has_password:
        found.append(("auth_password", "A user needs a password."))
    if pool_type == "scsi":
        for name in _ADAPTER_NEEDS.get(values.get("adapter_kind", ""), ()):
            if not values.get(name):
                found.append((name, f"{next(f.label for f in FIELDS['scsi'] if f.name == name)} is missing."))
    if pool_type == "netfs":
        found += _of_netfs(values.get("format") or "auto", values)
    return found


def _of_netfs(protocol: str, values: Values) -> list[tuple[str, str]]:
    found = []
    export = values.get("source_dir") or ""
    if ":" in (values.get("source_host") or ""):
        # It writes "fd00::1:/export" for mount, which reads the server "fd00".
        found.append(
            ("source_host", "libvirt cannot mount from an IPv6 address; use the name of the server.")
        )
    if values.get("protocol_version") and protocol not in ("nfs", "auto"):
        found.append(("protocol_version", "Only NFS has such a version."))
    if export and protocol in ("nfs", "auto") and not export.startswith("/"):
        found.append(("source_dir", f"“{export}” is not a path on the server; such a path begins with /."))
    if protocol == "cifs" and export.startswith("/"):
        found.append(("source_dir", "The name of an SMB share has no / before it, such as vm or vm/images."))
    return found
