"""Making a release at its final path, beside the published ones, unseen until it is whole.

The directory carries a marker from its first moment to its last: the marker is a lease, so two builds of one release
cannot meet, and what a killed build left is taken over. The record is written last; then the marker goes. A release
counts as complete only with a record and without a marker.
"""

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Protocol

from conda_concept.errors import InputError, IntegrityError
from conda_concept.layout import INCOMPLETE, Layout
from conda_concept.model import FileFact, Release, ReleaseRecord
from conda_concept.record import release_to_text
from conda_concept.store.door import Door, explained, make_directories, remove, write_new
from conda_concept.store.lease import Lease
from conda_concept.store.permissions import Permissions, kind_of

CHUNK = 4 << 20
"""Bytes read at a time while hashing: large enough that the reads cost nothing beside the digest."""

#: What may be in a release directory beside the files that its record lists.
UNLISTED = frozenset(
    {"release.json", "tests.json", "tests.xml", "keep", INCOMPLETE, ".tests.json.part", ".tests.xml.part"}
)


class Source(Protocol):
    """Bytes of an image that are made when they are asked for."""

    @property
    def size(self) -> int:
        """How many there are."""

    def chunks(self) -> Iterator[bytes | memoryview]:
        """From the first to the last."""


Progress = Callable[[int, int], None]
"""Told bytes done and bytes in all."""


def no_progress(done: int, total: int) -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True)
class Copied:
    """Bytes that are in their place: digest and size."""

    sha256: str
    size: int


@dataclass(slots=True)
class Staged:
    """A release on its way. Use it inside `Store.stage`, which makes and ends it."""

    door: Door
    layout: Layout
    release: Release
    permissions: Permissions
    lease: Lease
    #: Where it is made: its own place, or beside it.
    folder: Path
    image_fact: Copied | None = None
    record: ReleaseRecord | None = None

    @property
    def prefix(self) -> Path:
        """The release directory as it is to be: the prefix inside and outside."""
        return self.layout.prefix(self.release)

    @property
    def image_part(self) -> Path:
        """Where a builder may squash to directly; `image(staged.image_part)` then puts it in place by a rename."""
        return self.folder / ".image.sqsh.part"

    def image(self, source: Source | Path, progress: Progress = no_progress) -> Copied:
        """Put the image in place and return what it is; the source stays where it is, unless it is `image_part`.

        It is hashed while it is written (or read, where no copy is needed), brought to the disk, then renamed.
        """
        if isinstance(source, Path) and not source.is_file():
            raise InputError(f"There is no image at {source}.")
        with explained(f"put the image of {self.release} in place"):
            if source == self.image_part:
                copied = self._hash(source, progress, None)
                descriptor = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
            else:
                remove(self.door, self.image_part)
                descriptor = self.door.create(self.image_part)
                copied = self._hash(source, progress, descriptor)
            try:
                self.door.sync(descriptor)
            finally:
                os.close(descriptor)
            self.permissions.apply(self.door, self.image_part, "file")
            self.door.rename(self.image_part, self.folder / self.layout.image(self.release).name)
        self.image_fact = copied
        return copied

    def mkdir(self, path: str) -> None:
        """A directory of the release, with its parents."""
        with explained(f"make {path} of {self.release}"):
            self._directory(self._inside(path))

    def write(self, path: str, data: bytes, *, program: bool = False) -> None:
        """A file of the release; `program` makes it executable. Parents are made."""
        target = self._target(path)
        with explained(f"write {path} of {self.release}"):
            write_new(self.door, target, data)
            self.permissions.apply(self.door, target, "program" if program else "file")

    def hardlink(self, source: str, path: str) -> None:
        """A second name for a file of the release."""
        target = self._target(path)
        with explained(f"link {path} of {self.release}"):
            remove(self.door, target)
            self.door.link(self._inside(source), target)

    def symlink(self, text: str, path: str) -> None:
        """A symbolic link with exactly this text; it may not be absolute, nor lead out of the release."""
        target = self._target(path)
        reached = os.path.normpath(PurePosixPath(path).parent / text)
        if text.startswith("/") or reached.split("/")[0] == "..":
            raise InputError(f"The link {path} -> {text} leads out of the release.")
        with explained(f"link {path} of {self.release}"):
            remove(self.door, target)
            self.door.symlink(text, target)

    def finish(self, record: ReleaseRecord) -> ReleaseRecord:
        """Write the record with a fact for every path, set all permissions, and take the marker away.

        `record.files` is replaced; `record.image` has to be the image that was put in place.
        """
        if record.release != self.release or record.prefix != str(self.prefix):
            raise InputError(f"The record of {record.release} at {record.prefix} does not belong in {self.prefix}.")
        fact = self.image_fact
        if fact is None or (record.image.sha256, record.image.size) != (fact.sha256, fact.size):
            raise IntegrityError(f"The record of {self.release} does not describe the image that is in place.")
        with explained(f"finish {self.release}"):
            self.lease.check()
            apply_tree(self.door, self.folder, self.permissions)
            known = {self.layout.image(self.release).name: fact.sha256}
            self.record = replace(record, files=facts_of(self.folder, known))
            self._write_record(self.record)
            for folder in (*_directories(self.folder), self.folder.parent, self.folder.parent.parent):
                self.door.sync_directory(folder)
            self.lease.release()
            self.door.sync_directory(self.folder)
        return self.record

    def _write_record(self, record: ReleaseRecord) -> None:
        path = self.folder / self.layout.record(self.release).name
        part = path.with_name(f".{path.name}.part")
        write_new(self.door, part, release_to_text(record).encode())
        self.permissions.apply(self.door, part, "file")
        self.door.rename(part, path)

    def _target(self, path: str) -> Path:
        """The place of a new entry, with its parents made."""
        target = self._inside(path)
        with explained(f"make the folder of {path} of {self.release}"):
            self._directory(target.parent)
        return target

    def _directory(self, path: Path) -> None:
        """A folder with its parents, open to other owners at once: one of them may have to take this build over."""
        for made in make_directories(self.door, path):
            self.permissions.apply(self.door, made, "directory")

    def _inside(self, path: str) -> Path:
        pure = PurePosixPath(path)
        if pure.is_absolute() or ".." in pure.parts or not pure.parts or pure.parts[0] in UNLISTED:
            raise InputError(f"`{path}` cannot be a path of a release.")
        return self.folder / pure

    def _hash(self, source: Source | Path, progress: Progress, descriptor: int | None) -> Copied:
        """Digest an image, writing it where there is somewhere to."""
        total = source.stat().st_size if isinstance(source, Path) else source.size

        def each(chunk: memoryview, done: int) -> None:
            if descriptor is not None:
                self.door.write(descriptor, chunk)
            progress(done, total)

        return _digest(_chunks(source) if isinstance(source, Path) else source.chunks(), each)


def digest(path: Path, each: Callable[[memoryview, int], None]) -> Copied:
    """The sha256 and size of a file; `each` is given every piece and the bytes so far."""
    return _digest(_chunks(path), each)


def _digest(chunks: Iterator[bytes | memoryview], each: Callable[[memoryview, int], None]) -> Copied:
    sha = hashlib.sha256()
    done = 0
    for chunk in chunks:
        sha.update(chunk)
        done += len(chunk)
        each(memoryview(chunk), done)
    return Copied(sha.hexdigest(), done)


def _chunks(path: Path) -> Iterator[memoryview]:
    buffer = memoryview(bytearray(CHUNK))
    with path.open("rb", buffering=0) as source:
        while count := source.readinto(buffer):
            yield buffer[:count]


def facts_of(prefix: Path, known: dict[str, str]) -> tuple[FileFact, ...]:
    """A fact for every path of a release but those that no record lists, sorted by path.

    `known` are digests by path that need not be computed again. Names of one file are read once.
    """
    facts: list[FileFact] = []
    seen: dict[tuple[int, int], str] = {}
    for path in walk(prefix):
        relative = str(path.relative_to(prefix))
        present = path.lstat()
        mode = stat.S_IMODE(present.st_mode)
        if stat.S_ISDIR(present.st_mode):
            facts.append(FileFact(relative, "directory", mode, 0, ""))
        elif stat.S_ISLNK(present.st_mode):
            text = os.readlink(path)  # noqa: PTH115 - the exact text; a Path would tidy it
            facts.append(FileFact(relative, "link", 0o777, 0, text))
        elif stat.S_ISREG(present.st_mode):
            key = (present.st_dev, present.st_ino)
            if key not in seen:
                seen[key] = known.get(relative) or digest(path, lambda _chunk, _done: None).sha256
            facts.append(FileFact(relative, "file", mode, present.st_size, seen[key]))
        else:
            raise IntegrityError(f"{path} is neither file, link nor directory; a release holds nothing else.")
    return tuple(sorted(facts, key=lambda fact: fact.path))


def walk(prefix: Path) -> list[Path]:
    """Every path below a release directory, parents first, but those that no record lists."""
    found: list[Path] = []
    for folder, folders, files in os.walk(prefix):
        here = Path(folder)
        top = here == prefix
        names = sorted((*folders, *files))
        found.extend(here / name for name in names if not (top and _unlisted(name)))
    return found


def _unlisted(name: str) -> bool:
    return name in UNLISTED or name.startswith(f".{INCOMPLETE}.")


def apply_tree(door: Door, prefix: Path, permissions: Permissions) -> None:
    """The site's permissions for a release directory and all that is in it."""
    permissions.apply(door, prefix, "directory")
    for path in walk(prefix):
        present = path.lstat()
        if not stat.S_ISLNK(present.st_mode):
            permissions.apply(door, path, kind_of(present.st_mode))
        elif permissions.group is not None and present.st_gid != permissions.group:
            door.chgrp(path, permissions.group)


def _directories(prefix: Path) -> list[Path]:
    return [prefix, *(path for path in walk(prefix) if path.is_dir() and not path.is_symlink())]
