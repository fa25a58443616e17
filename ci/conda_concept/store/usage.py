"""Who has a release open: best effort, on this machine and where the file system carries locks across nodes.

Two signs are looked for. Processes of this machine: a file of the release open, as working directory, as program, on
the command line, or mounted in the process's own view. And a shared lock on the image, which a launcher may hold, and
which some network file systems show on every node. A job on another node that does neither is not seen: the site's
grace period is what protects it.
"""

import fcntl
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from conda_concept.layout import Layout
from conda_concept.model import Release


def in_use(layout: Layout, releases: Sequence[Release]) -> dict[Release, str]:
    """The releases that somebody has open, and what is known about it."""
    if not releases:
        return {}
    by_prefix = {str(layout.prefix(release)): release for release in releases}
    found: dict[Release, str] = {}
    for pid, text in _signs(str(layout.releases)):
        for prefix, release in by_prefix.items():
            if release not in found and f"{prefix}/" in f"{text}/":
                found[release] = f"process {pid} of this machine uses {text}"
    for release in releases:
        if release not in found and _locked(layout.image(release)):
            found[release] = "a lock is held on its image"
    return found


def _signs(below: str) -> Iterator[tuple[int, str]]:
    """Paths below a folder that processes other than this one have open or mounted.

    Processes that share one view of the mounts are asked for it once.
    """
    start = f"{below}/"
    views: set[str] = set()
    for pid in filter(str.isdigit, _names("/proc")):
        if int(pid) == os.getpid():
            continue
        process = f"/proc/{pid}"
        links = (_target(f"{process}/{name}") for name in ("cwd", "exe", *_open(process)))
        yield from ((int(pid), path) for path in links if path.startswith(start))
        yield from ((int(pid), word) for word in _words(process) if start in word)
        view = _target(f"{process}/ns/mnt") or pid
        if view not in views:
            views.add(view)
            yield from ((int(pid), path) for path in _mounts(process) if path.startswith(start))


def _words(process: str) -> list[str]:
    """A process's command line, which other users may read where they may not see its open files.

    A command that a launcher started was called by its path in the release, and whatever mounts an image was given
    the image's path.
    """
    try:
        raw = Path(process, "cmdline").read_bytes()
    except OSError:
        return []
    return [word.decode(errors="replace") for word in raw.split(b"\0")]


def _open(process: str) -> list[str]:
    return [f"fd/{number}" for number in _names(f"{process}/fd")]


def _names(folder: str) -> list[str]:
    """The entries of a folder; none for a process that ended or is somebody else's."""
    try:
        return os.listdir(folder)  # noqa: PTH208 - thousands of names, and no path is needed
    except OSError:
        return []


def _target(link: str) -> str:
    try:
        return os.readlink(link)  # noqa: PTH115 - thousands of links, and no path is needed
    except OSError:
        return ""


def _mounts(process: str) -> Iterator[str]:
    """Mount points in a process's view; field 5 of mountinfo (proc(5)), readable for other users' processes too."""
    try:
        text = Path(process, "mountinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return
    for line in text.splitlines():
        fields = line.split()
        if len(fields) > 4:
            yield fields[4].replace("\\040", " ")


def _locked(path: Path) -> bool:
    """Whether somebody holds a lock on a file; False where that cannot be known."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    else:
        return False
    finally:
        os.close(descriptor)
