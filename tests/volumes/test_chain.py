"""A clone copies volumes that the person may see, and no other file of the host. On a real libvirtd."""

from pathlib import Path

import pytest
from image_tools import overlay, qemu_img

from storagemgr.jobs.models import Job
from volumes.models import Volume

pytestmark = pytest.mark.django_db


def refused(job: Job, code: str, words: str, images: Path) -> None:
    assert (job.state, job.error_code) == ("failed", code), job.error_text
    assert words in job.error_text
    assert not list(images.glob("copy-of-*"))


def test_a_chain_of_volumes_is_copied(read, clone, images):
    read(images)
    assert clone("top").state == "succeeded"
    assert not Volume.objects.get(name="copy-of-top").backing_path


def test_a_file_of_the_host_is_not(read, clone, images, tmp_path):
    overlay(images / "evil", tmp_path / "secret", "raw")
    overlay(images / "above", images / "evil")
    read(images)
    for name in ("evil", "above"):
        refused(clone(name), "changed_since", "not a volume of any pool", images)


def test_a_header_that_was_changed_since_the_refresh(read, clone, images, tmp_path):
    read(images)
    qemu_img("rebase", "-u", "-F", "raw", "-b", tmp_path / "secret", images / "middle")
    for name in ("middle", "top"):
        refused(clone(name), "changed_since", "names another backing file", images)
    (images / "base").write_bytes(bytes(65536))
    refused(clone("base"), "changed_since", "its content is of no known format", images)


def test_data_in_another_file(read, clone, images, tmp_path):
    qemu_img(
        "create", "-f", "qcow2", "-o", f"data_file={tmp_path}/data,data_file_raw=on", images / "evil", "64k"
    )
    read(images)
    refused(clone("evil"), "changed_since", "Its data is in another file", images)


def test_a_volume_below_that_the_person_may_not_see(read, clone, images, make_user, tmp_path):
    (tmp_path / "other").mkdir()
    overlay(tmp_path / "other" / "theirs", images / "base")
    read(tmp_path / "other", images)
    pool = Volume.objects.get(name="theirs").pool
    person = make_user("olaf", "operator", host=pool.host, pool_uuid=pool.uuid)
    refused(clone("theirs", person), "backing_hidden", "", tmp_path / "other")
    assert clone("theirs").state == "succeeded"
