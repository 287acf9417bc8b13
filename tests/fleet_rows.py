"""The rows of a large fleet, as if they had been read: 20 hosts, 1,000 pools, 100,000 volumes, VMs, overlays, notes."""

import uuid
from collections.abc import Iterator
from datetime import timedelta

from django.contrib.auth.models import Group
from django.utils import timezone

from pools.models import Pool
from storagemgr.hosts.models import Host
from volumes.identity import identity_of
from volumes.models import DiskUse, Volume, VolumeNotes

GIB = 1024**3
FORMATS = ("qcow2", "qcow2", "qcow2", "raw", "raw", "iso")


def make_fleet(hosts: int = 20, pools: int = 50, each: int = 100) -> None:
    """Half of the pools of a host are exports that every other host mounts too."""
    now = timezone.now()
    known = {"state": "up", "seen_at": now, "uses_read_at": now}
    rows = Host.objects.bulk_create(Host(name=f"hv-fra-{n:02}", **known) for n in range(1, hosts + 1))
    made = Pool.objects.bulk_create(_pool(host, number, each) for host in rows for number in range(pools))
    Volume.objects.bulk_create((v for pool in made for v in _volumes(pool, each)), batch_size=2000)
    DiskUse.objects.bulk_create(_uses({host.pk: n for n, host in enumerate(rows)}), batch_size=5000)
    groups = Group.objects.bulk_create(Group(name=f"team {n:02}") for n in range(12))
    VolumeNotes.objects.bulk_create(_notes(groups), batch_size=2000)


def _pool(host: Host, number: int, each: int) -> Pool:
    now, is_shared = timezone.now(), number % 2
    name = f"{'nfs' if is_shared else 'local'}{number:02}"
    return Pool(
        host=host,
        uuid=uuid.uuid4(),
        name=name,
        type="netfs" if is_shared else "dir",
        source=f"nas:/export/{name}" if is_shared else "",
        target_path=f"/srv/{name}",
        state="running",
        state_since=now,
        capacity=4000 * GIB,
        allocation=1000 * GIB,
        available=3000 * GIB,
        volume_count=each,
        seen_at=now,
        volumes_read_at=now,
    )


def _volumes(pool: Pool, each: int) -> Iterator[Volume]:
    """The first of a pool is a base image, every third an overlay of it."""
    now = timezone.now()
    where = "" if pool.type == "netfs" else f"{pool.host.name}-"
    for number in range(each):
        name = f"{where}{pool.name}-disk{number:04}.img"
        path, is_overlay = f"{pool.target_path}/{name}", number % 3 == 1
        base = f"{pool.target_path}/{where}{pool.name}-disk0000.img"
        yield Volume(
            pool=pool,
            name=name,
            key=path,
            path=path,
            type="file",
            format="qcow2" if is_overlay or not number else FORMATS[number % 6],
            capacity=(10 + number) * GIB + pool.pk,
            allocation=(1 + number * 7 % 31) * GIB + pool.pk,
            backing_path=base if is_overlay else "",
            modified=now - timedelta(hours=number * 5 + pool.pk % 97),
            identity=identity_of(pool, name, path),
            seen_at=now,
        )


def _uses(numbers: dict[int, int]) -> Iterator[DiskUse]:
    """Every second volume is a VM's disk: of its host, or of one of those that mount it."""
    columns = ("pk", "name", "path", "pool__host_id", "pool__type", "backing_path")
    bases = Volume.objects.filter(name__endswith="0000.img")
    ids = {(host, path): pk for host, path, pk in bases.values_list("pool__host_id", "path", "pk")}
    rows = Volume.objects.filter(pool__host_id__in=numbers)
    for pk, name, path, host_id, type_, backing in rows.values_list(*columns).order_by("pk"):
        number = int(name[-8:-4])
        if number % 2 or (type_ == "netfs" and number // 2 % len(numbers) != numbers[host_id]):
            continue
        use = {"host_id": host_id, "domain_uuid": uuid.uuid4(), "domain_name": f"vm-{pk:06}"}
        use |= {"running": number % 4 == 0, "path": path}
        yield DiskUse(volume_id=pk, target="vda", device="disk", kind="disk", **use)
        if backing:
            yield DiskUse(volume_id=ids[host_id, backing], kind="backing", **use | {"path": backing})


def _notes(groups: list[Group]) -> Iterator[VolumeNotes]:
    today, now = timezone.localdate(), timezone.now()
    rows = Volume.objects.order_by("pk").values_list("pk", "name", "pool__host_id", "pool__uuid")
    for number, (pk, name, host_id, pool_uuid) in enumerate(rows):
        if number % 33:
            continue
        yield VolumeNotes(
            host_id=host_id,
            pool_uuid=pool_uuid,
            volume_name=name,
            volume_id=pk,
            owner=groups[number // 33 % len(groups)],
            note=f"for project {number % 100}",
            ticket=f"OPS-{number}",
            expires_on=today + timedelta(days=number % 300 - 50) if number % 2 else None,
            protected_because="golden image" if number % 5 == 0 else "",
            protected_at=now if number % 5 == 0 else None,
        )
