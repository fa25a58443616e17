"""ci/bench lock: how little a lock moves, what it costs beside the bare solve, and whether failures are explained.

Replays the real history of analysis3 (or `--data DIR`, a folder of the same shape), times whole processes, and breaks
the spec in known ways. Nothing is skipped; a result that does not hold is said and ends with exit code 1.
"""

import argparse
import functools
import http.server
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from io import StringIO
from pathlib import Path
from typing import Any, Self

from brokenspecs import corpus
from lockkit import broken_rules, moved, real_lock, spec_of
from realdata import CONFIG, RealData
from tabulate import tabulate

from conda_concept.errors import ConcError
from conda_concept.explain import ExplainedError
from conda_concept.lockfile import dumps
from conda_concept.locking import Wish, solve
from conda_concept.progress import Reporter
from conda_concept.solver import Settings

QUIET = Reporter(StringIO(), quiet=True)

BARE = """
import asyncio, os, sys, yaml
from rattler import Gateway, GenericVirtualPackage, PackageName, Version, solve
from rattler.channel import ChannelPriority
from rattler.package import BuildString
alias, cache, file = sys.argv[1:]
spec = yaml.safe_load(open(file))
virtual = [("__unix", "0", "0"), ("__linux", "4.18", "0"), ("__glibc", "2.28", "0"), ("__archspec", "1", "x86_64"),
           ("__cuda", "12.9", "0")]
async def main():
    return await solve(
        [f"{alias}/{name}" for name in spec["channels"]],
        [f"{alias}/{text}" if "::" in text else text for text in spec["dependencies"] if isinstance(text, str)],
        gateway=Gateway(cache_dir=cache), platforms=["linux-64", "noarch"], channel_priority=ChannelPriority.Disabled,
        virtual_packages=[GenericVirtualPackage(PackageName(n), Version(v), BuildString(b)) for n, v, b in virtual])
print(len(asyncio.run(main())))
sys.stdout.flush()
os._exit(0)
"""


# --- replay ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Replayed:
    """One step of the history: packages that a minimal lock moved, that really moved, what does not hold, seconds."""

    step: str
    packages: int
    moved: int
    really: int
    invalid: int
    seconds: float


def replay(data: RealData, settings: Settings) -> list[Replayed]:
    """Every step from the one really before it."""
    results = []
    for before, step in zip(data.steps, data.steps[1:], strict=False):
        spec, start = spec_of(step.environment), real_lock(data, before)
        began = time.perf_counter()
        lock = solve(spec, start, Wish(), settings, QUIET).lock
        seconds = time.perf_counter() - began
        results.append(
            Replayed(
                step.name,
                len(lock.packages),
                moved(start, lock),
                moved(start, real_lock(data, step)),
                len(broken_rules(spec, lock)),
                round(seconds, 3),
            )
        )
    return results


# --- whole processes ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Timed:
    """A command's wall and processor time in seconds: medians of its runs, and the wall time above the bare solve.

    On a busy machine the processor time is the one to look at.
    """

    what: str
    cache: str
    seconds: float
    above_bare: float
    processor: float
    processor_above_bare: float


class Served:
    """The channels behind a loopback web server, so that a repodata cache means something; a context manager."""

    def __init__(self, folder: Path) -> None:
        handler = functools.partial(QuietHandler, directory=str(folder))
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.alias = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    """A file server that does not write a line for each request."""

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def checkout(data: RealData, target: Path) -> Path:
    """A repository with analysis3 as it was at the last step, and the lock of the step before it."""
    folder = target / "environments" / "analysis3"
    folder.mkdir(parents=True)
    (folder / "environment.yml").write_text(data.steps[-1].environment)
    (folder / "config.yml").write_text(CONFIG)
    (folder / "conda-lock.yml").write_text(dumps(real_lock(data, data.steps[-2])))
    sites = target / "ci" / "sites"
    sites.mkdir(parents=True)
    (sites / "local.yml").write_text((Path(__file__).resolve().parents[1] / "sites" / "local.yml").read_text())
    return target


def processes(data: RealData, work: Path, runs: int) -> list[Timed]:
    """`lock`, `lock --comment`, and `lock` then `diff`, beside the bare solve: with cold and with warm repodata."""
    repository = checkout(data, work / "repository")
    environment = repository / "environments" / "analysis3"
    new, comment = work / "new.yml", work / "comment.md"
    results: list[Timed] = []
    with Served(data.folder / "channels") as served:
        lock: list[str | Path] = [
            "lock",
            "analysis3",
            "--repository",
            repository,
            "--channel-alias",
            served.alias,
            "--quiet",
            "--out",
            new,
        ]
        diff: list[str | Path] = [
            "diff",
            environment / "conda-lock.yml",
            new,
            "--format",
            "md",
            "--quiet",
            "--repository",
            repository,
        ]
        commands: dict[str, Sequence[Sequence[str | Path]]] = {
            "bare solve": [["-c", BARE, served.alias, work / "cache" / "repodata", environment / "environment.yml"]],
            "lock": [["-m", "conda_concept", *lock]],
            "lock with its comment": [["-m", "conda_concept", *lock, "--comment", comment]],
            "lock, then diff": [["-m", "conda_concept", *lock], ["-m", "conda_concept", *diff]],
        }
        for cache in ("cold", "warm"):
            taken: dict[str, list[Taken]] = {name: [] for name in commands}
            for _ in range(runs):  # in turns, so that a busy moment hits all of them
                for name, lines in commands.items():
                    if cache == "cold":
                        remove(work / "cache")
                    spans = [run(line, work) for line in lines]
                    taken[name].append(Taken(sum(s.wall for s in spans), sum(s.processor for s in spans)))
            results += timed(cache, taken)
    return results


@dataclass(frozen=True)
class Taken:
    """Seconds that a process, or several in a row, took."""

    wall: float
    processor: float


def timed(cache: str, taken: dict[str, list[Taken]]) -> list[Timed]:
    """Medians beside those of the bare solve, which comes first."""
    medians = {
        name: (statistics.median(one.wall for one in all_), statistics.median(one.processor for one in all_))
        for name, all_ in taken.items()
    }
    bare = next(iter(medians.values()))
    return [
        Timed(name, cache, *(round(value, 2) for value in (wall, wall - bare[0], cpu, cpu - bare[1])))
        for name, (wall, cpu) in medians.items()
    ]


def run(line: Sequence[str | Path], work: Path, *, expect: int = 0) -> Taken:
    """What one process took; its exit status has to be the expected one."""
    new = work / "new.yml"
    if "lock" in line:
        new.unlink(missing_ok=True)
    environment = {**os.environ, "CONDA_CONCEPT_CACHE": str(work / "cache"), "CONDA_CONCEPT_ROOT": str(work / "root")}
    environment["PYTHONPATH"] = str(Path(__file__).resolve().parents[1])
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(
        [sys.executable, *map(str, line)], env=environment, cwd=work, capture_output=True, text=True, check=False
    )
    seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != expect:
        raise SystemExit(f"{line[:4]} ended with {done.returncode}, not {expect}:\n{done.stderr}")
    return Taken(seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def remove(folder: Path) -> None:
    """A folder, gone."""
    shutil.rmtree(folder, ignore_errors=True)


def statuses(data: RealData, work: Path, locks: int, diffs: int) -> dict[str, int]:
    """Runs whose exit status was right: `lock` and `diff` again and again, alternating success and a known failure."""
    repository = checkout(data, work / "statuses")
    lock_file = repository / "environments" / "analysis3" / "conda-lock.yml"
    lock: list[str | Path] = [
        "-m",
        "conda_concept",
        "lock",
        "analysis3",
        "--repository",
        repository,
        "--quiet",
        "--out",
        work / "new.yml",
    ]
    diff: list[str | Path] = ["-m", "conda_concept", "diff", lock_file, lock_file, "--repository", repository]
    for number in range(locks):
        alias = data.alias if number % 4 else (work / "nowhere").as_uri()
        run([*lock, "--channel-alias", alias], work, expect=0 if number % 4 else 2)
    for number in range(diffs):
        run(diff if number % 4 else [*diff[:4], work / "nowhere.yml", *diff[5:]], work, expect=0 if number % 4 else 11)
    return {"lock": locks, "diff": diffs}


# --- explanations ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Explained:
    """One broken spec: whether its message names the true cause and has a way out, and the message itself."""

    name: str
    named: bool
    remedy: bool
    seconds: float
    message: str


def explanations(data: RealData, settings: Settings) -> list[Explained]:
    """Every variation of the corpus."""
    results = []
    for broken in corpus():
        environment, config = broken.apply(data.steps[-1].environment)
        began = time.perf_counter()
        message, remedy = "", False
        try:
            solve(spec_of(environment, config), None, Wish(), settings, QUIET)
        except ExplainedError as error:
            message, remedy = error.message, bool(error.explanation.remedies)
        except ConcError as error:
            message, remedy = str(error), bool(error.hint)
        named = bool(message) and all(word in message for word in broken.expected)
        results.append(Explained(broken.name, named, remedy, round(time.perf_counter() - began, 2), message))
    return results


# --- the table ------------------------------------------------------------------------------------------------------


def main() -> int:
    """Run the parts that are asked for and print them."""
    parser = argparse.ArgumentParser(prog="ci/bench lock", description=__doc__)
    parser.add_argument("--json", action="store_true", help="the results as JSON")
    parser.add_argument("--data", type=Path, metavar="DIR", help="with channels/ and history/ (default: tests/data)")
    parser.add_argument("--runs", type=int, default=5, metavar="N", help="runs of each timed process (default: 5)")
    parser.add_argument("--statuses", type=int, default=0, metavar="N", help="N runs of diff and N/10 of lock")
    parser.add_argument("--only", choices=("replay", "processes", "explanations", "statuses"), help="one part")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="conda-concept-bench-") as scratch:
        work = Path(scratch)
        data = RealData.unpack(work / "data", arguments.data)
        settings = Settings(channel_alias=data.alias, cache=work / "cache" / "repodata")
        parts: dict[str, Callable[[], Any]] = {
            "replay": lambda: replay(data, settings),
            "explanations": lambda: explanations(data, settings),
            "processes": lambda: processes(data, work, arguments.runs),
            "statuses": lambda: statuses(data, work, arguments.statuses // 10, arguments.statuses),
        }
        results = {name: part() for name, part in parts.items() if arguments.only in (None, name)}
    if arguments.json:
        plain = {
            name: [asdict(row) for row in rows] if isinstance(rows, list) else rows for name, rows in results.items()
        }
        sys.stdout.write(json.dumps(plain, indent=2, ensure_ascii=False) + "\n")
    else:
        sys.stdout.write(tables(results) + "\n")
    return 0 if holds(results) else 1


def holds(results: dict[str, Any]) -> bool:
    """Whether what is promised is so: valid locks, nothing moved in vain, every cause named. Times promise nothing."""
    replayed: list[Replayed] = results.get("replay", [])
    explained: list[Explained] = results.get("explanations", [])
    return (
        not any(step.invalid for step in replayed)
        and all(step.moved <= step.really for step in replayed)
        and all(row.named for row in explained)
    )


def tables(results: dict[str, Any]) -> str:
    """Everything for a terminal."""
    parts = []
    if "replay" in results:
        rows: list[Replayed] = results["replay"]
        total = (
            "all",
            "",
            sum(row.moved for row in rows),
            sum(row.really for row in rows),
            sum(row.invalid for row in rows),
            round(sum(row.seconds for row in rows), 1),
        )
        headers = ("step", "packages", "moved", "really moved", "rules broken", "seconds")
        parts.append(tabulate([*(tuple(asdict(row).values()) for row in rows), total], headers=headers))
    if "explanations" in results:
        found: list[Explained] = results["explanations"]
        named = ("broken spec", "cause named", "way out", "seconds")
        lines = [(row.name, _yes(row.named), _yes(row.remedy), row.seconds) for row in found]
        share = f"{sum(row.named for row in found)} of {len(found)} messages name the true cause"
        parts.append(f"{tabulate(lines, headers=named)}\n{share}")
    if "processes" in results:
        timed: list[Timed] = results["processes"]
        headers = ("whole process", "repodata", "seconds", "above bare", "processor seconds", "above bare")
        parts.append(tabulate([tuple(asdict(row).values()) for row in timed], headers=headers, floatfmt=".2f"))
    if results.get("statuses", {}).get("diff"):
        counts = results["statuses"]
        parts.append(f"{counts['lock']} runs of lock and {counts['diff']} of diff ended with the right exit status")
    return "\n\n".join(parts)


def _yes(value: bool) -> str:
    return "yes" if value else "NO"


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # the solver's threads can crash the interpreter's own way out
