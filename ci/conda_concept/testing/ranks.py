"""The environment's MPI tests: each program below its `tests/mpi/` is started as several ranks by the site's own MPI.

Ranks are started from outside, through the launcher, as a job does it; so these tests are the only ones that run on
the host, as the ordinary user, with the host's network. What no test may change is read-only for them too, where the
host's user namespaces and its container go together; a note says where they do not.
"""

import shutil
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import mkdtemp

from conda_concept.errors import ToolError
from conda_concept.results import TestResult, matching, skipped, time_limit
from conda_concept.run import find_tool, run
from conda_concept.settings import TestsConfig
from conda_concept.testing.probe import Interpreter, drop_to

_LAST_LINES = 40
#: Seconds for the start of an interpreter that does nothing, on a busy node.
_TRIAL = 120.0
OPEN = "ran with the site's folders as they are: a container does not start where they are read-only"


def run_ranks(
    files: Mapping[str, str],
    start: Sequence[str],
    interpreter: Interpreter,
    config: TestsConfig,
    protected: Sequence[str] = (),
    only: Collection[str] | None = None,
) -> list[TestResult]:
    """One result a program; `start` is how the site starts ranks (`mpirun -n 4`), nothing runs where that is empty.

    `protected` are folders that the ranks may not change, whoever owns them; `only` are the titles to run.
    """
    programs = sorted(name for name in files if name.startswith("mpi/") and name.endswith(".py"))
    tests = [TestResult("mpi", name.removeprefix("mpi/"), "not run") for name in programs]
    tests = [test for test in tests if only is None or test.title in only]
    if not tests:
        return []
    if not start:
        why = "the site file does not say how ranks are started (`mpi_run`)"
        return [replace(test, outcome="skipped", message=why) for test in tests]
    # Below /tmp, which every runtime shows inside; $TMPDIR may be closed to the ordinary user.
    folder = Path(mkdtemp(prefix="conda-concept-mpi-", dir="/tmp"))
    try:
        _write(folder, files, interpreter)
        before, note = _starters(interpreter, folder, protected)
        words = [*before, *start, *interpreter.argv]
        results = [_one(test, [*words, str(folder / test.name)], interpreter, config) for test in tests]
        return [one if one.outcome == "skipped" else replace(one, note=note) for one in results]
    finally:
        shutil.rmtree(folder)


def _starters(interpreter: Interpreter, folder: Path, protected: Sequence[str]) -> tuple[list[str], str]:
    """The words before the ranks' command: another user's, and the read-only folders where that works; else a note.

    A set-uid container does not start in a user namespace. What else may be wrong with it is the tests' to find.
    """
    drop = drop_to(*interpreter.user) if interpreter.user is not None else []
    if not protected:
        return drop, ""
    closed = [word for one in protected for word in ("--ro-bind-try", one, one)]
    shield = [*drop, str(find_tool("bwrap")), "--dev-bind", "/", "/", *closed, "--bind", str(folder), str(folder), "--"]
    # As they are first: that mounts the image, which cannot be done from a user namespace.
    works = _starts(drop, interpreter) and _starts(shield, interpreter)
    return (shield, "") if works else (drop, OPEN)


def _starts(before: Sequence[str], interpreter: Interpreter) -> bool:
    try:
        words = [*before, *interpreter.argv, "-c", "pass"]
        return run(words, env=interpreter.environment, timeout=_TRIAL, check=False).returncode == 0
    except ToolError:
        return False


def _write(folder: Path, files: Mapping[str, str], interpreter: Interpreter) -> None:
    for name, text in files.items():
        if name.startswith("mpi/"):
            path = folder / name.removeprefix("mpi/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    if interpreter.user is not None:
        for path in (folder, *folder.rglob("*")):
            shutil.chown(path, *interpreter.user)


def _one(test: TestResult, words: Sequence[str], interpreter: Interpreter, config: TestsConfig) -> TestResult:
    unwanted = matching(config.skip, test.title)
    if unwanted is not None:
        return skipped(test, unwanted)
    started = time.monotonic()
    home = str(Path(words[-1]).parent)
    environment = {**interpreter.environment, "HOME": home, "TMPDIR": home}
    limit = time_limit(config, test.title)
    try:
        done = run(words, env=environment, timeout=limit, check=False)
    except ToolError as error:
        seconds = time.monotonic() - started
        if seconds >= limit:
            return replace(test, outcome="hang", message=f"no end after {limit:g} s", seconds=seconds)
        return replace(test, message=error.message, seconds=seconds)
    seconds = time.monotonic() - started
    detail = "\n".join((done.stdout + done.stderr).splitlines()[-_LAST_LINES:])
    if done.returncode == 0:
        return replace(test, outcome="passed", seconds=seconds)
    message = f"ended with status {done.returncode}"
    return replace(test, outcome="fails", message=message, detail=detail, seconds=seconds)
