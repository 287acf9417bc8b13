"""Who we are for the hosts: the files in the data directory. The same on every machine that runs workers."""

from pathlib import Path

from django.conf import settings

from storagemgr.virt.ssh import Identity


def ssh_identity() -> Identity:
    return Identity(Path(settings.DATA_DIR) / "ssh")


def pki_directory() -> Path:
    return Path(settings.DATA_DIR) / "tls"
