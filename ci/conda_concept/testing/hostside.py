"""What config leaves to the host: the commands of the release directory, and what was removed or replaced inside.

The first is looked at from the host, the second is what the probe saw inside the image (`inside/fitted.py`).
"""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from conda_concept.model import Integration
from conda_concept.results import TestResult


def host_commands(prefix: Path, left: Iterable[str], replaced: Iterable[str]) -> list[TestResult]:
    """One result for each command that config names: `left` have no launcher, `replaced` are executable scripts."""
    results = [_result(name, "still has a launcher", good=not os.path.lexists(prefix / "bin" / name)) for name in left]
    results += [_result(name, _problem(prefix / "bin" / name)) for name in replaced]
    return results


def fitted(found: Mapping[str, Any], made: Integration) -> list[TestResult]:
    """One result for each package that config's `remove` or `replace` touched; `found` is the survey's `host`."""
    present, wrong = set(found["present"]), dict(found["wrong"])
    results = [
        _several(f"removed {name}", name, [f"{path} is still there" for path in paths if path in present])
        for name, paths in made.removed
    ]
    for name in sorted({link.package for link in made.replaced}):
        own = [link.path for link in made.replaced if link.package == name]
        results.append(_several(f"replaced {name}", name, [str(wrong[path]) for path in own if path in wrong]))
    return results


def _several(name: str, package: str, problems: list[str]) -> TestResult:
    if not problems:
        return TestResult("host", name, "passed", package=package)
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    detail = "\n".join(problems[:50])
    return TestResult("host", name, "fails", package=package, message=problems[0] + more, detail=detail)


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
