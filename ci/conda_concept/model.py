"""The nouns of conda-concept, frozen. Every other module speaks in these; see Words in the README.

What people write (config and site files) is in `settings`; everything here is made by us.
"""

import datetime as dt
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import unquote

from conda_concept.settings import Config

Manager = Literal["conda", "pip"]


# --- what people ask for ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where something was written: a file as people know it, and a line (from 1; 0: the whole file)."""

    file: str
    line: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


@dataclass(frozen=True, slots=True)
class Request:
    """One line of an `environment.yml`: `text` as written, `name` normalised, `channel` where the line names one."""

    text: str
    name: str
    manager: Manager
    place: Place
    channel: str | None = None


@dataclass(frozen=True, slots=True)
class Spec:
    """What is asked for: one environment's `environment.yml` and `config.yml`, checked."""

    name: str
    channels: tuple[str, ...]
    requests: tuple[Request, ...]
    variables: tuple[tuple[str, str], ...]
    config: Config

    @property
    def label(self) -> str:
        """The release's public name, `analysis3-23.04`."""
        return f"{self.name}-{self.config.version}"

    def starts_anew(self, locked: str) -> bool:
        """Whether the next lock is solved from nothing, where the present one is that of version `locked`."""
        return self.config.refresh == self.config.version != locked


# --- what the solver answers --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Package:
    """One locked package for one platform: conda's record, or a wheel or sdist of the `pip:` section.

    `depends` and `constrains` are match specs (`numpy >=1.26,<3`). `size` is bytes, `timestamp` milliseconds since
    1970, both as the channel says them, None where a lock from elsewhere does not carry them.
    """

    name: str
    version: str
    manager: Manager
    platform: str
    url: str
    md5: str | None
    sha256: str | None
    build: str | None = None
    build_number: int | None = None
    depends: tuple[str, ...] = ()
    constrains: tuple[str, ...] = ()
    size: int | None = None
    license: str | None = None
    timestamp: int | None = None
    noarch: Literal["python", "generic"] | None = None
    category: str = "main"
    optional: bool = False
    #: Of a pip entry that was asked for by address: that address (`git+https://…@COMMIT`), as conda-lock keeps it.
    source: str | None = None

    @property
    def _parts(self) -> list[str]:
        """The address cut into channel, subdir and file name; plain string work, since it runs thousands of times."""
        return self.url.partition("#")[0].rsplit("/", 2)

    @property
    def filename(self) -> str:
        """The archive's name, without its folder."""
        return unquote(self._parts[-1].partition("?")[0])

    @property
    def subdir(self) -> str:
        """The channel's folder that holds it: `linux-64`, `noarch`; empty for pip."""
        return self._parts[-2] if self.manager == "conda" and "/" in self.url else ""

    @property
    def channel(self) -> str:
        """The channel's name as people write it: what stands before the subdir, without the channel alias."""
        return "pip" if self.manager == "pip" else self._parts[0].removeprefix(CHANNEL_ALIAS + "/")

    @property
    def day(self) -> dt.date | None:
        """The day of the upload, UTC."""
        if self.timestamp is None:
            return None
        return dt.datetime.fromtimestamp(self.timestamp / 1000, tz=dt.UTC).date()


#: Where bare channel names live by conda's own default. A lock always names packages below this address; the
#: `--channel-alias` of a run says where their bytes are fetched from, so that a lock does not depend on a mirror.
CHANNEL_ALIAS = "https://conda.anaconda.org"


@dataclass(frozen=True, slots=True)
class Lock:
    """The solver's exact answer, in the order of the file.

    `content_hash` has, for each platform, a digest of what was asked. `extra` is the rest of the file's metadata as
    JSON text (git and time facts, credentials' variable names): kept for the tool that wrote it, never read here.
    """

    packages: tuple[Package, ...]
    channels: tuple[str, ...]
    platforms: tuple[str, ...]
    content_hash: tuple[tuple[str, str], ...]
    sources: tuple[str, ...] = ("environment.yml",)
    extra: str = "{}"

    def on(self, platform: str) -> tuple[Package, ...]:
        """The packages for one platform."""
        return tuple(package for package in self.packages if package.platform == platform)


ChangeKind = Literal["added", "removed", "upgrade", "downgrade", "rebuild", "channel"]
#: Reasons to look twice, riskiest first.
FlagKind = Literal["needed", "downgrade", "major", "key", "channel", "license", "young"]


@dataclass(frozen=True, slots=True)
class Flag:
    """One reason to look twice at a change: its kind for programs, its words for people."""

    kind: FlagKind
    text: str


@dataclass(frozen=True, slots=True)
class Change:
    """What happens to one package between two locks, and why.

    `requested` is True where the spec itself names it; `demanded` where the spec could not be met without this very
    change (a new request, a new pin, a request that is gone). `why` is the shortest chain of names from a
    request to it, request first and itself last. `flags` are reasons to look twice, riskiest first.
    """

    kind: ChangeKind
    name: str
    manager: Manager
    old: Package | None
    new: Package | None
    requested: bool
    why: tuple[str, ...]
    flags: tuple[Flag, ...] = ()
    demanded: bool = False


@dataclass(frozen=True, slots=True)
class Diff:
    """All changes of one platform, sorted by name, and the totals before and after."""

    platform: str
    changes: tuple[Change, ...]
    packages_before: int
    packages_after: int
    #: Bytes to download for all packages before and after; a package without a known size counts as nothing.
    bytes_before: int
    bytes_after: int
    #: Bytes to download for what is new or changed.
    bytes_new: int = 0
    #: Packages of the lock after whose size is not known.
    unsized: int = 0
    #: Things to know about the whole lock, in words: removed from a channel, provided by pip and conda at once.
    notes: tuple[str, ...] = ()


# --- what is built ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, order=True)
class Release:
    """One immutable built environment: `analysis3`, `23.04`, `1a2b3c4d`."""

    environment: str
    version: str
    build_id: str

    @property
    def label(self) -> str:
        """The public name that aliases and modules use, `analysis3-23.04`."""
        return f"{self.environment}-{self.version}"

    def __str__(self) -> str:
        return f"{self.label}/{self.build_id}"


@dataclass(frozen=True, slots=True)
class Alias:
    """A moving name for one release; `target` is a label (`analysis3-23.04`) or, for a label, a build id."""

    name: str
    target: str


@dataclass(frozen=True, slots=True, order=True)
class Move:
    """One alias that pointed at `before` and now points at `after`; empty: it was not there, it is not there now."""

    alias: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class FileFact:
    """One path of a release directory: relative `path`, `kind`, permission bits, and what proves its content.

    `proof` is the sha256 of a file, the target of a symlink, empty for a directory.
    """

    path: str
    kind: Literal["file", "link", "directory"]
    mode: int
    size: int
    proof: str


@dataclass(frozen=True, slots=True)
class ImageFact:
    """The image of a release: digest, bytes on disk, and the tree inside it (file count, uncompressed bytes)."""

    sha256: str
    size: int
    files: int
    content_size: int
    squash: str


@dataclass(frozen=True, slots=True)
class HookFact:
    """What one hook did to a prefix: its name and digest, and the paths that it added, changed and removed."""

    name: str
    sha256: str
    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HostLink:
    """A path of a package (relative to the prefix) that is a link to a file of the host."""

    package: str
    path: str
    target: str


@dataclass(frozen=True, slots=True)
class Integration:
    """How a prefix differs from what its packages brought: by config's `remove`, `replace`, `carry` and `hooks`.

    `removed` has each package's paths that were taken out, commands that are the host's (`host_commands`) among them.
    `carried` are commands whose script takes the environment along.
    """

    removed: tuple[tuple[str, tuple[str, ...]], ...] = ()
    replaced: tuple[HostLink, ...] = ()
    carried: tuple[str, ...] = ()
    hooks: tuple[HookFact, ...] = ()

    @property
    def scripts(self) -> frozenset[str]:
        """The paths where a script of ours stands."""
        return frozenset(f"bin/{name}" for name in self.carried)


@dataclass(frozen=True, slots=True)
class Source:
    """Where a release comes from; empty strings where it is not known (a laptop).

    `base_lock` is the digest of the lock that its own lock was solved from: a merge that still starts from there
    publishes this very release.
    """

    commit: str = ""
    pull_request: str = ""
    author: str = ""
    base_lock: str = ""


@dataclass(frozen=True, slots=True)
class ReleaseRecord:
    """`release.json`: what a release is, so that nobody has to open it. It is written last and never changed."""

    release: Release
    prefix: str
    platform: str
    packages: int
    lock_digest: str
    spec_digest: str
    builder: str
    built_at: str
    source: Source
    image: ImageFact
    files: tuple[FileFact, ...]
    commands: tuple[str, ...]
    integration: Integration = field(default_factory=Integration)


@dataclass(frozen=True, slots=True)
class Activation:
    """What activating an environment does to a shell: variables set, folders put in front of path variables, unset.

    A prepended value is the new part only, without the separator.
    """

    set: tuple[tuple[str, str], ...] = ()
    prepend: tuple[tuple[str, str], ...] = ()
    unset: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ReleaseFile:
    """A path of a release directory (or of the container's base) that is to be written.

    `path` is relative to the folder. `kind` says what `content` is: a file's text, the target of a symlink, or the
    (relative) path of the file that a hard link shares; a directory has none. `mode` counts for files only.
    """

    path: str
    content: str
    mode: int
    kind: Literal["file", "link", "hardlink", "directory"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """`tests.json`: what the tests said about one image; it counts for that image only.

    `counts` are results by kind (passed, new failure, known failure, fixed, skipped, …); `baseline` is the release
    that they were compared with, empty where there was none. `report_sha256` is the digest of `tests.xml`, so that
    `verify` can tell whether that file is still the one that was judged; empty where there is none. `tests_sha256` is
    the digest of what was asked beside the packages' own tests: the environment's tests and its expectations.
    """

    image_sha256: str
    passed: bool
    counts: tuple[tuple[str, int], ...]
    baseline: str = ""
    report_sha256: str = ""
    tests_sha256: str = ""


Action = Literal["publish", "rollback", "prune", "repair"]


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the store's history: who did what, when (ISO 8601, UTC), and from which sources.

    `removed` are releases that are gone (`analysis3-23.04/1a2b3c4d`); `forced` is the reason that somebody gave to
    publish against the rules, empty otherwise; `source` and `lock_digest` are those of `release`.
    """

    when: str
    who: str
    action: Action
    release: Release | None
    moves: tuple[Move, ...] = ()
    removed: tuple[str, ...] = ()
    source: Source = Source()
    lock_digest: str = ""
    forced: str = ""


# --- what the store says about itself ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Listed:
    """One release directory in a list.

    `names` are the aliases and candidate modules that mean it, its label first; `tests` is what they said in a word
    or two. `packages`, `image_size` (bytes) and `finished` (ISO 8601, UTC) are None where it is incomplete or cannot
    be read, and `trouble` then says why.
    """

    release: Release
    state: Literal["published", "former", "candidate", "incomplete"]
    names: tuple[str, ...]
    finished: str | None = None
    packages: int | None = None
    image_size: int | None = None
    tests: str = ""
    source: Source = Source()
    pinned: str | None = None
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class Problem:
    """One path of a release that is not what its record says; `path` is relative to the release directory."""

    release: Release
    path: str
    text: str


@dataclass(frozen=True, slots=True)
class Judgement:
    """What prune makes of one release, and why, in words."""

    release: Release
    keep: bool
    why: str


Severity = Literal["broken", "risk", "untidy"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that does not fit together: what it is, what it means for users, and what to do.

    broken: something that users type does not work. risk: it works, and may stop or be changed by others. untidy:
    nobody notices but the maintainer. `mended` says what `doctor --repair` does about it, empty where people decide.
    """

    severity: Severity
    where: str
    what: str
    meaning: str
    advice: str
    mended: str = ""
