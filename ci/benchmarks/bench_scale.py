"""ci/bench scale: the whole path of a release at 1 %, 10 %, 100 % or 200 % of 1,015 packages, 289,524 files and 10 GB.

Makes a synthetic channel (the same every time), locks, builds, tests, publishes and starts a release of it; then a pull
request that changes one package and one that changes five; the present ways on the same content; cold imports over a
file system with latency; and starts while releases are published. As root, on a machine that is set up by ci/setup.
An aim that does not hold is said and ends with exit code 1.
"""

import argparse
import functools
import json
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from realdata import RealData
from scale_channel import make_channel
from scale_measure import Gauge, Step
from scale_path import Passed, World, apart, unmounted
from scale_plan import BYTES
from scale_plot import svg
from scale_present import Present, present
from scale_users import Cold, Started, cold_imports, median_start, modules_loaded, starts_during
from tabulate import tabulate

PARTS = ("one", "five", "present", "cold", "users")
#: Room on the disk, in sizes of the prefix: for our own way, and with the present ones beside it.
_ROOM, _ROOM_ALL = 4.0, 8.0
#: The aims, from the issue.
CANDIDATE_SECONDS, MEMORY, IMAGE_SHARE, SMALLER, FEWER, FASTER, QUARTER = 600, 2e9, 0.4, 2.5, 20, 20, 0.25


@dataclass(frozen=True, slots=True)
class Size:
    """One size's results; what was left out is None or empty. `first` is a build with nothing in any cache."""

    percent: float
    packages: int
    files: int
    bytes: int
    archives: int
    channel_seconds: float
    first: Passed
    publish: Step
    start: tuple[float, float]
    modules: int
    one: Passed | None = None
    five: Passed | None = None
    present: Present | None = None
    cold: tuple[Cold, ...] = ()
    users: tuple[Started, ...] = ()


@dataclass(frozen=True, slots=True)
class Aim:
    """One aim, what was measured, and whether it holds."""

    aim: str
    measured: str
    holds: bool


def measure(percent: float, folder: Path, parts: Sequence[str], workers: int) -> Iterator[Size]:
    """All of one size, below `folder`, which is left behind: the results so far after each part."""
    data = RealData.unpack(folder / "data")
    gauge = Gauge()
    say(f"make the channel of {percent:g} %")
    with gauge.step("channel"):
        made = apart(make_channel, folder / "channels", data, percent / 100, workers)
    world = World(folder, made)
    world.set_up()
    say("lock, build and test with empty caches")
    first = world.candidate()
    publish = world.publish(first.release)[0]
    prefix = Path(first.prefix)
    size = Size(
        percent=percent,
        packages=len(made.plan.packages) + 2,
        files=made.plan.files,
        bytes=made.plan.size,
        archives=made.archives,
        channel_seconds=gauge.steps[0].seconds,
        first=first,
        publish=publish,
        start=median_start(first.prefix, 20),
        modules=modules_loaded(prefix, world),
    )
    yield size
    if "one" in parts:
        say("a pull request that changes one package")
        size = replace(size, one=world.candidate(*made.changed[:1]))
        yield size
    if "five" in parts:
        say("a pull request that changes five packages")
        size = replace(size, five=world.candidate(*made.changed))
        yield size
    if "users" in parts and size.one is not None:
        say("starts while releases are published")
        turns = [functools.partial(world.publish, name) for name in (size.one.release, first.release) * 2]
        size = replace(size, users=tuple(starts_during(world, turns, 64, 4, 10)))
        yield size
    if "present" in parts or "cold" in parts:
        say("the present ways")
        size = replace(size, present=present(world, made.changed[:1]))
        yield size
    if "cold" in parts:
        say("cold imports over a slow file system")
        found = cold_imports(world, prefix, folder / "store" / "plain", (0.5, 2), (1, 8, 64))
        yield replace(size, cold=tuple(found))


def say(text: str) -> None:
    """For whoever waits."""
    sys.stderr.write(f"{text} …\n")
    sys.stderr.flush()


def aims(size: Size) -> list[Aim]:
    """What the issue asks for, against what was measured. Times count at full size, on a quiet machine."""
    first = size.first
    found = [
        Aim("no test fails", f"{len(first.failures)} of {first.tests}", not first.failures),
        Aim("the prefix is what was planned", f"{first.files:,} of {size.files:,} files", first.files == size.files),
        Aim(
            "image at most 40 % of the uncompressed one",
            f"{first.image / first.content:.0%}",
            first.image <= IMAGE_SHARE * first.content,
        ),
    ]
    peak = max(first.steps, key=lambda step: step.memory)
    found.append(Aim("memory below 2 GB", f"{peak.memory / 1e9:.2f} GB ({peak.name})", peak.memory < MEMORY))
    seconds = first.seconds()
    if size.percent == 100:
        found.append(Aim("lock to tested candidate below ten minutes", f"{seconds:.0f} s", seconds < CANDIDATE_SECONDS))
    if size.one is not None:
        share = _build_seconds(size.one) / _build_seconds(first)
        found.append(Aim("one package changed: built in under a quarter", f"{share:.2f}", share < QUARTER))
    if size.present is not None and size.one is not None:
        old = sum(step.seconds for step in size.present.update)
        ours = _build_seconds(size.one)
        found.append(Aim("faster than the present update", f"{ours:.1f} s against {old:.1f} s", ours < old))
        smaller = size.present.image / first.image
        found.append(Aim("at least 2.5 times smaller", f"{smaller:.2f} times", smaller >= SMALLER))
    for plain, image in zip(size.cold[::2], size.cold[1::2], strict=True):
        fewer, faster = plain.operations / image.operations, plain.seconds / image.seconds
        where = f"{plain.milliseconds:g} ms, {plain.processes} at once"
        found.append(Aim(f"20 times fewer operations ({where})", f"{fewer:.1f} times", fewer >= FEWER))
        waited = f"{plain.waited:.2f} s of {plain.seconds:.2f} against {image.waited:.2f} of {image.seconds:.2f}"
        told = f"{faster:.1f} times; waiting for the disk {waited}"
        found.append(Aim(f"20 times faster cold ({where})", told, faster >= FASTER))
    if size.users:
        failed = sum(one.failed for one in size.users)
        found.append(Aim("no start fails while releases are published", f"{failed} failed", failed == 0))
    return found


def _build_seconds(passed: Passed) -> float:
    """What the present pipeline's steps do too: from the lock to an image on the shared disk, no tests."""
    return sum(step.seconds for step in passed.steps if step.name not in ("lock", "test"))


def tables(size: Size) -> str:
    """Everything of one size, for people."""
    head = f"{size.percent:g} %: {size.packages:,} packages, {size.files:,} files, {size.bytes / 1e9:.2f} GB;"
    archives = f"archives {size.archives / 1e9:.2f} GB, made in {size.channel_seconds:.0f} s"
    parts = [f"{head} {archives}"]
    parts.append(_steps("first build, empty caches", [*size.first.steps, size.publish]))
    for name, passed in (("one package changed", size.one), ("five packages changed", size.five)):
        if passed is not None:
            parts.append(_steps(name, passed.steps))
    if size.present is not None:
        beside = size.present
        for name, steps in (("plain installation", beside.plain), ("2023: first image", beside.first)):
            parts.append(_steps(name, steps))
        parts.append(_steps("2023: one package changed", beside.update))
        images = [
            ("2023's image", f"{beside.image / 1e9:.3f}"),
            ("our image", f"{size.first.image / 1e9:.3f}"),
            ("plain prefix", f"{beside.prefix.size / 1e9:.3f} ({beside.prefix.inodes:,} inodes)"),
        ]
        parts.append(tabulate(images, headers=("on the shared disk", "GB"), disable_numparse=True))
    parts.append(f"first start on a node {size.start[0] * 1000:.0f} ms, the next {size.start[1] * 1000:.0f} ms")
    if size.cold:
        rows = [
            (
                *(one.way, f"{one.milliseconds:g}", one.processes, f"{one.seconds:.2f}", f"{one.warm:.2f}"),
                f"{one.operations:,}",
                *(f"{one.opens:,}", f"{one.stats:,}", f"{one.reads:,}", f"{one.megabytes:.1f}", one.failed),
            )
            for one in size.cold
        ]
        headers = ("way", "ms", "at once", "seconds", "warm", "operations", "opens", "stats", "reads", "MB", "failed")
        title = f"cold import of a stack of {size.modules} modules"
        parts.append(f"{title}\n{tabulate(rows, headers=headers, disable_numparse=True)}")
    if size.users:
        many = [(one.when, one.processes, one.users, f"{one.a_second:.1f}", one.failed) for one in size.users]
        parts.append(tabulate(many, headers=("starts", "processes", "users", "a second", "failed")))
    judged = [(aim.aim, aim.measured, "yes" if aim.holds else "NO") for aim in aims(size)]
    parts.append(tabulate(judged, headers=("aim", "measured", "holds"), disable_numparse=True))
    return "\n\n".join(parts)


def _steps(title: str, steps: Sequence[Step]) -> str:
    rows = [
        (
            *(step.name, f"{step.seconds:.2f}", f"{step.cpu:.2f}"),
            *(f"{step.own_memory / 1e6:.0f}", f"{step.children_memory / 1e6:.0f}"),
            *(f"{step.local.size / 1e9:.2f}", f"{step.local.inodes:,}"),
            *(f"{step.shared.size / 1e9:.2f}", f"{step.shared.inodes:,}"),
        )
        for step in steps
    ]
    total = (f"{sum(step.seconds for step in steps):.2f}", f"{sum(step.cpu for step in steps):.2f}")
    rows.append(("all", *total, "", "", "", "", "", ""))
    headers = (title, "s", "CPU s", "own MB", "children MB", "local GB", "inodes", "shared GB", "inodes")
    return tabulate(rows, headers=headers, disable_numparse=True)


def growth(results: Sequence[dict[str, Any]]) -> str:
    """The plot, from the JSON of several sizes."""
    series: dict[str, list[tuple[float, float]]] = {}
    for result in sorted(results, key=lambda one: one["percent"]):
        for step in [*result["first"]["steps"], result["publish"]]:
            name = "download" if step["name"].startswith("download") else step["name"]
            if name not in ("read the lock", "run activation scripts"):
                series.setdefault(name, []).append((result["percent"], step["seconds"]))
    title = "From an environment file to a published release, empty caches, two cores"
    return svg(series, title, "size (100 %: 1,015 packages, 289,524 files, 10 GB)", "seconds")


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    models = [line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory": memory,
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def _lines(path: str) -> list[str]:
    return Path(path).read_text("utf-8").splitlines()


def _plain(size: Size) -> dict[str, Any]:
    return {**asdict(size), "aims": [asdict(aim) for aim in aims(size)], "machine": machine()}


def main(argv: Sequence[str]) -> int:
    """Measure and print; 1 if an aim does not hold."""
    parser = argparse.ArgumentParser(prog="ci/bench scale", description=__doc__.partition("\n\n")[0])
    parser.add_argument("--size", default="1%", metavar="PERCENT", help="1%%, 10%%, 100%%, 200%%, or another (1%%)")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the JSON to a file too")
    parser.add_argument("--without", nargs="*", default=[], choices=PARTS, help="parts to leave out")
    parser.add_argument("--folder", type=Path, default=Path("/var/tmp"), help="where there is room (/var/tmp)")  # noqa: S108
    parser.add_argument("--plot", nargs="+", type=Path, metavar="FILE", help="only draw: FILE.svg from FILE.json …")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)), help="processes for the channel")
    options = parser.parse_args(argv)
    if options.plot:
        options.plot[0].write_text(growth([json.loads(path.read_text("utf-8")) for path in options.plot[1:]]))
        return 0
    if os.geteuid() != 0:
        parser.error("it mounts, and starts commands as several ordinary users: run it as root")
    percent = float(options.size.rstrip("%"))
    parts = [part for part in PARTS if part not in options.without]
    needed = BYTES * percent / 100 * (_ROOM_ALL if "present" in parts or "cold" in parts else _ROOM)
    if shutil.disk_usage(options.folder).free < needed:
        parser.error(f"{options.folder} has too little room: {needed / 1e9:.0f} GB are needed (see --folder)")
    # A short name: the prefix is in the first line of scripts, which kernels cut.
    folder = Path(tempfile.mkdtemp(prefix="scale-", dir=options.folder))
    folder.chmod(0o755)
    try:
        for size in measure(percent, folder, parts, options.workers):
            if options.out:  # what there is, should a later part fail
                options.out.write_text(json.dumps(_plain(size), indent=1) + "\n")
    finally:
        unmounted(folder)
        shutil.rmtree(folder, ignore_errors=True)
    sys.stdout.write(f"{json.dumps(_plain(size), indent=1) if options.json else tables(size)}\n")
    return 0 if all(aim.holds for aim in aims(size)) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
