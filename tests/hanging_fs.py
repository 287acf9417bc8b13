"""A file system that can stop answering, as a dead NFS server does: one file, served over /dev/fuse. Needs root."""

import contextlib
import ctypes
import errno
import os
import struct
import subprocess
import threading
from pathlib import Path

FILE, SIZE, BLOCK = b"disk.img", 1024**2, 4096
ROOT_ID, FILE_ID = 1, 2
LOOKUP, FORGET, GETATTR, OPEN, READ, STATFS, RELEASE = 1, 2, 3, 14, 15, 17, 18
FLUSH, INIT, OPENDIR, READDIR, RELEASEDIR, INTERRUPT, BATCH_FORGET = 25, 26, 27, 28, 29, 36, 42
_HEADER = struct.Struct("<IIQQIIIHH")  # struct fuse_in_header of linux/fuse.h


class HangingFileSystem:
    """Mounted on `directory` inside `with`. hang() holds every request until answer()."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._answers = threading.Event()
        self._answers.set()

    def hang(self) -> None:
        self._answers.clear()

    def answer(self) -> None:
        self._answers.set()

    def __enter__(self) -> "HangingFileSystem":
        self.directory.mkdir(parents=True, exist_ok=True)
        self._device = os.open("/dev/fuse", os.O_RDWR)
        options = f"fd={self._device},rootmode=40000,user_id=0,group_id=0,allow_other"
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.mount(b"hanging", os.fsencode(self.directory), b"fuse.hanging", 0, options.encode()):
            raise OSError(ctypes.get_errno(), "mount")
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.answer()
        subprocess.run(["umount", "--lazy", self.directory], check=True)
        self._thread.join(10)
        os.close(self._device)

    def _serve(self) -> None:
        while True:
            try:
                request = os.read(self._device, 1 << 18)
            except InterruptedError:
                continue
            except OSError as error:
                if error.errno == errno.ENODEV:  # unmounted
                    return
                raise
            _, opcode, unique, node, *_ = _HEADER.unpack_from(request)
            if opcode not in (FORGET, BATCH_FORGET, INTERRUPT):
                self._answers.wait()
                self._reply(unique, *_answer(opcode, node, request[_HEADER.size :]))

    def _reply(self, unique: int, error: int, body: bytes) -> None:
        with contextlib.suppress(FileNotFoundError):  # whoever asked was killed
            os.write(self._device, struct.pack("<IiQ", 16 + len(body), -error, unique) + body)


def _answer(opcode: int, node: int, body: bytes) -> tuple[int, bytes]:
    if opcode == INIT:
        return 0, struct.pack("<IIIIHHIIHHI28x", 7, 31, 0, 0, 8, 8, 1 << 16, 1, 0, 0, 0)
    if opcode == LOOKUP:
        if node != ROOT_ID or body != FILE + b"\0":
            return errno.ENOENT, b""
        return 0, struct.pack("<QQQQII", FILE_ID, 0, 0, 0, 0, 0) + _attributes(FILE_ID)
    if opcode == GETATTR:
        return 0, struct.pack("<QII", 0, 0, 0) + _attributes(node)
    if opcode in (OPEN, OPENDIR):
        return 0, struct.pack("<QII", 0, 0, 0)
    if opcode == READ:
        _, offset, size = struct.unpack_from("<QQI", body)
        return 0, bytes(max(0, min(size, SIZE - offset)))
    if opcode == READDIR:
        return 0, _entries(struct.unpack_from("<QQ", body)[1])
    if opcode == STATFS:
        return 0, struct.pack("<QQQQQIIII24x", 1000, 500, 500, 10, 5, BLOCK, 255, BLOCK, 0)
    return (0, b"") if opcode in (FLUSH, RELEASE, RELEASEDIR) else (errno.ENOSYS, b"")


def _attributes(node: int) -> bytes:
    is_root = node == ROOT_ID
    mode, size = (0o40755, BLOCK) if is_root else (0o100644, SIZE)
    return struct.pack(
        "<QQQQQQIIIIIIIIII", node, size, size // 512, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, BLOCK, 0
    )


def _entries(offset: int) -> bytes:
    entries = [(ROOT_ID, b".", 4), (ROOT_ID, b"..", 4), (FILE_ID, FILE, 8)]
    packed = b""
    for place, (node, name, kind) in enumerate(entries[offset:], offset + 1):
        packed += struct.pack("<QQII", node, place, len(name), kind) + name + bytes(-len(name) % 8)
    return packed
