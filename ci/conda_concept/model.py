"""The nouns of conda-concept, frozen. Every other module speaks in these; see Words in the README.

Dataclasses hold what we make ourselves; pydantic models hold what people write (config and site files), so that
every mistake in a file is found in one go.
"""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Annotated, Literal
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

#: Names that become file names, module names and branch names.
EnvironmentName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,31}$")]
#: `YY.MM` with an optional fix level: `23.07`, `23.07.1`. A string always: YAML reads 26.10 as 26.1.
ReleaseVersion = Annotated[str, StringConstraints(pattern=r"^[0-9]{2}\.(0[1-9]|1[0-2])(\.[0-9]{1,3})?$")]

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
    exclude_newer: ExcludeNewer | None = None
    #: Packages that may come from a channel's `broken` label.
    allow_broken: tuple[str, ...] = Field(default=(), strict=False)
    #: Packages whose changes are always shown openly (SPEC 0's core projects, say).
    key_packages: tuple[str, ...] = Field(default=(), strict=False)
    description: str = Field(default="", max_length=200)
    #: Whom users ask: an address or a link.
    contact: str = Field(default="", max_length=200)


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

    @property
    def filename(self) -> str:
        """The archive's name, without its folder."""
        return unquote(PurePosixPath(urlsplit(self.url).path).name)

    @property
    def subdir(self) -> str:
        """The channel's folder that holds it: `linux-64`, `noarch`; empty for pip."""
        return PurePosixPath(urlsplit(self.url).path).parent.name if self.manager == "conda" else ""

    @property
    def channel(self) -> str:
        """The channel's name as people write it: what stands before the subdir, without the channel alias."""
        if self.manager == "pip":
            return "pip"
        base = self.url.removesuffix(f"/{self.subdir}/{PurePosixPath(urlsplit(self.url).path).name}")
        return base.removeprefix(CHANNEL_ALIAS + "/")

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
    """The solver's exact answer, in the order of the file; `metadata` is what a file of another tool brought along."""

    packages: tuple[Package, ...]
    channels: tuple[str, ...]
    platforms: tuple[str, ...]
    content_hash: tuple[tuple[str, str], ...]
    sources: tuple[str, ...] = ("environment.yml",)

    def on(self, platform: str) -> tuple[Package, ...]:
        """The packages for one platform."""
        return tuple(package for package in self.packages if package.platform == platform)


ChangeKind = Literal["added", "removed", "upgrade", "downgrade", "rebuild", "channel"]


@dataclass(frozen=True, slots=True)
class Change:
    """What happens to one package between two locks, and why.

    `requested` is True where the spec itself asks for it; otherwise `why` is the shortest chain of names from a
    request to it, request first. `flags` are reasons to look twice, in words.
    """

    kind: ChangeKind
    name: str
    manager: Manager
    old: Package | None
    new: Package | None
    requested: bool
    why: tuple[str, ...]
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Diff:
    """All changes of one platform, sorted by name, and the totals before and after."""

    platform: str
    changes: tuple[Change, ...]
    packages_before: int
    packages_after: int
    bytes_before: int
    bytes_after: int


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
    """Where a release comes from; empty strings where it is not known (a laptop)."""

    commit: str = ""
    pull_request: str = ""
    author: str = ""


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
    #: Fast local disk for downloads, staging and scratch.
    scratch: str
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
