"""What people and inspections said of an image holds by whatever pool and host it is reached. Rows only."""

from datetime import timedelta

import pytest
from django.http import QueryDict
from django.utils import timezone

from storagemgr.jobs.operations import REGISTRY
from volumes import backing, images, safety
from volumes.attach import attaching
from volumes.details import details_of
from volumes.filters import VolumeFilter
from volumes.forms import why_name_is_kept
from volumes.identity import forget_notes
from volumes.models import Volume, VolumeNotes
from volumes.rows import rows_of

pytestmark = pytest.mark.django_db


def listed(state):
    chosen = VolumeFilter(QueryDict(), Volume.objects.all())
    assert chosen.count(state, state) == len(chosen.in_state(state))
    return chosen.in_state(state)


def test_a_quarantine_holds_by_whatever_pool_the_image_is_reached(
    shared, make_pool, make_volume, client, viewer
):
    """Another host's pool of the export, and a second pool of the same directory: none of its buttons, no <disk>."""
    here, there = shared
    second = make_pool("same", here.pool.host, type="dir", target_path=here.pool.target_path)
    beside = make_volume("web.qcow2", second, path=here.path)
    innocent = make_volume("other.qcow2", second, path=f"{here.pool.target_path}/other.qcow2")
    images.quarantine(here, ["It is built on another file, /etc/shadow."])
    for row in (here, there, beside):
        for operation in ("volume.download", "volume.clone", "volume.copy_to_host"):
            assert "quarantine" in REGISTRY[operation].why_off(row), (row.pool, operation)
        assert "quarantine" in safety.why_not(row, "resize")
        assert "quarantine" in backing.why_unfit(row)
        assert images.quarantine_of(row) == ["It is built on another file, /etc/shadow."]
        client.force_login(viewer)
        page = client.get(row.get_absolute_url()).content.decode()
        assert "/etc/shadow" in page
        assert "quarantine" in attaching({}, rows_of([row])[0], details_of(row))["why_no_xml"]
    assert images.quarantine_of(innocent) == []
    assert [row.is_quarantined for row in rows_of([here, there, beside, innocent])] == [True] * 3 + [False]
    assert set(listed("quarantined")) == {here, there, beside}
    page = client.get("/volumes/?state=quarantined").content.decode()
    assert page.count("</svg>quarantined</span>") == 3
    images.quarantine(there, [])
    assert not any(images.quarantine_of(row) for row in (here, there, beside))
    assert not listed("quarantined")


def test_names_are_kept_and_quarantined_while_their_row_is_away(shared, make_volume):
    """A pool whose export is away has no rows, and what people know of its volumes holds for the other pool."""
    here, there = shared
    notes = VolumeNotes.objects.create(
        host=here.pool.host,
        pool_uuid=here.pool.uuid,
        volume=here,
        volume_name=here.name,
        protected_at=timezone.now(),
        protected_because="base of all",
        quarantined_because="It is two formats at once.",
    )
    here.delete()
    assert safety.why_not(there, "delete") == "The same data is protected through another pool."
    assert images.quarantine_of(there) == ["It is two formats at once."]
    other = make_volume("other.qcow2", there.pool)
    assert [row.is_quarantined for row in rows_of([there, other])] == [True, False]
    assert set(listed("quarantined")) == {there}
    pool = there.pool
    there.delete()
    assert "protected through another pool of the same storage" in why_name_is_kept(pool, "web.qcow2")
    assert "is protected: base of all" in why_name_is_kept(here.pool, "web.qcow2")
    assert why_name_is_kept(pool, "web2.qcow2") == ""
    notes.refresh_from_db()
    notes.protected_until = timezone.localdate() - timedelta(days=1)
    notes.save()
    forget_notes(pool, "web.qcow2")
    assert not images.quarantine_of(make_volume("web.qcow2", pool)), "a new volume has nothing of the old one"
