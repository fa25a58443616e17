"""Text <-> `Lock`, in conda-lock's own v1 format and through its own models; the digest of a lock.

What conda-lock's format has no field for (size, licence, time of upload, …) goes into its `custom_metadata`, one line
of JSON a package, so that conda-lock itself goes on reading the file and a line diff shows one line a package.
"""

import gc
import hashlib
import importlib
import importlib.util
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from itertools import chain
from types import ModuleType
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from conda_concept.errors import InputError
from conda_concept.model import Lock, Package

#: A lock of 1,443 packages has about 1.3 MB; four platforms of twice that still fit.
MAX_BYTES = 16 * 1024 * 1024
MAX_PROBLEMS = 20
#: A lock has five levels.
MAX_DEPTH = 12

SPEC_NAME = re.compile(r"[^\s=<>!~\[]+")

HEADER = """\
# Written by `conda-concept lock` in conda-lock's format (version 1). CI owns this file:
# edit environment.yml instead, and the pull request shows what changes here.
"""


class Facts(BaseModel):
    """What a channel says about a package beyond conda-lock's fields; `depends` only where a mapping cannot hold it."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    build_number: int | None = Field(default=None, ge=0)
    size: int | None = Field(default=None, ge=0)
    timestamp: int | None = Field(default=None, ge=0, le=253_402_300_799_000)  # the year 9999, in milliseconds
    license: str | None = Field(default=None, max_length=2000)
    noarch: Literal["python", "generic"] | None = None
    constrains: tuple[str, ...] = ()
    depends: tuple[str, ...] = ()


def loads(text: str, file: str = "conda-lock.yml") -> Lock:
    """The lock in `text`, or an `InputError` with every problem; the text may come from a stranger.

    Anchors and aliases are refused before anything is built, so a small file cannot grow into a big value.
    """
    with _no_collection():
        return _loads(text, file)


def _loads(text: str, file: str) -> Lock:
    document = _document(text, file)
    if not isinstance(document, dict) or "package" not in document:
        raise InputError(f"{file} is not a conda-lock file: it has no list `package`.")
    version = document.pop("version", None)
    if version != 1:
        raise InputError(f"{file}: version {version!r} of the lock format is not known here; version 1 is.")
    custom = _take_custom(document, file)
    try:
        locked = _models().Lockfile.model_validate(document)
    except ValidationError as error:
        details = error.errors()[:MAX_PROBLEMS]
        found = [_problem(document, detail["loc"], detail["msg"]) for detail in details]
        raise InputError(f"{file} is not a valid lock.", problems=found) from None
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        # conda-lock's own checks trip over values of another kind than they look for.
        raise InputError(f"{file} is not a valid lock: {type(error).__name__} ({error}).") from None
    problems: list[str] = []
    used: set[str] = set()
    packages = tuple(_package(entry, custom, used, problems) for entry in locked.package)
    if problems:
        raise InputError(f"{file} is not a valid lock.", problems=problems[:MAX_PROBLEMS])
    return _lock(locked.metadata, packages, {key: custom[key] for key in custom if key not in used})


def dumps(lock: Lock) -> str:
    """The lock as a conda-lock v1 file, packages in the order of `lock`."""
    models = _models()
    with _no_collection():
        document = models.Lockfile(
            package=[_entry(models, package) for package in lock.packages],
            metadata=models.LockMeta.model_validate(_metadata(lock)),
        ).dict_for_output()
        body = yaml.dump(document, Dumper=_dumper(), sort_keys=False, allow_unicode=True, width=1_000_000)
    return HEADER + body


def digest(lock: Lock, platform: str) -> str:
    """sha256 (hex) over what gets installed on `platform`: names, versions, file names, content hashes.

    The same for any order, comment, time, mirror and tool that wrote the file; another one as soon as one byte of one
    package is another one.
    """
    lines = {
        "\t".join((package.manager, package.name, package.version, package.filename, _content(package)))
        for package in lock.on(platform)
    }
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()


def _content(package: Package) -> str:
    """What identifies the bytes: the strongest hash, or the address where there is none (a git commit)."""
    return package.sha256 or package.md5 or package.url


def build_of(name: str, version: str, filename: str) -> str | None:
    """The build string in a conda archive's name; None if the name does not fit name and version."""
    stem = filename.removesuffix(".conda").removesuffix(".tar.bz2")
    prefix = f"{name}-{version}-"
    return stem.removeprefix(prefix) if stem.startswith(prefix) and stem != filename else None


def split_spec(text: str) -> tuple[str, str]:
    """A match spec's name and the rest, also where nothing stands between them (`cuda-version>=12`)."""
    text = text.strip()
    found = SPEC_NAME.match(text)
    end = found.end() if found else len(text)
    return text[:end], text[end:].strip()


# --- reading ------------------------------------------------------------------------------------------------------


def _document(text: str, file: str) -> Any:
    if len(text) > MAX_BYTES:
        raise InputError(f"{file} has {len(text):,} characters; a lock has at most {MAX_BYTES:,}.")
    try:
        _refuse_tricks(text, file)
        node = yaml.compose(text, Loader=_loader())
        return None if node is None else _plain(node)
    except yaml.YAMLError as error:
        mark: Any = getattr(error, "problem_mark", None)
        place = f"{file}:{mark.line + 1}" if mark is not None else file
        raise InputError(f"{place}: not readable as YAML: {getattr(error, 'problem', None) or error}") from None
    except (RecursionError, ValueError) as error:
        raise InputError(f"{file} is not readable as YAML: {str(error) or type(error).__name__}") from None


def _refuse_tricks(text: str, file: str) -> None:
    """Stop at the first anchor, alias or deep level: a parser's time grows with the square of the depth."""
    depth = 0
    for event in yaml.parse(text, Loader=_loader()):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        anchored = getattr(event, "anchor", None)  # an anchor, or an alias of one
        if anchored or depth > MAX_DEPTH:
            line = event.start_mark.line + 1 if event.start_mark else 0
            what = "anchors and aliases are" if anchored else f"more than {MAX_DEPTH} levels are"
            raise InputError(f"{file}:{line}: {what} not taken in a lock.")


def _plain(node: yaml.Node) -> Any:
    """A YAML node as plain data: what the safe loader makes, in half its time, and no key twice."""
    if isinstance(node, yaml.ScalarNode):
        if node.tag == "tag:yaml.org,2002:str":
            return node.value
        return yaml.constructor.SafeConstructor().construct_object(node)
    if isinstance(node, yaml.SequenceNode):
        return [_plain(item) for item in node.value]
    result: dict[Any, Any] = {}
    for key_node, value_node in node.value:
        key = _plain(key_node)
        if not isinstance(key, str) or key in result:
            raise yaml.constructor.ConstructorError(
                None, None, f"{str(key)[:80]!r} twice, or not a name", node.start_mark
            )
        result[key] = _plain(value_node)
    return result


def _take_custom(document: dict[str, Any], file: str) -> Mapping[str, str]:
    """`custom_metadata`, out of the document: it is read package by package."""
    metadata = document.get("metadata")
    custom = metadata.pop("custom_metadata", None) if isinstance(metadata, dict) else None
    if custom is None:
        return {}
    if not isinstance(custom, dict) or not all(isinstance(value, str) for value in custom.values()):
        raise InputError(f"{file}: `custom_metadata` has to hold names and text only.")
    return custom


def _problem(document: Mapping[str, Any], loc: Sequence[int | str], message: str) -> str:
    """A validation error with the name of the package that it is in."""
    where = ".".join(str(part) for part in loc)
    if len(loc) > 1 and loc[0] == "package" and isinstance(loc[1], int):
        entry = document["package"][loc[1]]
        name = entry.get("name") if isinstance(entry, dict) else None
        where = f"package {str(name)[:80]!r}, {'.'.join(str(part) for part in loc[2:])}"
    return f"{where}: {message}"


def _package(entry: Any, custom: Mapping[str, Any], used: set[str], problems: list[str]) -> Package:
    facts = Facts()
    filename = entry.url.rsplit("/", 1)[-1]
    key = _facts_key(entry.platform, filename)
    if key in custom:
        used.add(key)
        try:
            facts = Facts.model_validate_json(custom[key])
        except ValidationError as error:
            problems.append(f"custom_metadata of {filename}: {error.errors()[0]['msg']}")
    depends = tuple(f"{name} {spec}".strip() for name, spec in entry.dependencies.items())
    if facts.depends:
        if _dependencies(facts.depends) != entry.dependencies:
            problems.append(f"custom_metadata of {filename}: `depends` says something else than `dependencies`")
        depends = facts.depends
    build = entry.build
    if entry.manager == "conda":
        build = build_of(entry.name, entry.version, filename)
        if entry.build is not None and entry.build != build:
            problems.append(f"{filename}: `build` is {entry.build!r}, which is not what the file's name says")
    return Package(
        name=entry.name,
        version=entry.version,
        manager=entry.manager,
        platform=entry.platform,
        url=entry.url,
        md5=entry.hash.md5,
        sha256=entry.hash.sha256,
        build=build,
        build_number=facts.build_number,
        depends=depends,
        constrains=facts.constrains,
        size=facts.size,
        license=facts.license,
        timestamp=facts.timestamp,
        noarch=facts.noarch,
        category=entry.category,
        optional=entry.optional,
        source=entry.source.url if entry.source else None,
    )


def _lock(metadata: Any, packages: tuple[Package, ...], foreign: Mapping[str, str]) -> Lock:
    extra = metadata.model_dump(
        mode="json", exclude_none=True, include={"time_metadata", "git_metadata", "inputs_metadata"}
    )
    secrets = {channel.url: list(channel.used_env_vars) for channel in metadata.channels if channel.used_env_vars}
    if secrets:
        extra["used_env_vars"] = secrets
    if foreign:
        extra["custom_metadata"] = dict(foreign)
    return Lock(
        packages=packages,
        channels=tuple(channel.url for channel in metadata.channels),
        platforms=tuple(metadata.platforms),
        content_hash=tuple(metadata.content_hash.items()),
        sources=tuple(metadata.sources),
        extra=json.dumps(extra, sort_keys=True),
    )


# --- writing ------------------------------------------------------------------------------------------------------


def _entry(models: ModuleType, package: Package) -> Any:
    given: dict[str, Any] = {
        "name": package.name,
        "version": package.version,
        "manager": package.manager,
        "platform": package.platform,
        "dependencies": _dependencies(package.depends),
        "url": package.url,
        "hash": {name: value for name, value in (("md5", package.md5), ("sha256", package.sha256)) if value},
        "category": package.category,
        "optional": package.optional,
    }
    if package.source is not None:
        given["source"] = {"type": "url", "url": package.source}
    if package.manager == "pip" and package.build is not None:
        given["build"] = package.build
    return models.LockedDependency.model_validate(given)


def _dependencies(depends: Sequence[str]) -> dict[str, str]:
    """Match specs as conda-lock's mapping; specs of one name are joined as conda joins them, with a comma."""
    result: dict[str, str] = {}
    for spec in depends:
        name, rest = split_spec(spec)
        known = result.get(name)
        result[name] = f"{known},{rest}" if known and rest else known or rest
    return result


def _facts(package: Package) -> str | None:
    """The package's line of `custom_metadata`; None where there is nothing to say."""
    names = [split_spec(spec)[0] for spec in package.depends]
    facts = Facts(
        build_number=package.build_number,
        size=package.size,
        timestamp=package.timestamp,
        license=package.license,
        noarch=package.noarch,
        constrains=package.constrains,
        depends=package.depends if len(set(names)) != len(names) else (),
    )
    text = facts.model_dump_json(exclude_defaults=True)
    return None if text == "{}" else text


def _facts_key(platform: str, filename: str) -> str:
    return f"{platform} {filename}"


def _metadata(lock: Lock) -> dict[str, Any]:
    extra = json.loads(lock.extra)
    secrets = extra.pop("used_env_vars", {})
    custom = dict(extra.pop("custom_metadata", {}))
    for package in lock.packages:
        facts = _facts(package)
        if facts is not None:
            custom[_facts_key(package.platform, package.url.rsplit("/", 1)[-1])] = facts
    metadata: dict[str, Any] = {
        "content_hash": dict(lock.content_hash),
        "channels": [{"url": url, "used_env_vars": secrets.get(url, [])} for url in lock.channels],
        "platforms": list(lock.platforms),
        "sources": list(lock.sources),
        **extra,
    }
    if custom:
        metadata["custom_metadata"] = custom
    return metadata


# --- the libraries, loaded for speed --------------------------------------------------------------------------------


@cache
def _models() -> ModuleType:
    """conda-lock's v1 models.

    Its package imports its whole command line first, and the one for lock files what it needs to download things (0.5
    s, and every `diff` would pay for it), of which the models need nothing. So they are loaded below packages that are
    empty, which are taken away again for whoever wants the real ones.
    """
    stand_ins = [name for name in ("conda_lock", "conda_lock.lockfile") if name not in sys.modules]
    for name in stand_ins:
        found = importlib.util.find_spec(name)
        if found is None:
            raise ModuleNotFoundError("conda-lock is not installed", name=name)
        sys.modules[name] = importlib.util.module_from_spec(found)
    try:
        return importlib.import_module("conda_lock.lockfile.v1.models")
    finally:
        for name in stand_ins:
            del sys.modules[name]


def _loader() -> Any:
    return getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@cache
def _dumper() -> Any:
    """The fast safe dumper, told that no value is repeated on purpose: a lock has no anchors."""
    base: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    return type("LockDumper", (base,), {"ignore_aliases": lambda _self, _data: True})


@contextmanager
def _no_collection() -> Iterator[None]:
    """No garbage collection while a big tree is built: it halves the time (198 to 86 ms for 1,105 packages)."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def merge(locks: Sequence[Lock]) -> Lock:
    """One lock out of several platforms' locks with the same channels, sorted as conda-lock sorts."""
    packages = sorted(chain.from_iterable(lock.packages for lock in locks), key=sort_key)
    first = locks[0]
    return Lock(
        packages=tuple(packages),
        channels=first.channels,
        platforms=tuple(sorted({platform for lock in locks for platform in lock.platforms})),
        content_hash=tuple(sorted({item for lock in locks for item in lock.content_hash})),
        sources=first.sources,
        extra=first.extra,
    )


def sort_key(package: Package) -> tuple[str, str, str, str]:
    """conda-lock's order: manager, name, platform; then category."""
    return package.manager, package.name, package.platform, package.category
