"""An environment that exists somewhere -> the records in it: from `conda-meta`, an explicit file, or a lock. Pure.

An explicit file has only addresses and hashes; what it lacks is asked of the channels by the step.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

import yaml

from conda_concept.changes import Graph
from conda_concept.errors import InputError
from conda_concept.lockfile import split_spec
from conda_concept.model import Lock, Package

_HASHED = re.compile(r"^(?P<url>\S+?)(?:#(?:sha256:)?(?P<hash>[0-9a-f]{32}|[0-9a-f]{64}))?$")
_ARCHIVE = re.compile(r"^(?P<name>.+)-(?P<version>[^-]+)-(?P<build>[^-]+)\.(?:conda|tar\.bz2)$")


@dataclass(frozen=True, slots=True)
class Imported:
    """What was found: packages, the requests that made them (empty where nothing says), sentences for people."""

    packages: tuple[Package, ...]
    requests: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def from_conda_meta(files: Mapping[str, str], platform: str) -> Imported:
    """The packages of a prefix, from the texts of its `conda-meta/*.json` by file name.

    The requests are those that the installer noted beside each package. A record without an address or sha256 cannot be
    fetched again; all of these are named in one error.
    """
    packages: list[Package] = []
    requests: set[str] = set()
    problems: list[str] = []
    for name, text in sorted(files.items()):
        try:
            record = json.loads(text)
            packages.append(_from_record(record, platform))
        except (ValueError, KeyError, TypeError) as error:
            problems.append(f"{name}: not a record of conda: {error}")
            continue
        asked = [record.get("requested_spec") or "", *(record.get("requested_specs") or ())]
        requests |= {" ".join(spec.split()) for spec in asked if isinstance(spec, str) and spec and spec != "None"}
    if not files:
        problems.append("there is no record of a package; is it a conda environment?")
    if problems:
        raise InputError("the environment cannot be imported:", problems=problems)
    return Imported(tuple(packages), tuple(sorted(requests)))


def _from_record(record: Mapping[str, Any], platform: str) -> Package:
    noarch = record.get("noarch")
    return Package(
        name=str(record["name"]),
        version=str(record["version"]),
        manager="conda",
        platform=platform,
        url=canonical(str(record["url"])),
        md5=record.get("md5"),
        sha256=record.get("sha256"),
        build=str(record.get("build") or record["build_string"]),
        build_number=record.get("build_number"),
        depends=tuple(sorted(" ".join(split_spec(spec)).strip() for spec in record.get("depends", ()))),
        constrains=tuple(sorted(record.get("constrains", ()))),
        size=record.get("size"),
        license=record.get("license"),
        timestamp=_milliseconds(record.get("timestamp")),
        noarch=noarch if noarch in ("python", "generic") else None,
    )


def _milliseconds(value: Any) -> int | None:
    """A time stamp as conda writes it: milliseconds, or seconds in old records."""
    if not isinstance(value, int | float) or value <= 0:
        return None
    return int(value) if value > 253_402_300_799 else int(value * 1000)


def from_explicit(text: str, platform: str) -> Imported:
    """The packages that an explicit file names; depends, sizes and maybe sha256 are not known yet."""
    packages: list[Package] = []
    problems: list[str] = []
    lines = [line.strip() for line in text.splitlines()]
    if "@EXPLICIT" not in lines:
        raise InputError("that is no explicit file: it has no line `@EXPLICIT`.")
    for number, line in enumerate(lines, 1):
        if not line or line.startswith("#") or line == "@EXPLICIT":
            continue
        found = _HASHED.match(line)
        archive = _ARCHIVE.match(urlsplit(found["url"]).path.rsplit("/", 1)[-1]) if found else None
        if found is None or archive is None or urlsplit(found["url"]).scheme not in ("https", "file"):
            problems.append(f"line {number}: not the address of a conda package: {line[:120]}")
            continue
        digest = found["hash"] or ""
        packages.append(
            Package(
                name=archive["name"],
                version=archive["version"],
                manager="conda",
                platform=platform,
                url=canonical(found["url"]),
                md5=digest if len(digest) == 32 else None,
                sha256=digest if len(digest) == 64 else None,
                build=archive["build"],
            )
        )
    if problems:
        raise InputError("the explicit file cannot be imported:", problems=problems)
    return Imported(tuple(packages))


def from_lock(lock: Lock, platform: str) -> Imported:
    """The packages of a lock; categories other than `main` are left out, and said to be."""
    packages = lock.on(platform)
    main = tuple(package for package in packages if package.category == "main")
    left = sorted({package.category for package in packages} - {"main"})
    notes = (f"Packages of the categories {', '.join(left)} were left out.",) if left else ()
    if not main:
        raise InputError(f"the lock has nothing for {platform}; it has {', '.join(lock.platforms) or 'no platform'}.")
    return Imported(main, notes=notes)


def complete(package: Package, known: Package | None) -> Package:
    """A package with what its channel says of it; only what is missing is taken."""
    if known is None:
        return package
    if package.sha256 and known.sha256 and package.sha256 != known.sha256:
        return package
    return replace(known, url=package.url, md5=package.md5 or known.md5, sha256=package.sha256 or known.sha256)


def canonical(url: str) -> str:
    """An address without credentials or a token, on the host that a lock names."""
    parts = urlsplit(url)
    path = re.sub(r"^/t/[^/]+", "", parts.path)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{path}" if parts.scheme != "file" else f"file://{parts.path}"


def requests_of(imported: Imported) -> list[str]:
    """What to ask for so that these packages are the answer: the known requests, else what no other package needs."""
    names = {package.name for package in imported.packages if package.manager == "conda"}
    asked = [text for text in imported.requests if split_spec(text.rpartition("::")[2])[0] in names]
    if asked:
        return asked
    graph = Graph(imported.packages, None)
    return [
        f"{package.name} =={package.version}"
        for key, package in sorted(graph.packages.items())
        if package.manager == "conda" and not graph.needed_by[key]
    ]


def pip_requests_of(imported: Imported) -> list[str]:
    """The same for pip's packages: by address where they came from one."""
    graph = Graph(imported.packages, None)
    return [
        f"{package.name} @ {package.source}" if package.source else f"{package.name}=={package.version}"
        for key, package in sorted(graph.packages.items())
        if package.manager == "pip" and not graph.needed_by[key]
    ]


def channels_of(packages: Iterable[Package]) -> tuple[str, ...]:
    """The channels of the packages, that with most packages first."""
    counts: dict[str, int] = {}
    for package in packages:
        if package.manager == "conda":
            counts[package.channel] = counts.get(package.channel, 0) + 1
    return tuple(sorted(counts, key=lambda name: (-counts[name], name)))


def environment_text(name: str, channels: Sequence[str], requests: Sequence[str], pip: Sequence[str]) -> str:
    """An `environment.yml` for these requests."""
    dependencies: list[Any] = [*requests]
    if pip:
        dependencies.append({"pip": list(pip)})
    document = {"name": name, "channels": list(channels), "dependencies": dependencies}
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=1000)


def config_text(version: str, channels: Sequence[str], platform: str) -> str:
    """A `config.yml` that allows exactly these channels."""
    document = {
        "version": version,
        "platforms": [platform],
        "channel_priority": "disabled" if len(channels) > 1 else "strict",
        "allowed_channels": list(channels),
    }
    return yaml.safe_dump(document, sort_keys=False)
