"""`lock`: solve one environment and write its `conda-lock.yml`."""

import os
from dataclasses import dataclass
from pathlib import Path

from conda_concept.errors import InputError, NotFoundError
from conda_concept.lockfile import MAX_BYTES, dumps, loads
from conda_concept.locking import Solved, Wish, solve
from conda_concept.model import Lock, Spec
from conda_concept.progress import Reporter
from conda_concept.repository import Repository, read_text
from conda_concept.solver import Settings


@dataclass(frozen=True, slots=True)
class Files:
    """Which lock to start from and which to write; None: the environment's own. `start` has to be there if named."""

    start: Path | None = None
    out: Path | None = None


@dataclass(frozen=True, slots=True)
class Locked:
    """What `lock` did: the spec, the lock before (if there was one), the answer, the file, and whether it is new."""

    spec: Spec
    before: Lock | None
    solved: Solved
    file: Path
    written: bool


def lock(repository: Repository, name: str, files: Files, wish: Wish, settings: Settings, reporter: Reporter) -> Locked:
    """Solve environment `name`, moving only what must, and write the lock if anything in it is new."""
    spec = repository.spec(name)
    own = repository.lock_path(name)
    before = load_lock(files.start or own) if files.start or own.exists() else None
    _check_names(wish, before)
    solved = solve(spec, before, wish, settings, reporter)
    for note in solved.notes:
        reporter.warn(note)
    out = files.out or own
    written = not (out == (files.start or own) and solved.lock == before)
    if written:
        replace_file(out, dumps(solved.lock))
    if solved.unchanged:
        reporter.say(f"{name}: nothing to do, the lock already has everything that is asked for.")
    return Locked(spec, before, solved, out, written)


def load_lock(path: Path) -> Lock:
    """The lock in a file, or in the folder of an environment."""
    file = path / "conda-lock.yml" if path.is_dir() else path
    if not file.exists():
        raise NotFoundError(f"there is no lock {file}.", hint="`conda-concept lock NAME` makes one.")
    return loads(read_text(file, MAX_BYTES), str(file))


def replace_file(path: Path, text: str) -> None:
    """Write a file in one step: whoever reads it sees the old or the new text, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        beside.write_text(text, encoding="utf-8")
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _check_names(wish: Wish, before: Lock | None) -> None:
    """`--update` of something that is not locked is a typing mistake."""
    known = {package.name for package in before.packages} if before else set()
    unknown = [name for name in wish.update if name not in known]
    if unknown:
        raise InputError(
            f"not in the lock, so not to be updated: {', '.join(unknown)}.",
            hint="Ask for a new package in environment.yml; `--update` is for those that are locked already.",
        )
