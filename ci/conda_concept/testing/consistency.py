"""Is what is installed consistent: with its own dependencies, with the lock, and with itself? Pure, from the survey."""

import re
from collections.abc import Iterator, Mapping

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import NormalizedName, canonicalize_name, canonicalize_version
from packaging.version import InvalidVersion, Version
from rattler import BuildString, MatchSpec, PackageRecord
from rattler.exceptions import InvalidMatchSpecError

from conda_concept.model import Lock
from conda_concept.results import TestResult
from conda_concept.testing.plan import Survey


def dependencies(survey: Survey) -> list[TestResult]:
    """Every conda package's dependencies and constraints are satisfied by what is installed."""
    conda = [one for one in survey.packages if not str(one["name"]).startswith("pip:")]
    records = {str(one["name"]): _record(one) for one in conda}
    results = []
    for package in conda:
        problems = [
            problem
            for text, required in [
                *((text, True) for text in package.get("depends") or ()),
                *((text, False) for text in package.get("constrains") or ()),
            ]
            if (problem := _unsatisfied(str(text), records, required=required))
        ]
        results.append(_result("depends", str(package["name"]), problems))
    return results


def _record(package: dict[str, object]) -> PackageRecord:
    return PackageRecord(
        str(package["name"]),
        str(package["version"]),
        BuildString(str(package["build"])),
        int(str(package.get("build_number") or 0)),
        str(package.get("subdir") or "noarch"),
    )


def _unsatisfied(text: str, records: dict[str, PackageRecord], *, required: bool) -> str:
    text = text.rpartition("::")[2].strip()  # `conda-meta` says elsewhere which channel a package is from
    name = re.split(r"[\s\[=<>!~]", text, maxsplit=1)[0]
    if name.startswith("__"):
        return ""  # of the machine; the solver knows it
    record = records.get(name)
    if record is None:
        return f"needs {text}, which is not installed" if required else ""
    try:
        good = MatchSpec(text).matches(record)
    except InvalidMatchSpecError as error:
        return f"{text}: {error}"
    return "" if good else f"{'needs' if required else 'does not go with other than'} {text}, has {record.version}"


def distributions(survey: Survey) -> list[TestResult]:
    """What `pip check` asks: every Python distribution's requirements are satisfied (markers are the image's)."""
    dists = [(str(package["name"]), dist) for package in survey.packages for dist in package["dists"]]
    installed = {canonicalize_name(str(dist["name"])): str(dist["version"]) for _, dist in dists}
    markers = {str(key): str(value) for key, value in survey.raw["python"]["markers"].items()}
    return [
        _result("requires", str(dist["name"]), [*_unmet(dist["requires"], installed, markers)], package)
        for package, dist in dists
        if dist["name"]
    ]


def _unmet(requires: list[str], installed: Mapping[NormalizedName, str], markers: dict[str, str]) -> Iterator[str]:
    for text in requires:
        try:
            requirement = Requirement(text)
        except InvalidRequirement as error:
            yield f"{text}: {error}"
            continue
        if requirement.marker is not None and not requirement.marker.evaluate({**markers, "extra": ""}):
            continue
        version = installed.get(canonicalize_name(requirement.name))
        if version is None:
            yield f"needs {requirement}, which is not installed"
            continue
        try:
            good = requirement.specifier.contains(Version(version), prereleases=True)
        except InvalidVersion:
            good = False
        if not good:
            yield f"needs {requirement}, has {version}"


def clashes(survey: Survey) -> list[TestResult]:
    """No file is owned by two packages with different bytes; one result for each set of packages that do."""
    by_owners: dict[str, list[str]] = {}
    for path, names in sorted(survey.raw["clashes"].items()):
        by_owners.setdefault(" ".join(names), []).append(path)
    return [
        _result("clash", names, [f"{path} is owned by {names.replace(' ', ' and ')}" for path in paths])
        for names, paths in by_owners.items()
    ]


def against_lock(survey: Survey, lock: Lock, platform: str) -> list[TestResult]:
    """What is installed is what the lock says, conda's and pip's: nothing missing, nothing more, no other build."""
    wanted = [(f"pip:{one.name}" if one.manager == "pip" else one.name, one) for one in lock.on(platform)]
    locked = dict(_installed(name, one.version, one.build or "") for name, one in wanted)
    found = dict(_installed(str(one["name"]), str(one["version"]), str(one["build"])) for one in survey.packages)
    problems = [f"{name} is locked, but not installed" for name in sorted(locked.keys() - found.keys())]
    problems += [f"{name} is installed, but not locked" for name in sorted(found.keys() - locked.keys())]
    for name in sorted(locked.keys() & found.keys()):
        if locked[name][0] != found[name][0] or (locked[name][1] and locked[name][1] != found[name][1]):
            here, there = " ".join(found[name]).strip(), " ".join(locked[name]).strip()
            problems.append(f"{name} is {here}, the lock says {there}")
    return [_result("lock", "packages", problems)]


def _installed(name: str, version: str, build: str) -> tuple[str, tuple[str, str]]:
    """Name, version and build as they are compared: Python's own names and versions have several spellings."""
    if not name.startswith("pip:"):
        return name, (version, build)
    project = canonicalize_name(name.removeprefix("pip:"))
    return f"pip:{project}", (canonicalize_version(version, strip_trailing_zero=False), build)


def _result(kind: str, name: str, problems: list[str], package: str = "") -> TestResult:
    if not problems:
        return TestResult(kind, name, "passed", package=package or name)
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return TestResult(
        kind, name, "fails", package=package or name, message=problems[0] + more, detail="\n".join(problems[:50])
    )
