"""The note about a task's present job, on the shared file system: what a restarted process finds its job again by."""

import json
import os
import re
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from conda_concept.executor.task import Attempt

#: Days that the files of a job that failed stay, for people.
KEPT_DAYS = 14


@dataclass(frozen=True, slots=True)
class Note:
    """An attempt, and whether it was given up: then its job has to go, wherever it is."""

    attempt: Attempt
    given_up: bool = False


@dataclass(frozen=True, slots=True)
class Home:
    """The folder of one task: the note `job.json`, and a folder for each attempt."""

    path: Path

    def folder(self, attempt: Attempt) -> Path:
        """The folder of an attempt: `script`, `go`, and what the job leaves."""
        return self.path / attempt.name

    def read(self) -> Note | None:
        """The present note; None where there is none, or none that we wrote."""
        try:
            raw = json.loads((self.path / "job.json").read_text("utf-8"))
            attempt = Attempt(str(raw["name"]), str(raw["number"]))
            note = Note(attempt, bool(raw["given_up"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return note if re.fullmatch(r"cc-[0-9a-f]{12}", attempt.name) else None

    def write(self, note: Note) -> None:
        """Keep a note, in one step and on the disk: it has to be there before the job is."""
        facts = {"name": note.attempt.name, "number": note.attempt.number, "given_up": note.given_up}
        durable(self.path / "job.json", json.dumps(facts) + "\n")

    def discard(self) -> None:
        """Forget the present job: the next process makes a new one."""
        (self.path / "job.json").unlink(missing_ok=True)

    def withdraw(self, attempt: Attempt) -> bool:
        """Keep an attempt's job from beginning; False where it has begun (or was withdrawn before)."""
        try:
            (self.folder(attempt) / "go").unlink()
        except FileNotFoundError:
            return False
        return True

    def tidy(self) -> None:
        """Remove the files of attempts that ended long ago."""
        for folder in self.path.parent.glob("*/cc-*"):
            with suppress(OSError):
                if time.time() - folder.stat().st_mtime > KEPT_DAYS * 86400:
                    shutil.rmtree(folder)


def durable(path: Path, text: str) -> None:
    """A file with this text, which appears whole and stays."""
    part = path.with_name(f".{path.name}.part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with suppress(OSError):  # not every file system brings a folder to its disk
            os.fsync(folder)
    finally:
        os.close(folder)
