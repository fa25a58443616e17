"""What the store holds now, read without changing it: releases, aliases, modules, history, leftovers."""

import datetime as dt
import hashlib
import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from conda_concept.errors import IntegrityError, NotFoundError
from conda_concept.layout import Layout
from conda_concept.model import Alias, Event, Release, ReleaseRecord, Verdict
from conda_concept.operations import Standing, StoreState
from conda_concept.record import BUILD_ID, LABEL, history_from_text, release_from_text, verdict_from_text
from conda_concept.settings import Retention
from conda_concept.store.door import explained
from conda_concept.store.lease import Holder, Identity, read_holder

NEW = ".new"
"""How the names of files that are about to be renamed into place end; they start with a dot."""


#: A base's name as `runtime.base_name` gives it, in a launcher's own facts.
_BASE = re.compile(r"\bbase-[0-9a-f]{12}\b")


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads one store. `identity` tells live builders from dead ones.

    `lock_hours`: a builder whose machine cannot be asked counts as gone after so long without a sign of life.
    """

    layout: Layout
    identity: Identity
    lock_hours: float = Retention().lock_hours

    def state(self) -> StoreState:
        """Everything that decisions rest on. Records stay closed: a dozen of them would cost more than all this.

        It may be read while others work: what goes away between being listed and being looked at (a lease on its way,
        a release that is pruned) is no error, the store is looked at once more. A release that this account may not
        look into is one that somebody builds, or that `doctor` has something to say about.
        """
        with explained(f"read the store {self.layout.apps}"):
            for _ in range(20):
                with suppress(FileNotFoundError):
                    return self._state()
            return self._state()

    def _state(self) -> StoreState:
        return StoreState(
            releases=tuple(self._standing(release) for release in self.releases()),
            aliases=tuple(self._aliases()),
            modules=_links(self.layout.modules),
            modulerc=self._modulerc(),
            history=self.history()[0],
            candidates=_links(self.layout.candidates / self.layout.product),
            temporaries=tuple(self._temporaries()),
            notices=self._notices(),
            bases=self._bases(),
        )

    def releases(self) -> tuple[Release, ...]:
        """All release directories, complete or not, sorted."""
        found = []
        for label in _folders(self.layout.releases):
            for build_id in _folders(self.layout.releases / label):
                if LABEL.fullmatch(label) and BUILD_ID.fullmatch(build_id):
                    environment, _, version = label.partition("-")
                    found.append(Release(environment, version, build_id))
        return tuple(sorted(found))

    def complete(self, release: Release) -> bool:
        """Whether a release is there as a whole: its record is written last, then its marker goes."""
        try:
            return self.layout.record(release).is_file() and not os.path.lexists(self.layout.incomplete(release))
        except PermissionError:  # a folder of somebody else's that was not opened to others yet
            return False

    def record(self, release: Release) -> ReleaseRecord:
        """The record of a complete release, or `NotFoundError`, or `IntegrityError`."""
        path = self.layout.record(release)
        if not self.layout.prefix(release).is_dir():
            raise NotFoundError(f"There is no release {release} in {self.layout.releases}.")
        if not self.complete(release):
            raise IntegrityError(
                f"{release} is not complete: its build did not end, or it is being removed.",
                hint=f"`conda-concept build {release.environment}` takes over what is there.",
            )
        record = release_from_text(_text(path), where=str(path))
        if record.release != release or record.prefix != str(self.layout.prefix(release)):
            raise IntegrityError(
                f"{path} is the record of {record.release} at {record.prefix}.",
                hint="A release works only at the path that it was built for; it cannot be copied or moved.",
            )
        return record

    def verdict(self, release: Release) -> Verdict | None:
        """What the tests said; None where they have said nothing."""
        waiting = self.waiting_verdict(release)
        if waiting is not None:
            return waiting
        path = self.layout.verdict(release)
        return verdict_from_text(_text(path), where=str(path)) if path.is_file() else None

    def waiting_verdict(self, release: Release) -> Verdict | None:
        """The verdict on the report that is in place, where a run ended before it gave it its name; else None."""
        part, report = part_of(self.layout.verdict(release)), self.layout.tests(release)
        if not part.is_file() or not report.is_file():
            return None
        try:
            verdict = verdict_from_text(_text(part), where=str(part))
            is_of_report = verdict.report_sha256 == hashlib.sha256(report.read_bytes()).hexdigest()
        except (IntegrityError, OSError):  # of a run that ended earlier: the report was not replaced
            return None
        return verdict if is_of_report else None

    def history(self) -> tuple[tuple[Event, ...], tuple[str, ...]]:
        """The events, oldest first, and the problems of lines that cannot be read."""
        if not self.layout.history.is_file():
            return (), ()
        # Bytes that are no text make one line unreadable, and must not hide the others.
        text = self.layout.history.read_text(encoding="utf-8", errors="surrogateescape")
        return history_from_text(text, where=str(self.layout.history))

    def _standing(self, release: Release) -> Standing:
        record, keep = self.layout.record(release), self.layout.keep(release)
        complete = self.complete(release)
        finished = dt.datetime.fromtimestamp(record.stat().st_mtime, tz=dt.UTC) if complete else None
        builder = ""
        if not complete:
            marker = self.layout.incomplete(release)
            holder = read_holder(marker)
            if holder is not None and not self._is_gone(marker, holder):
                builder = str(holder)
        return Standing(release, complete, finished, builder, _reason(keep))

    def _aliases(self) -> list[Alias]:
        """The links of `envs`; a label's is cut down to its build id, anything foreign stays as it is written."""
        found = []
        for name, target in sorted(_links(self.layout.envs).items()):
            head, _, build_id = target.rpartition("/")
            found.append(Alias(name, build_id if head == f"../releases/{name}" else target))
        return found

    def _modulerc(self) -> str | None:
        path = self.layout.modulerc
        return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else None

    def _notices(self) -> dict[str, str]:
        folder = self.layout.notices
        found = sorted(folder.iterdir()) if folder.is_dir() else []
        return {
            path.name: path.read_text(encoding="utf-8", errors="replace")
            for path in found
            if LABEL.fullmatch(path.name) and path.is_file()
        }

    def _temporaries(self) -> list[str]:
        """What nobody needs once the store's lock is held.

        Files on their way into place, leases that never became one, and label folders that hold no release.
        """
        layout = self.layout
        found = []
        for folder in (layout.apps, layout.envs, layout.modules, layout.notices, layout.candidates / layout.product):
            for path in sorted(folder.iterdir()) if folder.is_dir() else ():
                lost_lease = path.name.startswith(f".{layout.lock.name}.") and self._is_lost(path)
                if (path.name.startswith(".") and path.name.endswith(NEW)) or lost_lease:
                    found.append(str(path.relative_to(layout.root)))
        labels = [layout.releases / label for label in _folders(layout.releases)]
        return found + [str(label.relative_to(layout.root)) for label in labels if _is_empty(label)]

    def _bases(self) -> dict[str, frozenset[Release]]:
        """The container bases, each with the releases whose launchers name it; a staging folder's is an hour's."""
        found: dict[str, set[Release]] = {}
        for name in _folders(self.layout.runtime):
            path = self.layout.runtime / name
            staged = name.startswith(".") and not name.endswith(".gone")
            if not staged or dt.datetime.now(tz=dt.UTC).timestamp() - path.lstat().st_mtime > 3600:
                found[name] = set()
        for release in self.releases() if found else ():
            named = _BASE.search(_start(self.layout.prefix(release) / "launcher"))
            if named and named[0] in found:
                found[named[0]].add(release)
        return {name: frozenset(users) for name, users in found.items()}

    def _is_lost(self, path: Path) -> bool:
        """Whether a lease's file that never got its name is of a process that ended."""
        holder = read_holder(path)
        return holder is not None and self._is_gone(path, holder)

    def _is_gone(self, path: Path, holder: Holder) -> bool:
        """Whether the holder of a lease's file has ended, or has given no sign of life for too long.

        By this machine's clock, since nothing is written to read a store. Whoever takes the lease asks once more, by
        the file server's.
        """
        alive = holder.alive(self.identity)
        if alive is not None:
            return not alive
        try:
            age = dt.datetime.now(tz=dt.UTC).timestamp() - path.lstat().st_mtime
        except PermissionError:
            return False
        return age > self.lock_hours * 3600


def part_of(path: Path) -> Path:
    """Where test results wait until they get their name."""
    return path.with_name(f".{path.name}.part")


def alias_text(name: str, target: str) -> str:
    """The text of an alias's symlink: a label's leads to a release, any other name's to a label beside it."""
    return f"../releases/{name}/{target}" if LABEL.fullmatch(name) and BUILD_ID.fullmatch(target) else target


def _folders(path: Path) -> list[str]:
    """The folders in a folder; none where there is no such folder, or this account may not look into it."""
    try:
        with os.scandir(path) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return []


def _is_empty(path: Path) -> bool:
    try:
        return not any(path.iterdir())
    except PermissionError:
        return False


def _reason(keep: Path) -> str | None:
    """The text of a keep file; None where there is none."""
    try:
        return keep.read_text(encoding="utf-8", errors="replace").strip()
    except (FileNotFoundError, IsADirectoryError):
        return None
    except PermissionError:
        return "its reason may not be read by this account"


def _links(path: Path) -> dict[str, str]:
    if not path.is_dir():
        return {}
    with os.scandir(path) as entries:
        links = [entry for entry in entries if entry.is_symlink() and not entry.name.startswith(".")]
        links.sort(key=lambda entry: entry.name)
        return {entry.name: os.readlink(entry) for entry in links}  # noqa: PTH115 - the exact text


def _start(path: Path) -> str:
    """The beginning of a launcher, where its facts are; empty where there is none."""
    try:
        with path.open("rb") as file:
            return file.read(8192).decode("utf-8", errors="replace")
    except OSError:
        return ""


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise IntegrityError(f"{path} is not UTF-8: it is damaged.") from error
    except OSError as error:
        raise IntegrityError(f"{path} cannot be read: {error.strerror}.") from error
