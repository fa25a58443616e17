"""What becomes the process behind a mount, with real tools but the mounting one."""

import os
import struct
import subprocess
from pathlib import Path

import pytest

from conda_concept.render.launcher import template_text
from conda_concept.run import run


def serve(folder: Path, image: Path) -> tuple[str, list[str]]:
    """Run it on an image: what the mounting program was called with, and each call of `dd`."""
    tools = folder / "bin"
    tools.mkdir()
    for name in ("flock", "od"):
        (tools / name).symlink_to(f"/usr/bin/{name}")
    (tools / "dd").write_text(f'#!/bin/sh\necho "$*" >>{folder}/read\nexec /usr/bin/dd "$@"\n', "utf-8")
    (tools / "dd").chmod(0o755)
    words = [
        "bash",
        "-p",
        "-c",
        template_text("serve.sh"),
        "serve",
        "/bin/echo",
        str(image),
        "/mount",
        "60",
        str(tools),
    ]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    reads = folder / "read"
    return done.stdout, reads.read_text("utf-8").splitlines() if reads.exists() else []


def test_the_tables_of_an_image_are_read_in_a_row(tmp_path: Path, mksquashfs: Path) -> None:
    tree, image = tmp_path / "tree", tmp_path / "image.sqsh"
    tree.mkdir()
    (tree / "data").write_bytes(os.urandom(3 << 20))
    run([mksquashfs, tree, image, "-quiet", "-no-progress"])
    (tables,) = struct.unpack_from("<Q", image.read_bytes(), 64)
    assert tables > 3 << 20
    said, reads = serve(tmp_path, image)
    assert said == f"-o timeout=60 {image} /mount\n"
    assert reads == [f"if={image} of=/dev/null bs=1048576 skip=3"]


@pytest.mark.parametrize("text", [None, b"", b"not a squashfs image" + bytes(range(255, 150, -1))])
def test_an_image_that_cannot_be_read_is_left_to_who_mounts_it(tmp_path: Path, text: bytes | None) -> None:
    image = tmp_path / "image.sqsh"
    if text is not None:
        image.write_bytes(text)
    said, _ = serve(tmp_path, image)
    assert said == f"-o timeout=60 {image} /mount\n"
