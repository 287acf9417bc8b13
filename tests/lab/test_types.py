"""Every type of pool, made and ended in a browser, on a real host; looked at in the host itself each time."""

import pytest
from lab.labs import CHAP_PASSWORD, CHAP_TARGET, CHAP_USER, PLAIN_TARGET
from playwright.sync_api import expect

MIB = 1024**2
SERVER = "10.99.0.2"
TARGET_MAKES_THEM = "The LUNs are made on the iSCSI target; libvirt cannot"
ARRAY_MAKES_THEM = "The LUNs are made on the storage array; libvirt cannot"


def mounted(guest, path):
    return guest.run(f"findmnt -n -o SOURCE,FSTYPE {path}", check=False).split()


def sessions_at_the_target(lab):
    """Who is logged in to what, as the target itself says."""
    found, target = [], ""
    for line in lab.one.run("tgtadm --mode target --op show").splitlines():
        if line.startswith("Target "):
            target = line.split()[-1]
        if "Initiator:" in line:
            found.append((target, line.split()[1]))
    return found


def sizes(product, pool):
    return [volume.capacity for volume in product.volumes(pool).values()]


def luns_are_not_made_here(product, pool, reason):
    """Neither made nor deleted, and the pages say why."""
    assert f"{reason} create them." in product.why_off(pool, "create")
    assert f"{reason} delete them." in product.why_off(next(iter(product.volumes(pool).values())), "delete")
    assert "There is nothing to build" in product.why_off(pool, "build")


def end(product, pool):
    product.do(pool, "undefine")
    assert pool.name not in product.virsh(product.guest_of(pool), "pool-list", "--all", "--name").split()


def test_directory(product):
    guest = product.lab.two
    making = product.new_pool(guest, type="dir").options("files", target_path="/vm_data/files", mode="0750")
    [pool] = making.made()
    assert guest.run("stat -c %a /vm_data/files").strip() == "750"
    product.create_volume(pool, "one.qcow2", format="qcow2")
    assert "file format: qcow2" in guest.run("qemu-img info /vm_data/files/one.qcow2")
    guest.put("/vm_data/files/two.raw", b"x" * MIB)
    product.do(pool, "refresh")
    assert product.listed(pool) == ["one.qcow2", "two.raw"]
    product.do(pool, "stop")
    refused = product.click(pool, "delete", typed="files")
    assert "The directory is not empty" in product.says(refused)
    product.do(pool, "start")
    for name, volume in product.volumes(pool).items():
        product.do(volume, "delete-now", typed=name)
    product.do(pool, "stop")
    product.do(pool, "delete", typed="files")
    assert guest.run("ls -A /vm_data") == ""
    end(product, pool)


@pytest.fixture
def disks(product):
    """Two disks of 256 MiB that come over iSCSI: the blank ones of a guest are of a kind that libvirt does not list."""
    guest = product.lab.two
    node = f"-m node -T {PLAIN_TARGET} -p {SERVER}"
    guest.run(f"iscsiadm -m discovery -t st -p {SERVER}; iscsiadm {node} --login; udevadm settle")
    yield ["scsi-1IET_00020001", "scsi-1IET_00020002"]
    guest.run(f"iscsiadm {node} --logout; rm -r /etc/iscsi/nodes /etc/iscsi/send_targets")


def device(guest, link):
    return guest.run(f"readlink -f /dev/disk/by-id/{link}").strip()


def test_file_system(product, disks):
    guest = product.lab.two
    making = product.new_pool(guest, type="fs")
    found = making.find()
    assert any(disks[0] in line and "256 MiB, IET VIRTUAL-DISK, empty" in line for line in found), found
    making.pick(disks[0]).source(format="ext4").options("disk", target_path="/vm_data/disk", build="keep")
    assert "empty" in making.test()
    [pool] = making.made()
    assert mounted(guest, "/vm_data/disk") == [device(guest, disks[0]), "ext4"]
    product.create_volume(pool, "one.raw", format="raw", space="full")
    assert product.listed(pool) == ["lost+found", "one.raw"]
    product.do(pool, "stop")
    assert not mounted(guest, "/vm_data/disk")
    product.do(pool, "start")
    assert guest.run("stat -c %s /vm_data/disk/one.raw").strip() == str(MIB)
    product.do(pool, "stop")
    product.do(pool, "delete", typed="disk")
    assert guest.run("ls -A /vm_data") == ""
    assert guest.run(f"blkid -o value -s TYPE /dev/disk/by-id/{disks[0]}").strip() == "ext4"
    end(product, pool)


def test_nfs_on_two_hosts_at_once(product):
    one, two = product.lab.guests
    making = product.new_pool(one, two, type="netfs")
    found = making.find(source_host=SERVER)
    assert any("/srv/vm_data" in line and "all 2 hosts" in line for line in found), found
    making.pick("/srv/vm_data").source().options("vm_data", target_path="/vm_data")
    assert making.test().count("reads and writes") == 2
    pools = making.made()
    for guest in (one, two):
        assert mounted(guest, "/vm_data") == [f"{SERVER}:/srv/vm_data", "nfs4"]
    product.create_volume(pools[0], "shared.qcow2", format="qcow2")
    product.do(pools[1], "refresh")
    assert product.listed(pools[1]) == ["shared.qcow2"]
    two.put("/vm_data/file", b"content")
    for pool, guest in zip(pools, (one, two), strict=True):
        product.do(pool, "stop")
        assert not mounted(guest, "/vm_data")
        assert guest.run("ls -A /vm_data; ls -d /vm_data.*", check=False) == ""
        end(product, pool)
    assert one.run("cat /srv/vm_data/file") == "content"
    assert sorted(one.run("ls /srv/vm_data").split()) == ["file", "shared.qcow2"]
    one.run("rm /srv/vm_data/*")


def test_disk(product, disks):
    guest, disk = product.lab.two, f"/dev/disk/by-id/{disks[1]}"
    making = product.new_pool(guest, type="disk")
    found = making.find()
    assert any(disks[1] in line and "256 MiB, IET VIRTUAL-DISK, empty" in line for line in found), found
    making.pick(disks[1]).source(format="gpt").options("disk", target_path="/dev/disk/by-id", build="keep")
    assert "empty" in making.test()
    [pool] = making.made()
    assert "gpt" in guest.run(f"parted -s -m {disk} print")
    partition = f"{device(guest, disks[1])}1".removeprefix("/dev/")
    product.virsh(guest, "vol-create-as", "disk", partition, "64M")
    product.do(pool, "refresh")
    volumes = product.volumes(pool)
    assert {name: volume.capacity // MIB for name, volume in volumes.items()} == {partition: 64}
    # libvirt compares the beginning of the partition's name with the end of the disk's path.
    assert "only where the pool names its disk as the kernel does" in product.why_off(
        volumes[partition], "delete"
    )
    product.do(pool, "stop")
    product.do(pool, "delete", typed="disk")
    assert "unrecognised disk label" in guest.run(f"parted -s -m {disk} print 2>&1", check=False)
    end(product, pool)


def test_logical_of_blank_disks(product):
    guest = product.lab.two
    making = product.new_pool(guest, type="logical")
    making.source(source_name="vg_new", devices=["/dev/ubdc", "/dev/ubdd"])
    making.options("vg_new", build="overwrite")
    assert "/dev/ubdc: nothing that blkid on the host knows" in making.test()
    [pool] = making.made(typed="overwrite")
    assert guest.run("vgs --noheadings -o vg_name,pv_count vg_new").split() == ["vg_new", "2"]
    product.create_volume(pool, "lv1", capacity="64 MiB", space="falloc")
    assert guest.run("lvs --noheadings --units m -o lv_name,lv_size vg_new").split() == ["lv1", "64.00m"]
    product.do(product.volumes(pool)["lv1"], "delete-now", typed="lv1")
    product.do(pool, "stop")
    product.do(pool, "delete", typed="vg_new")
    assert guest.run("vgs --noheadings -o vg_name").split() == ["vg_thin"]
    assert guest.run("pvs --noheadings -o pv_name").split() == ["/dev/ubde"]
    end(product, pool)


def test_a_group_that_is_there_and_its_thin_volumes(product):
    """libvirt reads a line of lvs only when it names a device; thin volumes and their pool lie on none."""
    guest = product.lab.two
    making = product.new_pool(guest, type="logical")
    assert making.find() == ["vg_thin (/dev/ubde) LVM group"]
    making.pick("vg_thin").source().options("vg_thin", build="no")
    making.test()
    [pool] = making.made()
    assert {name: volume.capacity // MIB for name, volume in product.volumes(pool).items()} == {"plain1": 64}
    product.do(pool, "stop")
    end(product, pool)
    assert set(guest.run("lvs --noheadings -o lv_name vg_thin").split()) == {"pool0", "thin1", "plain1"}


@pytest.mark.parametrize(("target", "luns"), [(PLAIN_TARGET, 2), (CHAP_TARGET, 1)])
def test_iscsi(product, target, luns):
    guest = product.lab.two
    making = product.new_pool(guest, type="iscsi")
    found = making.find(source_host=SERVER)
    assert [CHAP_TARGET in line for line in found].count(True) == 1
    chap = {"auth_user": CHAP_USER, "auth_password": CHAP_PASSWORD} if target == CHAP_TARGET else {}
    making.pick(target).source(**chap).options("luns")
    assert "offers the target" in making.test()
    [pool] = making.made()
    assert sessions_at_the_target(product.lab) == [(target, "iqn.2026-01.lab:lab2")]
    assert target in guest.run("iscsiadm -m session")
    assert sizes(product, pool) == [256 * MIB] * luns
    luns_are_not_made_here(product, pool, TARGET_MAKES_THEM)
    product.do(pool, "refresh")
    if chap:
        the_password_is_nowhere_to_be_read(product, guest, pool)
    product.do(pool, "stop")
    assert sessions_at_the_target(product.lab) == []
    end(product, pool)
    assert product.virsh(guest, "secret-list").strip() == ""


def the_password_is_nowhere_to_be_read(product, guest, pool):
    uuid = product.virsh(guest, "secret-list").split()[0]
    assert "private='yes'" in product.virsh(guest, "secret-dumpxml", uuid)
    assert uuid in pool.xml
    assert CHAP_PASSWORD not in pool.xml
    product.page.goto(pool.get_absolute_url())
    assert CHAP_PASSWORD not in product.page.content()
    kept = product.everything_kept()
    assert CHAP_USER in kept
    assert CHAP_PASSWORD not in kept


def test_iscsi_direct(product):
    making = product.new_pool(product.lab.two, type="iscsi-direct")
    making.source(source_host=SERVER, target_iqn=PLAIN_TARGET, initiator="iqn.2026-01.lab:direct")
    making.options("direct")
    assert "connects" in making.test()
    [pool] = making.made()
    # LUN 0 is the target's controller; libvirt takes the number of the last block for the count of the blocks.
    assert sizes(product, pool) == [0, 256 * MIB - 512, 256 * MIB - 512]
    luns_are_not_made_here(product, pool, TARGET_MAKES_THEM)
    product.do(pool, "refresh")
    product.do(pool, "stop")
    end(product, pool)


def test_scsi(product):
    making = product.new_pool(product.lab.two, type="scsi")
    found = making.find()
    assert any("host0" in line for line in found), found
    # udev knows no path under /dev/disk for a disk that the kernel only pretends to have.
    making.pick("host0").source().options("scsi", target_path="/dev")
    [pool] = making.made()
    assert sizes(product, pool) == [32 * MIB] * 2
    luns_are_not_made_here(product, pool, ARRAY_MAKES_THEM)
    product.do(pool, "stop")
    end(product, pool)


def test_multipath(product):
    guest = product.lab.two
    making = product.new_pool(guest, type="mpath").options("maps")
    [pool] = making.made()
    assert len(product.listed(pool)) == 2
    shown = guest.run("multipath -ll")
    assert all(volume.path.split("/")[-1] in shown for volume in product.volumes(pool).values())
    luns_are_not_made_here(product, pool, ARRAY_MAKES_THEM)
    product.do(pool, "refresh")
    product.do(pool, "stop")
    end(product, pool)


def test_what_starts_with_the_host_is_there_after_it_booted(product):
    guest = product.lab.two
    making = product.new_pool(guest, type="netfs")
    making.source(source_host=SERVER, source_dir="/srv/vm_data").options("vm_data", target_path="/vm_data")
    making.skip_test()
    [nfs] = making.made()
    making = product.new_pool(guest, type="iscsi")
    making.source(source_host=SERVER, target_iqn=PLAIN_TARGET).options("by_hand", autostart=False)
    making.skip_test()
    [luns] = making.made()
    guest.power_off()
    product.wait_for(lambda: not product.host(guest).answers, 60, "it is seen to be away")
    guest.start()
    guest.wait_until_up()
    product.wait_until_read(guest)
    assert product.virsh(guest, "pool-list", "--name").split() == ["vm_data"]
    assert mounted(guest, "/vm_data") == [f"{SERVER}:/srv/vm_data", "nfs4"]
    assert guest.run("iscsiadm -m session", check=False) == ""
    product.page.goto("/")
    rows = product.page.locator("main table tr")
    expect(rows.filter(has_text="vm_data")).to_contain_text("Running")
    expect(rows.filter(has_text="by_hand")).to_contain_text("Stopped")
    end(product, luns)
    product.do(nfs, "autostart-off")
    product.do(nfs, "stop")
    end(product, nfs)
