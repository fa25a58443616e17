"""Putting a release that was built anew in the place of a damaged one, without a moment in which it is not there."""

import errno
import itertools
import os
from dataclasses import dataclass
from pathlib import Path

from conda_concept.layout import INCOMPLETE, Layout
from conda_concept.model import Release
from conda_concept.store.door import Door, write_new
from conda_concept.store.permissions import Permissions
from conda_concept.store.staging import walk

_NO_EXCHANGE = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP})


@dataclass(frozen=True, slots=True)
class Replacing:
    """One release, and the one that was made beside it. The same bytes are at the same path before and after.

    The damaged directory is moved aside whole and never deleted: a job that has something of it open keeps it.
    """

    door: Door
    layout: Layout
    release: Release
    permissions: Permissions

    def is_due(self) -> bool:
        """Whether one stands beside the place of the release, new or old: a run ended after it had built it."""
        beside = self.layout.again(self.release)
        return beside.is_dir() and not os.path.lexists(beside / INCOMPLETE) and bool(walk(beside))

    def finish(self) -> bool:
        """Exchange the two, then give the damaged one its name; done again, it goes on where it ended.

        Returns whether the one that was beside is in its place now: the name may be all that was missing. The store's
        lock has to be held. Of the two, the one with the newer record is the one to be used. Where the file system
        cannot exchange them, the release is away between two renames.
        """
        beside, prefix = self.layout.again(self.release), self.layout.prefix(self.release)
        newer = not prefix.is_dir() or self._written(beside) > self._written(prefix)
        if not prefix.is_dir():
            self.door.rename(beside, prefix)
        elif newer:
            self._carry_keep(beside)
            try:
                self.door.exchange(beside, prefix)
            except OSError as error:
                if error.errno not in _NO_EXCHANGE:
                    raise
                self.door.rename(prefix, self._free())
                self.door.rename(beside, prefix)
        if beside.is_dir():
            self.door.rename(beside, self._free())
        self.door.sync_directory(prefix.parent)
        return newer

    def _written(self, folder: Path) -> int:
        try:
            return (folder / self.layout.record(self.release).name).stat().st_mtime_ns
        except OSError:
            return 0

    def _carry_keep(self, beside: Path) -> None:
        """Who pinned the release has pinned the new one too."""
        keep = self.layout.keep(self.release)
        if keep.is_file():
            write_new(self.door, beside / keep.name, keep.read_bytes())
            self.permissions.apply(self.door, beside / keep.name, "file")

    def _free(self) -> Path:
        names = (self.layout.replaced(self.release, number) for number in itertools.count(1))
        return next(name for name in names if not os.path.lexists(name))
