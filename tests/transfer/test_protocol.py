"""What the transfer process refuses before libvirt is asked."""

import threading
import uuid
from contextlib import ExitStack
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone
from django.utils.module_loading import import_string
from transfer_tools import metadata

from storagemgr.access import tokens
from storagemgr.access.models import Grant
from storagemgr.jobs.models import Job
from volumes.models import Transfer
from volumes.transfer import downloads, turns
from volumes.transfer import settings as transfer_settings
from volumes.transfer.sweep import sweep
from volumes.transfer.tickets import Refused, signature

pytestmark = pytest.mark.django_db
SIZE = 1000
BYTES = "application/offset+octet-stream"


@pytest.fixture(autouse=True)
def served(settings):
    settings.ROOT_URLCONF = transfer_settings.ROOT_URLCONF
    settings.MIDDLEWARE = transfer_settings.MIDDLEWARE


@pytest.fixture
def tus():
    return Client(headers={"Tus-Resumable": "1.0.0"})


@pytest.fixture
def transfer(pool, operator):
    def make(operation="volume.upload", direction="up", **fields):
        job = Job.objects.create(
            operation=operation,
            title="Upload a.raw",
            host=pool.host,
            pool_uuid=pool.uuid,
            volume_name="a.raw",
            params={"name": "a.raw", "format": "raw", "size": SIZE},
            requested_by=operator,
            requester_name="olga",
            state="transferring",
            lease_until=timezone.now(),
        )
        values = {"direction": direction, "size": SIZE, "is_ready": True, "done": 100, "file_name": "a.raw"}
        return Transfer.objects.create(job=job, **values | fields)

    return make


def url_of(transfer):
    kind = "uploads" if transfer.direction == "up" else "downloads"
    end = "" if kind == "uploads" else "/a.raw"
    return f"/transfer/{kind}/{transfer.pk}/{signature(transfer)}{end}"


def send(tus, transfer, body=b"x", offset="100", content_type=BYTES, **headers):
    return tus.patch(
        url_of(transfer), body, content_type=content_type, headers={"Upload-Offset": offset, **headers}
    )


@pytest.mark.parametrize(
    ("asked", "status", "said"),
    [
        ({"offset": "99"}, 409, "The next byte is number 100"),
        ({"offset": "101"}, 409, "The next byte is number 100"),
        ({"offset": "-1"}, 400, "Upload-Offset must be a number"),
        ({"offset": "1e2"}, 400, "Upload-Offset must be a number"),
        ({"offset": str(2**63)}, 400, "Upload-Offset must be a number"),
        ({"offset": "٣"}, 400, "Upload-Offset must be a number"),
        ({"offset": ""}, 400, "Upload-Offset must be a number"),
        ({"body": b"x" * 901}, 413, "It was said to have 1,000 bytes"),
        ({"offset": str(2**63 - 1)}, 413, "It was said to have 1,000 bytes"),
        ({"content_type": "text/plain"}, 415, "application/offset+octet-stream"),
        ({"Upload-Checksum": "crc32 AAAA"}, 400, "one of sha256"),
        ({"Upload-Checksum": "sha1 AAAA"}, 400, "no sha1 in base64"),
        ({"Upload-Checksum": "sha1"}, 400, "no sha1 in base64"),
        ({"Upload-Checksum": "sha1 ***"}, 400, "no sha1 in base64"),
        ({"Tus-Resumable": "0.2.2"}, 412, "speaks version 1.0.0"),
    ],
)
def test_a_wrong_patch_changes_nothing(tus, transfer, asked, status, said):
    one = transfer()
    answer = send(tus, one, **asked)
    assert (answer.status_code, said in answer.text) == (status, True), answer.text
    assert answer["Content-Type"].startswith("text/plain")
    one.refresh_from_db()
    assert one.done == 100


def test_head_tells_where_to_go_on(tus, transfer):
    answer = tus.head(url_of(transfer()))
    assert answer.status_code == 200
    assert (answer["Upload-Offset"], answer["Upload-Length"]) == ("100", "1000")
    assert answer["Cache-Control"] == "no-store"
    assert answer["Upload-Expires"].endswith("GMT")


def test_a_ticket_is_worth_nothing_when_anything_of_it_is_another(tus, transfer):
    one, other = transfer(), transfer()
    for url in (
        f"/transfer/uploads/{one.pk}/{signature(other)}",
        f"/transfer/uploads/{uuid.uuid4()}/{signature(one)}",
        f"/transfer/uploads/{one.pk}/x",
        f"/transfer/downloads/{one.pk}/{signature(one)}/a.raw",
    ):
        assert tus.get(url).status_code in (404, 405)
        assert tus.head(url).status_code == 404
    url = url_of(one)
    Transfer.objects.filter(pk=one.pk).update(nonce=uuid.uuid4())
    assert tus.head(url).status_code == 404


@pytest.mark.parametrize("state", ["failed", "cancelled", "succeeded"])
def test_a_ticket_dies_with_its_job(tus, transfer, state):
    one = transfer()
    Job.objects.update(state=state)
    assert send(tus, one).status_code == 410
    assert tus.head(url_of(one)).status_code == (200 if state == "succeeded" else 410)


def test_who_lost_the_right_sends_nothing_more(tus, transfer, operator):
    one = transfer()
    Grant.objects.filter(user=operator).update(role="viewer")
    assert send(tus, one).status_code == 403
    Grant.objects.filter(user=operator).update(role="operator")
    operator.is_active = False
    operator.save()
    assert send(tus, one).status_code == 403


def test_one_writer_at_a_time_and_none_beside_an_exclusive_job(tus, transfer, pool):
    one = transfer()
    soon = timezone.now() + timedelta(seconds=20)
    Job.objects.update(worker="transfer:other", lease_until=soon)
    busy = send(tus, one)
    assert (busy.status_code, busy["Retry-After"]) == (423, "2")
    Job.objects.update(lease_until=timezone.now())
    Job.objects.create(
        operation="pool.stop",
        title="Stop it",
        host=pool.host,
        pool_uuid=pool.uuid,
        is_exclusive=True,
        state="running",
    )
    busy = send(tus, one)
    assert busy.status_code == 423
    assert "Stop it" in busy.text


def test_too_many_streams_wait(tus, transfer, settings):
    one = transfer()
    taken = [turns._slots.acquire(blocking=False) for _ in range(settings.TRANSFERS_AT_ONCE)]
    try:
        full = send(tus, one)
        assert (full.status_code, full["Retry-After"]) == (503, "5")
    finally:
        for _ in filter(None, taken):
            turns._slots.release()


def test_a_client_that_takes_nothing_loses_its_slot_to_the_next(transfer, settings, monkeypatch):
    monkeypatch.setattr(downloads, "CHUNK", 100)
    monkeypatch.setattr(turns, "_slots", threading.BoundedSemaphore(1))
    one, opened = transfer("volume.download", "down", done=0), ExitStack()
    opened.enter_context(turns.slot())
    pieces = downloads.Pieces(one, turns.Turn(one), [b"x" * 100] * 10, 0, SIZE, opened)
    assert len(next(pieces)) == 100
    with pytest.raises(Refused), turns.slot():
        pass
    pieces.moved_at -= turns.STALLED_S
    with turns.slot():
        assert list(pieces) == []
        pieces.close()
    assert Transfer.objects.get(pk=one.pk).done == 100
    assert Job.objects.get(pk=one.job_id).state == "transferring"


def test_delete_cancels_and_a_worker_takes_the_part_back(tus, transfer):
    one = transfer()
    assert tus.delete(url_of(one)).status_code == 204
    job = Job.objects.get()
    assert job.state == "queued"
    assert job.cancel_asked_at
    assert tus.head(url_of(one)).status_code == 410


def test_what_waits_for_its_last_turn_is_not_just_taken_out(tus, transfer):
    """There is a volume already, and somebody has to delete it."""
    one = transfer(done=SIZE)
    Job.objects.update(state="queued", started_at=timezone.now())
    assert tus.delete(url_of(one)).status_code == 204
    job = Job.objects.get()
    assert (job.state, job.cancel_asked_at is None) == ("queued", False)


def test_options_and_other_methods(tus, transfer):
    answer = tus.options("/transfer/uploads/")
    assert answer["Tus-Extension"] == "creation,termination,checksum,expiration"
    assert answer["Tus-Version"] == "1.0.0"
    assert tus.get(url_of(transfer())).status_code == 405
    assert tus.get("/transfer/uploads/").status_code == 405


@pytest.mark.parametrize(
    ("origin", "is_ours"),
    [
        ("http://[::1", False),
        ("http://testserver", True),
        ("http://testserver:8000", True),
        ("http://localhost:8000", True),
        ("http://evil.example", False),
        ("http://testserver.evil.example", False),
        ("null", False),
        ("file://testserver", False),
    ],
)
def test_other_sites_scripts_read_nothing(tus, transfer, origin, is_ours):
    answer = tus.options(url_of(transfer()), headers={"Origin": origin})
    assert (answer.get("Access-Control-Allow-Origin") == origin) is is_ours
    assert ("Access-Control-Allow-Methods" in answer) is is_ours


def make(tus, token, length=str(SIZE), **values):
    headers = {
        "Authorization": f"Bearer {token}",
        "Upload-Length": length,
        "Upload-Metadata": metadata(**values),
    }
    return tus.post("/transfer/uploads/", headers=headers)


def test_creation_asks_for_the_same_as_the_page(tus, pool, operator, viewer, outsider, monkeypatch):
    monkeypatch.setattr("volumes.transfer.creation.MADE_S", 0)
    token = tokens.make(operator, "t", 1)[1]
    good = {"pool": pool.pk, "name": "new.raw", "format": "raw", "filename": "../../new.img"}
    made = make(tus, token, **good)
    assert made.status_code == 201, made.text
    assert made["Location"].startswith("http://testserver/transfer/uploads/")
    job = Job.objects.get()
    assert (job.requested_by, job.volume_name, job.params["size"]) == (operator, "new.raw", SIZE)
    for asked, status, said in (
        ({}, 409, "new.raw"),
        ({"name": "../x"}, 422, "Letters, digits"),
        ({"format": "exe"}, 422, "format"),
        ({"sha256": "12"}, 422, "64 digits"),
        ({"pool": "1 or 1"}, 400, "needs pool"),
        ({"pool": pool.pk + 1}, 404, "no such thing"),
    ):
        answer = make(tus, token, **good | asked)
        assert (answer.status_code, said in answer.text) == (status, True), answer.text
    for length, status in (("-1", 400), ("x", 400), ("0", 422), (str(2**62), 422)):
        assert make(tus, token, length, **good | {"name": "b.raw"}).status_code == status
    assert make(tus, "smgr_x", **good).status_code == 401
    assert make(tus, tokens.make(viewer, "t", 1)[1], **good).status_code == 403
    assert make(tus, tokens.make(outsider, "t", 1)[1], **good).status_code == 404
    assert Job.objects.count() == 1


def test_room_is_promised_once(tus, pool, operator, monkeypatch):
    monkeypatch.setattr("volumes.transfer.creation.MADE_S", 0)
    token, half = tokens.make(operator, "t", 1)[1], str(pool.available // 2 + 1)
    assert make(tus, token, half, pool=pool.pk, name="a.raw").status_code == 201
    refused = make(tus, token, half, pool=pool.pk, name="b.raw")
    assert refused.status_code == 422
    assert "60 GiB is free" in refused.text.replace("\N{NO-BREAK SPACE}", " ")
    assert "other jobs need" in refused.text


def test_what_nobody_goes_on_with_is_ended(transfer, settings):
    up, idle = transfer(), transfer("volume.download", "down", done=40)
    long_ago = timezone.now() - timedelta(seconds=settings.TRANSFER_KEPT + 1)
    Job.objects.update(lease_until=long_ago)
    sweep(timezone.now())
    assert set(Job.objects.values_list("state", flat=True)) == {"transferring"}
    Transfer.objects.update(moved_at=long_ago)
    sweep(timezone.now())
    up.refresh_from_db()
    assert (up.job.state, up.verdict.split()[0]) == ("queued", "upload_expired")
    job = Job.objects.get(pk=idle.job_id)
    assert (job.state, "were fetched" in job.error_text) == ("cancelled", True)


def test_a_download_is_a_file_and_nothing_a_browser_runs(tus, transfer):
    one = transfer("volume.download", "down", file_name="<img> ü.html\r\nX: y")
    answer = tus.head(url_of(one))
    assert answer.status_code == 200
    assert answer["Content-Type"] == "application/octet-stream"
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in answer["Content-Security-Policy"]
    assert answer["Content-Length"] == "1000"
    said = answer["Content-Disposition"]
    assert said.startswith('attachment; filename="_img__')
    assert said.endswith("filename*=UTF-8''%3Cimg%3E%20%C3%BC.html%0D%0AX%3A%20y")
    for asked, status, content_range in (
        ("bytes=0-9", 206, "bytes 0-9/1000"),
        ("bytes=990-", 206, "bytes 990-999/1000"),
        ("bytes=-5", 206, "bytes 995-999/1000"),
        ("bytes=-5000", 206, "bytes 0-999/1000"),
        ("bytes=5-50000", 206, "bytes 5-999/1000"),
        ("bytes=1000-", 416, "bytes */1000"),
        ("bytes=-0", 416, "bytes */1000"),
        ("bytes=0-1,5-6", 200, None),
        ("bytes=9-1", 200, None),
        ("lines=1-2", 200, None),
    ):
        part = tus.head(url_of(one), headers={"Range": asked})
        assert (part.status_code, part.get("Content-Range")) == (status, content_range), asked
    other = {"Range": "bytes=0-9", "If-Range": '"another"'}
    assert tus.head(url_of(one), headers=other).status_code == 200
    assert tus.head(url_of(one), headers=other | {"If-Range": answer["ETag"]}).status_code == 206


def test_its_log_tells_no_ticket(tus, transfer, caplog):
    logging_ = transfer_settings.LOGGING
    for name in logging_["handlers"]["console"]["filters"]:
        caplog.handler.addFilter(import_string(logging_["filters"][name]["()"])())
    one = transfer()
    assert send(tus, one, offset="99").status_code == 409
    assert f"/transfer/uploads/{one.pk}/..." in caplog.text
    assert signature(one) not in caplog.text
