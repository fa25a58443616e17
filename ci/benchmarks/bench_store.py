"""The store, proved and measured at full size: `ci/bench store [--json]`.

Three proofs (accidents at every operation, readers during publishes, a model with random orders) and one measurement:
publish and rollback with images of 1 and 10 GB. That damage is found needs no larger size: see
`tests/integration/test_store_damage.py`.
"""

import argparse
import datetime as dt
import json
import shutil
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tabulate import tabulate

from benchmarks.store_crash import SCENARIOS, Harness, Tally
from benchmarks.store_model import run_model
from benchmarks.store_readers import Outcome, run_readers
from benchmarks.storekit import ASKED, build, judge, make_store, release, silent
from conda_concept.steps.publish import publish_release
from conda_concept.steps.rollback import roll_back
from conda_concept.store import RealDoor


@dataclass(frozen=True, slots=True)
class Measured:
    """Publish and rollback at one image size.

    `check_seconds` is reading every byte, which publish does before it takes the lock. The others are milliseconds,
    the median of the runs: all that comes after the check, and the check of a rollback that reads no image.
    """

    gigabytes: float
    commands: int
    check_seconds: float
    publish_ms: float
    rollback_ms: float
    quick_check_ms: float


def measure(folder: Path, gigabytes: float, *, runs: int, commands: int = 2000) -> Measured:
    """Two builds of one label with sparse images of this size, published and rolled back in turn."""
    store = replace(make_store(folder / "root", door=RealDoor()), now=lambda: dt.datetime.now(tz=dt.UTC))
    builds = [release("23.04", number) for number in (1, 2)]
    for one in builds:
        build(store, one, commands=commands, size=int(gigabytes * 10**9))
        judge(store, one)
    publish_release(store, builds[0], "23.04", ASKED, silent())
    there, back = [], []
    for _ in range(runs):
        there.append(publish_release(store, builds[1], "23.04", ASKED, silent()))
        back.append(roll_back(store, builds[0].label, "", ASKED, silent(), quick=True))
    return Measured(
        gigabytes=gigabytes,
        commands=commands,
        check_seconds=median(one.seconds_checking for one in there),
        publish_ms=1000 * median(one.seconds_switching for one in there),
        rollback_ms=1000 * median(one.seconds_switching for one in back),
        quick_check_ms=1000 * median(one.seconds_checking for one in back),
    )


@dataclass(frozen=True, slots=True)
class Results:
    """Everything that a run of this benchmark showed; a part that was not asked for is empty."""

    accidents: tuple[Tally, ...]
    readers: Outcome | None
    model: dict[str, int]
    sizes: tuple[Measured, ...]

    @property
    def violations(self) -> list[str]:
        """Every promise that was not kept."""
        seen = self.readers.seen if self.readers is not None else []
        return [
            *(text for tally in self.accidents for text in tally.violations),
            *(text for one in seen for text in one.wrong),
        ]


def tables(results: Results) -> str:
    """The results for a terminal."""
    parts = []
    if results.accidents:
        rows = [
            (one.name, one.operations, one.killed, one.failed, one.states, one.loads, len(one.violations))
            for one in results.accidents
        ]
        sums = [sum(int(row[column]) for row in rows) for column in range(1, 7)]
        rows.append(("all", sums[0], sums[1], sums[2], sums[3], sums[4], sums[5]))
        heads = ("command", "operations", "killed at", "failed at", "states checked", "modules loaded", "violations")
        parts.append(tabulate(rows, headers=heads))
    if results.readers is not None:
        seen = [(one.kind, one.rounds, str(len(one.releases)), len(one.wrong)) for one in results.readers.seen]
        seen.append(("all", sum(row[1] for row in seen), "", sum(row[3] for row in seen)))
        head = f"{results.readers.switches} publishes and rollbacks, {1000 * results.readers.seconds:.0f} ms each\n"
        parts.append(head + tabulate(seen, headers=("reader", "launches", "releases seen", "failed or mixed")))
    if results.model:
        parts.append(tabulate(sorted(results.model.items()), headers=("model", "times")) + "\nviolations: 0")
    if results.sizes:
        headers = ("image GB", "commands", "check s", "publish ms", "rollback ms", "quick check ms")
        measured = [tuple(asdict(one).values()) for one in results.sizes]
        parts.append(tabulate(measured, headers=headers, floatfmt=".1f"))
    return "\n\n".join(parts)


def run(parts: set[str], folder: Path, *, small: bool) -> Results:
    """The parts that are asked for, below a folder of their own."""

    def say(text: str) -> None:
        sys.stderr.write(f"{text} …\n")

    accidents: list[Tally] = []
    for scenario in SCENARIOS if "accidents" in parts else ():
        say(f"accidents: {scenario.name}")
        accidents.append(Harness(folder / "accidents", thorough=not small, load_every=10 if small else 3).run(scenario))
    readers = None
    if "readers" in parts:
        say("readers")
        (folder / "readers").mkdir()
        (folder / "readers").chmod(0o755)
        readers = run_readers(folder / "readers", switches=40 if small else 200, real=True)
    model: dict[str, int] = {}
    if "model" in parts:
        say("model")
        model = dict(run_model(examples=20 if small else 300, steps=25 if small else 40, derandomize=small))
    sizes: list[Measured] = []
    for gigabytes in (0.1, 1) if small else (0.1, 1, 10):
        if "sizes" in parts:
            say(f"sizes: {gigabytes} GB")
            sizes.append(measure(folder / f"size{gigabytes}", gigabytes, runs=3 if gigabytes > 1 else 7))
    return Results(tuple(accidents), readers, model, tuple(sizes))


def main() -> int:
    """Run, print a table or JSON, and say by the exit code whether every promise was kept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = ("accidents", "readers", "model", "sizes")
    parser.add_argument("part", nargs="*", choices=[*names, []], help="only these parts")
    parser.add_argument("--small", action="store_true", help="the size that the tests use")
    parser.add_argument("--json", action="store_true", help="for programs")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="bench-store-"))
    folder.chmod(0o755)
    started = time.monotonic()
    try:
        results = run(set(options.part or names), folder, small=options.small)
    finally:
        shutil.rmtree(folder)
    seconds = time.monotonic() - started
    if options.json:
        print(json.dumps({**asdict(results), "seconds": seconds}, default=sorted, indent=1))  # noqa: T201 - the output
    else:
        print(f"{tables(results)}\n\nviolations in all: {len(results.violations)}; {seconds:.0f} s")  # noqa: T201
    for text in results.violations[:50]:
        sys.stderr.write(f"{text}\n")
    return 1 if results.violations else 0


if __name__ == "__main__":
    sys.exit(main())
