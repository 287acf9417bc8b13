"""What the table of types says of volumes, on real storage: what is possible is done and looked at by the host's own
tools; what is not is tried all the same, and libvirt refuses it."""

import hashlib
import os
from dataclasses import dataclass

import pytest
from lab.guests import Guest

from storagemgr.virt import volume_changes, volume_copies, volumes
from storagemgr.virt.connection import Connection
from storagemgr.virt.errors import VirtError
from storagemgr.virt.pool_types import TYPES, PoolType
from storagemgr.virt.streams import Download, Upload
from storagemgr.virt.volumes import NewVolume

MIB = 1024**2
SIZE = 8 * MIB
SENT = os.urandom(3 * MIB + 17)
OFFSET = 4096
# In an order in which each finds what it needs.
VERBS = ("create", "upload", "download", "resize", "clone", "wipe", "delete")


@dataclass
class Bench:
    """A running pool. `name`: of the volume that is made and ends, else of one that is there to try on.

    `seen_at`: where its bytes lie when that is no path on the host itself.
    """

    kind: str
    guest: Guest
    c: Connection
    pool_uuid: str
    name: str
    clone_name: str = "clone"
    seen_at: tuple[Guest, str] | None = None

    @property
    def type(self) -> PoolType:
        return TYPES[self.kind]

    @property
    def path(self) -> str:
        return volumes.read_volume(self.c, self.pool_uuid, self.name).path

    def do(self, *verbs: str) -> list[str]:
        """Those that went well; every other one was refused because libvirt has no such thing."""
        done = []
        for verb in verbs:
            if self.type.why_not(f"volume.{verb}"):
                with pytest.raises(VirtError) as refused:
                    getattr(self, f"_{verb}")()
                assert refused.value.code == "no_support", (verb, refused.value)
            else:
                getattr(self, f"_{verb}")()
                done.append(verb)
        return done

    def _new(self, name: str, capacity: int = 0) -> NewVolume:
        return NewVolume(name=name, format="raw" if self.type.volume_formats else "", capacity=capacity)

    def _create(self) -> None:
        name = self.clone_name if self.type.why_not("volume.create") else self.name
        made = volumes.create(self.c, self.pool_uuid, self._new(name, SIZE))
        assert made.capacity == SIZE
        assert length(self.guest, made.path) == SIZE

    def _upload(self) -> None:
        with Upload(self.c, self.pool_uuid, self.name, OFFSET, len(SENT)) as upload:
            upload.write(SENT)
            upload.finish()
        found = self.guest.run(f"tail -c +{OFFSET + 1} {self.path} | head -c {len(SENT)} | sha256sum")
        assert found.split()[0] == hashlib.sha256(SENT).hexdigest()

    def _download(self) -> None:
        digest = hashlib.sha256()
        with Download(self.c, self.pool_uuid, self.name, 0, SIZE) as download:
            for piece in download:
                digest.update(piece)
        assert self.guest.run(f"head -c {SIZE} {self.path} | sha256sum").split()[0] == digest.hexdigest()

    def _resize(self) -> None:
        larger = SIZE + volumes.read_volume(self.c, self.pool_uuid, self.name).capacity
        volume_changes.resize(self.c, self.pool_uuid, self.name, larger)
        assert length(self.guest, self.path) == larger

    def _clone(self) -> None:
        new = self._new(self.clone_name)
        for _ in volume_copies.copy(self.c, self.c, self.pool_uuid, self.name, self.pool_uuid, new):
            pass
        clone = volumes.read_volume(self.c, self.pool_uuid, self.clone_name).path
        assert self.guest.run(f"cmp {self.path} {clone}; cmp -s {clone} /dev/zero || echo full") == "full\n"
        volumes.delete(self.c, self.pool_uuid, self.clone_name)

    def _wipe(self) -> None:
        volume_changes.wipe(self.c, self.pool_uuid, self.name, "zero")
        assert is_zero(*(self.seen_at or (self.guest, self.path)))

    def _delete(self) -> None:
        path = self.path
        volumes.delete(self.c, self.pool_uuid, self.name)
        assert self.guest.run(f"udevadm settle; ls -d {path} || echo gone", check=False) == "gone\n"


def length(guest: Guest, path: str) -> int:
    return int(guest.run(f"test -b {path} && blockdev --getsize64 {path} || stat -c %s {path}"))


def is_zero(guest: Guest, path: str) -> bool:
    return guest.run(f"cmp -n {length(guest, path)} {path} /dev/zero && echo zero", check=False) == "zero\n"
