"""Carrying operations out so that every moment between two of them is a usable state.

What publish and rollback do is prepared first: every new link and file is made under a temporary name, which is what
may run out of space. Then each takes effect by one rename. If one of them fails, those before it are taken back.
"""

import errno
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from conda_concept.errors import BusyError, RefusedError
from conda_concept.layout import Layout
from conda_concept.model import Event, Release
from conda_concept.operations import (
    AppendEvent,
    DropAlias,
    DropCandidate,
    DropModule,
    DropNotice,
    RemoveBase,
    RemoveRelease,
    RemoveTemporary,
    SetAlias,
    SetCandidate,
    SetMode,
    SetModule,
    SetNotice,
    SplitHistory,
    Switch,
    WriteModulerc,
    candidate_target,
    module_target,
)
from conda_concept.record import event_to_line, readable_lines
from conda_concept.store.door import Door, remove, remove_tree, write_new
from conda_concept.store.lease import Lease, Taker
from conda_concept.store.permissions import Permissions, kind_of, settle
from conda_concept.store.reading import NEW, alias_text


@dataclass(frozen=True, slots=True)
class Applier:
    """Changes one store. The store's lock is held by `lease` all the time."""

    door: Door
    layout: Layout
    permissions: Permissions
    lease: Lease

    def switch(self, operations: Sequence[Switch]) -> None:
        """Carry out what publish, rollback and repair decided: all of it, or none.

        A crash leaves the operations before it done and the others not; running the same command again finishes.
        """
        self.lease.check()
        try:
            self._folders()
            for operation in operations:
                self._prepare(operation)
        except (OSError, RefusedError):
            self._unprepare(operations)
            raise
        self.lease.check()
        done: list[Switch] = []
        history = self._history()
        try:
            for operation in operations:
                done.append(operation)
                self._commit(operation)
        except OSError:
            self._undo(done, history)
            raise

    def remove_release(self, operation: RemoveRelease, taker: Taker, still: Callable[[Release], str]) -> str:
        """Delete a release directory; `still` is asked last and says why it has to stay, if so.

        The line in the history comes first, then the marker, from which on the release counts as incomplete, so that
        a run which ends in between leaves nothing that looks whole.
        """
        self.lease.refresh()
        release = operation.release
        prefix = self.layout.prefix(release)
        reason = still(release)
        if reason:
            return reason
        if operation.event is not None:
            self.switch([AppendEvent(operation.event)])
        try:
            with taker.held(self.layout.incomplete(release), "removing") as marker:
                self.door.sync_directory(prefix)
                remove_tree(self.door, prefix, spare=frozenset({marker.path.name}))
        except BusyError as error:  # a build has begun in it, or one whose machine cannot be asked is not over
            return f"{release} stays: {error.message}"
        if self._remove_empty(prefix):
            self._remove_empty(prefix.parent)
        return ""

    def _remove_empty(self, folder: Path) -> bool:
        """Remove a folder if it is empty, which it is not where a build has begun in it meanwhile."""
        try:
            self.door.rmdir(folder)
        except OSError as error:
            if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
                raise
            return False
        return True

    def remove_temporary(self, operation: RemoveTemporary) -> None:
        """Delete a leftover."""
        self.lease.check()
        path = self.layout.root / operation.path
        if path.is_dir() and not path.is_symlink():
            self._remove_empty(path)
        else:
            remove(self.door, path)

    def remove_base(self, operation: RemoveBase) -> None:
        """Delete a container's base: out of everybody's sight first, so that no build finds half of one."""
        self.lease.check()
        path = self.layout.runtime / operation.name
        gone = path if path.name.startswith(".") else path.with_name(f".{path.name}.gone")
        if gone != path:
            if gone.is_dir():
                remove_tree(self.door, gone)
                self.door.rmdir(gone)
            self.door.rename(path, gone)
        remove_tree(self.door, gone)
        self.door.rmdir(gone)

    def set_mode(self, operation: SetMode) -> None:
        """Right the permissions of one path."""
        self.lease.check()
        path = self.layout.root / operation.path
        self.permissions.apply(self.door, path, "program" if operation.program else kind_of(path.lstat().st_mode))

    def split_history(self, _operation: SplitHistory) -> None:
        """Keep the readable lines, and put the others into `history.jsonl.damaged`."""
        self.lease.check()
        path = self.layout.history
        good, bad = readable_lines(path.read_text(encoding="utf-8", errors="surrogateescape"))
        aside = path.with_name(f"{path.name}.damaged")
        before = aside.read_text(encoding="utf-8", errors="surrogateescape") if aside.is_file() else ""
        for target, text in ((aside, before + bad), (path, good)):
            self._file(target, text)
            self.door.rename(_new(target), target)
            self.door.sync_directory(target.parent)

    def _folders(self) -> None:
        layout = self.layout
        for folder in (layout.releases, layout.envs, layout.modules, layout.candidates / layout.product):
            settle(self.door, folder, layout.root, self.permissions)

    def _prepare(self, operation: Switch) -> None:
        """Make what the operation will rename into place."""
        match operation:
            case SetAlias(move):
                self._link(self.layout.alias(move.alias), alias_text(move.alias, move.after))
            case SetModule(label):
                self._link(self.layout.module(label), module_target(label, self.layout.product))
            case SetCandidate(name, release):
                self._link(self.layout.candidate_module(name), candidate_target(release))
            case WriteModulerc(text):
                self._file(self.layout.modulerc, text)
            case SetNotice(label, text):
                settle(self.door, self.layout.notices, self.layout.root, self.permissions)
                self._file(self.layout.notice(label), text)
            case AppendEvent(event):
                self._file(self.layout.history, self._history_with(event))
            case DropAlias() | DropModule() | DropCandidate() | DropNotice():
                pass

    def _unprepare(self, operations: Sequence[Switch]) -> None:
        """Remove what was made and will not be used; what cannot be removed is found by prune and doctor."""
        for operation in operations:
            with suppress(OSError):
                remove(self.door, _new(self._path(operation)))

    def _path(self, operation: Switch) -> Path:
        """The one path that an operation replaces or takes away."""
        match operation:
            case SetAlias(move) | DropAlias(move):
                return self.layout.alias(move.alias)
            case SetModule(name) | DropModule(name):
                return self.layout.module(name)
            case SetCandidate(name) | DropCandidate(name):
                return self.layout.candidate_module(name)
            case WriteModulerc():
                return self.layout.modulerc
            case SetNotice(label) | DropNotice(label):
                return self.layout.notice(label)
            case AppendEvent():
                return self.layout.history

    def _commit(self, operation: Switch) -> None:
        path = self._path(operation)
        match operation:
            case DropAlias() | DropModule() | DropCandidate() | DropNotice():
                remove(self.door, path)
            case _:
                self.door.rename(_new(path), path)
        self.door.sync_directory(path.parent)

    def _undo(self, done: Sequence[Switch], history: str | None) -> None:
        """Take back what was done, last first, as far as the file system lets us; the caller raises anyway."""
        for operation in reversed(done):
            with suppress(OSError):
                self._take_back(operation, history)

    def _take_back(self, operation: Switch, history: str | None) -> None:
        path = self._path(operation)
        remove(self.door, _new(path))
        match operation:
            case SetAlias(move) | DropAlias(move):
                before = alias_text(move.alias, move.before) if move.before else ""
                self._restore_link(path, before)
            case SetModule(_, before) | DropModule(_, before) | SetCandidate(_, _, before) | DropCandidate(_, before):
                self._restore_link(path, before)
            case WriteModulerc(_, before) | SetNotice(_, _, before) | DropNotice(_, before):
                self._restore_file(path, before)
            case AppendEvent():
                self._restore_file(path, history)

    def _restore_link(self, path: Path, before: str) -> None:
        if before:
            self._link(path, before)
            self.door.rename(_new(path), path)
        else:
            remove(self.door, path)

    def _restore_file(self, path: Path, before: str | None) -> None:
        if before is None:
            remove(self.door, path)
        else:
            self._file(path, before)
            self.door.rename(_new(path), path)

    def _link(self, path: Path, text: str) -> None:
        if path.is_dir() and not path.is_symlink():
            raise RefusedError(f"{path} is a directory; only this program's links belong there.")
        remove(self.door, _new(path))
        self.door.symlink(text, _new(path))

    def _file(self, path: Path, text: str) -> None:
        write_new(self.door, _new(path), text.encode(errors="surrogateescape"))
        self.permissions.apply(self.door, _new(path), "file")

    def _history(self) -> str | None:
        path = self.layout.history
        return path.read_text(encoding="utf-8", errors="surrogateescape") if path.is_file() else None

    def _history_with(self, event: Event) -> str:
        before = self._history() or ""
        if before and not before.endswith("\n"):
            before += "\n"
        return before + event_to_line(event)


def _new(path: Path) -> Path:
    """The temporary name of what is about to be renamed to `path`. One for each: the lock keeps others away."""
    return path.with_name(f".{path.name.removeprefix('.')}{NEW}")
