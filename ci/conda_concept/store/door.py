"""The one door to changing a disk: every mutating system call of the store goes through here, one method each.

So a test can count them, end the process at any of them, or make any of them fail, and none is missed.
"""

import ctypes
import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from conda_concept.errors import SpaceError, StorageError


class Door(Protocol):
    """What the store may do to a file system. Each method is one step that happens or does not."""

    def mkdir(self, path: Path) -> None:
        """Make one directory; its parent is there and it is not."""

    def create(self, path: Path) -> int:
        """A new empty file, open for writing, readable by its owner only; it was not there before."""

    def write(self, descriptor: int, data: bytes | memoryview) -> None:
        """Append all of `data`."""

    def sync(self, descriptor: int) -> None:
        """Bring a file's content to the disk."""

    def sync_directory(self, path: Path) -> None:
        """Bring a directory's names to the disk."""

    def link(self, source: Path, path: Path) -> None:
        """A second name for a file; fails if `path` is there. Atomic on every file system, over NFS too."""

    def symlink(self, target: str, path: Path) -> None:
        """A symbolic link with exactly this text."""

    def rename(self, source: Path, path: Path) -> None:
        """Give `source` the name `path` and replace what had it, in one step that no reader can see half done."""

    def exchange(self, source: Path, path: Path) -> None:
        """Let two paths change places in one step; `OSError` (EINVAL) on a file system that has no such step."""

    def unlink(self, path: Path) -> None:
        """Take a name away."""

    def rmdir(self, path: Path) -> None:
        """Take an empty directory away."""

    def chmod(self, path: Path, mode: int) -> None:
        """Set the permission bits."""

    def chgrp(self, path: Path, gid: int) -> None:
        """Set the group; of a symbolic link itself, not of what it leads to."""

    def set_acl(self, path: Path, attribute: str, value: bytes) -> None:
        """Set a POSIX access control list in the kernel's own encoding."""

    def touch(self, path: Path) -> None:
        """Set the modification time to now, by the file server's clock."""


#: linux/fcntl.h and linux/fs.h.
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2


class RealDoor:
    """The door to this machine's file systems."""

    def mkdir(self, path: Path) -> None:
        """Make one directory, for its owner only until its permissions are set."""
        path.mkdir(mode=0o700)

    def create(self, path: Path) -> int:
        """A new file, open for writing."""
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)

    def write(self, descriptor: int, data: bytes | memoryview) -> None:
        """Append all of `data`; a short write goes on where it stopped."""
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(descriptor, rest) :]

    def sync(self, descriptor: int) -> None:
        """The system call fsync."""
        os.fsync(descriptor)

    def sync_directory(self, path: Path) -> None:
        """The system call fsync, of a directory; where it is not known, there is nothing to bring to the disk."""
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno not in {errno.EINVAL, errno.ENOTSUP}:
                raise
        finally:
            os.close(descriptor)

    def link(self, source: Path, path: Path) -> None:
        """The system call link."""
        os.link(source, path, follow_symlinks=False)

    def symlink(self, target: str, path: Path) -> None:
        """The system call symlink."""
        path.symlink_to(target)

    def rename(self, source: Path, path: Path) -> None:
        """The system call rename."""
        source.replace(path)

    def exchange(self, source: Path, path: Path) -> None:
        """The system call renameat2 with RENAME_EXCHANGE, which Python does not have."""
        libc = ctypes.CDLL(None, use_errno=True)
        if not hasattr(libc, "renameat2"):
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS), str(source))
        if libc.renameat2(_AT_FDCWD, bytes(source), _AT_FDCWD, bytes(path), _RENAME_EXCHANGE) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(source), None, str(path))

    def unlink(self, path: Path) -> None:
        """The system call unlink."""
        path.unlink()

    def rmdir(self, path: Path) -> None:
        """The system call rmdir."""
        path.rmdir()

    def chmod(self, path: Path, mode: int) -> None:
        """The system call chmod."""
        path.chmod(mode)

    def chgrp(self, path: Path, gid: int) -> None:
        """The system call lchown, with the owner left alone."""
        os.chown(path, -1, gid, follow_symlinks=False)

    def set_acl(self, path: Path, attribute: str, value: bytes) -> None:
        """The system call setxattr."""
        os.setxattr(path, attribute, value)

    def touch(self, path: Path) -> None:
        """The system call utimensat, with no times given."""
        os.utime(path)


_FULL = {
    errno.ENOSPC: "no space is left on the file system",
    errno.EDQUOT: "the disk quota is used up",
    errno.EMLINK: "a file cannot have more names",
}


@contextmanager
def explained(doing: str) -> Iterator[None]:
    """Turn a failed system call into the error that people see: `doing` says what was tried, as `publish …`."""
    try:
        yield
    except OSError as error:
        path = f" ({error.filename2 or error.filename})" if error.filename else ""
        if error.errno in _FULL:
            raise SpaceError(
                f"Could not {doing}: {_FULL[error.errno]}{path}. What was live before is still live.",
                hint="Make room (`conda-concept prune --dry-run` shows what could go), then run the command again.",
            ) from error
        hint = "Run the same command again when that is mended; `conda-concept doctor` checks the store."
        if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
            hint = "Only its owners write the store; `conda-concept doctor` checks its permissions."
        raise StorageError(f"Could not {doing}: {error.strerror}{path}.", hint=hint) from error


def write_new(door: Door, path: Path, data: bytes) -> None:
    """A new file with this content, on the disk; what a run that ended early left under the name goes first."""
    remove(door, path)
    descriptor = door.create(path)
    try:
        door.write(descriptor, data)
        door.sync(descriptor)
    finally:
        os.close(descriptor)


def remove(door: Door, path: Path) -> None:
    """Take a name away if it is there; not a directory."""
    if os.path.lexists(path):
        door.unlink(path)


def remove_tree(door: Door, path: Path, *, spare: frozenset[str] = frozenset()) -> None:
    """Delete what is in a directory, deepest first, but not the directory; `spare` names entries of it to leave.

    Symbolic links are removed, never followed.
    """
    with os.scandir(path) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    for entry in found:
        if entry.name in spare:
            continue
        if entry.is_dir(follow_symlinks=False):
            remove_tree(door, Path(entry.path))
            door.rmdir(Path(entry.path))
        else:
            door.unlink(Path(entry.path))


def make_directories(door: Door, path: Path) -> tuple[Path, ...]:
    """Make a directory and its parents where they are not there; the ones made, topmost first."""
    missing = []
    while not path.is_dir():
        missing.append(path)
        path = path.parent
    for one in reversed(missing):
        try:
            door.mkdir(one)
        except FileExistsError:  # somebody else was quicker, which is as good
            if not one.is_dir():
                raise
    return tuple(reversed(missing))
