"""Room on a disk: what a build takes of it, and whether a folder has it.

A quota may be smaller than what the file system has free; then the error comes when it is hit.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from conda_concept.errors import SpaceError
from conda_concept.model import Package

#: By archives: a tree is about three times as large, an image half of the tree, and so are its layers in the cache.
_TREE, _IMAGE, _LAYERS = 4.0, 2.0, 1.5
#: Files and folders of a package; the real environment of 1,015 packages has 285 files in each.
_INODES = 400


@dataclass(frozen=True, slots=True)
class Room:
    """Bytes and inodes."""

    size: int
    inodes: int


@dataclass(frozen=True, slots=True)
class Demand:
    """What so many packages of so many bytes take, packed, where they are unpacked, built and kept."""

    archives: int
    packages: int

    @classmethod
    def of(cls, packages: Sequence[Package]) -> "Demand":
        """What these packages take."""
        return cls(sum(package.size or 0 for package in packages), len(packages))

    @property
    def cache(self) -> Room:
        """Archives, what they unpack to, and their layers."""
        return Room(int(self.archives * (_TREE + _LAYERS)), self.packages * _INODES)

    @property
    def scratch(self) -> Room:
        """A tree and its image."""
        return Room(int(self.archives * (_TREE + _IMAGE)), self.packages * _INODES)

    @property
    def root(self) -> Room:
        """An image; launchers, lock, modulefile, record and their folders."""
        return Room(int(self.archives * _IMAGE), 200)


#: An environment as large as the largest that is known: 1,015 packages, a tree of 10 GB.
LARGE = Demand(archives=4 * 10**9, packages=1_000)


def nearest(path: Path) -> Path:
    """The folder itself, or the nearest one above it that is there."""
    return next((one for one in (path, *path.parents) if one.is_dir()), Path("/"))


def free(folder: Path) -> tuple[int, int | None]:
    """Free bytes and inodes (None: without a fixed number) of the file system that has, or would have, a folder."""
    found = os.statvfs(nearest(folder))
    return found.f_bavail * found.f_frsize, found.f_favail if found.f_files else None


def require(folder: Path, room: Room, doing: str, hint: str) -> None:
    """`SpaceError` if the file system of `folder` has less than `room`; `doing` says what for, `hint` what to do."""
    size, inodes = free(folder)
    if size < room.size:
        raise SpaceError(
            f"Not enough space to {doing}: {folder} has {size / 1e9:.1f} GB free, {room.size / 1e9:.1f} GB are needed.",
            hint=hint,
        )
    if inodes is not None and inodes < room.inodes:
        raise SpaceError(
            f"Not enough inodes to {doing}: {folder} has {inodes:,} left, {room.inodes:,} are needed.", hint=hint
        )
