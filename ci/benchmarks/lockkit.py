"""What the lock's proofs are made of: real locks from the data, and rules that are checked without our solver.

Tests and the benchmark use it; nothing here is part of the program.
"""

import functools
from types import SimpleNamespace
from typing import Any

from conda_lock._vendor.conda.models.match_spec import MatchSpec
from conda_lock._vendor.conda.models.records import PackageRecord
from realdata import CONFIG, RealData, Step

from conda_concept.document import SourceText
from conda_concept.lockfile import split_spec
from conda_concept.model import CHANNEL_ALIAS, Lock, Package, Spec
from conda_concept.solver import virtual_packages
from conda_concept.spec import read_spec

PLATFORM = "linux-64"
#: conda's own match specs, as conda-lock carries them; they have no types.
VENDORED: Any = SimpleNamespace(MatchSpec=MatchSpec, PackageRecord=PackageRecord)


def package_of(path: str, record: dict[str, Any]) -> Package:
    """A record of the data as a package of a lock."""
    return Package(
        name=record["name"],
        version=record["version"],
        manager="conda",
        platform=PLATFORM,
        url=f"{CHANNEL_ALIAS}/{path}",
        md5=record["md5"],
        sha256=record["sha256"],
        build=record["build"],
        build_number=record["build_number"],
        depends=tuple(sorted(" ".join(split_spec(spec)).strip() for spec in record["depends"])),
        constrains=tuple(sorted(record.get("constrains", ()))),
        size=record.get("size"),
        license=record.get("license"),
        timestamp=record.get("timestamp"),
        noarch=record.get("noarch"),
    )


def real_lock(data: RealData, step: Step) -> Lock:
    """What was really locked at a step."""
    packages = [package_of(path, data.records[path]) for path in step.packages]
    return Lock(tuple(packages), (), (PLATFORM,), ())


def spec_of(environment: str, config: str = CONFIG) -> Spec:
    """A spec from the texts of its files."""
    return read_spec("analysis3", SourceText("environment.yml", environment), SourceText("config.yml", config))


def moved(old: Lock, new: Lock) -> int:
    """How many packages are another file, or are there in one of the locks only."""
    before, after = ({package.name: package.url for package in lock.packages} for lock in (old, new))
    return sum(before.get(name) != after.get(name) for name in before.keys() | after.keys())


def broken_rules(spec: Spec, lock: Lock) -> list[str]:
    """Requests, dependencies and constraints that do not hold, by conda's own match specs and not by the solver's."""
    records = {package.name: conda_record(package) for package in lock.packages}
    for name, value in virtual_packages(spec, PLATFORM).items():
        version, _, build = value.partition("=")
        records[name] = VENDORED.PackageRecord(name=name, version=version, build=build or "0", build_number=0)
    wrong = []
    for request in spec.requests:
        found = records.get(request.name)
        if found is None or not match_spec(request.text.rpartition("::")[2]).match(found):
            wrong.append(f"request {request.text}")
    for package in lock.packages:
        for text in package.depends:
            found = records.get(split_spec(text)[0])
            if found is None or not match_spec(text).match(found):
                wrong.append(f"{package.name}: {text}")
        for text in package.constrains:
            found = records.get(split_spec(text)[0])
            if found is not None and not match_spec(text).match(found):
                wrong.append(f"{package.name} constrains {text}")
    return wrong


@functools.cache
def match_spec(text: str) -> Any:
    """The parser of conda is slow, and the same dependencies come again and again."""
    return VENDORED.MatchSpec(text)


@functools.cache
def conda_record(package: Package) -> Any:
    """A package as conda's own match specs look at it."""
    return VENDORED.PackageRecord(
        name=package.name, version=package.version, build=package.build, build_number=package.build_number or 0
    )
