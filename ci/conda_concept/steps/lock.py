"""`lock`: solve one environment and write its `conda-lock.yml`."""

import os
from dataclasses import dataclass
from pathlib import Path

from conda_concept.document import SourceText
from conda_concept.errors import InputError, NotFoundError
from conda_concept.lockfile import MAX_BYTES, dumps, loads
from conda_concept.locking import Solved, Wish, solve
from conda_concept.model import Lock, Spec
from conda_concept.progress import Reporter
from conda_concept.solver import Settings
from conda_concept.spec import read_spec


@dataclass(frozen=True, slots=True)
class Files:
    """The files of one `lock`: the environment's folder, the lock to start from, the lock to write."""

    folder: Path
    start: Path
    out: Path

    @classmethod
    def of(cls, folder: Path, *, start: Path | None = None, out: Path | None = None) -> "Files":
        """The files of `environments/NAME`; both locks are the one in the folder if nothing else is said."""
        own = folder / "conda-lock.yml"
        return cls(folder, start or own, out or own)


@dataclass(frozen=True, slots=True)
class Locked:
    """What `lock` did: the spec, the lock before (if there was one), the answer, and whether a file was written."""

    spec: Spec
    before: Lock | None
    solved: Solved
    written: bool


def lock(files: Files, wish: Wish, settings: Settings, reporter: Reporter) -> Locked:
    """Solve the environment in `files.folder` from `files.start` and write `files.out`, if anything is new."""
    spec = load_spec(files.folder)
    own = files.folder / "conda-lock.yml"
    before = load_lock(files.start) if files.start != own or files.start.exists() else None
    _check_names(wish, before)
    solved = solve(spec, before, wish, settings, reporter)
    for note in solved.notes:
        reporter.warn(note)
    text = dumps(solved.lock)
    written = not (files.out.exists() and files.out.read_text(encoding="utf-8") == text)
    if written:
        replace_file(files.out, text)
    if solved.unchanged:
        reporter.say(f"{spec.name}: nothing to do, the lock already has everything that is asked for.")
    return Locked(spec, before, solved, written)


def load_spec(folder: Path) -> Spec:
    """The spec in a folder; places in messages are `environments/NAME/FILE:LINE`."""
    texts = []
    for name in ("environment.yml", "config.yml"):
        path = folder / name
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            raise NotFoundError(
                f"There is no environment `{folder.name}`: {path} does not exist.",
                hint=f"`conda-concept list` shows what there is; a new one needs {folder.name}/{name}.",
            ) from None
        except UnicodeDecodeError as error:
            raise InputError(f"{path} is not UTF-8 text: {error.reason} at byte {error.start}.") from None
        texts.append(SourceText(f"{folder.parent.name}/{folder.name}/{name}", text))
    return read_spec(folder.name, texts[0], texts[1])


def load_lock(path: Path) -> Lock:
    """The lock in a file, or in the folder of an environment."""
    file = path / "conda-lock.yml" if path.is_dir() else path
    try:
        if file.stat().st_size > MAX_BYTES:
            raise InputError(f"{file} has {file.stat().st_size:,} bytes; a lock has at most {MAX_BYTES:,}.")
        return loads(file.read_text(encoding="utf-8"), str(file))
    except FileNotFoundError:
        raise NotFoundError(f"There is no lock {file}.", hint="`conda-concept lock NAME` makes one.") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{file} is not UTF-8 text: {error.reason} at byte {error.start}.") from None


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
            f"Not in the lock, so not to be updated: {', '.join(unknown)}.",
            hint="Ask for a new package in environment.yml; `--update` is for those that are locked already.",
        )
