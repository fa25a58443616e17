"""The nouns of conda-concept, frozen. Every other module speaks in these; see Words in the README.

Dataclasses hold what we make ourselves; pydantic models hold what people write (config and site files), so that
every mistake in a file is found in one go.
"""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal
from urllib.parse import unquote

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

#: Names that become file names, module names and branch names.
EnvironmentName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,31}$")]
#: `YY.MM` with an optional fix level: `23.07`, `23.07.1`. A string always: YAML reads 26.10 as 26.1.
ReleaseVersion = Annotated[str, StringConstraints(pattern=r"^[0-9]{2}\.(0[1-9]|1[0-2])(\.[0-9]{1,3})?$")]

#: An environment variable's name, as POSIX has it.
VariableName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
#: A command's name: a file name that is no option and holds nothing a shell or a bind would take apart.
CommandName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_\[][A-Za-z0-9_.+@\[-]*$")]

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


class Strict(BaseModel):
    """A mapping that people write: unknown keys are refused, values are frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class ExcludeNewer(Strict):
    """A delay before a new upload is taken: most malicious or broken uploads are noticed within days."""

    days: int = Field(ge=0, le=365)
    except_channels: tuple[str, ...] = Field(default=(), strict=False)
    except_packages: tuple[str, ...] = Field(default=(), strict=False)


class Expectation(Strict):
    """What people know about a test: its title (`import numpy`; `*` matches), why, and where it is followed up."""

    test: str = Field(min_length=1, max_length=200)
    reason: str = Field(min_length=1, max_length=300)
    issue: str = Field(default="", max_length=300, pattern=r"^(https://\S+)?$")


class TestsConfig(Strict):
    """`tests:` in a config: what not to run, what is known to fail, and how long a test may take, in seconds."""

    __test__ = False  # not a test class, whatever pytest thinks of the name

    skip: tuple[Expectation, ...] = Field(default=(), strict=False)
    expect_fail: tuple[Expectation, ...] = Field(default=(), strict=False)
    timeout: int = Field(default=120, ge=1, le=3600)
    #: By the title of a test, where one needs another limit.
    timeouts: Mapping[str, Annotated[int, Field(ge=1, le=36000)]] = Field(default_factory=dict)


class Config(Strict):
    """`environments/NAME/config.yml`: everything about an environment that conda's own format has no place for."""

    version: ReleaseVersion
    #: The version that the plain name (`analysis3`) points at; this one where it is not given.
    stable: ReleaseVersion | None = None
    platforms: tuple[str, ...] = Field(default=("linux-64",), strict=False, min_length=1)
    #: Of the machine that the environment runs on: {"__glibc": "2.28", "__cuda": "12.9"}.
    virtual_packages: Mapping[str, str] = Field(default_factory=dict)
    channel_priority: Literal["strict", "disabled"] = "strict"
    allowed_channels: tuple[str, ...] = Field(default=("conda-forge",), strict=False, min_length=1)
    #: Hosts that pip's packages may come from, beside the addresses that the spec itself names.
    pip_hosts: tuple[str, ...] = Field(default=(), strict=False)
    exclude_newer: ExcludeNewer | None = None
    #: Packages that may come from a channel's `broken` label.
    allow_broken: tuple[str, ...] = Field(default=(), strict=False)
    #: Packages whose changes are always shown openly (SPEC 0's core projects, say).
    key_packages: tuple[str, ...] = Field(default=(), strict=False)
    description: str = Field(default="", max_length=200)
    #: Whom users ask: an address or a link.
    contact: str = Field(default="", max_length=200)
    #: Variables that the modulefile sets, beside those that the packages' activation scripts set.
    setenv: Mapping[VariableName, str] = Field(default_factory=dict)
    #: Folders that the modulefile puts in front of a path variable; `{prefix}` stands for the release's prefix.
    prepend_path: Mapping[VariableName, str] = Field(default_factory=dict)
    #: Variables that no command of this environment sees.
    unset: tuple[VariableName, ...] = Field(default=("PYTHONHOME",), strict=False)
    #: Commands that stay the host's although the environment ships them: they get no launcher.
    host_commands: tuple[CommandName, ...] = Field(default=(), strict=False)
    #: Commands that a script of ours stands for: name -> file beside config.yml.
    overrides: Mapping[CommandName, str] = Field(default_factory=dict)
    #: Host folders that this environment needs to see, beside the site's.
    binds: tuple[str, ...] = Field(default=(), strict=False)
    tests: TestsConfig = TestsConfig()


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
    `verify` can tell whether that file is still the one that was judged; empty where there is none.
    """

    image_sha256: str
    passed: bool
    counts: tuple[tuple[str, int], ...]
    baseline: str = ""
    report_sha256: str = ""


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


# --- where it is built --------------------------------------------------------------------------------------------


class Groups(Strict):
    """Unix groups: who reads and executes, and who writes. None: the process's own, nothing is changed."""

    users: str | None = None
    owners: str | None = None


class Retention(Strict):
    """What `prune` keeps, besides everything that is pointed at, pinned or in use."""

    #: Days that a release stays after it was last pointed at: longer than the longest job and its requeues.
    grace_days: float = Field(default=30, ge=0)
    #: Days that a candidate which was never published stays; a closed pull request ends them at once.
    candidate_days: float = Field(default=30, ge=0)
    #: Builds of one label that stay beside the present one, newest first, so that there is something to roll back to.
    keep_builds: int = Field(default=2, ge=0)
    #: Hours without a sign of life after which a lock that another machine holds counts as left behind.
    lock_hours: float = Field(default=2, gt=0)


class Squash(Strict):
    """How images are compressed; the defaults were chosen by measurement (zstd 3 and 128 KiB blocks)."""

    compression: Literal["zstd", "lz4", "gzip", "xz"] = "zstd"
    level: int = Field(default=3, ge=1, le=22)
    block: Literal["64K", "128K", "256K", "512K", "1M"] = "128K"


class Site(Strict):
    """`ci/sites/NAME.yml`: one machine's settings. No other file may hold a path of one machine."""

    name: str
    #: Everything published lies below it; `${NAME}` is taken from the environment.
    root: str
    #: Fast local disk: the tree of a build lives and dies here.
    scratch: str
    #: Downloaded archives and repodata, kept between builds and safe to share.
    cache: str
    #: The folder below `apps/` and `modules/`, and so the first half of `module load conda_concept/analysis3`.
    product: str = "conda_concept"
    groups: Groups = Groups()
    retention: Retention = Retention()
    #: The environment that a bare `module load PRODUCT` loads (its stable); none: the only one there is, if so.
    default_environment: EnvironmentName | None = None
    runtime: Literal["singularity", "namespace"] = "singularity"
    #: Host folders that are visible inside, where they exist.
    binds: tuple[str, ...] = Field(default=(), strict=False)
    #: The container program by absolute path, outside the folders that are bound.
    singularity: str = "/usr/bin/singularity"
    squash: Squash = Squash()
    #: Whom tests run as when the release account is root; none: `nobody`. Code of packages never runs as root.
    test_user: str | None = None
    #: Folders of the host, beside its loader's own, that libraries may come from (an MPI in /apps, say).
    host_libraries: tuple[str, ...] = Field(default=(), strict=False)
    #: How several ranks are started on one node, ready for a command: [/apps/openmpi/bin/mpirun, -n, "4"].
    mpi_run: tuple[str, ...] = Field(default=(), strict=False)
    #: How Singularity gets at an image. `shared`: a FUSE mount that all commands of a user and job on a node share.
    #: `container`: each container mounts it (a set-uid Singularity cannot see a user's FUSE mount).
    mounting: Literal["shared", "container"] = "shared"
    #: Local disk of a node that every user can write, for mount points.
    node_dir: str = "/tmp"  # noqa: S108 - the folder below it is the user's own, which the launcher checks
    #: A shared mount that nobody used for so many seconds ends itself.
    idle_seconds: int = Field(default=600, ge=5, le=86400)
    #: How often a start is tried before its command has started.
    start_tries: int = Field(default=3, ge=1, le=10)
    #: Where the host's own programs are (never looked up in a user's PATH).
    host_bin: str = "/usr/bin"
    squashfuse: str = "/usr/bin/squashfuse_ll"
    #: A release older than so many days warns when its module is loaded; 0: never.
    old_after_days: int = Field(default=0, ge=0)
