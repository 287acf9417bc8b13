"""Links and the like in a pool's directory, which libvirt takes for volumes. On a real libvirtd."""

import os
import time
from pathlib import Path

import pytest
from hanging_fs import HangingFileSystem
from sync_tools import read_host

from pools.models import Pool
from storagemgr.jobs.operations import operations_for
from volumes import images, special
from volumes.models import Volume

pytestmark = pytest.mark.django_db
SECRET = b"the-secret-of-the-host" * 100


@pytest.fixture
def linked(tmp_path: Path, read) -> Pool:
    """A pool, itself behind a link, with a link to a secret, one to a volume, and one to a directory."""
    (tmp_path / "secret").write_bytes(SECRET)
    (tmp_path / "real" / "folder").mkdir(parents=True)
    (tmp_path / "real" / "disk").write_bytes(bytes(4096))
    (tmp_path / "real" / "link").symlink_to(tmp_path / "secret")
    (tmp_path / "real" / "to-disk").symlink_to("disk")
    (tmp_path / "real" / "to-folder").symlink_to("folder")
    os.mkfifo(tmp_path / "real" / "fifo")
    (tmp_path / "pool").symlink_to(tmp_path / "real")
    return read(tmp_path / "pool")


def specials() -> set[str]:
    return set(Volume.objects.filter(is_special=True).values_list("name", flat=True))


def volume(name: str) -> Volume:
    return Volume.objects.select_related("pool__host").get(name=name)


def test_links_are_known_and_a_pool_behind_one_is_not(linked):
    assert set(Volume.objects.values_list("name", flat=True)) >= {"link", "to-disk", "disk", "folder"}
    assert specials() == {"link", "to-disk", "to-folder"} & set(Volume.objects.values_list("name", flat=True))
    assert not volume("disk").is_special


def test_what_became_a_file_is_none_any_more(linked, tmp_path):
    (tmp_path / "real" / "link").unlink()
    (tmp_path / "real" / "link").write_bytes(bytes(512))
    Pool.objects.update(is_changed=True)
    read_host(linked.host)
    assert "link" not in specials()


def test_nothing_is_done_with_a_link_but_deleting_it(linked):
    link = volume("link")
    touching = [operation for operation in operations_for(link) if operation.right.startswith("volume.")]
    offered = {operation.name for operation in touching if not operation.why_off(link)}
    assert offered == {"volume.delete", "volume.delete_now"}
    assert len(touching) > 5


@pytest.mark.parametrize("operation", ["volume.clone", "volume.inspect"])
def test_a_file_that_becomes_a_link_before_the_job_starts(linked, ask, operation, tmp_path):
    disk, path = volume("disk"), tmp_path / "real" / "disk"
    path.unlink()
    path.symlink_to(tmp_path / "secret")
    job = ask(operation, disk, name="copy", source="disk")
    assert (job.state, job.error_code) == ("failed", "changed_since")
    assert images.SPECIAL in job.error_text
    assert not (tmp_path / "real" / "copy").exists()


def test_deleting_a_link_leaves_what_it_leads_to(linked, ask, manager, tmp_path):
    link = volume("link")
    [delete] = [operation for operation in operations_for(link) if operation.name == "volume.delete_now"]
    assert "that alone is removed" in delete.effects(link)[0]
    assert ask("volume.delete_now", link, manager).state == "succeeded"
    assert not (tmp_path / "real" / "link").is_symlink()
    assert (tmp_path / "secret").read_bytes() == SECRET


def test_what_lies_on_another_machine_is_not_looked_for_here(linked):
    Volume.objects.update(is_special=False)
    linked.host.transport = "ssh"
    special.mark(linked)
    assert specials() == set()


def test_a_directory_that_does_not_answer_leaves_it_as_it_was(linked, tmp_path):
    with HangingFileSystem(tmp_path / "mount") as mount:
        linked.target_path = str(mount.directory)
        mount.hang()
        begun = time.monotonic()
        special.mark(linked)
        special.mark(linked)
        assert special.LOOK_S <= time.monotonic() - begun < special.LOOK_S * 1.9
        mount.answer()
    assert "link" in specials()


def test_a_directory_that_is_not_seen_from_here(linked):
    linked.target_path = "/nowhere"
    special.mark(linked)
    assert "link" in specials()
