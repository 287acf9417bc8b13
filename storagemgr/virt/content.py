"""What is on a device of a host now, told without writing to it. Sizes in bytes."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import libvirt

from storagemgr.virt import pools
from storagemgr.virt.connection import Connection, translated
from storagemgr.virt.devices import Disk, list_disks
from storagemgr.virt.discovery import find_sources
from storagemgr.virt.errors import VirtError
from storagemgr.virt.look import (
    BY_ID,
    FOLDERS,
    LOST,
    Block,
    disk_pool,
    look_into,
    read_block,
    remove_leftovers,
)
from storagemgr.virt.signatures import Finding

VERDICTS = ("empty", "data", "unknown")


@dataclass(frozen=True)
class Content:
    """`verdict`: empty or data; unknown when its bytes could not be read, `text` then says what little is known.

    `names`: the device's other paths. `table`: gpt or dos; `partitions`: those in it. `finding`: what the first
    and last 128 KiB say, None when they could not be read. `groups`: LVM groups, and `pools`: pools of libvirt,
    that use the device or a partition. `seen` and `unseen`: sentences on how it was looked at and what could not be.
    """

    path: str
    names: tuple[str, ...] = ()
    size: int | None = None
    verdict: str = "unknown"
    text: str = ""
    table: str = ""
    partitions: tuple[Block, ...] = ()
    finding: Finding | None = None
    groups: tuple[str, ...] = ()
    pools: tuple[str, ...] = ()
    seen: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()


def inspect(
    c: Connection,
    path: str,
    *,
    pool_uuids: Sequence[str] = (),
    folders: bool = True,
    is_in_pool: bool = False,
) -> Content:
    """`pool_uuids`: pools of the host that may have the device as source or volume and do not hang. `folders`: where
    no pool has it, also read it through a folder of links, which opens all devices there (see look.py).
    `is_in_pool`: look although a pool has the device as its source, and do not take that for a use of it.

    Raises not_found_on_host where the host has no such device, invalid for what is no block device by its name.
    """
    _check(path)
    remove_leftovers(c)
    look = _Look(c, path, is_in_pool)
    look.find_names()
    for uuid in pool_uuids:
        look.ask_pool(uuid)
    if not look.table:
        look.read_table()
    if not look.table and look.finding is None:
        look.read_folders(FOLDERS if folders else ())
    look.ask_groups()
    return look.content()


# Opening some other files of /dev does something: /dev/watchdog resets the host.
_BLOCK_DEVICE = re.compile(
    r"/dev/(disk/by-[a-z-]+/[^/]+|mapper/(?!control$)[^/]+"
    r"|([shv]|xv)d[a-z]+[0-9]*|nvme[0-9]+n[0-9]+(p[0-9]+)?|(mmcblk|loop|nbd|rbd|zd|bcache|drbd)[0-9]+(p[0-9]+)?"
    r"|md(/[^/]+|[0-9]+(p[0-9]+)?)|dm-[0-9]+|ubd[a-z]+[0-9]*|dasd[a-z]+[0-9]*|sr[0-9]+|pmem[0-9]+(p[0-9]+)?"
    r"|(?!(disk|mapper|bus|char|cpu|dri|hugepages|input|mqueue|net|pts|shm|snd|vfio|fd)/)[A-Za-z0-9+_.-]+/[A-Za-z0-9+_.-]+)",
    re.ASCII,
)


def _check(path: str) -> None:
    if not _BLOCK_DEVICE.fullmatch(path) or ".." in path.split("/"):
        raise VirtError("invalid", f"{path} is not the path of a disk, partition or volume below /dev.")


class _Look:
    """What is known so far. `hint`: what blkid made of the device, through libvirt: "", nothing or something."""

    def __init__(self, c: Connection, path: str, is_in_pool: bool) -> None:
        self.c = c
        self.path = path
        # libvirt compares sources as texts, and opens a device for no two pools.
        self.spelled = path.replace("/dev/", "/dev//", 1) if is_in_pool else path
        self.names: tuple[str, ...] = (path,)
        self.size: int | None = None
        self.table = ""
        self.no_nodes = False
        self.partitions: tuple[Block, ...] = ()
        self.finding: Finding | None = None
        self.hint = ""
        self.groups: tuple[str, ...] = ()
        self.pools: tuple[str, ...] = ()
        self.serials: set[str] = set()
        self.seen: list[str] = []
        self.unseen: list[str] = []

    def find_names(self) -> None:
        """From node devices; the partitions of one have its links with a number behind."""
        names = set(_mapped_names(self.path))
        try:
            disks = list_disks(self.c, contents=False)
        except VirtError as error:
            self._missed("The host's list of devices", error)
            disks = []
        for disk in disks:
            whole, number = _split(self.path, disk)
            if whole:
                every = (disk.path, *disk.links)
                names |= {f"{name}{_before_number(name)}{number}" if number else name for name in every}
                self.size = self.size if number else disk.size
                self.serials |= {disk.serial} - {""}
        self.names = (self.path, *sorted(names - {self.path}))

    def ask_pool(self, uuid: str) -> None:
        try:
            config = pools.read_config(self.c, uuid)
            is_source = not set(self.names).isdisjoint(config.source_devices)
            if is_source:
                self.pools += (config.name,)
            if config.type not in _OF_DEVICES or pools.read_pool(self.c, uuid).state != "running":
                return
            with translated():
                volumes = self.c.raw.storagePoolLookupByUUIDString(uuid).listAllVolumes(0)
                found = [volume for volume in volumes if volume.path() in self.names]
            if found:
                self._take(read_block(self.c, found[0]), f"It is the volume of pool {config.name}.")
            if is_source and config.type == "disk":
                self._take_partitions(
                    config.source_format, volumes, f"Pool {config.name} lists its partitions."
                )
        except VirtError as error:
            self._missed("A pool that may use the device", error)

    def read_table(self) -> None:
        """Starts pools of type disk, which succeeds with the right kind of table only."""
        for table in ("gpt", "dos"):
            try:
                with disk_pool(self.c, self.spelled, table) as pool, translated():
                    words = f"libvirt reads its {_TABLES[table]}."
                    self._take_partitions(table, pool.listAllVolumes(0), words)
                return
            except VirtError as error:
                if self._learn(error, table):
                    return

    def _learn(self, error: VirtError, table: str) -> bool:
        """From why the pool did not start; whether that is all there is to learn."""
        if error.code in LOST:
            raise error
        if error.number == libvirt.VIR_ERR_INVALID_ARG:
            raise VirtError("not_found_on_host", error.detail, number=error.number, domain=error.domain)
        if error.number == libvirt.VIR_ERR_OPERATION_FAILED:
            self.pools += tuple(re.findall(r"'([^']+)'", error.detail)[-1:])
            self.unseen.append(
                "Another pool has the device as its source, so libvirt opens it for no second one."
            )
        elif error.number == libvirt.VIR_ERR_NO_STORAGE_VOL:
            self.table, self.no_nodes = table, True
            self.unseen.append("The kernel of the host shows no devices for the partitions in its table.")
        elif error.number == libvirt.VIR_ERR_OPERATION_INVALID:
            self.hint = "something"
            return table == "dos"
        elif error.number == libvirt.VIR_ERR_STORAGE_PROBE_FAILED and "requires build" in error.detail:
            self.hint = "nothing"
            self.seen.append("blkid on the host finds nothing on it.")
        else:
            self._missed("The device", error)
        return True

    def read_folders(self, folders: Iterable[str]) -> None:
        for folder in folders:
            links = [name for name in self.names if name.rpartition("/")[0] == folder]
            if not links:
                continue
            found = look_into(self.c, folder, {links[0].rpartition("/")[2]}.__contains__)
            if found.error:
                self.unseen.append(f"{folder} could not be read: {found.error}")
            if any(f"dm-uuid-mpath-{serial}" in found.names for serial in self.serials):
                self.seen.append("Multipath holds it: use the device of multipath in its place.")
            if found.blocks and found.blocks[0].finding:
                self._take(found.blocks[0], "Its first and last 128 KiB were read.")
                return
        self.unseen.append(_ONLY_BLKID)

    def ask_groups(self) -> None:
        try:
            groups = find_sources(self.c, "logical")
        except VirtError as error:
            self._missed("The LVM groups of the host", error)
            return
        paths = {*self.names, *(partition.path for partition in self.partitions)}
        self.groups = tuple(
            str(group.values["source_name"])
            for group in groups
            if not paths.isdisjoint(group.values["devices"])
        )

    def _take(self, block: Block, words: str) -> None:
        self.size = block.size or self.size
        if block.finding:
            self.finding = block.finding
            self.seen.append(words)

    def _take_partitions(self, table: str, volumes: Iterable[libvirt.virStorageVol], words: str) -> None:
        blocks = [read_block(self.c, volume) for volume in volumes]
        blocks = [replace(block, path=block.path.replace("//", "/")) for block in blocks]
        self.table = table
        self.partitions = tuple(sorted(blocks, key=lambda block: (len(block.path), block.path)))
        self.seen.append(words)

    def _missed(self, what: str, error: VirtError) -> None:
        if error.code in LOST:
            raise error
        self.unseen.append(f"{what} could not be read: {error.detail}")

    def content(self) -> Content:
        verdict, text = self._verdict()
        return Content(
            path=self.path,
            names=self.names[1:],
            size=self.size,
            verdict=verdict,
            text=text,
            table=self.table,
            partitions=self.partitions,
            finding=self.finding,
            groups=self.groups,
            pools=tuple(dict.fromkeys(self.pools)),
            seen=tuple(self.seen),
            unseen=tuple(self.unseen),
        )

    def _verdict(self) -> tuple[str, str]:
        if self.table:
            count = len(self.partitions)
            table = _TABLES.get(self.table, f"{self.table} partition table")
            return "data", table if self.no_nodes else f"{table}, {count} partition{'s' * (count != 1)}"
        if self.finding and not self.finding.blank:
            return "data", self.finding.text
        if self.groups:
            return "data", f"part of LVM group {', '.join(self.groups)}"
        if self.pools:
            return "data", f"in use by pool {', '.join(self.pools)}"
        if self.hint == "something":
            return "data", "something that blkid on the host knows and that is no GPT or MBR partition table"
        if self.finding:
            return "empty", "empty"
        if self.hint == "nothing":
            return "unknown", "nothing that blkid on the host knows"
        return "unknown", "could not be looked at"


_OF_DEVICES = ("disk", "iscsi", "scsi", "mpath", "logical")
_TABLES = {"gpt": "GPT partition table", "dos": "MBR partition table"}
_ONLY_BLKID = (
    "Its bytes could not be read from here. A build without overwrite asks blkid on the host once more and refuses "
    "if that finds something."
)


def _mapped_names(path: str) -> Iterator[str]:
    """Of a device of device mapper: /dev/GROUP/VOLUME is /dev/mapper/GROUP-VOLUME, where a "-" in a name is two."""
    folder, _, name = path.rpartition("/")
    if folder == "/dev/mapper":
        yield f"{BY_ID}/dm-name-{name}"
    elif folder == BY_ID and name.startswith("dm-name-"):
        yield "/dev/mapper/" + name.removeprefix("dm-name-")
    elif folder.count("/") == 2 and folder != "/dev/md":
        mapped = "-".join(part.replace("-", "--") for part in (folder.removeprefix("/dev/"), name))
        yield f"/dev/mapper/{mapped}"
        yield f"{BY_ID}/dm-name-{mapped}"


def _split(path: str, disk: Disk) -> tuple[str, str]:
    """(the name of the disk in `path`, the number of the partition or ""); ("", "") for another disk."""
    for name in (disk.path, *disk.links):
        if path == name:
            return name, ""
        rest = path.removeprefix(name) if path.startswith(name) else ""
        if match := re.fullmatch(r"(?:p|-part)?([0-9]+)", rest):
            between = rest.removesuffix(match.group(1))
            if between == _before_number(name):
                return name, match.group(1)
    return "", ""


def _before_number(name: str) -> str:
    if name.startswith("/dev/disk/"):
        return "-part"
    return "p" if name[-1:].isdigit() else ""
