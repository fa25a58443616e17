"""What is in an image, by its own records: packages, modules, entry points, distributions. It only reads."""

from __future__ import annotations

import csv
import importlib.machinery
import json
import os
import platform
import shutil
import sys
import sysconfig
from dataclasses import dataclass

#: Folders that packages leave in site-packages by mistake; nobody imports them by these names.
STRAY = frozenset(("test", "tests", "testing", "doc", "docs", "example", "examples", "benchmarks", "conftest", "setup"))


@dataclass(frozen=True)
class Owner:
    """One installed package: its conda record (`name`, `version`, `build`, …) and its files, relative to the prefix."""

    record: dict[str, object]
    files: tuple[str, ...]
    paths: tuple[dict[str, object], ...] = ()
    meta: str = ""

    @property
    def name(self) -> str:
        """The package's name; `pip:NAME` for one that conda does not know."""
        return str(self.record["name"])


def owners(prefix: str) -> list[Owner]:
    """Every package that `conda-meta` lists, sorted by name, then what pip put beside them."""
    names = sorted(os.listdir(os.path.join(prefix, "conda-meta")))
    found = [read_owner(prefix, name) for name in names if name.endswith(".json") and not name.startswith(".")]
    owned = {path for owner in found for path in owner.files}
    return [*found, *_pip_owners(prefix, owned)]


def chosen(prefix: str, wanted: set[str]) -> list[Owner]:
    """The packages with these records (file names in `conda-meta`, or `pip:NAME`), without reading all the others."""
    if any(name.startswith("pip:") for name in wanted):
        return [owner for owner in owners(prefix) if owner.meta in wanted]
    return [read_owner(prefix, name) for name in sorted(wanted)]


def read_owner(prefix: str, name: str) -> Owner:
    """The record `name` of `conda-meta`; a file that is not one raises `ValueError` with its path."""
    path = os.path.join(prefix, "conda-meta", name)
    try:
        with open(path, encoding="utf-8") as file:
            record = json.load(file)
        files = tuple(record["files"])
        paths = tuple((record.get("paths_data") or {}).get("paths") or ())
        kept = (
            "name",
            "version",
            "build",
            "build_number",
            "depends",
            "constrains",
            "channel",
            "subdir",
            "noarch",
            "url",
        )
        return Owner({key: record.get(key) for key in kept}, files, paths, name)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is not a conda record: {error!r}") from error


def site_packages() -> str:
    """The folder for packages, relative to the prefix: `lib/python3.11/site-packages`."""
    return f"lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"


def _pip_owners(prefix: str, owned: set[str]) -> list[Owner]:
    site = site_packages()
    folder = os.path.join(prefix, site)
    found = []
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
        if not name.endswith(".dist-info") or f"{site}/{name}/METADATA" in owned:
            continue
        rows = csv.reader(lines_of(f"{folder}/{name}/RECORD"))
        files = [os.path.normpath(f"{site}/{row[0]}") for row in rows if row]
        project, _, version = name[: -len(".dist-info")].partition("-")
        record: dict[str, object] = {"name": f"pip:{project}", "version": version, "build": "", "depends": []}
        found.append(
            Owner(record, tuple(path for path in files if not path.startswith("../")), (), str(record["name"]))
        )
    return found


def lines_of(path: str) -> list[str]:
    """The lines of a text file that are not empty; nothing where there is no file."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return [line.rstrip("\n") for line in file if line.strip()]
    except OSError:
        return []


def modules_of(owner: Owner, prefix: str) -> dict[str, str]:
    """The top-level modules of a package: name -> the file that has to be loaded, relative to the prefix.

    A folder without `__init__` is a namespace: what lies in it counts as top level (`google.cloud.storage`). Private
    and stray names are left out, unless the package has no others or lists them in `top_level.txt`.
    """
    site = site_packages() + "/"
    files = [path[len(site) :] for path in owner.files if path.startswith(site)]
    regular = {os.path.dirname(path) for path in files if _stem(os.path.basename(path)) == "__init__"}
    found: dict[str, str] = {}
    for path in files:
        _add_module(found, path.split("/"), regular)
    found = {name: site + path for name, path in sorted(found.items())}
    listed = {
        line.strip()
        for path in files
        if path.endswith("-info/top_level.txt")
        for line in lines_of(os.path.join(prefix, site, path))
    }
    public = {name: path for name, path in found.items() if not is_private(name) or name in listed - STRAY}
    return {**(public or found), **_stdlib_extensions(owner)}


def _stdlib_extensions(owner: Owner) -> dict[str, str]:
    """The interpreter's own extension modules: the part of it that a missing library breaks."""
    folder = f"{os.path.dirname(site_packages())}/lib-dynload/"
    found = {}
    for path in owner.files:
        if path.startswith(folder):
            stem = _stem(path[len(folder) :])
            if stem is not None and stem.isidentifier() and not stem.startswith(("_test", "_xx", "xx", "_ctypes_test")):
                found[stem] = path
    return found


def _add_module(found: dict[str, str], parts: list[str], regular: set[str]) -> None:
    stem = _stem(parts[-1])
    if stem is None:
        return
    for depth in range(1, len(parts)):
        if not parts[depth - 1].isidentifier():
            return
        folder = "/".join(parts[:depth])
        if folder in regular:
            if stem == "__init__" and depth == len(parts) - 1:
                found[".".join(parts[:depth])] = "/".join(parts)
            return
    # A file of its own; deep below folders without `__init__` lie data and templates, not modules.
    if stem.isidentifier() and stem != "__init__" and len(parts) <= 2:
        found.setdefault(".".join([*parts[:-1], stem]), "/".join(parts))


def _stem(name: str) -> str | None:
    """`numpy.py` and `numpy.cpython-311-x86_64-linux-gnu.so` are both `numpy`; None if it cannot be imported."""
    suffixes = [*importlib.machinery.EXTENSION_SUFFIXES, *importlib.machinery.SOURCE_SUFFIXES]
    return next((name[: -len(suffix)] for suffix in suffixes if name.endswith(suffix)), None)


def is_private(name: str) -> bool:
    """Not meant to be imported by users."""
    parts = name.split(".")
    return any(part.startswith("_") for part in parts) or parts[0] in STRAY


def dists_of(owner: Owner, prefix: str) -> list[dict[str, object]]:
    """The Python distributions of a package: name, version, requirements, entry points."""
    found: list[dict[str, object]] = []
    for path in owner.files:
        folder = os.path.dirname(path)
        if os.path.basename(path) == "METADATA" and folder.endswith(".dist-info"):
            head = _headers(os.path.join(prefix, path))
            commands = _entry_points(os.path.join(prefix, folder, "entry_points.txt"))
            name, version = head.get("name", [""])[0], head.get("version", [""])[0]
            requires = head.get("requires-dist", [])
            found.append({"name": name, "version": version, "requires": requires, "commands": commands})
    return found


def _headers(path: str) -> dict[str, list[str]]:
    """The header fields of a METADATA file, by lower-case name; the text behind them is not read."""
    head: dict[str, list[str]] = {}
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            for line in file:
                if not line.strip():
                    break
                key, colon, value = line.partition(":")
                if colon and not line[0].isspace():
                    head.setdefault(key.lower(), []).append(value.strip())
    except OSError:
        return {}
    return head


def _entry_points(path: str) -> dict[str, str]:
    """Command -> `module:attribute` of the console and window scripts."""
    section, found = "", {}
    for line in lines_of(path):
        text = line.strip()
        if text.startswith("["):
            section = text.strip("[]").strip()
        elif section in ("console_scripts", "gui_scripts") and "=" in text and text[0] not in "#;":
            name, _, target = text.partition("=")
            found[name.strip()] = target.split("[")[0].strip()
    return found


def clashes(found: list[Owner]) -> dict[str, list[str]]:
    """Files that more than one package owns, unless they own the same bytes: path -> packages."""
    claims: dict[str, list[tuple[str, object]]] = {}
    for owner in found:
        proof = {str(path.get("_path")): path.get("sha256") for path in owner.paths}
        for path in owner.files:
            claims.setdefault(path, []).append((owner.name, proof.get(path)))
    return {
        path: sorted(name for name, _ in claim)
        for path, claim in claims.items()
        if len(claim) > 1 and (None in {proof for _, proof in claim} or len({proof for _, proof in claim}) > 1)
    }


def survey(prefix: str) -> dict[str, object]:
    """Everything above as one JSON value, for the host to plan with."""
    found = owners(prefix)
    stdlib = sorted(getattr(sys, "stdlib_module_names", ()) or _stdlib_by_folder())
    packages = [
        {
            **owner.record,
            "meta": owner.meta,
            "files": len(owner.files),
            "modules": modules_of(owner, prefix),
            "dists": dists_of(owner, prefix),
            "commands": [path[len("bin/") :] for path in owner.files if path.startswith("bin/")],
        }
        for owner in found
    ]
    return {"packages": packages, "clashes": clashes(found), "stdlib": stdlib, "python": _python(prefix)}


def _stdlib_by_folder() -> set[str]:
    folder = sysconfig.get_path("stdlib")
    names = {name.split(".")[0] for name in os.listdir(folder)} if os.path.isdir(folder) else set()
    return {name for name in names if name.isidentifier()} | set(sys.builtin_module_names)


def _python(prefix: str) -> dict[str, object]:
    """The interpreter, and the values of environment markers (PEP 508)."""
    info = sys.implementation.version
    full = f"{info.major}.{info.minor}.{info.micro}"
    markers = {
        "implementation_name": sys.implementation.name,
        "implementation_version": full,
        "os_name": os.name,
        "platform_machine": platform.machine(),
        "platform_python_implementation": platform.python_implementation(),
        "platform_release": platform.release(),
        "platform_system": platform.system(),
        "platform_version": platform.version(),
        "python_full_version": platform.python_version(),
        "python_version": ".".join(platform.python_version_tuple()[:2]),
        "sys_platform": sys.platform,
    }
    return {
        "executable": sys.executable,
        "prefix": sys.prefix,
        "asked": prefix,
        "uid": os.geteuid(),
        "shell": shutil.which("bash") or "/bin/sh",
        "markers": markers,
    }
