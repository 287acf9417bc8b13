"""The label inside an ISO image, read through libvirt. On a real libvirtd."""

from pathlib import Path

import pytest
from sync_tools import read_host

from pools.models import Pool
from volumes import labels
from volumes.models import Volume

pytestmark = pytest.mark.django_db


def iso(label: bytes) -> bytes:
    """As much of an ISO 9660 image as tells it apart: the primary volume descriptor."""
    return bytes(32_768) + (b"\x01CD001\x01\0" + bytes(32) + label.ljust(32)).ljust(2048, b"\0") + bytes(4096)


def read_labels(pool: Pool, *, times: int = 1) -> dict[str, str | None]:
    for _ in range(times):
        read_host(pool.host)
    return dict(Volume.objects.values_list("name", "label"))


def test_the_labels_of_a_few_images_in_each_reading(images: Path, read):
    for number in range(labels.AT_ONCE + 2):
        (images / f"{number}.iso").write_bytes(iso(f"Debian 12.{number}.0 amd64 n".encode()))
    pool = read(images)
    found = read_labels(pool, times=0)
    assert sum(label is not None for label in found.values()) == labels.AT_ONCE
    found = read_labels(pool, times=2)
    assert found["0.iso"] == "Debian 12.0.0 amd64 n"
    assert sum(label is not None for label in found.values()) == labels.AT_ONCE + 2
    assert found["base"] is None


def test_another_image_of_the_same_name(images: Path, read):
    (images / "x.iso").write_bytes(iso(b"FIRST"))
    pool = read(images)
    assert read_labels(pool)["x.iso"] == "FIRST"
    (images / "x.iso").write_bytes(iso(b"SECOND") + bytes(2048))
    Pool.objects.update(is_changed=True)
    assert read_labels(pool, times=2)["x.iso"] == "SECOND"


@pytest.mark.parametrize(
    ("descriptor", "label"),
    [
        (b"\x01CD001\x01\0" + b" " * 32 + b"  WINDOWS_11  ".ljust(32), "WINDOWS_11"),
        (
            b"\x01CD001\x01\0" + b" " * 32 + b"\x1b[31m\n<b>\xff\0".ljust(32),
            "[31m <b>\N{REPLACEMENT CHARACTER}",
        ),
        (b"\x02CD001\x01\0" + b" " * 32 + b"NOT PRIMARY", ""),
        (b"\x01CD001", ""),
        (b"", ""),
    ],
)
def test_hostile_labels(descriptor, label):
    assert labels.label_in(descriptor) == label
