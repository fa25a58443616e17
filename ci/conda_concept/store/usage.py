"""Who has a release open: best effort, on this machine and where the file system carries locks across nodes.

Two signs are looked for. Processes of this machine: a file of the release open, as working directory, as program, on
the command line, or mounted in the process's own view. And a shared lock on the image: whatever mounts an image for a
launcher holds one as long as a command runs (`templates/launcher.sh`, `enter.sh`), and some network file systems show
it on every node. A job that shows neither is not seen; `limits` says so, and the site's grace period protects it.
"""

import fcntl
import os
import struct
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from conda_concept.layout import Layout
from conda_concept.model import Release


def in_use(layout: Layout, releases: Sequence[Release]) -> dict[Release, str]:
    """The releases that somebody has open, and what is known about it."""
    if not releases:
        return {}
    # People write the paths of the site file, and the kernel those without links: a root may be one.
    folders = {str(layout.releases), str(layout.releases.resolve())}
    by_prefix = {f"{folder}/{release}": release for folder in folders for release in releases}
    found: dict[Release, str] = {}
    for pid, text in _signs(folders):
        for prefix, release in by_prefix.items():
            if release not in found and f"{prefix}/" in f"{text}/":
                found[release] = f"process {pid} of this machine uses {text}"
    for release in releases:
        if release not in found and _locked(layout.image(release)):
            found[release] = "a lock is held on its image"
    return found


#: File systems whose locks every node sees, each with the mount options that say otherwise or that it takes.
#: nfs(5): `nolock`, and `local_lock=` other than none. Lustre: `flock` is needed, `localflock` is this node's only.
_SHARED = {"nfs": (), "nfs4": (), "lustre": ("flock",), "ceph": ()}
_NOT_SHARED = frozenset({"nolock", "local_lock=all", "local_lock=flock", "localflock"})
#: File systems that only one machine mounts.
_LOCAL = frozenset({"ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "tmpfs", "overlay", "f2fs"})


def limits(layout: Layout, mounts: str | None = None) -> tuple[str, ...]:
    """What `in_use` cannot see from here, in sentences; `mounts` is the text of /proc/self/mounts.

    A lock is seen from another node only where the file system of the releases carries it there.
    """
    text = Path("/proc/self/mounts").read_text("utf-8", "surrogateescape") if mounts is None else mounts
    place, kind, options = _file_system(str(layout.releases.resolve()), text)
    if kind in _SHARED and not options & _NOT_SHARED and options.issuperset(_SHARED[kind]):
        seen = f"Other nodes are seen by the locks that mounted images hold ({place} is {kind}, which carries them)."
    elif kind in _LOCAL:
        seen = f"{place} is {kind}, which belongs to one machine: there are no other nodes to look at."
    else:
        seen = (
            f"Jobs on other nodes are NOT seen: {place} is {kind} mounted with {','.join(sorted(options)) or 'nothing'}"
            ", and its locks are not known to reach other nodes. Only the grace period keeps their releases."
        )
    closed = sum(not os.access(f"/proc/{pid}/fd", os.R_OK) for pid in _names("/proc") if pid.isdigit())
    if closed:
        return (seen, f"Of {closed} processes here only command line and mounts are seen, not what they have open.")
    return (seen,)


def _file_system(path: str, mounts: str) -> tuple[str, str, frozenset[str]]:
    """Where the mount is that holds `path`, its type and its options; the last one that matches is on top."""
    found = ("/", "unknown", frozenset[str]())
    for line in mounts.splitlines():
        fields = line.split()
        if len(fields) >= 4:
            place = fields[1].replace("\\040", " ")
            if f"{path}/".startswith(f"{place.rstrip('/')}/") and len(place) >= len(found[0]):
                found = (place, fields[2], frozenset(fields[3].split(",")))
    return found


def _signs(folders: Iterable[str]) -> Iterator[tuple[int, str]]:
    """Paths below one of these folders that processes other than this one have open or mounted.

    Processes that share one view of the mounts are asked for it once.
    """
    starts = tuple(f"{folder}/" for folder in folders)
    views: set[str] = set()
    for pid in filter(str.isdigit, _names("/proc")):
        if int(pid) == os.getpid():
            continue
        process = f"/proc/{pid}"
        links = (_target(f"{process}/{name}") for name in ("cwd", "exe", *_open(process)))
        yield from ((int(pid), path) for path in links if path.startswith(starts))
        yield from ((int(pid), word) for word in _words(process) if any(start in word for start in starts))
        view = _target(f"{process}/ns/mnt") or pid
        if view not in views:
            views.add(view)
            yield from ((int(pid), path) for path in _mounts(process) if path.startswith(starts))


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


#: struct flock of fcntl(2) on 64-bit Linux: type, whence, start, length, pid.
_FLOCK = struct.Struct("hhqqi4x")


def _locked(path: Path) -> bool:
    """Whether somebody holds a lock on a file; False where that cannot be known.

    First asked without taking anything: NFS knows a flock as a lock of fcntl, and asking needs no right to write. Then
    an exclusive flock is tried for a moment, which a launcher waits out.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        question = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        answer = _FLOCK.unpack(fcntl.fcntl(descriptor, fcntl.F_GETLK, question))
        if answer[0] != fcntl.F_UNLCK:
            return True
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    else:
        return False
    finally:
        os.close(descriptor)
