#!/bin/sh
# Runs inside the root file system while the image is built.
set -e
for user in plain storage; do useradd --create-home --shell /bin/bash "$user"; done
usermod --append --groups libvirt storage
mkdir -p /vm_data /srv/vm_data /srv/iso /srv/squashed /srv/luns /etc/pki/CA /etc/pki/libvirt/private
echo 'a file of the read-only export' >/srv/iso/readme.iso
chmod 777 /srv/squashed
for lun in plain-1 plain-2 chap-1; do truncate -s 256M "/srv/luns/$lun.img"; done
rm -f /etc/ssh/ssh_host_* /etc/hostname /etc/machine-id
sed -i 's/^#auth_tcp = .*/auth_tcp = "none"/' /etc/libvirt/libvirtd.conf
chmod 755 /usr/local/sbin/*
pam-auth-update --remove systemd
depmod "$(ls /lib/modules)"

# glusterd would ask this program, for half a minute, about copies to far places.
rm -rf /usr/libexec/glusterfs/gsyncd /usr/lib/*/glusterfs/gsyncd

# One monitor and one store in memory, made once here; lab-ceph starts from copies.
ceph=/srv/ceph
key() { ceph-authtool "$ceph/keyring" --gen-key --name "$@" >/dev/null; }
mkdir -p $ceph/mon $ceph/osd $ceph/mgr $ceph/no-modules
ceph-authtool --create-keyring $ceph/keyring >/dev/null
key mon. --cap mon 'allow *'
key client.admin --cap mon 'allow *' --cap osd 'allow *' --cap mgr 'allow *'
key mgr.lab1 --cap mon 'allow profile mgr' --cap osd 'allow *'
key osd.0 --cap mon 'allow profile osd' --cap osd 'allow *' --cap mgr 'allow profile osd'
key client.libvirt --cap mon 'profile rbd' --cap osd 'profile rbd pool=lab_pool' --cap mgr 'profile rbd'
for owner in osd.0:osd mgr.lab1:mgr; do
    { echo "[${owner%:*}]"; echo "key = $(ceph-authtool $ceph/keyring --print-key --name "${owner%:*}")"; } >"$ceph/${owner#*:}/keyring"
done
{ echo '[client.admin]'; echo "key = $(ceph-authtool $ceph/keyring --print-key --name client.admin)"; } \
    >/etc/ceph/ceph.client.admin.keyring
fsid=$(sed -n 's/^fsid = //p' /etc/ceph/ceph.conf)
monmaptool --create --add lab1 10.99.0.2 --fsid "$fsid" $ceph/monmap >/dev/null
ceph-mon --mkfs --id lab1 --mon-data $ceph/mon --monmap $ceph/monmap --keyring $ceph/keyring
ceph-osd --mkfs --id 0 --no-mon-config --monmap $ceph/monmap --osd-data $ceph/osd --osd-uuid "$fsid" 2>/dev/null
chown -R ceph: $ceph

systemctl --quiet enable systemd-networkd libvirtd-tcp.socket libvirtd-tls.socket
systemctl --quiet disable glusterd ceph.target ceph-crash smbd nmbd samba-ad-dc
systemctl --quiet mask getty.target console-getty.service systemd-networkd-wait-online.service \
    apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service \
    fstrim.timer logrotate.timer nfs-blkmap.service systemd-pstore.service systemd-update-utmp.service \
    nvmf-autoconnect.service smartmontools.service hdparm.service cryptsetup.target \
    libvirt-guests.service systemd-logind.service systemd-machined.service systemd-binfmt.service \
    kmod-static-nodes.service dev-mqueue.mount dev-hugepages.mount sys-kernel-debug.mount \
    sys-kernel-tracing.mount lvm2-monitor.service dm-event.socket dm-event.service \
    blk-availability.service modprobe@drm.service
