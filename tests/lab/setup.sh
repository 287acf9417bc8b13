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
systemctl --quiet enable systemd-networkd libvirtd-tcp.socket libvirtd-tls.socket
systemctl --quiet disable glusterd
systemctl --quiet mask getty.target console-getty.service systemd-networkd-wait-online.service \
    apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service \
    fstrim.timer logrotate.timer nfs-blkmap.service systemd-pstore.service systemd-update-utmp.service \
    libvirt-guests.service systemd-logind.service systemd-machined.service systemd-binfmt.service \
    kmod-static-nodes.service dev-mqueue.mount dev-hugepages.mount sys-kernel-debug.mount \
    sys-kernel-tracing.mount lvm2-monitor.service dm-event.socket dm-event.service blk-availability.service modprobe@drm.service
