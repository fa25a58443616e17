"""What a release directory itself has to have, seen from the host: the commands that config left to the host."""

import os
from collections.abc import Iterable
from pathlib import Path

from conda_concept.results import TestResult


def host_commands(prefix: Path, left: Iterable[str], replaced: Iterable[str]) -> list[TestResult]:
    """One result for each command that config names: `left` have no launcher, `replaced` are executable scripts."""
    results = [_result(name, "still has a launcher", good=not os.path.lexists(prefix / "bin" / name)) for name in left]
    results += [_result(name, _problem(prefix / "bin" / name)) for name in replaced]
    return results


def _problem(script: Path) -> str:
    try:
        line = script.read_bytes()[:4096].split(b"\n", 1)[0].decode("utf-8", "replace")
    except OSError as error:
        return f"the script that replaces it cannot be read: {error.strerror}"
    words = line.removeprefix("#!").split()
    if not line.startswith("#!") or not words:
        return "the script that replaces it does not say what runs it (`#!`)"
    if not os.access(words[0], os.X_OK):
        return f"the script that replaces it asks for {words[0]}, which is not on the host"
    return "" if os.access(script, os.X_OK) else "the script that replaces it is not executable"


def _result(name: str, problem: str, *, good: bool | None = None) -> TestResult:
    if good or (good is None and not problem):
        return TestResult("host", name, "passed")
    return TestResult("host", name, "fails", message=problem)
