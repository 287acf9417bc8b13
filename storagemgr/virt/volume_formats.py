"""The formats in which libvirt and qemu-img can make a volume, in words for people. Imports no libvirt.

Not here: bochs, cloop, dmg, vhd, fat, cow and ploop, which libvirt names and no qemu-img makes.
"""

from collections.abc import Mapping
from types import MappingProxyType

FORMATS: Mapping[str, str] = MappingProxyType(
    {
        "qcow2": "grows as it is filled, snapshots; for VMs of QEMU",
        "raw": "plain bytes; the fastest, and every program reads it",
        "iso": "plain bytes, for the image of a CD or DVD",
        "dir": "a directory, to put files into",
        "vmdk": "for VMware",
        "vdi": "for VirtualBox",
        "vpc": "VHD, for Hyper-V and Azure",
        "qed": "an older format of QEMU; only for what still needs it",
        "qcow": "the first version of qcow2; only for what still needs it",
    }
)
CREATABLE = tuple(FORMATS)

# The pool types that keep volumes as files, which have formats.
IN_FILES = frozenset({"dir", "fs", "netfs", "vstorage"})
PLAIN = frozenset({"raw", "iso"})
ON_BACKING = frozenset({"qcow2", "qed", "qcow"})  # can be built on another volume
WITH_LUKS = frozenset({"raw", "qcow2"})
CLUSTER_SIZES = tuple(2**power for power in range(9, 22))  # of qcow2, in bytes
