"""Ceph and Gluster of the lab: libvirt on the other host works with them."""

import subprocess

from lab.guests import Guest

SECRET = "<secret ephemeral='no' private='yes'><usage type='ceph'><name>lab</name></usage></secret>"
CEPH_POOL = """
<pool type='rbd'><name>ceph</name><source>
  <host name='{ceph.monitor}' port='{ceph.port}'/><name>{ceph.pool}</name>
  <auth type='ceph' username='{ceph.user}'><secret usage='lab'/></auth>
</source></pool>
"""


def virsh(guest: Guest, *command: str) -> str:
    virsh = ["virsh", "-q", "-c", guest.socket_uri, *command]
    return subprocess.run(virsh, capture_output=True, text=True, check=True, timeout=60).stdout


def test_ceph_gives_a_pool_that_wants_its_key(lab1: Guest, lab2: Guest) -> None:
    ceph = lab1.start_ceph()
    lab2.put("/tmp/secret.xml", SECRET.encode())
    lab2.put("/tmp/pool.xml", CEPH_POOL.format(ceph=ceph).encode())
    lab2.run("virsh secret-define /tmp/secret.xml; virsh pool-define /tmp/pool.xml")
    secret = virsh(lab2, "secret-list").split()[0]
    lab2.put("/tmp/key", ceph.key.encode())
    lab2.run(f"virsh secret-set-value {secret} --file /tmp/key")
    virsh(lab2, "pool-start", "ceph")
    virsh(lab2, "vol-create-as", "ceph", "image", "32M")
    assert virsh(lab2, "vol-list", "ceph").split() == ["image", f"{ceph.pool}/image"]
    assert lab1.run(f"rbd ls {ceph.pool}").split() == ["image"]
    virsh(lab2, "pool-destroy", "ceph")
    assert lab1.start_ceph() == ceph
    assert lab1.run(f"rbd ls {ceph.pool}") == ""


def test_gluster_gives_a_volume(lab1: Guest, lab2: Guest) -> None:
    gluster = lab1.start_gluster()
    source = ("--source-host", gluster.host, "--source-name", gluster.volume, "--source-path", "/")
    mount = ("--source-host", gluster.host, "--source-path", gluster.volume, "--source-format", "glusterfs")
    virsh(lab2, "pool-create-as", "mounted", "netfs", *mount, "--target", "/vm_data")
    lab2.put("/vm_data/disk.raw", b"content")
    virsh(lab2, "pool-create-as", "direct", "gluster", *source)
    assert virsh(lab2, "vol-list", "direct").split()[0] == "disk.raw"
    assert gluster.volume in virsh(lab2, "find-storage-pool-sources-as", "gluster", gluster.host)


def test_samba_shows_the_export_as_a_share(lab1: Guest, lab2: Guest) -> None:
    lab1.start_samba()
    source = ("--source-host", lab1.address, "--source-path", "vm_data", "--source-format", "cifs")
    virsh(lab2, "pool-create-as", "share", "netfs", *source, "--target", "/vm_data")
    lab2.put("/vm_data/disk.raw", b"content")
    assert lab1.run("cat /srv/vm_data/disk.raw") == "content"
