"""Fitting an environment to its host, as a plan: which paths of which packages go, and which become links to where.

Everything is by package and by a path that this package owns, as `conda-meta` has it; a file's name alone decides
nothing, because two packages may use one name for different things. What cannot be done is found before anything is
done, and said in one go.
"""

import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property
from itertools import groupby

from conda_concept.document import nearest
from conda_concept.errors import InputError
from conda_concept.model import HostLink, Integration
from conda_concept.settings import Config, HostFile, Replacement, Site, Variant

#: `{word}` in a target.
_FIELD = re.compile(r"\{([^{}]*)\}")
#: Fields that every target may use.
_GIVEN = ("name", "path")
#: Programs need to be seen inside; libraries also have to come from where the site says that they may.
_LIBRARY = re.compile(r"\.so(\.[0-9.]+)?$")


@dataclass(frozen=True, slots=True)
class Owned:
    """One path that a package owns; `link` is the text of a symbolic link, `needed` what an ELF file asks for."""

    package: str
    path: str
    link: str | None = None
    needed: tuple[str, ...] = ()


def pattern(text: str) -> re.Pattern[str]:
    """A pattern of paths: `*` and `?` stay in one folder, `**` does not, `**/` may be nothing."""
    parts = re.split(r"(\*\*/|\*\*|\*|\?)", text)
    meaning = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return re.compile("".join(meaning.get(part, re.escape(part)) for part in parts) + r"\Z", re.DOTALL)


def wanted_of(config: Config) -> bool:
    """Whether a config asks for anything here."""
    return bool(config.remove or config.replace or config.carry or config.host_commands)


def words_wrong(config: Config) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """What is wrong with a config's own words, each with its place in the document."""
    for package, patterns in config.remove.items():
        if not patterns:
            yield ("remove", package), f'`{package}` has no patterns; all its files are `["**"]`'
        for number, text in enumerate(patterns):
            if problem := _pattern_problem(text):
                yield ("remove", package, number), problem
    for package, replacement in config.replace.items():
        yield from _replacement_wrong(package, replacement)
    for key, names in (("host_commands", config.host_commands), ("overrides", tuple(config.overrides))):
        for number, command in enumerate(config.carry):
            if command in names:
                yield ("carry", number), f"`{command}` is in `{key}` as well; only one of them can stand for it"
    for number, name in enumerate(config.host_commands):
        if name in config.overrides:
            yield ("host_commands", number), f"`{name}` is in `overrides` as well; only one of them can stand for it"
    for number, name in enumerate(config.hooks):
        if name in config.hooks[:number]:
            yield ("hooks", number), f"the hook `{name}` is listed twice"


def _replacement_wrong(package: str, replacement: Replacement) -> Iterator[tuple[tuple[str | int, ...], str]]:
    place = ("replace", package)
    if not re.match(r"/|\{[A-Za-z_]\w*\}(/|$)", replacement.root):
        yield (*place, "root"), f"`{replacement.root}` is neither an absolute path nor `{{NAME}}/…`"
    used = set()
    for number, file in enumerate(replacement.files):
        if problem := _pattern_problem(file.path):
            yield (*place, "files", number, "path"), problem
        if file.to.startswith("/") or ".." in file.to.split("/"):
            yield (*place, "files", number, "to"), f"`{file.to}` has to be a path below `root`"
        for word in _FIELD.findall(file.to):
            used.add(word)
            if word not in (*_GIVEN, *replacement.variants):
                known = (*_GIVEN, *replacement.variants)
                yield (*place, "files", number, "to"), f"`{{{word}}}` means nothing here; {nearest(word, known)}"
    for word in replacement.variants:
        if word in _GIVEN or word not in used:
            why = "is a word of ours" if word in _GIVEN else "is not used in any `to`"
            yield (*place, "variants", word), f"the variant `{word}` {why}"


def _pattern_problem(text: str) -> str:
    if not text or text.startswith("/") or ".." in text.split("/"):
        return f"`{text}` has to be a pattern of paths relative to the prefix (`lib/libmpi.so*`)"
    if text.startswith("conda-meta"):
        return f"`{text}`: what conda-meta says is ours to keep true"
    return ""


def plan(name: str, config: Config, site: Site, owned: Sequence[Owned]) -> Integration:
    """What is to be done to the prefix of environment `name`, whose packages own `owned`; hooks are not in it.

    Raises one `InputError` with everything that does not fit: a package that is not there, a pattern that matches
    nothing, a path of two packages, a target that nobody would see or may use, a link that would lead nowhere.
    """
    plans = _Planner(name, config, site, tuple(owned))
    removed = plans.removed()
    replaced = plans.replaced()
    plans.check(removed, replaced)
    if plans.problems:
        raise InputError(f"{name} cannot be fitted to its host:", problems=plans.problems)
    gone = sorted({(one.package, one.path) for one in (*removed, *plans.left(replaced))})
    by_package = [(name, tuple(path for _, path in own)) for name, own in groupby(gone, key=lambda one: one[0])]
    return Integration(tuple(by_package), tuple(replaced), tuple(sorted(set(config.carry))))


@dataclass(eq=False)  # no slots: users are looked up once
class _Planner:
    """One plan in the making; `problems` fills up on the way."""

    name: str
    config: Config
    site: Site
    owned: tuple[Owned, ...]
    problems: list[str] = field(default_factory=list)

    def _say(self, where: str, text: str) -> None:
        self.problems.append(f"environments/{self.name}/config.yml: {where}: {text}")

    def _of(self, where: str, package: str) -> list[Owned]:
        found = [one for one in self.owned if one.package == package]
        if not found:
            known = nearest(package, {one.package for one in self.owned})
            self._say(where, f"no package of this name brings files to this environment; {known}")
        return found

    def removed(self) -> list[Owned]:
        """The paths that go, each once."""
        found: dict[str, Owned] = {}
        for package, patterns in self.config.remove.items():
            where = f"remove: {package}"
            own = self._of(where, package)
            for text in patterns if own else ():
                regex = pattern(text)
                matched = {one.path: one for one in own if regex.match(one.path)}
                if not matched:
                    self._say(where, f"`{text}` matches none of its {len(own)} paths")
                found |= matched
        return [found[path] for path in sorted(found)]

    def left(self, replaced: Iterable[HostLink]) -> list[Owned]:
        """The host's commands that packages bring as well, whoever they are: what is inside finds the host's, too.

        One that is a link to the host already stays.
        """
        paths = {f"bin/{name}" for name in self.config.host_commands} - {link.path for link in replaced}
        return [one for one in self.owned if one.path in paths]

    def replaced(self) -> list[HostLink]:
        """The links, each path once, by the first line that matches it."""
        links: dict[str, HostLink] = {}
        for package, replacement in self.config.replace.items():
            where = f"replace: {package}"
            own = self._of(where, package)
            root = self._root(where, replacement)
            for file in replacement.files if own else ():
                regex = pattern(file.path)
                matched = [one for one in own if regex.match(one.path)]
                if not matched:
                    self._say(where, f"`{file.path}` matches none of its {len(own)} paths")
                for one in matched:
                    if one.path not in links:
                        target = self._target(where, replacement, file, one, root)
                        links[one.path] = HostLink(package, one.path, target)
        return [links[path] for path in sorted(links)]

    def _root(self, where: str, replacement: Replacement) -> str:
        def known(match: re.Match[str]) -> str:
            word = match.group(1)
            if word not in self.site.host_software:
                self._say(where, f"the site `{self.site.name}` does not say where `{word}` is (`host_software`)")
            return self.site.host_software.get(word, "/unknown")

        return _FIELD.sub(known, replacement.root).rstrip("/")

    def _target(self, where: str, replacement: Replacement, file: HostFile, one: Owned, root: str) -> str:
        def known(match: re.Match[str]) -> str:
            word = match.group(1)
            given = {"name": posixpath.basename(one.path), "path": one.path}
            return given.get(word) or self._variant(where, word, replacement.variants[word], one)

        target = posixpath.normpath(f"{root}/{_FIELD.sub(known, file.to)}")
        visible = (*self.site.binds, *self.config.binds)
        if not _below(target, visible) and root != "/unknown":
            self._say(where, f"{one.path}: {target} is not visible inside; no bind of site or config has it")
        elif _LIBRARY.search(one.path) and not _below(target, self.site.host_libraries) and root != "/unknown":
            self._say(where, f"{one.path}: {target} is not below the site's `host_libraries`, where libraries may be")
        return target

    def _variant(self, where: str, word: str, variant: Variant, one: Owned) -> str:
        """The variant that the file itself, or whoever links against it, was built for."""
        name = posixpath.basename(one.path)
        asking = [one, *self._users.get(name, ())]
        chosen: dict[str, str] = {}
        for user in asking:
            for value, patterns in variant.by_needed.items():
                if any(fnmatchcase(need, text) for need in user.needed for text in patterns):
                    chosen.setdefault(value, user.path)
        if len(chosen) == 1:
            return next(iter(chosen))
        if not chosen and variant.otherwise:
            return variant.otherwise
        said = " and ".join(f"{value} ({path})" for value, path in sorted(chosen.items())) or "nothing"
        self._say(where, f"{one.path}: `{word}` cannot be chosen, because {said} is asked for by it and its users")
        return "unknown"

    @cached_property
    def _users(self) -> Mapping[str, tuple[Owned, ...]]:
        found: dict[str, list[Owned]] = {}
        for one in self.owned:
            for need in one.needed:
                found.setdefault(need, []).append(one)
        return {need: tuple(users) for need, users in found.items()}

    def check(self, removed: Iterable[Owned], replaced: Iterable[HostLink]) -> None:
        """What only shows when all is known: two owners, two wishes, links to nowhere, names that are taken."""
        gone = {one.path for one in removed}
        linked = {one.path for one in replaced}
        for path in sorted(gone & linked):
            self._say("replace", f"{path} is also in `remove`; it can only be one of them")
        owners: dict[str, set[str]] = {}
        for one in self.owned:
            owners.setdefault(one.path, set()).add(one.package)
        for path in sorted(gone | linked):
            if len(owners[path]) > 1:
                names = " and ".join(sorted(owners[path]))
                self._say("remove" if path in gone else "replace", f"{path} belongs to {names}, so it stays")
        left = {one.path for one in self.left(replaced)}
        for one in self.owned:
            if one.link is None or one.path in gone | linked | left:
                continue
            target = posixpath.normpath(posixpath.join(posixpath.dirname(one.path), one.link))
            if target in gone | left:
                where = "remove" if target in gone else "host_commands"
                self._say(where, f"{one.path} of {one.package} is a link to {target}, which would be gone")
        for name in self.config.carry:
            path = f"bin/{name}"
            if path in owners and path not in gone | linked:
                names = " and ".join(sorted(owners[path]))
                self._say("carry", f"{path} belongs to {names}; add it to `remove` or `replace`")


def _below(path: str, folders: Iterable[str]) -> bool:
    return any(path == folder or path.startswith(folder.rstrip("/") + "/") for folder in folders)
