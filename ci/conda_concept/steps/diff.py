"""`diff`: what changes between two locks."""

import datetime as dt
from pathlib import Path

from conda_concept import changes
from conda_concept.document import MAX_BYTES, SourceText
from conda_concept.model import Diff, Lock, Spec
from conda_concept.repository import read_text
from conda_concept.spec import read_spec
from conda_concept.steps.lock import load_lock


def diff(old: Path | None, new: Path, spec: Spec | None, now: dt.datetime | None) -> tuple[Diff, ...]:
    """The changes of every platform of the locks in two files or environment folders; `old` None: a first lock."""
    before = load_lock(old) if old is not None else None
    return compare(before, load_lock(new), spec, now)


def compare(before: Lock | None, after: Lock, spec: Spec | None, now: dt.datetime | None) -> tuple[Diff, ...]:
    """The changes of every platform that one of the locks has."""
    platforms = sorted({*after.platforms, *(before.platforms if before else ())})
    return tuple(changes.diff(before, after, spec, platform, now=now) for platform in platforms)


def spec_beside(lock: Path) -> Spec | None:
    """The spec of the environment folder that a lock lies in, so that a diff can say what was asked for."""
    folder = lock if lock.is_dir() else lock.parent
    files = [folder / name for name in ("environment.yml", "config.yml")]
    if not all(file.is_file() for file in files):
        return None
    texts = [SourceText(f"{folder.name}/{file.name}", read_text(file, MAX_BYTES)) for file in files]
    return read_spec(folder.resolve().name, texts[0], texts[1])
