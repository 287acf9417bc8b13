from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from pools.models import Pool, PoolConfiguration
from storagemgr.virt import pool_xml


@pytest.fixture
def as_manager(client: Client, manager: User) -> Client:
    client.force_login(manager)
    return client


@pytest.fixture
def make_configured(make_pool: Callable[..., Pool]) -> Callable[..., Pool]:
    """A pool whose history is `xmls`, the last one in use."""

    def make(*xmls: str, **fields: Any) -> Pool:
        root = pool_xml.parse(xmls[-1])
        given = {"uuid": root.findtext("uuid")} if root.findtext("uuid") else {}
        values = {"type": root.get("type"), "xml": xmls[-1], "target_path": root.findtext("target/path", "")}
        pool = make_pool(root.findtext("name", ""), **values | given | fields)
        for xml in xmls:
            PoolConfiguration.objects.create(host=pool.host, pool_uuid=pool.uuid, xml=xml)
        return pool

    return make


@pytest.fixture
def nfs() -> str:
    return """\
<pool type='netfs' xmlns:fs='http://libvirt.org/schemas/storagepool/fs/1.0'>
  <name>vmstore</name>
  <uuid>6f1c0b9e-2b57-4d0e-9a44-58c1f2e7a310</uuid>
  <source>
    <host name='nas1'/>
    <dir path='/export/vm'/>
    <format type='nfs'/>
  </source>
  <target>
    <path>/srv/vm</path>
  </target>
  <fs:mount_opts>
    <fs:option name='noatime'/>
  </fs:mount_opts>
</pool>
"""
