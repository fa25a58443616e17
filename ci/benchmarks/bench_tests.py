"""What isolation costs: every module in a process of its own, against one process that imports them all.

Three environments: the bad packages (how many are found out), many small packages, and a released one (the demo, if
it is there). `./ci/bench tests`; times are of this machine, so compare columns, not machines.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from io import StringIO
from pathlib import Path

from tabulate import tabulate

TOP = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(TOP))  # for tests.support

from conda_concept.localchannel import File, PackageSpec  # noqa: E402 - after the path is right
from conda_concept.progress import Reporter  # noqa: E402 - the same
from conda_concept.results import TestReport  # noqa: E402 - the same
from conda_concept.run import CLEAN_ENVIRONMENT, run  # noqa: E402 - the same
from conda_concept.settings import TestsConfig  # noqa: E402 - the same
from conda_concept.steps.test import Resources, Subject, test  # noqa: E402 - the same
from conda_concept.testing.plan import Bounds  # noqa: E402 - the same
from conda_concept.testing.probe import Interpreter, activated, drop_to, ordinary_user  # noqa: E402 - the same
from tests.support.badpackages import bad_packages, make_prefix  # noqa: E402 - the same

#: What real small packages import of the standard library, more or less.
_USUAL = ("json", "re", "logging", "datetime", "pathlib", "dataclasses", "functools", "typing", "enum", "collections")
_ALL_IN_ONE = """\
import importlib, json, sys
for name in json.loads(sys.argv[1]):
    try:
        importlib.import_module(name)
    except Exception:
        pass
"""


@dataclass(frozen=True, slots=True)
class Row:
    """One environment's figures: seconds of wall time; `one_process` None where that process did not come back."""

    environment: str
    packages: int
    imports: int
    tests: int
    seconds: float
    cores: float
    one_process: float | None
    failures: int
    as_expected: str = ""


def measure(name: str, argv: Sequence[str], prefix: Path, config: TestsConfig, workers: int) -> tuple[Row, TestReport]:
    """Test the environment at `prefix` whose interpreter `argv` starts, then import everything in one process."""
    user = ordinary_user(None)
    environment = {**CLEAN_ENVIRONMENT, "TMPDIR": tempfile.gettempdir()}
    interpreter = Interpreter(tuple(argv), str(prefix), environment, user)
    subject = Subject(name, "0" * 64, interpreter, host_folders=("/lib", "/usr"))
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "tests.xml"
        resources = Resources(workers, Bounds(memory=2**30))
        report = test(subject, config, resources, None, out, Reporter(StringIO(), quiet=True))
    modules = [result.name for result in report.results if result.kind == "import"]
    words = [*(drop_to(*user) if user else []), *argv, "-I", "-B", "-c", _ALL_IN_ONE, json.dumps(modules)]
    started = time.monotonic()
    done = run(words, env=environment, check=False, timeout=600) if name != "bad packages" else None
    one = time.monotonic() - started if done is not None and done.returncode == 0 else None
    packages = len({result.name for result in report.results if result.kind == "files"})
    failures = sum(result.failed for result in report.results)
    row = Row(name, packages, len(modules), len(report.results), report.seconds, report.cores, one, failures)
    return row, report


def bad(folder: Path, workers: int) -> Row:
    """The bad packages: how many are found out for what they are."""
    packages = bad_packages()
    prefix = folder / "bad"
    make_prefix(prefix, [one.spec for one in packages], folder / "channel")
    config = TestsConfig(timeout=60, timeouts={"import bad_sleeps": 3})
    row, report = measure("bad packages", [str(prefix / "bin" / "python3")], prefix, config, workers)
    outcomes = {result.title: result.outcome for result in report.results}
    right = sum(outcomes.get(one.test) == one.outcome for one in packages)
    return Row(**{**asdict(row), "as_expected": f"{right} of {len(packages)}"})


def small(folder: Path, number: int, workers: int) -> Row:
    """Many small packages, each a module with a few usual imports and a command."""
    prefix = folder / "small"
    specs = []
    for n in range(number):
        text = "".join(f"import {_USUAL[(n + k) % len(_USUAL)]}\n" for k in range(4))
        files = {f"site-packages/small_{n}/__init__.py": File(text.encode())}
        specs.append(PackageSpec(f"small-{n}", "1.0", python=True, depends=["python"], files=files))
    make_prefix(prefix, specs, folder / "channel")
    row, report = measure(f"{number:,} small packages", [str(prefix / "bin/python3")], prefix, TestsConfig(), workers)
    return Row(**{**asdict(row), "as_expected": "yes" if report.passed else "no"})


def released(prefix: Path, workers: int) -> Row:
    """A release in a store (its launcher is the interpreter), or any environment in a folder."""
    real = prefix.resolve()
    row, report = measure(prefix.name, activated(str(real)), real, TestsConfig(), workers)
    return Row(**{**asdict(row), "as_expected": "yes" if report.complete else "no"})


def table(rows: Sequence[Row]) -> str:
    """For people."""
    head = (
        "environment",
        "packages",
        "imports",
        "tests",
        "wall s",
        "cores",
        "one process s",
        "failures",
        "as expected",
    )
    lines = [
        (
            *(row.environment, row.packages, row.imports, row.tests, f"{row.seconds:.1f}", f"{row.cores:.1f}"),
            *("does not end" if row.one_process is None else f"{row.one_process:.1f}", row.failures, row.as_expected),
        )
        for row in rows
    ]
    return tabulate(lines, headers=head, disable_numparse=True)


def main(argv: Sequence[str]) -> int:
    """Measure and print; 0 if every bad package was found out."""
    parser = argparse.ArgumentParser(prog="ci/bench tests", description=__doc__)
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.add_argument("--packages", type=int, default=1000, help="how many small packages (1000)")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)), help="tests at a time (all cores)")
    root = os.environ.get("CONDA_CONCEPT_ROOT", "/opt/conda-concept")
    demo = Path(root, "apps", "conda_concept", "envs", "demo")
    parser.add_argument(
        "--prefix", type=Path, default=demo, help="a release to measure too (the demo's, if it is there)"
    )
    options = parser.parse_args(argv)
    folder = Path(tempfile.mkdtemp(prefix="bench-tests-"))
    folder.chmod(0o755)
    try:
        rows = [bad(folder, options.workers), small(folder, options.packages, options.workers)]
        if (options.prefix / "bin" / "python3").exists():
            rows.append(released(options.prefix, options.workers))
        else:
            sys.stderr.write(f"{options.prefix} is not there (./ci/demo makes it); it is left out.\n")
    finally:
        shutil.rmtree(folder)
    sys.stdout.write(json.dumps([asdict(row) for row in rows], indent=1) if options.json else table(rows))
    sys.stdout.write("\n")
    right, _, total = rows[0].as_expected.partition(" of ")
    return 0 if right == total else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
