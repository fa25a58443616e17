"""What users see: cold imports over a slow file system, and many starts while a release is published."""

import os
import pwd
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from scale_latency import slow
from scale_path import World, unmounted

ACCOUNT = "concept-user"
OPERATIONS = ("lookup", "stat", "readlink", "open", "read", "list", "statfs")


@dataclass(frozen=True, slots=True)
class Cold:
    """So many processes import the same stack at once, nothing of it in any cache: seconds, operations, bytes read.

    `warm` are the seconds of the same with everything in the node's caches: what the interpreters need for themselves.
    """

    way: str
    milliseconds: float
    processes: int
    seconds: float
    warm: float
    operations: int
    opens: int
    stats: int
    reads: int
    megabytes: float
    failed: int

    @property
    def waited(self) -> float:
        """Seconds that are the disk's."""
        return max(0.001, self.seconds - self.warm)


@dataclass(frozen=True, slots=True)
class Started:
    """Starts in a stretch of time, by how many processes, of how many users."""

    when: str
    processes: int
    users: int
    starts: int
    seconds: float
    failed: int

    @property
    def a_second(self) -> float:
        """Starts a second."""
        return self.starts / self.seconds


def become(uid: int | None = None) -> list[str]:
    """The words that make a command an ordinary user's: the tests' account, or one by number."""
    if os.geteuid() != 0:
        return []
    entry = pwd.getpwnam(ACCOUNT)
    return ["/usr/bin/setpriv", f"--reuid={uid or entry.pw_uid}", f"--regid={entry.pw_gid}", "--clear-groups", "--"]


def heavy_stack(world: World) -> str:
    """A statement that imports the modules which bring most others: what a first notebook cell does."""
    packages = world.made.plan.by_name
    python = [package for package in packages.values() if package.is_python]
    ranked = sorted(python, key=lambda package: (-len(package.needs), -package.sources, package.name))
    return "import " + ", ".join(package.module for package in ranked[:40])


def cold_imports(
    world: World, prefix: Path, plain: Path, latencies: Sequence[float], crowds: Sequence[int]
) -> list[Cold]:
    """Both ways at each latency, with so many processes at once; the slow folder is the whole store."""
    code = f"{heavy_stack(world)}; import sys; sys.stdout.write(str(len(sys.modules)))"
    found = []
    for milliseconds in latencies:
        for processes in crowds:
            for way, root in (("plain prefix", plain), ("image", prefix)):
                found.append(_cold(world, way, [f"{root}/bin/python3", "-c", code], milliseconds, processes))
    return found


def _at_once(words: Sequence[str], processes: int) -> tuple[float, int]:
    """Run a command so many times at once: seconds until the last has ended, and how many failed."""
    environment = {"PATH": "/usr/bin:/bin", "HOME": "/tmp", "PYTHONDONTWRITEBYTECODE": "1"}  # noqa: S108
    argv = [*become(), *words]
    began = time.monotonic()
    running = [
        subprocess.Popen(argv, env=environment, cwd="/", stdout=subprocess.DEVNULL, stderr=sys.stderr)
        for _ in range(processes)
    ]
    failed = sum(process.wait() != 0 for process in running)
    return time.monotonic() - began, failed


def _cold(world: World, way: str, words: Sequence[str], milliseconds: float, processes: int) -> Cold:
    unmounted(world.folder / "node")
    _at_once(words, 1)
    warm, _ = _at_once(words, processes)
    unmounted(world.folder / "node")
    with slow(world.folder / "store", milliseconds) as counts:
        seconds, failed = _at_once(words, processes)
        unmounted(world.folder / "node")
    operations = sum(counts[name] for name in OPERATIONS)
    stats = counts["lookup"] + counts["stat"] + counts["readlink"]
    reads, opens = counts["read"], counts["open"] + counts["list"]
    megabytes = counts["bytes"] / 1e6
    return Cold(way, milliseconds, processes, seconds, warm, operations, opens, stats, reads, megabytes, failed)


def modules_loaded(prefix: Path, world: World) -> int:
    """How many modules the stack is."""
    code = f"{heavy_stack(world)}; import sys; print(len(sys.modules))"
    environment = {"PATH": "/usr/bin:/bin", "HOME": "/tmp"}  # noqa: S108
    words = [*become(), f"{prefix}/bin/python3", "-c", code]
    return int(subprocess.run(words, env=environment, cwd="/", check=True, capture_output=True, text=True).stdout)


def starts_during(
    world: World, publishes: Sequence[Callable[[], object]], processes: int, users: int, seconds: float
) -> list[Started]:
    """`processes` of `users` start the interpreter by its alias without a pause: before, while published, after."""
    python = world.folder / "store" / "apps" / "conda_concept" / "envs" / "scale" / "bin" / "python3"
    environment = {"PATH": "/usr/bin:/bin", "HOME": "/tmp"}  # noqa: S108
    first = 12_000

    def one(number: int, until: float) -> tuple[int, int]:
        uid = first + number % users if os.geteuid() == 0 else None
        done = failed = 0
        while time.monotonic() < until:
            words = [*become(uid), str(python), "-c", "pass"]
            ended = subprocess.run(words, env=environment, cwd="/", check=False, capture_output=True)
            done, failed = done + 1, failed + (ended.returncode != 0)
        return done, failed

    def stretch(when: str, work: Sequence[Callable[[], object]]) -> Started:
        began = time.monotonic()
        with ThreadPoolExecutor(processes) as pool:
            futures = [pool.submit(one, number, began + seconds) for number in range(processes)]
            for call in work:
                call()
            answers = [future.result() for future in futures]
        took = time.monotonic() - began
        return Started(when, processes, users, sum(a for a, _ in answers), took, sum(b for _, b in answers))

    stretch("warm up", ())
    return [stretch("before", ()), stretch(f"{len(publishes)} publishes", publishes), stretch("after", ())]


def median_start(prefix: str, count: int) -> tuple[float, float]:
    """Seconds of a user's first start on a node (which mounts the image), and the median of those after it."""
    words = [*become(), f"{prefix}/bin/python3", "-c", "pass"]
    taken = []
    for _ in range(count + 1):
        began = time.monotonic()
        subprocess.run(words, env={"PATH": "/usr/bin:/bin", "HOME": "/tmp"}, cwd="/", check=True)  # noqa: S108
        taken.append(time.monotonic() - began)
    return taken[0], statistics.median(taken[1:])
