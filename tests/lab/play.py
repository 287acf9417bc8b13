"""`make lab`: both guests for a person, until Ctrl-C. An argument is the directory to use."""

import os
import signal
import sys
import time
from pathlib import Path

# Started as a file: the folder above holds the package `lab`.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lab.guests import BLANK_DISKS, Guest  # noqa: E402
from lab.labs import CHAP_PASSWORD, CHAP_TARGET, CHAP_USER, EXPORTS, PLAIN_TARGET, Lab, what_is_missing  # noqa: E402


def main() -> None:
    if reason := what_is_missing():
        sys.exit(f"The lab cannot run here: {reason}.")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    print("Starting two storage hosts (the first time their image is built, a few minutes) ...", flush=True)
    began = time.monotonic()
    lab = Lab.start(Path(sys.argv[1]).resolve() if sys.argv[1:] else None)
    try:
        print(
            f"Up after {time.monotonic() - began:.0f} s. Process {os.getpid()}.\n{describe(lab)}", flush=True
        )
        signal.pause()
    except KeyboardInterrupt:
        print("\nStopping.")
    finally:
        lab.stop()


def describe(lab: Lab) -> str:
    server = lab.one.address
    return f"""
{_describe(lab.one)}
{_describe(lab.two)}
Of lab1, seen from lab2 (and from itself) at {server}:
  NFS exports    {"  ".join(EXPORTS)}   (squashed: root may not write; iso: read only)
  iSCSI target   {PLAIN_TARGET}   two LUNs
  iSCSI target   {CHAP_TARGET}    one LUN, CHAP user {CHAP_USER}, password {CHAP_PASSWORD}

In each host:
  blank disks    {"  ".join(BLANK_DISKS)}
  LVM            volume group vg_thin with the thin volume thin1 and the ordinary plain1
  SCSI           host0 and host1: two paths to the same two disks, multipath maps them
  directories    /vm_data, /var/lib/libvirt/images

known_hosts, ssh key, certificates: {lab.directory}
Ctrl-C ends both hosts and removes all that they wrote.
"""


def _describe(guest: Guest) -> str:
    return f"""{guest.name} ({guest.address} in the lab's network)
  socket  {guest.socket_uri}
  ssh     {guest.ssh_uri()}
  tls     {guest.tls_uri}
  tcp     {guest.tcp_uri}
  shell   ssh -i {guest.key} -o UserKnownHostsFile={guest.known_hosts} -p {guest.ssh_port} root@127.0.0.1
          (also as storage, who may use libvirt, and as plain, who may not)
"""


if __name__ == "__main__":
    main()
