"""Images as the tests make them."""

import subprocess
from pathlib import Path


def qemu_img(*words: object) -> None:
    subprocess.run(["qemu-img", *map(str, words)], check=True, capture_output=True)


def overlay(path: Path, backing: object, form: str = "qcow2", *, unseen: bool = False) -> None:
    """`unseen`: the backing file is not looked for."""
    words = ["-u", path, "1M"] if unseen else [path]
    qemu_img("create", "-f", "qcow2", "-F", form, "-b", backing, *words)
