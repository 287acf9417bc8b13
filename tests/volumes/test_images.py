"""Images made to make a host show a secret. Whatever is tried with them, its bytes turn up nowhere. On a libvirtd."""

import struct
from pathlib import Path
from typing import Any

import pytest
from image_tools import overlay, qemu_img

from storagemgr.jobs.models import Job, JobLine
from storagemgr.jobs.operations import REGISTRY
from storagemgr.virt.connection import connect
from storagemgr.virt.volumes import read_xml
from volumes import chain, images
from volumes.attach import why_no_disk
from volumes.models import Volume, VolumeNotes

pytestmark = pytest.mark.django_db
SECRET = b"the-secret-of-the-host"
MIB = 1024**2


@pytest.fixture
def secret(images_directory: Path) -> Path:
    path = images_directory.parent / "secret"
    path.write_bytes(SECRET * 50_000)
    return path


@pytest.fixture
def images_directory(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    return tmp_path / "images"


def json_backing(path: Path, secret: Path) -> None:
    overlay(
        path, f'json:{{"driver":"raw","file":{{"driver":"file","filename":"{secret}"}}}}', "raw", unseen=True
    )


def flat_vmdk(path: Path, secret: Path) -> None:
    path.write_text(
        '# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\ncreateType="monolithicFlat"\n'
        f'RW {secret.stat().st_size // 512} FLAT "{secret}" 0\n'
    )


def vmdk_with_parent(path: Path, secret: Path) -> None:
    qemu_img("create", "-f", "vmdk", path, "1M")
    old = b'createType="monolithicSparse"\n'
    hint = f'parentFileNameHint="{secret}"\n'.encode()
    content = path.read_bytes()
    start = content.index(old) + len(old)
    path.write_bytes(content[:start] + hint + content[start : 20 * 512 - len(hint)] + content[20 * 512 :])


def data_file(path: Path, secret: Path) -> None:
    qemu_img("create", "-f", "qcow2", "-o", f"data_file={path}.data,data_file_raw=on", path, "1M")
    Path(f"{path}.data").unlink()
    content = bytearray(path.read_bytes())
    name = f"{path}.data".encode()
    at = content.index(name)
    content[at : at + len(name)] = str(secret).encode().ljust(len(name), b"\0")
    struct.pack_into(">I", content, at - 4, len(str(secret)))
    path.write_bytes(content)


def guessed_base(path: Path, secret: Path) -> None:
    """The base is a volume, and raw; into it somebody wrote a header that names the secret."""
    base = path.with_name("base")
    overlay(base, secret, "raw")
    overlay(path, base, "raw")


CRAFTED: dict[str, Any] = {
    "backing": lambda path, secret: overlay(path, secret, "raw"),
    "json": json_backing,
    "nbd": lambda path, secret: overlay(path, "nbd://127.0.0.1:9/x", "raw", unseen=True),
    "data-file": data_file,
    "flat-vmdk": flat_vmdk,
    "vmdk-parent": vmdk_with_parent,
    "link": lambda path, secret: path.symlink_to(secret),
    "guessed-base": guessed_base,
}


SEEN_IN_BYTES = ("data-file", "flat-vmdk")  # libvirt lists nothing of it


def is_shown(images_directory: Path, client: Any, user: Any) -> list[str]:
    """Where the secret is to be found: in files of the pool, rows, pages."""
    found = []
    for path in images_directory.iterdir():
        if not path.is_symlink() and SECRET in path.read_bytes():
            found.append(str(path))
    client.force_login(user)
    pages = [*Volume.objects.all(), *Job.objects.all()]
    found += [str(page) for page in pages if SECRET in client.get(page.get_absolute_url()).content]
    texts = [
        *JobLine.objects.values_list("text", flat=True),
        *Job.objects.values_list("error_text", flat=True),
    ]
    texts += list(VolumeNotes.objects.values_list("quarantined_because", flat=True))
    return found + [text for text in texts if SECRET.decode() in text]


@pytest.mark.parametrize("kind", CRAFTED)
def test_no_attempt_shows_the_secret(kind, read, ask, images_directory, secret, client, operator):
    CRAFTED[kind](images_directory / "evil", secret)
    read(images_directory)
    volume = Volume.objects.select_related("pool__host").get(name="evil")
    assert chain.why_no_copy(volume) or kind in SEEN_IN_BYTES
    assert why_no_disk(volume) or kind in SEEN_IN_BYTES
    clone = {"name": "copy-of-evil", "source": "evil"}
    for params in (clone, clone | {"format": "raw"}):
        job = ask("volume.clone", volume, **params)
        assert (job.state, job.error_code) == ("failed", "changed_since")
    inspected = ask("volume.inspect", volume)
    assert (inspected.state == "succeeded") is (kind == "guessed-base")
    assert ask("volume.clone", volume, **clone).state == "failed"
    assert not (images_directory / "copy-of-evil").exists()
    volume = Volume.objects.select_related("pool__host").get(name="evil")
    assert volume.is_special is (kind == "link")
    assert bool(images.quarantine_of(volume)) is (kind not in ("link", "guessed-base"))
    assert why_no_disk(volume)
    assert REGISTRY["volume.download"].why_off(volume) or kind == "guessed-base"
    assert is_shown(images_directory, client, operator) == []


@pytest.mark.parametrize("is_refreshed", [False, True])
def test_a_guest_that_writes_a_header_into_its_raw_disk(
    is_refreshed, read, ask, images_directory, secret, client, operator
):
    path = images_directory / "evil"
    path.write_bytes(bytes(MIB))
    pool = read(images_directory)
    overlay(images_directory.parent / "written", secret, "raw")
    path.write_bytes((images_directory.parent / "written").read_bytes().ljust(MIB, b"\0"))
    if is_refreshed:
        assert ask("pool.refresh", pool).state == "succeeded"
    cloned = ask("volume.clone", Volume.objects.get(name="evil"), name="copy-of-evil", source="evil")
    assert (cloned.state, cloned.error_code) == ("failed", "changed_since")
    assert ("declared as raw" in cloned.error_text) is not is_refreshed
    assert is_shown(images_directory, client, operator) == []


def test_a_header_that_is_written_after_the_inspection(read, ask, images_directory, secret):
    path = images_directory / "image"
    qemu_img("create", "-f", "qcow2", path, "1M")
    read(images_directory)
    volume = Volume.objects.get(name="image")
    assert ask("volume.inspect", volume).state == "succeeded"
    overlay(path, secret, "raw")
    inspected = ask("volume.inspect", volume)
    assert (inspected.state, inspected.error_code) == ("failed", "in_quarantine")
    assert str(secret) in inspected.error_text


def test_the_quarantine_ends_when_a_good_image_is_there(read, ask, images_directory, secret):
    path = images_directory / "image"
    overlay(path, secret, "raw")
    read(images_directory)
    volume = Volume.objects.get(name="image")
    ask("volume.inspect", volume)
    assert "quarantine" in ask("volume.clone", volume, name="copy", source="image").error_text
    qemu_img("create", "-f", "qcow2", path, "1M")
    assert ask("volume.inspect", volume).state == "succeeded"
    assert images.quarantine_of(Volume.objects.get(pk=volume.pk)) == []
    assert ask("pool.refresh", volume.pool).state == "succeeded"
    cloned = ask("volume.clone", volume, name="copy", source="image")
    assert cloned.state == "succeeded", cloned.error_text


def test_the_problems_of_what_came_from_outside(read, images_directory):
    (images_directory / "luks").write_bytes(b"LUKS\xba\xbe\0\x02" + bytes(MIB))
    qemu_img("create", "-f", "qcow2", images_directory / "good", "1M")
    pool = read(images_directory)
    rows = {volume.name: volume for volume in Volume.objects.select_related("pool__host")}
    with connect(pool.host.uri) as connection:
        assert images.problems_of(connection, rows["good"], "qcow2") == []
        assert "declared as raw" in images.problems_of(connection, rows["good"], "")[0]
        rows["luks"].encrypted = False
        assert "LUKS" in images.problems_of(connection, rows["luks"], "raw")[0]


def test_the_xml_is_kept_by_its_job_and_shown_on_the_page(read, ask, images_directory, client, viewer):
    qemu_img("create", "-f", "qcow2", images_directory / "good", "1M")
    pool = read(images_directory)
    volume = Volume.objects.get(name="good")
    job = ask("volume.read_xml", volume, viewer)
    assert job.state == "succeeded"
    [xml] = [line.text for line in job.lines.all() if line.text.startswith("<volume")]
    client.force_login(viewer)
    page = client.get(volume.get_absolute_url())
    assert page.context["details"].xml == xml
    assert {"Changed", "Read"} <= {term for term, _ in page.context["details"].times}
    with connect(pool.host.uri) as connection:
        assert xml.split() == read_xml(connection, str(pool.uuid), "good").split()
