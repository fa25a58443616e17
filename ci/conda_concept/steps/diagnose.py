"""diagnose: gather what a help desk asks for about a release, where the trouble is. Changes nothing."""

import datetime as dt
import grp
import hashlib
import os
import pwd
import shlex
import shutil
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from conda_concept.errors import ConcError, NotFoundError
from conda_concept.evidence import BLOCK, Evidence, ImageRead, Surroundings, allowed, job_of, ranges
from conda_concept.layout import Layout
from conda_concept.model import Event, Release
from conda_concept.record import BUILD_ID, LABEL
from conda_concept.run import CLEAN_ENVIRONMENT, Finished, run
from conda_concept.store.lease import Identity
from conda_concept.store.reading import Reader

#: Reading an image ends after so many seconds, as in the launcher's own report.
READ_SECONDS = 120.0
_EVENTS = 3
#: How the launcher's facts stand in its text; see templates/launcher.sh.
_FACTS = ("runtime", "singularity", "node", "squashfuse", "host", "contact")


@dataclass(frozen=True, slots=True)
class Found:
    """A release directory somewhere: by what its path says, no site file is needed."""

    prefix: Path

    @property
    def release(self) -> Release:
        """The release by its path."""
        environment, _, version = self.prefix.parent.name.partition("-")
        return Release(environment, version, self.prefix.name)

    @property
    def layout(self) -> Layout:
        """The store that it lies in."""
        apps = self.prefix.parents[2]
        return Layout(apps.parents[1], apps.name)


def find(what: Sequence[str], environ: Mapping[str, str], by_name: Callable[[str], Path]) -> tuple[Found, ...]:
    """The releases that are meant: by a path in them, by a command in PATH, or by what `by_name` (the store) knows.

    Without words, whatever `python3` in PATH belongs to. `NotFoundError` says what could be given.
    """
    path = environ.get("PATH", "")
    if not what:
        command = shutil.which("python3", path=path)
        one = _holding(Path(command)) if command else None
        if one is None:
            raise NotFoundError(
                "no release is loaded here: the python3 in PATH is not one of ours.",
                hint="Load a module first, or name a release (analysis3-26.06), a folder, or a command's path.",
            )
        return (one,)
    return tuple(dict.fromkeys(_one(word, path, by_name) for word in what))


def _one(word: str, path: str, by_name: Callable[[str], Path]) -> Found:
    if "/" in word and Path(word).exists():
        found = _holding(Path(word))
        if found is None:
            raise NotFoundError(f"{word} does not belong to a release.")
        return found
    command = shutil.which(word, path=path)
    found = _holding(Path(command)) if command else None
    if found is not None:
        return found
    try:
        return Found(by_name(word))
    except ConcError as error:
        more = f"{command} is the host's own" if command else f"there is no command {word} in PATH"
        raise NotFoundError(f"{error.message}\nAnd {more}.", hint=error.hint) from error


def _holding(path: Path) -> Found | None:
    """The release directory that a path lies in, links followed."""
    real = Path(os.path.realpath(path))
    for folder in (real, *real.parents):
        if BUILD_ID.fullmatch(folder.name) and LABEL.fullmatch(folder.parent.name):
            return Found(folder) if (folder / "launcher").exists() else None
    return None


def diagnose(
    found: Found, environ: Mapping[str, str], progress: Callable[[int, int], None] = lambda _done, _total: None
) -> Evidence:
    """Everything about one release as it is here and now. What cannot be had is said, never raised."""
    layout, release = found.layout, found.release
    facts = launcher_facts(found.prefix / "launcher")
    reader = Reader(layout, Identity.of_this_process())
    trouble, built, expected, size = "", "", "", None
    try:
        record = reader.record(release)
        source = f", commit {record.source.commit[:12]}" if record.source.commit else ""
        built = f"{record.built_at}, {record.packages} packages{source}, conda-concept {record.builder}"
        expected, size = record.image.sha256, record.image.size
    except (ConcError, OSError) as error:
        trouble = str(error)
    shown = allowed(environ)
    # What only makes a launcher talk would be taken for its failure.
    talk = ("CONDA_CONCEPT_DEBUG", "CONDA_CONCEPT_EXPLAIN")
    command = {**CLEAN_ENVIRONMENT, **{name: value for name, value in shown.items() if name not in talk}}
    # Of what is started below: a program that is there whatever the release has.
    start = (found.prefix / "launcher", "--run", "/bin/true")
    explained = _tried(start, {**command, "CONDA_CONCEPT_EXPLAIN": "1"})
    node = facts.get("node", "/tmp")  # noqa: S108 - the launcher's default
    runtime = environ.get("CONDA_CONCEPT_RUNTIME") or facts.get("runtime", "")
    return Evidence(
        release=str(release),
        product=layout.product,
        prefix=str(found.prefix),
        image=str(layout.image(release)),
        contact=facts.get("contact", ""),
        runtime=runtime,
        version=_version(runtime, facts),
        built=built,
        expected=expected,
        expected_size=size,
        read=read_image(layout.image(release), progress),
        here=surroundings(environ, Places(str(layout.root), node, f"{node}/{layout.product}.{os.geteuid()}/")),
        history=_history(reader, release),
        explain=explained.stdout.strip() or explained.stderr.strip(),
        start=_start(start, command),
        trouble=trouble,
    )


def read_image(
    path: Path,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
    *,
    limit: float = READ_SECONDS,
    pread: Callable[[int, int, int], bytes] = os.pread,
) -> ImageRead:
    """Read a file block by block; a block that fails is noted and the next one is tried, for `limit` seconds."""
    started = time.monotonic()
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        return ImageRead(0, "", why=f"{error.strerror}")
    try:
        size = os.fstat(descriptor).st_size
        digest, bad, why, stopped = hashlib.sha256(), list[int](), "", None
        for number, offset in enumerate(range(0, size, BLOCK)):
            if time.monotonic() - started > limit:
                stopped = number
                break
            try:
                data = pread(descriptor, BLOCK, offset)
                digest.update(data)
                short = len(data) < min(BLOCK, size - offset)
                problem = "it ends early" if short else ""
            except OSError as error:
                problem = str(error.strerror)
            if problem:
                bad.append(number)
                why = why or problem
            progress(offset, size)
    finally:
        os.close(descriptor)
    whole = "" if bad or stopped is not None else digest.hexdigest()
    return ImageRead(size, whole, ranges(bad), why, stopped, time.monotonic() - started)


@dataclass(frozen=True, slots=True)
class Places:
    """A site's root, its folder on a node's own disk, and what this user's mounts begin with."""

    root: str
    node: str
    mounts: str


def surroundings(environ: Mapping[str, str], places: Places) -> Surroundings:
    """Where we are, with the space of the site's folders, the home and the temporary folder."""
    entry = pwd.getpwuid(os.geteuid())
    wanted = dict.fromkeys((places.root, places.node, environ.get("HOME", entry.pw_dir), environ.get("TMPDIR", "/tmp")))  # noqa: S108 - looked at only
    return Surroundings(
        job=job_of(environ),
        node=os.uname().nodename or socket.gethostname(),
        user=entry.pw_name,
        groups=tuple(_group(number) for number in dict.fromkeys((os.getegid(), *os.getgroups()))),
        time=dt.datetime.now(tz=dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        modules=tuple(filter(None, environ.get("LOADEDMODULES", "").split(":"))),
        variables=allowed(environ),
        mounts=_fuse_mounts(places.mounts),
        space=tuple(one for place in wanted if (one := _space(place)) is not None),
    )


def launcher_facts(path: Path) -> dict[str, str]:
    """What a launcher says of its site, from the assignments at its beginning."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()[:60]
    except OSError:
        return {}
    found = {}
    for line in lines:
        for name in _FACTS:
            if line.startswith(f"_cc_{name}="):
                words = shlex.split(line)
                found[name] = words[0].partition("=")[2] if words else ""
    return found


def _version(runtime: str, facts: Mapping[str, str]) -> str:
    namespace = [f"{facts.get('host', '/usr/bin')}/unshare", "--version"]
    words = namespace if runtime == "namespace" else [facts.get("singularity", "singularity"), "--version"]
    done = _tried(words, CLEAN_ENVIRONMENT)
    return f"{words[0]}: {(done.stdout or done.stderr).strip()}"


def _start(words: Sequence[str | Path], environment: Mapping[str, str]) -> str:
    started = time.monotonic()
    done = _tried(words, environment)
    seconds = time.monotonic() - started
    if done.returncode == 0:
        return f"works, in {seconds:.2f} s"
    return f"ended with {done.returncode} after {seconds:.1f} s: {' / '.join(done.stderr.strip().splitlines()[:3])}"


def _tried(words: Sequence[str | Path], environment: Mapping[str, str]) -> Finished:
    """A program's end; one that cannot be started or does not end is told in its standard error."""
    try:
        return run(words, env=environment, cwd=Path("/"), check=False, timeout=60)
    except (ConcError, OSError) as error:
        return Finished(tuple(str(word) for word in words), 127, "", str(error))


def _history(reader: Reader, release: Release) -> tuple[str, ...]:
    """The last events that touched the release's label, newest first."""
    try:
        events, _ = reader.history()
    except OSError:
        return ()
    touching = [event for event in events if _touches(event, release)]
    return tuple(
        f"{event.when} {event.action} {event.release or ''} {'; '.join(f'{m.alias} -> {m.after}' for m in event.moves)}"
        for event in reversed(touching[-_EVENTS:])
    )


def _touches(event: Event, release: Release) -> bool:
    names = {move.alias for move in event.moves}
    return bool(names & {release.label, release.environment}) or (
        event.release is not None and event.release.label == release.label
    )


def _fuse_mounts(start: str) -> tuple[str, ...]:
    """This user's mounts of images; of other FUSE mounts not even the names are anybody's business."""
    try:
        lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ()
    parts = ((line.split()[4], line.partition(" - ")[2].split()[:1]) for line in lines if " - " in line)
    return tuple(f"{kind[0]} {path}" for path, kind in parts if kind and path.startswith(start))


def _space(place: str) -> tuple[str, int, int | None] | None:
    try:
        disk = os.statvfs(place)
    except OSError:
        return None
    return place, disk.f_bavail * disk.f_frsize, disk.f_favail if disk.f_files else None


def _group(number: int) -> str:
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)
