"""`import`: make the folder of an environment from one that exists, so that it can be duplicated exactly."""

import re
from dataclasses import dataclass, replace
from pathlib import Path

from conda_concept.document import SourceText
from conda_concept.errors import InputError, NotFoundError, RefusedError
from conda_concept.importing import (
    Imported,
    channels_of,
    complete,
    config_text,
    environment_text,
    from_conda_meta,
    from_explicit,
    from_lock,
    pip_requests_of,
    requests_of,
)
from conda_concept.lockcheck import check_lock
from conda_concept.lockfile import MAX_BYTES, dumps
from conda_concept.model import Lock, Package, Spec
from conda_concept.progress import Reporter
from conda_concept.repository import Repository, read_text
from conda_concept.settings import Config
from conda_concept.solver import Session, Settings, lock_of, virtual_packages
from conda_concept.spec import read_spec
from conda_concept.steps.lock import load_lock, replace_file


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to make: the environment's name, its version (`23.04`) and platform."""

    name: str
    version: str
    platform: str = "linux-64"


@dataclass(frozen=True, slots=True)
class Made:
    """The new folder, its spec and lock, and sentences for people."""

    folder: Path
    spec: Spec
    lock: Lock
    notes: tuple[str, ...]


def import_(repository: Repository, source: Path, wanted: Wanted, settings: Settings, reporter: Reporter) -> Made:
    """Make `environments/NAME` from a conda prefix, an explicit file or a lock; every package exactly as it is."""
    folder = repository.root / "environments" / wanted.name
    if folder.exists():
        raise RefusedError(f"there is an environment `{wanted.name}` already ({folder}).", hint="Take another name.")
    with reporter.step(f"read {source}"):
        found = _read(source, wanted.platform)
    with reporter.step("ask the channels for what is not known"):
        packages, notes = _completed(found.packages, wanted.platform, settings)
    found = replace(found, packages=tuple(packages))
    pip = _pip_names(source) if (source / "conda-meta").is_dir() else []
    if pip:
        notes.append(f"Installed by pip, and to be asked for below `pip:` by hand: {', '.join(pip)}.")
    texts = _texts(wanted, found)
    # Read as it will be read, before anything is written.
    spec = read_spec(wanted.name, *(SourceText(name, text) for name, text in texts))
    lock = lock_of(spec, wanted.platform, packages)
    problems = check_lock(lock, spec, wanted.platform, virtual_packages(spec, wanted.platform))
    notes += [f"To look at: {problem}." for problem in problems]
    for name, text in (*texts, ("conda-lock.yml", dumps(lock))):
        replace_file(folder / name, text)
    return Made(folder, spec, lock, (*found.notes, *notes))


def _read(source: Path, platform: str) -> Imported:
    meta = source / "conda-meta"
    if meta.is_dir():
        files = {path.name: read_text(path, MAX_BYTES) for path in sorted(meta.glob("*.json"))}
        return from_conda_meta(files, platform)
    if not source.is_file():
        raise NotFoundError(
            f"{source} is neither a conda environment, nor an explicit file, nor a lock.",
            hint="Give a prefix (with a folder conda-meta), output of `conda list --explicit`, or a conda-lock.yml.",
        )
    text = read_text(source, MAX_BYTES)
    if re.search(r"(?m)^@EXPLICIT\s*$", text):
        return from_explicit(text, platform)
    return from_lock(load_lock(source), platform)


def _texts(wanted: Wanted, found: Imported) -> tuple[tuple[str, str], tuple[str, str]]:
    channels = channels_of(found.packages)
    environment = environment_text(wanted.name, channels, requests_of(found), pip_requests_of(found))
    return ("environment.yml", environment), ("config.yml", config_text(wanted.version, channels, wanted.platform))


def _completed(packages: tuple[Package, ...], platform: str, settings: Settings) -> tuple[list[Package], list[str]]:
    """The packages with sha256 and dependencies, asked of the channels where the source did not have them."""
    lacking = [package for package in packages if package.manager == "conda" and not (package.sha256 and package.size)]
    if not lacking:
        return list(packages), []
    channels = channels_of(packages)
    config = Config(version="00.01", platforms=(platform,), allowed_channels=channels, channel_priority="disabled")
    with Session(Spec("imported", channels, (), (), config), platform, settings) as session:
        records = session.find([f"{package.name} =={package.version} {package.build}" for package in lacking])
        known = {package.url: package for package in map(session.package, records)}
    done = [complete(package, known.get(package.url)) for package in packages]
    bare = [package for package in done if package.manager == "conda" and not (package.sha256 and package.md5)]
    if bare:
        raise InputError(
            "packages cannot be locked, because nobody knows their sha256 any more:",
            problems=[package.url for package in bare[:20]],
            hint="They are not in their channel. Ask for another build, or bring them into a channel of your own.",
        )
    gone = [package.filename for package in lacking if package.url not in known]
    return done, [f"{name} is no longer in its channel." for name in gone]


def _pip_names(prefix: Path) -> list[str]:
    """`name==version` of what pip installed into a prefix (its own note `INSTALLER` says so)."""
    found = []
    for note in sorted(prefix.glob("lib/python3*/site-packages/*.dist-info/INSTALLER")):
        if note.read_text(encoding="utf-8", errors="replace").strip() == "pip":
            name, _, version = note.parent.name.removesuffix(".dist-info").partition("-")
            found.append(f"{name}=={version}")
    return found
