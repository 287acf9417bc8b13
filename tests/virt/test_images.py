"""Images as qemu-img makes them, and as a stranger changes them."""

import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storagemgr.virt.images import HEAD, Image, inspect

LIMIT = 64 * 1024**4
MIB = 1024**2


def looked_at(content: bytes, declared: str = "", limit: int = LIMIT) -> Image:
    def read(offset: int, length: int) -> bytes:
        assert length <= HEAD
        assert offset >= 0
        return content[offset : offset + length]

    return inspect(read, len(content), limit, declared)


def made(directory: Path, form: str, *words: str, size: str = "8M") -> bytes:
    path = directory / "image"
    subprocess.run(["qemu-img", "create", "-q", "-f", form, *words, str(path), size], check=True)
    return path.read_bytes()


@pytest.fixture(scope="module")
def qcow2(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return made(tmp_path_factory.mktemp("images"), "qcow2")


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ("qcow2", ()),
        ("qcow2", ("-o", "compat=0.10,cluster_size=4096")),
        *[(form, ()) for form in ("qcow", "qed", "vmdk", "vdi", "vpc")],
        ("vmdk", ("-o", "subformat=streamOptimized")),
        ("vpc", ("-o", "subformat=fixed,force_size=on")),
    ],
)
def test_good_images(tmp_path, form, words):
    image = looked_at(made(tmp_path, form, *words), form)
    assert (image.format, image.problems) == (form, ())
    assert 8 * MIB <= image.virtual_size < 8.1 * MIB


@pytest.mark.parametrize(
    "name", ["/etc/shadow", 'json:{"file.filename":"/etc/shadow"}', "nbd://host:10809/x"]
)
@pytest.mark.parametrize("form", ["qcow2", "qed"])
def test_a_backing_file(tmp_path, form, name):
    image = looked_at(made(tmp_path, form, "-u", "-F", "raw", "-b", name), form)
    assert (image.backing, image.flaws) == (name, ())
    assert image.problems == (f"It is built on another file, {name}, which would be opened with it.",)


@pytest.mark.parametrize(
    ("form", "words", "said"),
    [
        ("qcow2", ("-F", "qcow2"), "qcow2"),
        ("qcow2", ("-F", "qcow2", "-o", "compat=0.10"), "qcow2"),
        ("qed", ("-F", "raw"), "raw"),
        ("qed", ("-F", "qcow2"), ""),
    ],
)
def test_the_format_of_the_backing_file(tmp_path, form, words, said):
    image = looked_at(made(tmp_path, form, "-u", "-b", "base", *words), form)
    assert (image.backing, image.backing_format, image.flaws) == ("base", said, ())


def test_a_backing_file_of_the_first_version_of_qcow(tmp_path):
    content = bytearray(made(tmp_path, "qcow"))
    struct.pack_into(">QI", content, 8, 60, 11)
    content[60:71] = b"/etc/shadow"
    assert looked_at(bytes(content), "qcow").backing == "/etc/shadow"


def test_a_backing_file_without_a_name(qcow2):
    image = looked_at(qcow2[:8] + struct.pack(">QI", 4096, 0) + qcow2[20:], "qcow2")
    assert image.flaws == ("It says that it is built on another file, and names none.",)


def test_an_external_data_file(tmp_path):
    content = made(tmp_path, "qcow2", "-o", f"data_file={tmp_path}/data,data_file_raw=on")
    assert looked_at(content, "qcow2").flaws == (
        "Its data is in another file, which would be opened with it.",
    )


def test_a_vmdk_of_several_files(tmp_path):
    content = made(tmp_path, "vmdk", "-o", "subformat=monolithicFlat")
    assert len(content) < 1024
    for declared in ("vmdk", "raw"):
        [flaw, *mismatch] = looked_at(content, declared).flaws
        assert "names the files in which the disk is" in flaw
        assert bool(mismatch) is (declared == "raw")


def test_a_vmdk_with_a_parent(tmp_path):
    """QEMU opens it whatever the rest of the descriptor says, and oslo.utils lets it pass."""
    made(tmp_path, "vmdk")
    (tmp_path / "image").rename(tmp_path / "parent")
    child = made(tmp_path, "vmdk", "-F", "vmdk", "-b", str(tmp_path / "parent"))
    assert looked_at(child, "vmdk").flaws == (
        "Its VMDK descriptor names a parent, which would be opened with it.",
    )


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'SPARSE "image"', b'SPARSE "/a/bc"'),
        (b"# Extent description", b'RW 16 FLAT "other" 0'),
        (b'createType="monolithicSparse"', b'createType="monolithicFlat"  '),
    ],
)
def test_a_vmdk_with_another_descriptor_inside(tmp_path, old, new):
    content = made(tmp_path, "vmdk")
    assert old in content
    assert looked_at(content.replace(old, new), "vmdk").flaws


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (1024**5, "are not allowed"),
        (2**63 - 512, "are not allowed"),
        (2**63, "negative size"),
        (0, "has the size 0"),
    ],
)
def test_a_size_beyond_sense(qcow2, size, words):
    content = qcow2[:24] + struct.pack(">Q", size) + qcow2[32:]
    [flaw] = looked_at(content, "qcow2").flaws
    assert words in flaw


def test_a_header_that_is_cut_off(qcow2):
    for length in (4, 30, 100, 511):
        for declared in ("qcow2", ""):
            assert "ends before its header does" in looked_at(qcow2[:length], declared).flaws[0]
    assert looked_at(b"", "raw").flaws == ("It is empty.",)


def test_the_declared_format_counts(tmp_path, qcow2):
    assert "declared as raw, and its content is a qcow2 image" in looked_at(qcow2, "raw").flaws[0]
    assert "declared as vdi, and its content is a qcow2 image" in looked_at(qcow2, "vdi").flaws[0]
    assert "declared as qcow2, and its content is of no known" in looked_at(bytes(MIB), "qcow2").flaws[0]
    assert "declared as an ISO image" in looked_at(bytes(MIB), "iso").flaws[0]


def test_raw_is_whatever_is_no_image():
    table = (
        bytes(446)
        + b"\x80\x01\x01\0\x83\xfe\xff\xff"
        + struct.pack("<II", 2048, 999)
        + bytes(48)
        + b"\x55\xaa"
    )
    iso = bytes(32768) + b"\x01CD001\x01" + bytes(8192)
    for content in (
        bytes(MIB),
        table + bytes(MIB),
        iso,
        b"LUKS\xba\xbe\0\x01" + bytes(4096),
        b"text\n" * 200,
    ):
        assert looked_at(content, "raw").problems == ()
    assert looked_at(iso, "iso") == Image("iso", len(iso), "", ())


def test_two_formats_at_once(qcow2):
    content = qcow2[:0x40] + b"\x7f\x10\xda\xbe" + qcow2[0x44:]
    assert "several formats at once: qcow2, vdi" in looked_at(content, "qcow2").flaws[0]


def test_what_is_appended_changes_nothing(qcow2):
    assert looked_at(qcow2 + b"PK\3\4" * 100_000, "qcow2") == looked_at(qcow2, "qcow2")


def test_words_of_a_stranger_are_short_and_in_one_line(tmp_path):
    content = made(tmp_path, "qcow2", "-u", "-F", "raw", "-b", "/a\n\x1b[31m" + "b" * 900)
    [problem] = looked_at(content, "qcow2").problems
    assert problem.isprintable()
    assert len(problem) < 220


@pytest.fixture(scope="module")
def heads(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    directory = tmp_path_factory.mktemp("images")
    found = [made(directory, form)[:3000] for form in ("qcow2", "qcow", "qed", "vmdk", "vdi", "vpc")]
    found.append(made(directory, "vmdk", "-o", "subformat=streamOptimized")[:3000])
    return [*found, b"vhdxfile" + bytes(3000), b'# Disk DescriptorFile\ncreateType="monolithicFlat"\n' * 20]


@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_no_bytes_make_it_crash(heads, data):
    content = bytearray(data.draw(st.sampled_from(heads)))
    for _ in range(data.draw(st.integers(0, 6))):
        place = data.draw(st.integers(0, min(len(content), 600) - 1))
        part = data.draw(
            st.one_of(st.binary(min_size=1, max_size=16), st.just(b"\xff" * 8), st.just(bytes(8)))
        )
        content[place : place + len(part)] = part
    cut = bytes(content[: data.draw(st.integers(0, len(content)))])
    declared = data.draw(
        st.sampled_from(["", "raw", "qcow2", "qcow", "qed", "vmdk", "vdi", "vpc", "iso", "x"])
    )
    image = looked_at(cut, declared)
    assert all(problem.endswith(".") and problem.isprintable() for problem in image.problems)
    if image.format != declared and image.format in ("qcow2", "qcow", "vmdk", "vdi", "qed"):
        assert image.problems or not declared
