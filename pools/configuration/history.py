"""Every configuration that a pool had: the first one seen, those made here, those that were found changed.

Kept by host and UUID, so that it is there again when a pool that was undefined comes back.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from django.db import transaction
from django.db.models import Count, Max, QuerySet
from lxml import etree

from pools import noticing
from pools.models import Pool, PoolConfiguration
from storagemgr.hosts.models import Host
from storagemgr.virt import pool_xml
from storagemgr.virt.pool_places import remove

KEPT = 500  # of each pool: the first one, and the latest
_COUNTED = ("capacity", "allocation", "available", "source/device/freeExtent")
_RIGHTS = "target/permissions"


class Seen(NamedTuple):
    """A definition as libvirt gave it, and whether its pool runs."""

    pool_uuid: UUID
    xml: str
    is_active: bool


class Maker(NamedTuple):
    """The job that made a configuration, and who asked for it."""

    name: str
    job_id: int
    since: datetime


def of(pool: Pool) -> QuerySet[PoolConfiguration]:
    return PoolConfiguration.objects.filter(host_id=pool.host_id, pool_uuid=pool.uuid)


def latest(pool: Pool) -> PoolConfiguration | None:
    return of(pool).last()


def plain(xml: str) -> str:
    """Without what libvirt counts, and the space that it leaves."""
    return _text(_without(xml, _COUNTED))


def is_change(was: str, now: str, *, is_active: bool) -> bool:
    """Whether somebody changed the definition, and not libvirt itself as it started the pool.

    The rights in the definition of a running pool are those of its directory; they are forgotten when the daemon is
    started again. Only those of a stopped pool are somebody's wish.
    """
    if not was or was == now:
        return was != now
    if is_active or pool_xml.parse(now).find(_RIGHTS) is None:
        return is_pending(was, now)
    return not pool_xml.same(_text(_as_started(was)), _text(_as_started(now)))


def is_pending(running: str, defined: str) -> bool:
    """Whether the two differ in what a start makes of them; it sets no rights."""
    if running == defined:
        return False
    return not pool_xml.same(_as_run(running), _as_run(defined))


def pending(pool: Pool) -> list[str]:
    """What takes effect when the pool is started next, in words; [] while it runs as it is defined."""
    if not (pool.is_active and pool.running_xml):
        return []
    return pool_xml.differences(_as_run(pool.running_xml), _as_run(pool.xml))


def is_elsewhere(was: str, now: str) -> bool:
    """Whether it is about other storage: another device, server, share, directory..."""
    return _place(was) != _place(now)


_USED_AS = ("auth", "format", "protocol", "vendor", "product")


def _place(xml: str) -> list[Any]:
    root = _as_started(xml)
    name = root.findtext("name", "").strip()
    found: list[Any] = [root.get("type")]
    found += [str(path.xpath("string()")).rstrip("/") for path in root.iterfind("target/path")]
    for part in root.iterfind("source/*"):
        if part.tag not in _USED_AS:
            inner = [(one.tag, sorted(one.attrib.items())) for one in part.iter("*")]
            found.append((inner, str(part.xpath("string()")).strip() if part.tag == "name" else ""))
    found = [part for part in found if part != ([("name", [])], name)]
    return sorted(found, key=str)


def _as_run(xml: str) -> str:
    root = _as_started(xml)
    for element in root.findall(_RIGHTS):
        remove(element)
    return _text(root)


def _as_started(xml: str) -> etree._Element:
    """With what a start writes into the definition where it does not say otherwise (libvirt 9.0)."""
    root = _without(xml, _COUNTED)
    pool_type = root.get("type", "")
    for host in root.findall("source/host") if pool_type in ("iscsi", "iscsi-direct") else []:
        host.set("port", host.get("port") or "3260")
    for form in root.findall("source/format[@type='unknown']") if pool_type == "disk" else []:
        form.set("type", "dos")
    for adapter in root.findall("source/adapter[@type='fc_host']"):
        adapter.set("managed", adapter.get("managed") or "yes")
    return root


def _without(xml: str, paths: Iterable[str]) -> etree._Element:
    root = pool_xml.parse(xml)
    for path in paths:
        for element in root.findall(path):
            remove(element)
    return root


def _text(root: etree._Element) -> str:
    return etree.tostring(root, encoding="unicode") + "\n"


def record(host_id: int, seen: Iterable[Seen], maker: Maker | None = None) -> None:
    """Each of `seen` that differs from the last one of its pool, with whatever else the transaction writes."""
    by_uuid = {one.pool_uuid: one for one in seen}
    if not by_uuid:
        return
    with transaction.atomic():
        # Another process may record the same change at the same moment.
        Host.objects.select_for_update().get(pk=host_id)
        last = _last_of(host_id, by_uuid)
        new, outside = [], []
        for one in by_uuid.values():
            before = last.get(one.pool_uuid)
            if before is None or _is_news(before, one, maker):
                new.append(_made(host_id, one, maker))
                if before is not None and maker is None:
                    outside.append(one.pool_uuid)
            elif maker:
                _claim(before, maker)
        PoolConfiguration.objects.bulk_create(new)
        noticing.pools_configured(host_id, outside)
        _forget_old(host_id, [row.pool_uuid for row in new])


def _last_of(host_id: int, uuids: Iterable[UUID]) -> dict[UUID, PoolConfiguration]:
    rows = PoolConfiguration.objects.filter(host_id=host_id, pool_uuid__in=list(uuids))
    last = rows.order_by().values("pool_uuid").annotate(last=Max("pk")).values("last")
    return {row.pool_uuid: row for row in PoolConfiguration.objects.filter(pk__in=last)}


def _is_news(before: PoolConfiguration, one: Seen, maker: Maker | None) -> bool:
    if maker:
        return not pool_xml.same(before.xml, plain(one.xml))
    return is_change(before.xml, one.xml, is_active=one.is_active)


def _made(host_id: int, one: Seen, maker: Maker | None) -> PoolConfiguration:
    row = PoolConfiguration(host_id=host_id, pool_uuid=one.pool_uuid, xml=plain(one.xml))
    if maker:
        row.made_by, row.job_id = maker.name, maker.job_id
    return row


def _claim(row: PoolConfiguration, maker: Maker) -> None:
    """A reading saw it before its job had written it down."""
    if not row.made_by and row.at >= maker.since:
        row.made_by, row.job_id = maker.name, maker.job_id
        row.save(update_fields=["made_by", "job_id"])


def _forget_old(host_id: int, uuids: list[UUID]) -> None:
    rows = PoolConfiguration.objects.filter(host_id=host_id, pool_uuid__in=uuids).order_by()
    full = rows.values("pool_uuid").annotate(count=Count("pk")).filter(count__gt=KEPT)
    for uuid in full.values_list("pool_uuid", flat=True):
        pks = list(rows.filter(pool_uuid=uuid).order_by("pk").values_list("pk", flat=True))
        PoolConfiguration.objects.filter(pk__in=pks[1 : len(pks) - KEPT + 1]).delete()
