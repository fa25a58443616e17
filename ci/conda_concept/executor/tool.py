"""The copy of this program that jobs run: on the shared file system, and never changed.

A job may begin hours after it was submitted, and outlive the process that did it. The runner's checkout and its `.venv`
are wiped and made anew whenever a workflow starts, so a job cannot run from there. A copy is named by what is in it:
this package and the distributions that it needs. It is made once for each state of them, and shared by all jobs.
"""

import hashlib
import importlib.metadata
import os
import secrets
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from conda_concept.errors import ToolError
from conda_concept.store.door import explained

NAME = "conda-concept"
#: Days without a new job after which a copy is removed; longer than the longest job and its time in the queue.
UNUSED_DAYS = 60


@dataclass(frozen=True, slots=True)
class Tool:
    """Where a copy is, and how it is started."""

    argv: tuple[str, ...]
    python_path: str


def tool(folder: Path) -> Tool:
    """The copy of this program below `folder`, made if it is not there.

    The interpreter itself is not copied: nodes have the one that the virtual environment was made with.
    """
    files = dict(_files())
    target = folder / _name(files)
    with explained(f"copy conda-concept to {folder} for jobs"):
        if not target.is_dir():
            folder.mkdir(mode=0o700, exist_ok=True)
            part = folder / f".{target.name}.{secrets.token_hex(4)}.part"
            for name, source in files.items():
                copy = part / name
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, copy)
            try:
                part.rename(target)
            except OSError:  # another process was quicker
                shutil.rmtree(part)
        os.utime(target)
        for old in (one for one in folder.iterdir() if one != target):
            with suppress(OSError):
                if time.time() - old.stat().st_mtime > UNUSED_DAYS * 86400:
                    shutil.rmtree(old)
    # -P: not even the folder that a job begins in is looked at for modules; -s: nor the account's own packages.
    python = str(Path(getattr(sys, "_base_executable", sys.executable)).resolve())
    return Tool((python, "-P", "-s", "-B", "-m", "conda_concept"), str(target))


def _name(files: dict[str, Path]) -> str:
    """By the bytes of this package, and by names, sizes and versions of all else."""
    digest = hashlib.sha256(sys.version.encode())
    for name, source in sorted(files.items()):
        digest.update(f"{name} {source.stat().st_size}\n".encode())
        if name.startswith("conda_concept/"):
            digest.update(source.read_bytes())
    return digest.hexdigest()[:16]


def _files() -> Iterator[tuple[str, Path]]:
    """Every file that this program needs, by its path below a folder of modules."""
    package = Path(__file__).resolve().parent.parent
    for path in package.rglob("*"):
        if path.is_file() and path.suffix != ".pyc":
            yield f"{package.name}/{path.relative_to(package)}", path
    for found in _needed():
        own = found.name == NAME  # its code is above; what says what it needs belongs to it too
        for file in found.files or ():
            path = Path(str(found.locate_file(file)))
            inside = not file.is_absolute() and ".." not in file.parts
            wanted = ".dist-info" in file.parts[0] if own else file.suffix != ".pyc"
            if inside and wanted and path.is_file():
                yield str(file), path


def _needed() -> list[importlib.metadata.Distribution]:
    """The distributions that this one needs, and theirs, as they are installed here."""
    waiting, found = [(NAME, frozenset({""}))], {}
    while waiting:
        name, extras = waiting.pop()
        try:
            one = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError as error:
            raise ToolError(
                f"{name} is needed by conda-concept and not installed here.", hint="Run `ci/setup --python-only`."
            ) from error
        key = (canonicalize_name(name), extras)
        if key in found:
            continue
        found[key] = one
        for text in one.requires or ():
            asked = Requirement(text)
            if asked.marker is None or any(asked.marker.evaluate({"extra": extra}) for extra in extras):
                waiting.append((asked.name, frozenset({"", *asked.extras})))
    return [one for _, one in sorted(found.items(), key=lambda item: item[0][0])]
