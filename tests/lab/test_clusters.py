"""Pools on a Ceph, a Gluster and a Samba of one node, made and ended in a browser."""

import pytest

from storagemgr.jobs.operations import REGISTRY
from storagemgr.virt import volume_changes, volume_copies, volumes
from storagemgr.virt.connection import connect
from storagemgr.virt.errors import VirtError
from storagemgr.virt.streams import Download, Upload
from storagemgr.virt.volumes import NewVolume

MIB = 1024**2


@pytest.fixture(scope="module", autouse=True)
def services_end(product):
    """Else the tests after these find what they offer."""
    yield
    product.lab.one.run(
        "gluster --mode=script volume stop lab_volume force; systemctl stop glusterd smbd", check=False
    )


def secrets(product, guest):
    return product.virsh(guest, "secret-list").split()


def test_ceph(product):
    one, two = product.lab.guests
    ceph = one.start_ceph()
    making = product.new_pool(two, type="rbd").source(
        monitors=[f"{ceph.monitor}:{ceph.port}"],
        source_name=ceph.pool,
        auth_user=ceph.user,
        auth_password=ceph.key,
    )
    making.options("images")
    assert "failed" not in making.test().lower()
    [pool] = making.made()
    assert "ceph" in secrets(product, two)
    product.create_volume(pool, "web01", capacity="32 MiB")
    assert one.run(f"rbd ls {ceph.pool}").split() == ["web01"]
    product.do(pool, "refresh")
    [image] = product.volumes(pool).values()
    assert (image.name, image.capacity) == ("web01", 32 * MIB)
    volumes_are_as_the_table_says(two, pool)
    assert any("rbd snap purge" in effect for effect in REGISTRY["volume.clone"].effects(image))
    product.do(image, "delete-now", typed="web01")
    product.do(pool, "refresh")
    refused = product.click(product.volumes(pool)["two"], "delete-now", "two")
    assert (refused.state, refused.error_code) == ("failed", "kept_by_ceph"), refused.error_text
    assert "rbd snap unprotect" in product.says(refused)
    one.run(f"rbd snap unprotect {ceph.pool}/two@$(rbd snap ls {ceph.pool}/two | awk 'END {{print $2}}')")
    one.run(f"rbd snap purge {ceph.pool}/two; rbd rm {ceph.pool}/two")
    assert one.run(f"rbd ls {ceph.pool}") == ""
    product.do(pool, "stop")
    assert "only forget the pool" in product.why_off(pool, "delete")
    product.do(pool, "undefine")
    assert "ceph" not in secrets(product, two)
    assert ceph.key not in product.everything_kept()


def volumes_are_as_the_table_says(guest, pool):
    """Also that a clone leaves a protected snapshot on its source, which libvirt cannot delete from then on."""
    uuid = str(pool.uuid)
    with connect(guest.socket_uri) as c:
        volumes.create(c, uuid, NewVolume(name="two", format="raw", capacity=8 * MIB))
        for stream in (Upload, Download):
            with pytest.raises(VirtError, match="no_support"):
                stream(c, uuid, "two", 0, MIB)
        volume_changes.resize(c, uuid, "two", 16 * MIB)
        assert volumes.read_volume(c, uuid, "two").capacity == 16 * MIB
        for algorithm in pool.kind.wipes:
            volume_changes.wipe(c, uuid, "two", algorithm)
        for _ in volume_copies.copy(c, c, uuid, "two", uuid, NewVolume(name="clone")):
            pass
        volumes.delete(c, uuid, "clone")
        with pytest.raises(VirtError):
            volumes.delete(c, uuid, "two")


def test_gluster(product):
    one, two = product.lab.guests
    gluster = one.start_gluster()
    making = product.new_pool(two, type="gluster")
    found = making.find(source_host=gluster.host)
    assert any(gluster.volume in line for line in found), found
    making.pick(gluster.volume).source().options("vms")
    assert "failed" not in making.test().lower()
    [pool] = making.made()
    assert "mount the volume" in product.why_off(pool, "create")
    product.do(pool, "stop")
    product.do(pool, "undefine")

    making = product.new_pool(two, type="netfs").source(
        source_host=gluster.host, source_dir=gluster.volume, format="glusterfs"
    )
    [pool] = _made_as_mount(making, "vms", two, "fuse.glusterfs")
    product.create_volume(pool, "one.raw", format="raw")
    assert product.listed(pool) == ["one.raw"]
    _end(product, pool, two)


def test_samba(product):
    one, two = product.lab.guests
    one.start_samba()
    making = product.new_pool(two, type="netfs").source(
        source_host=one.address, source_dir="vm_data", format="cifs"
    )
    [pool] = _made_as_mount(making, "share", two, "cifs")
    product.create_volume(pool, "one.raw", format="raw")
    assert one.run("ls /srv/vm_data").split() == ["one.raw"]
    [volume] = product.volumes(pool).values()
    product.do(volume, "delete-now", typed="one.raw")
    _end(product, pool, two)


def _made_as_mount(making, name, guest, kind):
    making.options(name, target_path="/vm_data")
    assert "reads and writes" in making.test()
    pools = making.made()
    assert guest.run("findmnt -n -o FSTYPE /vm_data").strip() == kind
    return pools


def _end(product, pool, guest):
    product.do(pool, "stop")
    assert guest.run("findmnt /vm_data", check=False) == ""
    product.do(pool, "undefine")
