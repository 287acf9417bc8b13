import uuid

import pytest
from django.conf import settings
from django.test import override_settings

from pools.operations import START
from storagemgr.access.models import AuditEvent
from storagemgr.jobs.lease import claim, move
from storagemgr.jobs.models import Job
from storagemgr.jobs.operations import Run
from storagemgr.jobs.sealed import seal, unseal
from storagemgr.jobs.submit import submit

PASSWORD = "correct horse battery"


def test_what_is_sealed_cannot_be_read():
    text = seal({"chap_password": PASSWORD})
    assert PASSWORD not in text
    assert unseal(text) == {"chap_password": PASSWORD}
    assert seal({}) == ""
    assert unseal("") == {}


def test_the_key_can_be_replaced():
    text = seal({"a": "b"})
    with override_settings(SECRET_KEY="another", SECRET_KEY_FALLBACKS=[settings.SECRET_KEY]):
        assert unseal(text) == {"a": "b"}
    with override_settings(SECRET_KEY="another"):
        assert unseal(text) == {}


@pytest.mark.django_db
def test_it_reaches_the_worker_and_is_gone_when_the_job_ends(pool, manager):
    pool.state = "inactive"
    pool.save()
    job = submit(START, pool, actor=manager, params={}, key=uuid.uuid4(), secrets={"password": PASSWORD})
    running = claim(job.pk)
    assert Run(job=running, target=pool, connect=None).secrets == {"password": PASSWORD}
    move(running, from_state=Job.State.RUNNING, to_state=Job.State.FAILED)
    assert Job.objects.get(pk=job.pk).sealed == ""


@pytest.mark.django_db
def test_it_is_in_no_other_row(pool, manager):
    job = submit(START, pool, actor=manager, params={}, key=uuid.uuid4(), secrets={"password": PASSWORD})
    job.refresh_from_db()
    told = f"{job.params} {job.title} {job.sealed} {[line.text for line in job.lines.all()]}"
    told += str(list(AuditEvent.objects.values()))
    assert PASSWORD not in told
