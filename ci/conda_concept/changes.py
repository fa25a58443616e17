"""(Lock, Lock, Spec) -> added, removed, changed, each with its reason; and why a package is there. All pure."""

import datetime as dt
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import get_args

from packaging.utils import canonicalize_name
from rattler import Version
from rattler.exceptions import InvalidVersionError

from conda_concept.lockcheck import meets
from conda_concept.lockfile import split_spec
from conda_concept.model import Change, ChangeKind, Diff, Flag, FlagKind, Lock, Package, Request, Spec

#: A first number from here on is a year, and a new year is no new major version.
FIRST_YEAR = 1990
RISKS: tuple[FlagKind, ...] = get_args(FlagKind)
_Key = tuple[str, str]


def diff(old: Lock | None, new: Lock, spec: Spec | None, platform: str, *, now: dt.datetime | None = None) -> Diff:
    """What changes on `platform` from `old` (None: nothing was there) to `new`, sorted by name.

    `spec` is that of `new`; without it every package that no other one needs counts as asked for. `now` is what the
    age of an upload is counted from; without it no package is called young.
    """
    before, after = _by_key(old, platform), _by_key(new, platform)
    graph_before, graph_after = Graph(before.values(), spec), Graph(after.values(), spec)
    channels_before = frozenset(package.channel for package in before.values())
    context = _Context(before, after, graph_before, graph_after, spec, now, channels_before)
    changes = []
    for key in sorted(before.keys() | after.keys(), key=lambda key: (key[1], key[0])):
        kind = _kind(before.get(key), after.get(key))
        if kind is not None:
            changes.append(_change(kind, key, context))
    return Diff(
        platform=platform,
        changes=tuple(changes),
        packages_before=len(before),
        packages_after=len(after),
        bytes_before=sum(package.size or 0 for package in before.values()),
        bytes_after=sum(package.size or 0 for package in after.values()),
        bytes_new=sum(change.new.size or 0 for change in changes if change.new),
        unsized=sum(package.size is None for package in after.values()),
        notes=tuple(twice(after.values())),
    )


def risk(change: Change) -> int:
    """Where a change belongs in a list by risk: 0 first; changes without a flag last."""
    return min((RISKS.index(flag.kind) for flag in change.flags), default=len(RISKS))


def newer(one: str, other: str) -> bool | None:
    """Whether version `one` is newer than `other` in conda's order; None if they are equal in it (1.0 and 1.0.0)."""
    try:
        first, second = Version(one), Version(other)
    except InvalidVersionError:
        return None if one == other else one > other
    return None if first == second else first > second


def twice(packages: Iterable[Package]) -> list[str]:
    """Sentences about packages that both conda and pip provide: the one that is installed last wins, silently."""
    packages = tuple(packages)
    conda = {canonicalize_name(package.name): package for package in packages if package.manager == "conda"}
    return [
        f"{package.name} {package.version} from pip replaces the files of {known.name} {known.version} from conda."
        for package in packages
        if package.manager == "pip" and (known := conda.get(canonicalize_name(package.name))) is not None
    ]


# --- why a package is there ------------------------------------------------------------------------------------------


class Graph:
    """Who needs whom in one platform's lock. Roots are the spec's requests; without a spec, what nobody needs."""

    def __init__(self, packages: Iterable[Package], spec: Spec | None) -> None:
        self.packages: dict[_Key, Package] = {_key(package): package for package in packages}
        # Names as pip spells them, for pip's packages; conda's come last, because they win.
        pip_first = sorted(self.packages, reverse=True) if any(key[0] == "pip" for key in self.packages) else []
        self._by_pip_name = {canonicalize_name(key[1]): key for key in pip_first}
        self.needs = {key: self._needs(package) for key, package in self.packages.items()}
        self.needed_by: dict[_Key, list[_Key]] = {key: [] for key in self.packages}
        for key, targets in self.needs.items():
            for target in targets:
                self.needed_by[target].append(key)
        self.requested = requested_keys(spec)
        roots = [key for key in self.packages if key in self.requested]
        if spec is None:
            roots = [key for key, users in self.needed_by.items() if not users]
        self._parent = self._tree(roots)
        # What no root reaches (an old lock seen with a new spec) hangs below what nobody needs.
        rest = [key for key in self.packages if key not in self._parent and not self.needed_by[key]]
        self._parent |= {key: parent for key, parent in self._tree(rest).items() if key not in self._parent}

    def chain(self, key: _Key) -> tuple[str, ...]:
        """The shortest chain of names from a root to `key`, both included; only itself for a root."""
        names: list[str] = []
        step: _Key | None = key
        while step is not None:
            names.append(step[1])
            step = self._parent.get(step)
        return tuple(reversed(names))

    def _needs(self, package: Package) -> tuple[_Key, ...]:
        """What a package depends on and the lock has. A pip package's need is met by conda where conda has the name."""
        found = []
        for spec in package.depends:
            name = split_spec(spec)[0]
            if package.manager == "conda":
                key: _Key | None = ("conda", name)
            else:
                key = self._by_pip_name.get(canonicalize_name(name))
            if key is not None and key in self.packages:
                found.append(key)
        return tuple(dict.fromkeys(found))

    def _tree(self, roots: Sequence[_Key]) -> dict[_Key, _Key | None]:
        """Parents of a breadth-first walk; roots and needs in the order of their names, so the answer is stable."""
        parent: dict[_Key, _Key | None] = dict.fromkeys(sorted(roots))
        queue = deque(parent)
        while queue:
            key = queue.popleft()
            for target in sorted(self.needs[key]):
                if target not in parent:
                    parent[target] = key
                    queue.append(target)
        return parent


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a package is in a lock: asked for (with its place), its shortest chain, and everything that needs it."""

    package: Package
    request: Request | None
    chain: tuple[str, ...]
    needed_by: tuple[tuple[str, str], ...]


def why(lock: Lock, spec: Spec | None, name: str, platform: str) -> tuple[Reason, ...]:
    """The reasons for every package called `name` (conda's, then pip's); empty if there is none."""
    graph = Graph(lock.on(platform), spec)
    reasons = []
    for key in (("conda", name), ("pip", canonicalize_name(name))):
        package = graph.packages.get(key)
        if package is None:
            continue
        users = tuple(
            (user[1], next(spec for spec in graph.packages[user].depends if _names(spec, key[1])))
            for user in sorted(graph.needed_by[key])
        )
        reasons.append(Reason(package, graph.requested.get(key), graph.chain(key), users))
    return tuple(reasons)


def requested_keys(spec: Spec | None) -> Mapping[_Key, Request]:
    """The spec's requests by manager and name."""
    return {(request.manager, request.name): request for request in spec.requests} if spec else {}


def _names(spec: str, name: str) -> bool:
    found = split_spec(spec)[0]
    return found == name or canonicalize_name(found) == canonicalize_name(name)


# --- one change ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Context:
    before: Mapping[_Key, Package]
    after: Mapping[_Key, Package]
    graph_before: Graph
    graph_after: Graph
    spec: Spec | None
    now: dt.datetime | None
    channels_before: frozenset[str]


def _key(package: Package) -> _Key:
    return package.manager, canonicalize_name(package.name) if package.manager == "pip" else package.name


def _by_key(lock: Lock | None, platform: str) -> dict[_Key, Package]:
    return {_key(package): package for package in lock.on(platform)} if lock else {}


def _kind(old: Package | None, new: Package | None) -> ChangeKind | None:
    """What happened to one package; None for nothing."""
    if old is None or new is None:
        return "added" if old is None else "removed"
    if old.version != new.version:
        up = newer(new.version, old.version)
        return "rebuild" if up is None else "upgrade" if up else "downgrade"
    if old.url == new.url and (old.sha256 or old.md5) == (new.sha256 or new.md5):
        return None
    return "channel" if old.channel != new.channel else "rebuild"


def _change(kind: ChangeKind, key: _Key, context: _Context) -> Change:
    graph = context.graph_before if kind == "removed" else context.graph_after
    change = Change(
        kind=kind,
        name=key[1],
        manager="pip" if key[0] == "pip" else "conda",
        old=context.before.get(key),
        new=context.after.get(key),
        requested=key in context.graph_after.requested if context.spec else not graph.needed_by[key],
        why=graph.chain(key),
    )
    flags = sorted(_flags(change, key, context), key=lambda flag: RISKS.index(flag.kind))
    return replace(change, flags=tuple(flags), demanded=_demanded(change, key, context))


def _demanded(change: Change, key: _Key, context: _Context) -> bool:
    """Whether the spec's own words made this change: what was locked does not meet the request (any more)."""
    if context.spec is None:
        return False
    if change.kind == "removed":
        return not context.graph_before.needed_by[key]
    request = context.graph_after.requested.get(key)
    if request is None or change.old is None:
        return request is not None
    return not meets(request, change.old)


def _flags(change: Change, key: _Key, context: _Context) -> list[Flag]:
    old, new = change.old, change.new
    flags: list[Flag] = []
    if new is None:
        flags += _removal_flags(key, context)
    if old is not None and new is not None:
        flags += _version_flags(change.kind, old, new)
        if old.license and new.license and _plain(old.license) != _plain(new.license):
            flags.append(Flag("license", f"licence {old.license} → {new.license}"))
    if context.spec is not None and change.name in context.spec.config.key_packages:
        flags.append(Flag("key", "key package"))
    if new is not None:
        flags += _origin_flags(old, new, context)
        flags += _age_flags(new, context)
    return flags


def _removal_flags(key: _Key, context: _Context) -> list[Flag]:
    """Who used a removed package and stays: an import may still be there even where the dependency is not."""
    users = [user for user in context.graph_before.needed_by[key] if user in context.after]
    moved = ("pip" if key[0] == "conda" else "conda", key[1])
    if moved in context.after or not users:
        return []
    names = sorted(user[1] for user in users)
    shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return [Flag("needed", f"removed, but {shown} used it and {'stay' if len(names) > 1 else 'stays'}")]


def _version_flags(kind: ChangeKind, old: Package, new: Package) -> list[Flag]:
    if kind == "downgrade":
        return [Flag("downgrade", "downgrade")]
    first, second = _major(old.version), _major(new.version)
    if kind == "upgrade" and None not in (first, second) and first != second:
        return [Flag("major", f"major version {first} → {second}")]
    if kind == "rebuild" and old.filename == new.filename:
        return [Flag("channel", "same file name, other content")]
    return []


def _origin_flags(old: Package | None, new: Package, context: _Context) -> list[Flag]:
    if old is not None and old.channel != new.channel:
        return [Flag("channel", f"channel {old.channel} → {new.channel}")]
    if context.channels_before and new.channel not in context.channels_before:
        return [Flag("channel", f"first package from {new.channel}")]
    return []


def _age_flags(new: Package, context: _Context) -> list[Flag]:
    rule = context.spec.config.exclude_newer if context.spec else None
    if rule is None or context.now is None or new.timestamp is None:
        return []
    age = context.now - dt.datetime.fromtimestamp(new.timestamp / 1000, tz=dt.UTC)
    if age >= dt.timedelta(days=rule.days):
        return []
    return [Flag("young", f"uploaded {max(age.days, 0)} days ago, the delay is {rule.days}")]


def _major(version: str) -> int | None:
    """The first number of a version; None for a year or for no number."""
    first = version.rpartition("!")[2].partition(".")[0]
    return int(first) if first.isdecimal() and int(first) < FIRST_YEAR else None


def _plain(license_: str) -> str:
    return " ".join(license_.lower().replace("-", " ").split())
