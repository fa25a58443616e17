"""ci/bench launch: what a launcher costs, and how starts behave when many come at once.

Builds a small store of the interpreter that runs this, then times whole processes of an ordinary user: from a plain
folder, from a mounted image, through each runtime called directly, and through the launcher. Ways take turns, and what
one way adds to another is the median over the rounds, so that other load on the machine falls on all alike. An aim that
does not hold is said and ends with exit code 1.
"""

import argparse
import json
import multiprocessing
import os
import pwd
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tabulate import tabulate

TOP = Path(__file__).resolve().parent.parent.parent
sys.path[0] = str(TOP)  # not this folder, where a file is called as the folder of the tests is

from conda_concept.run import run  # noqa: E402 - after the path is right
from tests.support.release import DEMO, Store, make_store  # noqa: E402 - the same
from tests.support.user import ACCOUNT  # noqa: E402 - the same

#: The aims, from the issue: milliseconds on top of the bare runtime, on top of a mounted image; seconds for 128.
LAUNCHER_ADDS, NAMESPACE_ADDS, MANY_SECONDS = 5.0, 10.0, 2.0
NOTHING = "pass"
#: What a scientific program does first: some 1,500 modules, hundreds of them compiled, from wheels of PyPI.
STACK = ("numpy", "pandas", "scipy")
HEAVY = "import numpy, pandas, scipy.stats, scipy.sparse"
PLAIN, MOUNT, NS_BARE, NS, IMAGE_BARE, SING_BARE, SING = (
    "plain folder",
    "mounted image",
    "namespace, bare",
    "namespace, launcher",
    "singularity mounts the image, bare",
    "singularity on the shared mount, bare",
    "singularity, launcher",
)
#: Started with so many at once; the other ways add nothing to the picture.
CROWDS = (PLAIN, NS, SING)


@dataclass(frozen=True, slots=True)
class Way:
    """One way to start the interpreter: a name, the words before `-c`, and the runtime that the launcher is told."""

    name: str
    words: tuple[str, ...]
    runtime: str = "namespace"


@dataclass(frozen=True, slots=True)
class Single:
    """Starts one after another: median and 90th percentile in milliseconds, and the ratio to the plain folder."""

    program: str
    way: str
    median_ms: float
    p90_ms: float
    ratio: float


@dataclass(frozen=True, slots=True)
class Crowd:
    """So many starts at once: seconds until the last one has ended, and how many failed."""

    way: str
    at_once: int
    seconds: float
    failed: int


@dataclass(frozen=True, slots=True)
class Aim:
    """One aim, what was measured, and whether it holds."""

    aim: str
    measured: str
    holds: bool


@dataclass(frozen=True, slots=True)
class Nth:
    """Starts in the order in which a user makes them: the very first one mounts the image, no later one does."""

    way: str
    first_ms: float
    second_ms: float
    about_the_hundredth_ms: float
    about_the_thousandth_ms: float


@dataclass(frozen=True, slots=True)
class Result:
    """Everything that one run found."""

    order: tuple[Nth, ...]
    singles: tuple[Single, ...]
    crowds: tuple[Crowd, ...]
    aims: tuple[Aim, ...]


def become() -> None:
    """Be the ordinary user from here on: becoming one for each start would be measured too."""
    if os.geteuid() == 0:
        entry = pwd.getpwnam(ACCOUNT)
        os.initgroups(ACCOUNT, entry.pw_gid)
        os.setgid(entry.pw_gid)
        os.setuid(entry.pw_uid)


def ways(store: Store, plain: Path, mount: Path) -> tuple[Way, ...]:
    """What is compared; bare runtimes are called with the same mounts as the launcher's."""
    prefix, site = store.prefix(), store.site
    python = f"{prefix}/bin/python3"
    enter = 'mount -n -i --bind "$1" "$2"; shift 2; exec setpriv --ambient-caps=-all --inh-caps=-all -- "$@"'
    unshare = ("/usr/bin/unshare", "--user", "--map-current-user", "--mount", "--propagation", "slave", "--keep-caps")
    binds = ",".join(bind for bind in (*site.binds, site.root) if Path(bind).exists())
    container = (site.singularity, "-s", "exec", "--bind", binds, "--bind")
    base = store.facts[DEMO].base
    return (
        Way(PLAIN, (f"{plain}/bin/python3",)),
        Way(MOUNT, (f"{mount}/bin/python3",)),
        Way(NS_BARE, (*unshare, "/bin/sh", "-c", enter, "sh", str(mount), str(prefix), python)),
        Way(NS, (python,)),
        Way(IMAGE_BARE, (*container, f"{prefix}/image.sqsh:{prefix}:image-src=/", base, python)),
        Way(SING_BARE, (*container, f"{mount}:{prefix}:ro", base, python)),
        Way(SING, (python,), "singularity"),
    )


def started(way: Way, code: str) -> subprocess.Popen[bytes]:
    """A start without a terminal, as in a batch job."""
    env = {"PATH": "/usr/bin:/bin", "HOME": str(Path.home()), "CONDA_CONCEPT_RUNTIME": way.runtime}
    return subprocess.Popen(
        [*way.words, "-c", code],
        env=env,
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def seconds_of(way: Way, code: str, at_once: int) -> tuple[float, int]:
    """Seconds until the last of so many has ended, and how many did not end with 0."""
    begin = time.perf_counter()
    children = [started(way, code) for _ in range(at_once)]
    failed = sum(child.wait() != 0 for child in children)
    return time.perf_counter() - begin, failed


Times = dict[str, list[float]]
"""Milliseconds of each way, round by round."""


def in_turns(all_ways: Sequence[Way], code: str, rounds: int) -> Times:
    """Starts that take turns; the first round is thrown away."""
    times: Times = {way.name: [] for way in all_ways}
    for number in range(rounds + 1):
        for way in all_ways:
            took, failed = seconds_of(way, code, 1)
            if failed:
                raise SystemExit(f"a start failed: {' '.join(way.words)[:300]}")
            if number:
                times[way.name].append(took * 1000)
    return times


def adds(times: Times, way: str, to: str) -> float:
    """What a way adds to another: the median of the rounds' differences, in milliseconds."""
    return statistics.median(one - other for one, other in zip(times[way], times[to], strict=True))


def in_order(prefix: Path, count: int) -> Nth:
    """The launcher's starts from the very first one on; about the nth is the median of the 21 around it."""
    way = Way(NS, (f"{prefix}/bin/python3",))
    took = [seconds_of(way, NOTHING, 1)[0] * 1000 for _ in range(count + 10)]
    hundredth, thousandth = (statistics.median(took[n - 11 : n + 10]) for n in (100, count))
    return Nth(way.name, took[0], took[1], hundredth, thousandth)


def singles_of(times: Times, program: str) -> list[Single]:
    """Medians for the table."""
    plain = statistics.median(times[PLAIN])
    return [
        Single(
            program,
            name,
            statistics.median(took),
            sorted(took)[int(0.9 * (len(took) - 1))],
            statistics.median(took) / plain,
        )
        for name, took in times.items()
    ]


def measure(store: Store, plain: Path, rounds: int, repeats: int) -> Result:
    """All measurements, as the ordinary user; the shared mount is made by the first start of the launcher."""
    order = in_order(store.prefix(), 1000)
    (mount,) = (Path(store.site.node_dir) / f"{store.site.product}.{os.getuid()}").glob(store.facts[DEMO].image_sha256)
    try:
        all_ways = ways(store, plain, mount)
        times = in_turns(all_ways, NOTHING, rounds)
        heavy = in_turns(all_ways, HEAVY, max(3, rounds // 5))
        crowds = [crowd(way, count, repeats) for way in all_ways if way.name in CROWDS for count in (1, 8, 32, 64, 128)]
        singles = (*singles_of(times, "python3 -c pass"), *singles_of(heavy, "import numpy, pandas, scipy"))
        return Result((order,), singles, tuple(crowds), aims(times, crowds, order))
    finally:
        run(["/usr/bin/fusermount3", "-u", "-z", mount])


def crowd(way: Way, count: int, repeats: int) -> Crowd:
    """The median of a few crowds."""
    found = [seconds_of(way, NOTHING, count) for _ in range(repeats)]
    return Crowd(way.name, count, statistics.median(took for took, _ in found), sum(failed for _, failed in found))


def aims(times: Times, crowds: Sequence[Crowd], order: Nth) -> tuple[Aim, ...]:
    """What the issue asks for, against what was measured."""
    many = {found.way: found for found in crowds if found.at_once == 128}
    failed = sum(found.failed for found in crowds)
    namespace, singularity, mounted = adds(times, NS, NS_BARE), adds(times, SING, SING_BARE), adds(times, NS, MOUNT)
    drift = order.about_the_thousandth_ms - order.second_ms
    return (
        Aim("launcher on top of the bare namespace: at most 5 ms", f"{namespace:.1f} ms", namespace <= LAUNCHER_ADDS),
        Aim("launcher on top of bare singularity: at most 5 ms", f"{singularity:.1f} ms", singularity <= LAUNCHER_ADDS),
        Aim(
            "namespace within 10 ms of a mounted image",
            f"{mounted:.1f} ms",
            mounted <= NAMESPACE_ADDS,
        ),
        Aim("128 at once within 2 s (namespace)", f"{many[NS].seconds:.2f} s", many[NS].seconds <= MANY_SECONDS),
        Aim("no start fails", f"{failed} failed", failed == 0),
        Aim("the 1,000th start like the 2nd: within 5 ms", f"{drift:+.1f} ms", drift <= LAUNCHER_ADDS),
    )


def text(result: Result) -> str:
    """Four tables for people."""
    order = [(n.way, *(f"{value:.1f}" for value in list(asdict(n).values())[1:])) for n in result.order]
    singles = [(s.program, s.way, f"{s.median_ms:.1f}", f"{s.p90_ms:.1f}", f"{s.ratio:.2f}") for s in result.singles]
    crowds = [
        (c.way, c.at_once, f"{c.seconds:.2f}", f"{c.seconds / c.at_once * 1000:.1f}", c.failed) for c in result.crowds
    ]
    judged = [(aim.aim, aim.measured, "yes" if aim.holds else "NO") for aim in result.aims]
    return "\n\n".join(
        (
            tabulate(order, headers=("way", "1st ms (mounts)", "2nd", "about the 100th", "about the 1,000th")),
            tabulate(singles, headers=("program", "way", "median ms", "p90 ms", "ratio to plain")),
            tabulate(crowds, headers=("way", "at once", "seconds", "ms a start", "failed")),
            tabulate(judged, headers=("aim", "measured", "holds")),
        )
    )


def main() -> int:
    """Build, measure as an ordinary user, print; 1 if an aim does not hold."""
    parser = argparse.ArgumentParser(prog="ci/bench launch", description=__doc__.partition("\n\n")[0])
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    parser.add_argument("--rounds", type=int, default=30, help="starts of each way, one after another (default: 30)")
    parser.add_argument("--repeats", type=int, default=3, help="crowds of each size (default: 3)")
    options = parser.parse_args()
    root, work = (Path(tempfile.mkdtemp(prefix=f"conda-concept-bench-{name}-")) for name in ("store", "work"))
    root.chmod(0o755)
    work.chmod(0o755)
    try:
        store = make_store(root, work, extra=STACK, compiled=True)
        plain = work / "plain"
        run(["/usr/bin/unsquashfs", "-no-progress", "-quiet", "-d", plain, store.layout.image(DEMO)])
        with multiprocessing.get_context("fork").Pool(1, initializer=become) as pool:
            result = pool.apply(measure, (store, plain, options.rounds, options.repeats))
    finally:
        for line in Path("/proc/self/mounts").read_text("utf-8").splitlines():
            if line.split()[1].startswith(f"{root}/"):
                run(["/usr/bin/umount", "-l", line.split()[1]])
        shutil.rmtree(work)
        shutil.rmtree(root)
    sys.stdout.write(f"{json.dumps(asdict(result), indent=2) if options.json else text(result)}\n")
    return 0 if all(aim.holds for aim in result.aims) else 1


if __name__ == "__main__":
    sys.exit(main())
