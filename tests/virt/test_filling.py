import os

import pytest

from storagemgr.virt import streams, volumes
from storagemgr.virt.filling import Filling
from storagemgr.virt.volumes import NewVolume

MIB = 1024**2
SIZE = 80 * MIB + 7


@pytest.mark.parametrize("takes_holes", [True, False])
@pytest.mark.parametrize("is_zero", [True, False])
def test_all_is_written_and_long_runs_of_zeros_are_left_out(c, pool, monkeypatch, is_zero, takes_holes):
    monkeypatch.setattr(streams.Upload, "takes_holes", takes_holes)
    volumes.create(c, pool.uuid, NewVolume(name="new", format="raw", capacity=SIZE))
    content = bytearray(SIZE)
    for place in (20, 21, 60):
        content[place * MIB : (place + 1) * MIB] = os.urandom(MIB)
    with Filling(c, pool.uuid, "new", SIZE, is_zero=is_zero) as filling:
        for start in range(0, SIZE, 200_000):
            filling.write(bytes(content[start : start + 200_000]))
        filling.finish()
    file = pool.path / "new"
    assert file.read_bytes() == content
    assert (file.stat().st_blocks * 512 < 40 * MIB) is is_zero


def test_nothing_but_zeros(c, pool):
    volumes.create(c, pool.uuid, NewVolume(name="zeros", format="raw", capacity=MIB))
    with Filling(c, pool.uuid, "zeros", MIB, is_zero=True) as filling:
        filling.write(bytes(MIB))
        filling.finish()
    assert (pool.path / "zeros").read_bytes() == bytes(MIB)
