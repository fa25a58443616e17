"""A folder for one build on fast local disk: gone when the build ends, and swept by the next one if it was killed."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from threading import Thread

from conda_concept.download import disk_error

_NAME = "conda-concept-build-"
#: Held by the process that builds, for as long as it lives; scratch is local, so a lock is seen by all who share it.
_ALIVE = "alive"
#: Seconds after which a folder without that file is nobody's: its owner was killed between two system calls.
_NEW = 3600.0


@dataclass(frozen=True, slots=True)
class Scratch:
    """The folder of a build, and what of it goes away meanwhile."""

    path: Path
    _going: list[Thread] = field(default_factory=list)

    def discard(self, tree: Path) -> None:
        """Remove a tree while the build goes on: 290,000 names take a local disk half a minute."""
        thread = Thread(target=rmtree, args=(tree,), kwargs={"ignore_errors": True}, name=f"discard {tree.name}")
        thread.start()
        self._going.append(thread)

    def end(self) -> None:
        """Remove all."""
        for thread in self._going:
            thread.join()
        rmtree(self.path, ignore_errors=True)


@contextmanager
def scratch_folder(below: Path) -> Iterator[Scratch]:
    """A new folder in `below`, which is made where it is missing; it is gone when the block ends, however it ends.

    What killed builds of the same account left there goes first. `SpaceError` or `InputError` where the folder, or
    what the block writes, cannot be.
    """
    try:
        below.mkdir(parents=True, exist_ok=True)
        sweep(below)
        scratch = Scratch(Path(mkdtemp(prefix=_NAME, dir=below)))
    except OSError as error:
        raise disk_error(error, below) from error
    try:
        with (scratch.path / _ALIVE).open("wb") as alive:
            _lock(alive.fileno())
            yield scratch
    except OSError as error:
        raise disk_error(error, scratch.path) from error
    finally:
        scratch.end()


def sweep(below: Path) -> tuple[Path, ...]:
    """Remove folders of builds that have ended without doing so, and say which."""
    dead = tuple(path for path in sorted(below.glob(f"{_NAME}*")) if _is_dead(path))
    for path in dead:
        rmtree(path, ignore_errors=True)
    return dead


def _is_dead(folder: Path) -> bool:
    """Whether a folder is ours and nobody's any more; if that cannot be known, it is not."""
    try:
        if folder.is_symlink() or folder.stat().st_uid != os.geteuid():
            return False
        with (folder / _ALIVE).open("rb") as alive:
            return _lock(alive.fileno())
    except FileNotFoundError:
        return folder.is_dir() and time.time() - folder.stat().st_mtime > _NEW
    except OSError:
        return False


def _lock(descriptor: int) -> bool:
    """Take the lock of a folder; false if its builder lives, or if the file system has no locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
