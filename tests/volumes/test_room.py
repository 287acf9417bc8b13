"""Room is promised once: to uploads, imports, copies and what takes all of its space from the start. Rows only."""

import uuid

import pytest
from django.urls import reverse

from storagemgr.jobs.models import Job
from storagemgr.jobs.operations import REGISTRY
from storagemgr.jobs.submit import NoRoom, submit
from volumes import room
from volumes.models import Transfer

pytestmark = pytest.mark.django_db
GIB = 1024**3


def key():
    return uuid.uuid4()


@pytest.fixture
def upload(pool, operator):
    """The form of one that needs more than half of what is free."""

    def fill(name):
        operation = REGISTRY["volume.upload"]
        data = {"name": name, "format": "raw", "size": pool.available // 2 + 1, "key": str(key())}
        return operation.form(data, target=pool, user=operator)

    return fill


def test_two_that_were_asked_at_the_same_moment(client, pool, upload, operator):
    """Both forms were looked at before either job was there."""
    operation, forms = REGISTRY["volume.upload"], [upload("a.raw"), upload("b.raw")]
    assert all(form.is_valid() for form in forms)
    submit(operation, pool, actor=operator, params=forms[0].params(), key=key())
    with pytest.raises(NoRoom, match="of which other jobs need"):
        submit(operation, pool, actor=operator, params=forms[1].params(), key=key())
    assert [job.volume_name for job in Job.objects.all()] == ["a.raw"]
    client.force_login(operator)
    page = client.post(reverse("volumes:upload", args=[pool.pk]), forms[1].data)
    assert page.status_code == 422
    assert "of which other jobs need" in page.content.decode().replace("\xa0", " ")


@pytest.mark.parametrize(
    ("operation", "params", "fields", "promised"),
    [
        ("volume.upload", {"size": 5 * GIB}, {}, 5 * GIB),
        ("volume.import", {}, {"step": "Receive a", "total_bytes": 5 * GIB, "done_bytes": GIB}, 4 * GIB),
        ("volume.import", {}, {}, 0),
        ("volume.create", {"space": "falloc", "capacity": 5 * GIB}, {}, 5 * GIB),
        ("volume.create", {"space": "sparse", "capacity": 5 * GIB}, {}, 0),
        ("volume.clone", {"space": "full", "source": "base"}, {}, 10 * GIB),
        ("volume.clone", {"source": "base"}, {"total_bytes": 2 * GIB, "done_bytes": GIB}, GIB),
        ("volume.clone", {"source": "base", "reflink": True}, {}, 0),
        ("volume.copy_to_host", {"source": "base"}, {}, 2 * GIB),
    ],
)
def test_what_is_promised(make_host, make_pool, make_volume, operator, operation, params, fields, promised):
    """To clones from another pool and copies from another host as well, until they end, and to no other pool."""
    pool = make_pool()
    source = make_pool("source", make_host("kvm2") if operation == "volume.copy_to_host" else pool.host)
    make_volume("base", source)
    place, other = pool, make_pool("other")
    if operation == "volume.clone":
        place, params = source, params | {"into": str(pool.uuid)}
    elif operation == "volume.copy_to_host":
        place, params = source, params | {"pool": str(pool.pk)}
    params = params | {"name": "a"}
    names = {"title": "a", "volume_name": "a", "host": place.host, "pool_uuid": place.uuid}
    job = Job.objects.create(operation=operation, state="running", params=params, **names | fields)
    assert [room.promised_in(one) for one in (pool, other)] == [promised, 0]
    if operation == "volume.upload":
        Transfer.objects.create(job=job, direction="up", size=5 * GIB, done=GIB)
        promised -= GIB
        assert room.promised_in(pool) == promised
    wanted = pool.available - promised
    form = {"name": "new", "format": "raw", "key": str(key())}
    for more, is_valid in ((0, True), (512, False)):
        new = form | {"capacity": f"{wanted + more} b", "space": "falloc"}
        assert REGISTRY["volume.create"].form(new, target=pool, user=operator).is_valid() is is_valid
    job.state = "succeeded"
    job.save()
    assert room.promised_in(pool) == 0


def test_a_clone_finds_room_that_nobody_has(pool, volume, operator):
    Job.objects.create(
        operation="volume.create",
        state="queued",
        title="a",
        host=pool.host,
        pool_uuid=pool.uuid,
        params={"name": "a", "space": "falloc", "capacity": pool.available - volume.allocation + 512},
    )
    operation = REGISTRY["volume.clone"]
    form = operation.form({"name": "copy", "key": str(key())}, target=volume, user=operator)
    assert "of which other jobs need" in str(form.errors)
    params = {"name": "copy", "source": volume.name}
    with pytest.raises(NoRoom):
        submit(operation, volume, actor=operator, params=params, key=key())
    submit(operation, volume, actor=operator, params=params | {"reflink": True}, key=key())
