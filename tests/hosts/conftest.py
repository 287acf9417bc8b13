from collections.abc import Callable
from typing import Any

import pytest

from storagemgr.hosts.models import Host

ED25519 = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBRQcgkOQpsgyHhGWzZoK3pCxPbPfA1Xf1Xt5AcO4tJg"
OTHER = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMc4QwVU/5ci1qiYUXi9KfxbqsRnF5OEJgiLklSf3d64"


@pytest.fixture
def ssh_host(make_host: Callable[..., Host]) -> Callable[..., Host]:
    """A host that was added a moment ago."""

    def make(**fields: Any) -> Host:
        way = {"transport": "ssh", "address": "kvm1.example", "username": "storage"}
        return make_host(**{"name": "kvm1", "state": "unknown", "seen_at": None} | way | fields)

    return make
