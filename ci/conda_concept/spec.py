"""`environment.yml` and `config.yml` to a `Spec`: gathers every problem, then raises once.

The requests are parsed by rattler's strict match spec parser, because rattler also solves them: what is accepted here
means the same thing there. (DESIGN names conda-lock's parser; it keeps only name and version, and loses the channel
subdir and the line that a request stands in.)
"""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from rattler import MatchSpec
from rattler.exceptions import InvalidMatchSpecError

from conda_concept.document import Document, Problems, SourceText, nearest, parse, validate
from conda_concept.integration import words_wrong
from conda_concept.model import Place, Request, Spec
from conda_concept.settings import Config

#: conda's package name rule: CEP 26.
PACKAGE_NAME = re.compile(r"^[a-z0-9_][a-z0-9_.-]{0,127}$")
ENVIRONMENT_NAME = re.compile(r"^[a-z][a-z0-9_]{0,31}$")
VARIABLE_NAME = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*$")
ENVIRONMENT_KEYS = ("name", "channels", "dependencies", "variables")
#: `name=version=build` as conda reads it: that very version, and a build that holds `*` (`openmpi=4.1.6=external_*`),
#: which the strict parser takes only with spaces in between.
_THREE = re.compile(r"^((?:[^:\s]+::)?[a-z0-9_.-]+)=([^=<>!~,|\s]+)=([A-Za-z0-9_.+]*\*[A-Za-z0-9_.+*]*)$")
COMMIT = re.compile(r"@[0-9a-f]{40}$")


def read_spec(name: str, environment: SourceText, config: SourceText) -> Spec:
    """The spec of environment `name`, or one `InputError` with everything that is wrong in both files."""
    problems = Problems()
    if not ENVIRONMENT_NAME.match(name):
        problems.add(
            Place(environment.file), f"{name!r} cannot be an environment's name: lower case letters, digits and _ only"
        )
    config_document = parse(config, problems)
    settings = _config(config_document, problems) if config_document.readable else None
    document = parse(environment, problems)
    allowed = _allowed(config_document, settings)
    spec = _environment(name, document, settings, allowed, problems) if document.readable else None
    problems.raise_if_any(f"environment {name!r}")
    assert spec is not None, "no spec without a problem"  # noqa: S101 - a rule of this module, not of its input
    return spec


def _config(document: Document, problems: Problems) -> Config | None:
    if document.data is not None and not isinstance(document.data, dict):
        problems.add(document.place(()), "expected `key: value` lines")
        return None
    before = len(problems.found)
    config = validate(Config, document, problems) if len(problems.found) == before else None
    if config is not None:
        for name in config.virtual_packages:
            if not name.startswith("__"):
                problems.add(
                    document.place(("virtual_packages", name)), f"a virtual package starts with __ (`__{name}`)"
                )
        for path, text in words_wrong(config):
            problems.add(document.place(path), text)
    return config


def _allowed(document: Document, config: Config | None) -> tuple[str, ...] | None:
    """The allowed channels, also of a config that has other problems; None where they cannot be known."""
    if config is not None:
        return config.allowed_channels
    raw = document.data.get("allowed_channels", []) if isinstance(document.data, dict) else None
    if not isinstance(raw, list) or not all(isinstance(item, str) for item in raw):
        return None
    return tuple(raw) or tuple(Config.model_fields["allowed_channels"].default)


def _environment(
    name: str, document: Document, config: Config | None, allowed: tuple[str, ...] | None, problems: Problems
) -> Spec | None:
    data = document.data
    if not isinstance(data, dict):
        problems.add(document.place(()), "expected `name:`, `channels:` and `dependencies:`")
        return None
    for key in data:
        if key == "prefix":
            problems.add(document.place((key,)), "`prefix` does not belong here: the site decides where things live")
        elif key not in ENVIRONMENT_KEYS:
            problems.add(document.place((key,)), f"unknown key `{key}`; {nearest(key, ENVIRONMENT_KEYS)}")
    if data.get("name") != name:
        problems.add(document.place(("name",)), f"`name` has to be {name!r}, the name of its folder")
    channels = _channels(document, allowed, problems)
    requests = _requests(document, allowed, problems)
    variables = _variables(document, problems)
    if config is None:
        return None
    return Spec(name=name, channels=channels, requests=requests, variables=variables, config=config)


def _list(document: Document, key: str, problems: Problems) -> list[Any]:
    value = document.data.get(key)
    if isinstance(value, list) and value:
        return value
    problems.add(document.place((key,)), f"`{key}` has to be a list with at least one entry")
    return []


def _channels(document: Document, allowed: tuple[str, ...] | None, problems: Problems) -> tuple[str, ...]:
    channels: list[str] = []
    for index, item in enumerate(_list(document, "channels", problems)):
        place = document.place(("channels", index))
        if not isinstance(item, str):
            problems.add(place, f"a channel is a name, not {item!r}")
        elif item == "nodefaults":
            continue
        elif item in channels:
            problems.add(place, f"channel `{item}` is listed twice")
        else:
            _check_channel(item, allowed, place, problems)
            channels.append(item)
    return tuple(channels)


def _check_channel(channel: str, allowed: tuple[str, ...] | None, place: Place, problems: Problems) -> None:
    if allowed is not None and channel not in allowed:
        problems.add(
            place,
            f"channel `{channel}` is not allowed here (allowed: {', '.join(allowed)}); "
            "a maintainer can add it to `allowed_channels` in config.yml",
        )


def _requests(document: Document, allowed: tuple[str, ...] | None, problems: Problems) -> tuple[Request, ...]:
    requests: list[Request] = []
    for index, item in enumerate(_list(document, "dependencies", problems)):
        path = ("dependencies", index)
        place = document.place(path)
        if isinstance(item, str):
            request = _conda_request(item, allowed, place, problems)
            if request is not None:
                requests.append(request)
        elif isinstance(item, dict) and set(item) == {"pip"} and isinstance(item["pip"], list):
            for number, line in enumerate(item["pip"]):
                pip = _pip_request(line, document.place((*path, "pip", number)), problems)
                if pip is not None:
                    requests.append(pip)
        else:
            problems.add(place, f"{_short(item)} is neither a package (`numpy >=2`) nor a `pip:` list")
    _check_twice(requests, problems)
    return tuple(requests)


def _conda_request(text: str, allowed: tuple[str, ...] | None, place: Place, problems: Problems) -> Request | None:
    if "::" not in text and re.search(r"//|\burl\s*=|^[./~]|\\", text):
        problems.add(place, f"{_short(text)} is a path or an address; ask for a package by its name")
        return None
    text = _spelled_out(text)
    try:
        spec = match_spec(text)
    except ValueError as error:
        reason = " ".join(str(error).split())
        problems.add(place, f"{_short(text)} is not a package request such as `numpy >=2,<3`: {reason}")
        return None
    name = spec.name.normalized
    if not PACKAGE_NAME.match(name):
        problems.add(place, f"{_short(text)} does not name a package")
        return None
    if spec.subdir is not None or spec.namespace is not None:
        problems.add(place, f"{_short(text)}: write only `channel::name version build`")
        return None
    channel = text.split("::", 1)[0].strip() if "::" in text else (spec.channel.name if spec.channel else None)
    if channel is not None:
        _check_channel(channel, allowed, place, problems)
    return Request(text=" ".join(text.split()), name=name, manager="conda", place=place, channel=channel)


def match_spec(text: str) -> MatchSpec:
    """A package request as rattler reads it, `name=version=build` included; `ValueError` where it is none."""
    try:
        return MatchSpec(_spelled_out(text), strict=True, extras=False, conditionals=False, flags=False)
    except InvalidMatchSpecError as error:
        raise ValueError(str(error)) from error


def _spelled_out(text: str) -> str:
    """A request with a build in conda's own words, `name=version=build`, in those that everybody takes."""
    if three := _THREE.match(text):
        name, version, build = three.groups()
        return f"{name} {version if '*' in version else f'=={version}'} {build}"
    return text


def _pip_request(item: Any, place: Place, problems: Problems) -> Request | None:
    if not isinstance(item, str):
        problems.add(place, f"{_short(item)} is not a requirement such as `lavavu==1.9.10`")
        return None
    if item.lstrip().startswith("-"):
        problems.add(place, f"{_short(item)}: options of pip are not taken; write a requirement a line")
        return None
    try:
        requirement = Requirement(item)
    except InvalidRequirement as error:
        problems.add(place, f"{_short(item)} is not a requirement of the form `name[extra]>=1,<2`: {_line(str(error))}")
        return None
    if requirement.url is not None:
        _check_url(item, requirement.url, place, problems)
    return Request(text=item.strip(), name=canonicalize_name(requirement.name), manager="pip", place=place)


def _check_url(text: str, url: str, place: Place, problems: Problems) -> None:
    parts = urlsplit(url)
    if parts.scheme.startswith("git+"):
        if not COMMIT.search(parts.path):
            problems.add(
                place, f"{_short(text)}: name the commit by its 40 digits (`@<sha>`); a branch or tag can move"
            )
    elif parts.scheme not in ("https", "file"):
        problems.add(place, f"{_short(text)}: an address has to start with https:// or git+https://")
    if parts.username or parts.password:
        problems.add(place, f"{_short(text)}: an address must not hold a user name or a password")


def _check_twice(requests: list[Request], problems: Problems) -> None:
    """The same name asked for twice with different words: one of them is a mistake, and only a person knows which."""
    first: dict[tuple[str, str], Request] = {}
    for request in requests:
        other = first.setdefault((request.manager, request.name), request)
        if other is not request and other.text != request.text:
            problems.add(
                request.place,
                f"`{request.name}` is asked for twice: `{other.text}` in line {other.place.line} and "
                f"`{request.text}` here; keep one",
            )


def _variables(document: Document, problems: Problems) -> tuple[tuple[str, str], ...]:
    raw = document.data.get("variables") or {}
    if not isinstance(raw, dict):
        problems.add(document.place(("variables",)), "`variables` has to be `NAME: value` lines")
        return ()
    return tuple(_checked_variables(raw, document, problems))


def _checked_variables(raw: Mapping[str, Any], document: Document, problems: Problems) -> list[tuple[str, str]]:
    result: list[tuple[str, str]] = []
    for name, value in raw.items():
        place = document.place(("variables", name))
        if not VARIABLE_NAME.match(name):
            problems.add(place, f"{_short(name)} cannot be the name of an environment variable")
        elif not isinstance(value, str | int | float) or isinstance(value, bool):
            problems.add(place, f"`{name}` has to be text; put it in quotes")
        else:
            result.append((name, str(value)))
    return result


def _short(value: Any) -> str:
    """A value as it was written, cut to what a message can hold."""
    text = value if isinstance(value, str) else repr(value)
    return f"`{text if len(text) <= 80 else text[:77] + '…'}`"


def _line(text: str) -> str:
    return " ".join(text.split())
