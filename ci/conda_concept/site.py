"""A site file to a `Site`: one machine's settings, checked."""

import datetime as dt
import posixpath
import re
from collections.abc import Mapping
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import yaml

from conda_concept.document import Document, Problems, SourceText, parse, validate
from conda_concept.errors import InputError
from conda_concept.model import Place
from conda_concept.settings import Site

#: The settings in which variables stand for something.
_EXPANDED = ("root", "scratch", "cache")
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")


def read_site(source: SourceText, environ: Mapping[str, str] | None) -> Site:
    """The site of a file, with `${NAME}` and `${NAME:-default}` in `root`, `scratch` and `cache` taken from `environ`.

    Without `environ` the file is checked for a machine that is not this one: what it takes from there is not known.
    Raises one `InputError` with everything that is wrong.
    """
    problems = Problems()
    document = parse(source, problems)
    if not problems.found and not isinstance(document.data, dict):
        problems.add(Place(source.file), "expected `key: value` lines such as `root: /g/data/xy00/public`")
    site = validate(Site, document, problems) if not problems.found else None
    if site is None:
        problems.raise_if_any(f"site file {source.file}")
        raise AssertionError("validation without a problem and without a result")
    expanded = {}
    for key in _EXPANDED:
        value = _expand(str(getattr(site, key)), environ, document.place((key,)), problems)
        if not value.startswith("/") and not problems.found:
            problems.add(document.place((key,)), f"`{key}` has to be an absolute path, not {value!r}")
        expanded[key] = value.rstrip("/")
    _check_links(site, document, problems)
    problems.raise_if_any(f"site file {source.file}")
    return site.model_copy(update=expanded)


def _check_links(site: Site, document: Document, problems: Problems) -> None:
    """A link of the container's base is an absolute path that is no bind, and nothing is bound or linked below it."""
    taken = [*site.binds, *site.links]
    for path in site.links:
        place = document.place(("links", path))
        if not path.startswith("/") or path != posixpath.normpath(path):
            problems.add(place, f"`links`: {path!r} has to be an absolute path without `..` or a slash at its end")
        below = [other for other in taken if other.startswith(f"{path}/")]
        if path in site.binds:
            problems.add(place, f"`links`: {path} is a bind already; it can be only one of the two")
        elif below:
            problems.add(place, f"`links`: {below[0]} is below {path}, so that cannot be a link")


def _expand(value: str, environ: Mapping[str, str] | None, place: Place, problems: Problems) -> str:
    def replaced(match: re.Match[str]) -> str:
        name, default = match.group(1), match.group(2)
        found = "/unknown" if environ is None else environ.get(name) or default
        if found is None:
            problems.add(place, f"the environment variable {name} is not set")
            return ""
        return found

    return _VARIABLE.sub(replaced, value)


def names_in(source: SourceText) -> tuple[frozenset[str], frozenset[str]]:
    """The variables that a site file takes from its surroundings: those of every process, and those of `scratch`.

    What `scratch` takes is a job's own (`${PBS_JOBFS}`); the rest has to be the same in every process.
    """
    data = parse(source, Problems()).data
    found = {key: {match[1] for match in _VARIABLE.finditer(str(data[key]))} for key in _EXPANDED if key in data}
    shared = frozenset().union(*(names for key, names in found.items() if key != "scratch"))
    return shared, frozenset(found.get("scratch", ())) - shared


def changed(source: SourceText, settings: Mapping[str, object]) -> SourceText:
    """A site file with other settings at its top (None: without them); its variables stay variables."""
    data = {**parse(source, Problems()).data, **settings}
    kept = {key: value for key, value in data.items() if value is not None}
    return SourceText(source.file, yaml.safe_dump(kept, sort_keys=False))


def zone(name: str) -> dt.tzinfo:
    """The time zone of a site, by its name; `InputError` where this machine does not know it."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise InputError(
            f"`time_zone: {name}` is no name of a time zone that this machine knows.",
            hint="Names are as in /usr/share/zoneinfo: Australia/Sydney. Is the package `tzdata` installed?",
        ) from error
