"""Joined images as everybody else reads them: unsquashfs, squashfuse and the kernel, in every compressor."""

import os
import random
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import get_args

import pytest

from conda_concept.image import squash
from conda_concept.settings import Squash
from conda_concept.squashfs import Part, join, read

BLOCK = 131072
COMPRESSIONS = get_args(Squash.model_fields["compression"].annotation)


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three trees that have files of every kind that the format has a case for."""
    dice = random.Random(7)  # noqa: S311 - the same every time
    folder = tmp_path_factory.mktemp("trees")
    first, second, last = (folder / name for name in ("first", "second", "last"))
    for size in (0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK, 5 * BLOCK + 77):
        for kind, content in (("noise", dice.randbytes(size)), ("text", (b"word " * (size // 5 + 1))[:size])):
            path = first / "lib" / "deep" / f"{kind}.{size}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    with (first / "lib" / "sparse").open("wb") as out:
        out.seek(20 * BLOCK)
        out.write(b"end")
    program = first / "lib" / "program"
    program.write_bytes(b"#!/bin/sh\n")
    program.chmod(0o700)
    (first / "lib" / "link").symlink_to("deep/../nowhere")
    os.link(program, first / "lib" / "again")
    (second / "bin").mkdir(parents=True)
    for number in range(3000):
        (second / "bin" / f"command-{number}").write_bytes(b"%d" % number)
    (last / "empty" / "inner").mkdir(parents=True)
    (last / os.fsdecode(b"lib\n\xff")).mkdir()
    (last / os.fsdecode(b"lib\n\xff") / "x").write_text("x")
    return [first, second, last]


def joined(trees: list[Path], folder: Path, options: Squash) -> Path:
    """The image of all trees, each squashed alone."""
    files, parts = [], []
    for tree in trees:
        files.append(folder / f"{tree.name}.sqsh")
        squash(tree, files[-1], options, 2)
        image = read(files[-1])
        parts.append(Part(image, {path: path for path in image.files}))
    found = join(parts, options.level)
    whole = folder / "whole.sqsh"
    with whole.open("wb") as out:
        out.write(found.front)
        for file, part in zip(files, parts, strict=True):
            out.write(file.read_bytes()[part.image.contents.start : part.image.contents.stop])
        out.write(found.tables)
    return whole


def state(tree: Path) -> dict[bytes, tuple[int, bytes]]:
    """Every path of a tree: kind and whether it is a program, and its content."""
    found = {}
    for path in tree.rglob("*"):
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode):
            found[os.fsencode(path.relative_to(tree))] = (stat.S_IFLNK, os.fsencode(path.readlink()))
        elif stat.S_ISDIR(mode):
            found[os.fsencode(path.relative_to(tree))] = (stat.S_IFDIR, b"")
        else:
            found[os.fsencode(path.relative_to(tree))] = (stat.S_IFREG | mode & 0o100, path.read_bytes())
    return found


@contextmanager
def mounted(*argv: str | Path, at: Path) -> Iterator[Path]:
    at.mkdir()
    subprocess.run([*argv, at], check=True)
    try:
        yield at
    finally:
        subprocess.run(["/usr/bin/umount", at], check=True)


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_every_reader_sees_all_of_all_parts(trees: list[Path], tmp_path: Path, compression: str) -> None:
    wanted = {path: entry for tree in trees for path, entry in state(tree).items()}
    options = Squash.model_validate({"compression": compression, "level": 3})
    whole = joined(trees, tmp_path, options)
    plain = tmp_path / "plain"
    subprocess.run(["/usr/bin/unsquashfs", "-no-progress", "-quiet", "-d", plain, whole], check=True)
    assert state(plain) == wanted
    with mounted("/usr/bin/squashfuse", whole, at=tmp_path / "fuse") as tree:
        assert state(tree) == wanted
        assert not (tree / "bin" / "command-3000").exists()
    with mounted("/usr/bin/mount", "-t", "squashfs", "-o", "loop,ro", whole, at=tmp_path / "kernel") as tree:
        assert state(tree) == wanted
        # By name, through the index of a long list.
        assert all((tree / "bin" / f"command-{number}").read_bytes() == b"%d" % number for number in range(0, 3000, 7))
        assert not (tree / "bin" / "command-3000").exists()
        modes = {stat.S_IMODE((tree / "lib" / name).stat().st_mode) for name in ("program", "again", "deep")}
        assert modes == {0o755}


def test_the_same_trees_give_the_same_bytes(trees: list[Path], tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    one, two = (joined(trees, tmp_path / name, Squash()) for name in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()
