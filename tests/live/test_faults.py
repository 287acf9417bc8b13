"""What is promised when processes die: no job lost, none run twice, nothing called whole that may not be."""

import time

import pytest
from live_tools import half_way, in_state, same_bytes, slow_disk, volume_row, write_real_data
from stack import wait_for

from storagemgr.jobs.models import Job, JobLine
from volumes.models import Volume

pytestmark = [pytest.mark.chaos, pytest.mark.django_db(transaction=True)]
SIZE_MIB = 2048


def starts(job):
    return JobLine.objects.filter(job=job, text__startswith="Copy ").count()


def test_a_worker_killed_while_it_clones(stack, pool, images, ask, daemon):
    write_real_data(images / "source.img", SIZE_MIB)
    stack.start("redis", "jobs", "sync", "tick")
    pool()
    with slow_disk(daemon):
        job = ask("volume.clone", volume_row("source.img"), name="copy.img")
        wait_for(half_way(job), 60, stack.log("jobs"))
    stack.kill("jobs")
    killed = time.monotonic()
    stack.start("jobs")
    wait_for(in_state(job, "interrupted", "succeeded"), 60, "the job says so")
    assert time.monotonic() - killed < 60
    job = wait_for(in_state(job, "succeeded", "failed"), 90, "the job is settled")
    assert (job.state, job.is_recovered) == ("succeeded", True), (job.error_code, job.finding)
    assert same_bytes(images / "source.img", images / "copy.img")
    assert starts(job) == 1
    assert Volume.objects.get(name="copy.img").unverified_since is None


def test_a_libvirtd_killed_while_it_clones(stack, pool, images, ask, daemon):
    write_real_data(images / "source.img", SIZE_MIB)
    stack.start("redis", "jobs", "sync", "tick")
    pool()
    with slow_disk(daemon):
        job = ask("volume.clone", volume_row("source.img"), name="copy.img")
        wait_for(half_way(job), 60, stack.log("jobs"))
    daemon.kill()
    wait_for(in_state(job, "interrupted"), 30, "the job says so")
    daemon.start()
    job = wait_for(in_state(job, "succeeded", "failed"), 60, "the job is settled")
    assert (job.state, job.error_code) == ("failed", "unverified"), job.finding
    copy = volume_row("copy.img")
    assert copy.unverified_since
    refused = ask("volume.clone", copy, name="of-a-copy.img")
    refused = wait_for(in_state(refused, "succeeded", "failed"), 30)
    assert (refused.state, refused.error_code) == ("failed", "changed_since")
    assert not (images / "of-a-copy.img").exists()
    deleted = ask("volume.delete_now", copy)
    wait_for(in_state(deleted, "succeeded"), 30)
    assert not (images / "copy.img").exists()


def test_redis_killed_and_emptied_while_jobs_wait(stack, pool, images, ask, client, admin_client):
    stack.stop()  # no worker is there to take them
    stack.start("redis", "sync", "tick")
    row = pool()
    names = [f"disk{number}.img" for number in range(12)]
    for name in names:
        ask("volume.create", row, name=name, capacity=1024**2, space="sparse", format="raw")
    stack.kill("redis")
    more = [f"late{number}.img" for number in range(4)]
    for name in more:
        began = time.monotonic()
        ask("volume.create", row, name=name, capacity=1024**2, space="sparse", format="raw")
        assert time.monotonic() - began < 3
    assert admin_client.get("/").status_code == 200
    assert admin_client.get("/jobs/").status_code == 200
    stack.start("redis", "jobs")
    ended = Job.objects.filter(operation="volume.create", state__in=("succeeded", "failed"))
    wait_for(lambda: ended.count() == len(names + more), 90, stack.log("jobs"))
    assert not ended.filter(state="failed").exists()
    for job in ended:
        assert JobLine.objects.filter(job=job, text__startswith="Create ").count() == 1
    assert {path.name for path in images.iterdir()} == {*names, *more}


def test_redis_killed_while_a_clone_runs(stack, pool, images, ask):
    write_real_data(images / "source.img", 512)
    stack.start("redis", "jobs", "sync", "tick")
    pool()
    job = ask("volume.clone", volume_row("source.img"), name="copy.img")
    wait_for(in_state(job, "running"), 30)
    stack.kill("redis")
    stack.start("redis")
    job = wait_for(in_state(job, "succeeded", "failed"), 90, stack.log("jobs"))
    assert job.state == "succeeded"
    assert starts(job) == 1
    later = ask("volume.delete_now", volume_row("copy.img"))
    wait_for(in_state(later, "succeeded"), 60, "the workers take jobs again; " + stack.log("jobs"))
