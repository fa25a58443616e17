"""Is this lock one that may be built? Checked without the solver: a lock is data, and may come from a stranger."""

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from urllib.parse import urlsplit

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from rattler import MatchSpec, PackageRecord
from rattler.exceptions import InvalidMatchSpecError, InvalidVersionError
from rattler.package import BuildString

from conda_concept.lockfile import build_of, split_spec
from conda_concept.model import CHANNEL_ALIAS, Lock, Package, Request, Spec

#: What a name, version, build and file may be made of, so that none of them is ever a path, an option or markup.
NAME = re.compile(r"[a-z0-9_][a-z0-9_.-]{0,127}")
PIP_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,127})")
VERSION = re.compile(r"[A-Za-z0-9_.!+]{1,128}")
BUILD = re.compile(r"[A-Za-z0-9_.+]{1,128}")
PATH = re.compile(r"(/[A-Za-z0-9_.!+~%-]+)+")
HEX = {"md5": re.compile(r"[0-9a-f]{32}"), "sha256": re.compile(r"[0-9a-f]{64}")}
COMMIT = re.compile(r"git\+https://[^@\s]+@[0-9a-f]{40}")
MAX_PACKAGES = 10_000


def check_lock(lock: Lock, spec: Spec, platform: str, virtual: Mapping[str, str]) -> list[str]:
    """Everything that is wrong with `lock` for `spec` on `platform`; empty if it may be built.

    Origins: every address below an allowed channel (or an allowed pip host), with its hashes. Sense: names, versions
    and platform agree with the file's name, nothing is there twice. Truth: every request, dependency and constraint is
    met by what is locked and by the machine's `virtual` packages (`name: version[=build]`).
    """
    packages = lock.on(platform)
    if platform not in spec.config.platforms:
        return [f"the lock is for {platform}; config.yml has {', '.join(spec.config.platforms)}"]
    if len(packages) > MAX_PACKAGES:
        return [f"{len(packages):,} packages are more than the {MAX_PACKAGES:,} that are taken"]
    problems = [problem for package in packages for problem in check_origin(package, spec)]
    if not problems:
        problems = [*_duplicates(packages), *unmet(packages, spec, virtual)]
    return problems


# --- one package's origin -----------------------------------------------------------------------------------------


def check_origin(package: Package, spec: Spec) -> Iterator[str]:
    """What is wrong with a package's address, hashes and names."""
    label = f"{package.name[:80]} {package.version[:40]}"
    problems = _pip_origin(package, spec) if package.manager == "pip" else _conda_origin(package, spec)
    return (f"{label}: {problem}" for problem in problems)


def _conda_origin(package: Package, spec: Spec) -> Iterator[str]:
    parts = urlsplit(package.url)
    if parts.query or parts.fragment or "@" in parts.netloc or not PATH.fullmatch(parts.path) or "/.." in parts.path:
        yield f"the address {package.url[:200]!r} has parts that a channel's address does not have"
        return
    if not _channel_allowed(package, spec):
        yield f"channel {package.channel!r} is not allowed here (allowed: {', '.join(spec.config.allowed_channels)})"
    if package.subdir not in (package.platform, "noarch"):
        yield f"the address is for {package.subdir}, the lock for {package.platform}"
    if not NAME.fullmatch(package.name) or not VERSION.fullmatch(package.version):
        yield "that is not a package's name and version"
    elif package.build is None or not BUILD.fullmatch(package.build):
        yield f"the file {package.filename[:200]!r} is not called NAME-VERSION-BUILD with an ending of conda's"
    elif build_of(package.name, package.version, package.filename) != package.build:
        yield f"the file {package.filename[:200]!r} is not called after name and version"
    for kind, value in (("md5", package.md5), ("sha256", package.sha256)):
        if value is None or not HEX[kind].fullmatch(value):
            yield f"it has no {kind}"


def _channel_allowed(package: Package, spec: Spec) -> bool:
    allowed = spec.config.allowed_channels
    channel = package.channel
    if package.name in spec.config.allow_broken:
        channel = channel.removesuffix("/label/broken")
    if not package.url.startswith(CHANNEL_ALIAS + "/") and "://" not in channel:
        return False
    return channel in {name.rstrip("/") for name in allowed}


def _pip_origin(package: Package, spec: Spec) -> Iterator[str]:
    if not PIP_NAME.fullmatch(package.name) or not VERSION.fullmatch(package.version):
        yield "that is not a package's name and version"
    asked = " ".join(request.text for request in spec.requests if request.manager == "pip")
    if package.source is not None and COMMIT.fullmatch(package.url):
        if package.url not in asked:
            yield f"nobody asks for {package.url[:200]}"
        return
    parts = urlsplit(package.url)
    direct = parts.scheme in ("https", "file") and package.url.partition("#")[0] in asked
    if not direct and not (parts.scheme == "https" and parts.hostname in spec.config.pip_hosts):
        yield f"the host {parts.hostname!r} is not among `pip_hosts` ({', '.join(spec.config.pip_hosts) or 'none'})"
    if package.sha256 is None or not HEX["sha256"].fullmatch(package.sha256):
        yield "it has no sha256"


def _duplicates(packages: Iterable[Package]) -> Iterator[str]:
    seen: dict[tuple[str, str, str], Package] = {}
    for package in packages:
        key = (package.manager, canonicalize_name(package.name), package.category)
        other = seen.setdefault(
            key if package.manager == "pip" else (*key[:1], package.name, package.category), package
        )
        if other is not package:
            yield f"{package.name} is locked twice ({other.version} and {package.version})"


# --- is everything met? -------------------------------------------------------------------------------------------


def unmet(packages: Iterable[Package], spec: Spec | None, virtual: Mapping[str, str]) -> list[str]:
    """Every request, dependency and constraint that the conda packages do not meet, in words."""
    conda = {package.name: package for package in packages if package.manager == "conda"}
    problems = []
    for request in spec.requests if spec else ():
        if request.manager != "conda":
            continue
        found = conda.get(request.name)
        if found is None:
            problems.append(f"{request.place}: `{request.text}` is asked for, but not locked")
        elif not meets(request, found):
            problems.append(f"{request.place}: `{request.text}` is asked for, locked is {found.version} {found.build}")
    for package in conda.values():
        for text in package.depends:
            name = split_spec(text)[0].rpartition("::")[2]
            if not _met(text, name, conda, virtual):
                has = _what_is_there(name, conda, virtual)
                problems.append(f"{package.name} {package.version} needs `{text}`; {has}")
        for text in package.constrains:
            name = split_spec(text)[0].rpartition("::")[2]
            if (name in conda or name in virtual) and not _met(text, name, conda, virtual):
                has = _what_is_there(name, conda, virtual)
                problems.append(f"{package.name} {package.version} allows only `{text}`; {has}")
    return problems


def obstacles(candidate: Package, packages: Iterable[Package], spec: Spec, virtual: Mapping[str, str]) -> list[str]:
    """What would not hold any more if `candidate` came in place of the package of its name: only what is new."""
    before = [package for package in packages if package.manager == "conda"]
    after = [package for package in before if package.name != candidate.name] + [candidate]
    known = set(unmet(before, spec, virtual))
    there = f"locked is {candidate.version} {candidate.build}"  # it is not, yet
    return [
        problem.removesuffix(there).rstrip(" ,;") for problem in unmet(after, spec, virtual) if problem not in known
    ]


def meets(request: Request, package: Package) -> bool:
    """Whether a locked package is what a request asks for: name, version, build and channel."""
    if request.manager == "pip":
        requirement = Requirement(request.text)
        if requirement.url is not None:
            return requirement.url in (package.url, package.source)
        return requirement.specifier.contains(package.version, prereleases=True)
    if request.channel and package.channel.split("/label/")[0] != request.channel:
        return False
    return matches(request.text.rpartition("::")[2], package)


def matches(text: str, package: Package) -> bool:
    """Whether a package is what a match spec (without a channel) asks for."""
    return _match_spec(text).matches(_record(package.name, package.version, package.build or "", package.build_number))


def _met(text: str, name: str, conda: Mapping[str, Package], virtual: Mapping[str, str]) -> bool:
    try:
        if name in conda:
            return matches(text, conda[name])
        if name in virtual:
            version, _, build = virtual[name].partition("=")
            return _match_spec(text).matches(_record(name, version, build or "0", 0))
    except (InvalidMatchSpecError, InvalidVersionError):
        return False
    return False


def _what_is_there(name: str, conda: Mapping[str, Package], virtual: Mapping[str, str]) -> str:
    if name in conda:
        return f"locked is {conda[name].version} {conda[name].build}"
    return f"the machine has {name} {virtual[name]}" if name in virtual else f"{name} is not locked"


@lru_cache(maxsize=100_000)
def _match_spec(text: str) -> MatchSpec:
    return MatchSpec(text)


@lru_cache(maxsize=20_000)
def _record(name: str, version: str, build: str, build_number: int | None) -> PackageRecord:
    return PackageRecord(
        name=name, version=version, build=BuildString(build), build_number=build_number or 0, subdir="linux-64"
    )
